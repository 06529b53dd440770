from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.hostile.stand import Stand
from tests.hostile.table import Row, write_table
from tests.hostile.watches import Limits

_FULL = "--hostile-full"
_TABLE = "--hostile-table"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_FULL, action="store_true", help="full sizes, and the stated times without a margin")
    parser.addoption(_TABLE, metavar="FILE", type=Path, help="write the table of what happened to this file")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether attacks have their full size."""
    return bool(request.config.getoption(_FULL, default=False))


@pytest.fixture(scope="session")
def limits(full: bool) -> Limits:
    """What must hold. Without `full` times have a wide margin: the machine may be busy with other tests."""
    return Limits() if full else Limits(margin=16.0, idle=0.5, least=1.0)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Callable[[Row], None]:
    """Takes rows of the table, which is written as it grows if it was asked for."""
    rows: list[Row] = []
    file: Path | None = request.config.getoption(_TABLE, default=None)

    def take(row: Row) -> None:
        rows.append(row)
        if file is not None:
            write_table(rows, file)

    return take


@pytest.fixture(scope="session", autouse=True)
def open_files() -> None:
    """As many open files as this user may have; each service that is started inherits what there was before."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(
    tmp_path_factory: pytest.TempPathFactory, limits: Limits, report: Callable[[Row], None]
) -> AsyncIterator[Stand]:
    """A service for the attacks of one file; at the end it is started again, and nothing may be lost."""
    one = Stand(tmp_path_factory.mktemp("hostile") / "data", limits, report)
    await one.start()
    yield one
    await one.settle()
