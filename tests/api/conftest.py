"""A running service with a table of a user's own, which is put back before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.mapping.acme import write_example, write_table
from tests.opened import Opened, opened

KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "author", "token": "author-token", "permissions": ["mappings"]},
    {"name": "keeper", "token": "keeper-token", "permissions": ["mappings", "write_mappings"]},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Opened, Path]]:
    folder = tmp_path_factory.mktemp("own")
    put_back(folder)
    async with opened(
        tmp_path_factory.mktemp("data"),
        mappings={"path": [folder], "look_every": 0, "writable": True},
        sources=[{"name": "acme", "provider": "acme", "token": "acme-token"}],
        keys=KEYS,
        server={"events_limit": 1000},
    ) as service:
        yield service, folder


def put_back(folder: Path) -> None:
    (folder / "types.yaml").unlink(missing_ok=True)
    write_table(folder)
    write_example(folder)


@pytest.fixture
def folder(running: tuple[Opened, Path]) -> Path:
    """The user's folder of tables."""
    return running[1]


@pytest_asyncio.fixture(loop_scope="module")
async def service(running: tuple[Opened, Path], folder: Path) -> Opened:
    """The service, with the table as each test expects it."""
    put_back(folder)
    await running[0].service.tables.reload(["acme"], force=True)
    return running[0]
