from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.log.memory import open_memory_log
from adapter.log.protocol import Log


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    async with open_memory_log() as log:
        yield log
