from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tests.log.postgresql.server import Server, find_programs, open_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if find_programs() is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    with open_server() as server:
        yield server


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    """An empty database."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield server.url(name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        connection.terminate()
