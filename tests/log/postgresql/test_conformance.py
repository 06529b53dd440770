"""The log in PostgreSQL does what every log must that several programs may have open, and that removes what is old."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from adapter.log.postgresql.log import PostgresqlLog, open_postgresql_log
from tests.log.conformance import ReplacingConformance, RetentionConformance, SharedLogConformance


class PostgresqlPlace:
    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, *, claim_seconds: float = 60.0) -> AbstractAsyncContextManager[PostgresqlLog]:
        return open_postgresql_log(self._url, claim_seconds=claim_seconds)


@pytest.fixture
def place(database_url: str) -> PostgresqlPlace:
    return PostgresqlPlace(database_url)


class TestPostgresqlLog(SharedLogConformance, RetentionConformance, ReplacingConformance):
    pass
