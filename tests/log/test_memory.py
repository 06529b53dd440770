"""The log in memory."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from adapter.log.memory import Memory, MemoryLog, open_memory_log
from tests.log.conformance import ReplacingConformance, RetentionConformance, SharedLogConformance


class MemoryPlace:
    def __init__(self) -> None:
        self._memory = Memory()

    def open(self, *, claim_seconds: float = 60.0) -> AbstractAsyncContextManager[MemoryLog]:
        return open_memory_log(self._memory, claim_seconds=claim_seconds)


@pytest.fixture
def place() -> MemoryPlace:
    return MemoryPlace()


class TestMemoryLog(SharedLogConformance, RetentionConformance, ReplacingConformance):
    pass
