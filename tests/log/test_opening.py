"""The address of a log names its engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapter.errors import ConfigError, StoreMismatch
from adapter.log.opening import check_store, check_url, file_of, file_url, open_events, open_store
from tests.log.entries import new_entry, strong_key


async def test_a_log_is_opened_at_its_address(tmp_path: Path) -> None:
    url = file_url(tmp_path / "a folder#?%41" / "log.sqlite")
    (tmp_path / "a folder#?%41").mkdir()
    made = []

    def dictionary() -> bytes:
        made.append(1)
        return b""

    for _ in range(2):
        async with open_store(url, dictionary=dictionary, commit_timeout=10) as log:
            await log.append([new_entry("a")])
            assert log.head == 1
    assert made == [1]
    with open_events(url) as events:
        assert [row.uid for row in events.each(0, 1)] == [strong_key("a")]


def test_three_slashes_are_a_path_from_here_and_four_one_from_the_root() -> None:
    assert file_of("sqlite:///data/log.sqlite") == Path("data/log.sqlite")
    assert file_of("sqlite:////srv/log.sqlite") == Path("/srv/log.sqlite")
    assert file_of("postgresql://db/idp") is None


@pytest.mark.parametrize("url", ["postgresql://u:p@db/idp", "postgres://db/idp", "sqlite:///x.sqlite"])
def test_addresses_of_logs(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url", ["", "log.sqlite", "mysql://root:hunter2@db/x", "sqlite://", "sqlite:///", "sqlite:x", "hunter2", "://"]
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_url(url)
    assert "hunter2" not in str(refused.value)


async def test_a_log_is_taken_over_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    url = file_url(path)
    await check_store(url)  # one that is not there can be made
    assert not path.exists()
    async with open_store(url, dictionary=bytes, commit_timeout=10):
        await check_store(url)
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for other, problem in ((version - 1, "stop it, then start this one"), (version + 1, "run the newer program")):
            connection.execute(f"PRAGMA user_version = {other}")
            with pytest.raises(StoreMismatch, match=problem):
                await check_store(url)
            assert connection.execute("PRAGMA user_version").fetchone() == (other,)
