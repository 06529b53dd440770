from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer

from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.table import Table
from adapter.resources import mappings_path
from tests.postgresql import Server, find_programs, open_server
from tests.scheduling import DURATIONS, Durations, Scheduling, give_way

# A run says the same twice; who looks for what no run has seen yet has random examples: --hypothesis-profile default.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

#: The least a table needs beside what a test is about.
HEAD = """
provider: acme
title: Acme
"""


def pytest_sessionstart() -> None:
    # Commands find no login of whoever runs the tests.
    os.environ["XDG_CONFIG_HOME"] = os.devnull
    # A worker of pytest-xdist has a width in its environment, as if it had a terminal.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # Tests start hundreds of processes. Without files of compiled modules each would compile all that it imports, which
    # takes as long again as importing it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Whoever runs the tests in the background may have them ignore it, and what they start would ignore it, too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_WRITE_DURATIONS = "--write-durations"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_WRITE_DURATIONS, action="store_true", help=f"write into {DURATIONS.name} what scopes take")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(_WRITE_DURATIONS) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: many tests mostly wait, for processes that they started."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if hasattr(item.config, "workerinput"):
        give_way(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    # What a worker tells of a test that failed may hold half of a surrogate pair, which would end the whole run.
    return _encodable((yield))


def _encodable(told: object) -> object:
    match told:
        case str():
            return told.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {name: _encodable(one) for name, one in told.items()}
        case list():
            return [_encodable(one) for one in told]
        case tuple():
            return tuple(map(_encodable, told))
    return told


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue([mappings_path()])


@pytest.fixture
def make_table(catalogue: Catalogue) -> Callable[[str], Table]:
    """A table from YAML; provider and title are given."""

    def make(text: str) -> Table:
        return Table(Document(Path("mappings/acme/mapping.yaml"), HEAD + text), catalogue)

    return make


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server for all tests."""
    if find_programs() is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    with open_server() as server:
        yield server


@pytest.fixture
async def database_url(postgresql: Server) -> AsyncIterator[str]:
    """The address of an empty PostgreSQL database."""
    async with postgresql.database() as url:
        yield url
