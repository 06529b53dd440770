"""Changed tables are taken up, or refused with their reason while the last good one goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.document import DEPTH_LIMIT, Document
from adapter.model import Outcome
from adapter.tables.in_use import Tables
from adapter.tables.watch import look, watched
from adapter.workbench.check import check_table
from tests.mapping.acme import MAPPING, RAW, TYPES, write_example, write_table

NOW = 1_700_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "types.yaml").write_text(TYPES)
    write_table(tmp_path)
    write_example(tmp_path)
    return tmp_path


def tables_of(*folders: Path) -> Tables:
    return Tables(folders, clock=lambda: NOW)


def type_of(tables: Tables, provider: str = "acme") -> object:
    event = tables[provider].read(dict(RAW), 0)[0]
    return None if event is None else event["type"]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what it waits for is told by nobody
            await asyncio.sleep(0.01)


def test_the_examples_of_these_tests_hold(folder: Path) -> None:
    assert check_table(tables_of(folder)["acme"], strict=True) == []


async def test_a_changed_table_takes_the_place_of_the_old_one_which_stays_whole(folder: Path) -> None:
    tables = tables_of(folder)
    old = tables["acme"]
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    write_example(folder, "access.LOGOUT")
    await tables.reload(["acme"])
    assert type_of(tables) == "access.LOGOUT"
    assert tables["acme"].version != old.version
    event = old.read(dict(RAW), 0)[0]
    assert event["type"] == "access.LOGIN"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("provider: [", "mapping.yaml:2: not valid YAML"),
        (MAPPING.replace("types:", "typos:"), "typos: unknown key"),
        (MAPPING.replace("LOGIN", "LOGINN"), "'LOGINN' is no type of the catalogue (did you mean LOGIN?)"),
        (MAPPING.replace("LOGIN", "LOGOUT"), "example 'first': type: expected 'access.LOGIN', is 'access.LOGOUT'"),
        (MAPPING.replace("acme", "acne"), "is 'acne', but the folder is 'acme'"),
    ],
)
async def test_a_bad_table_leaves_the_last_good_one_in_use_and_says_why_and_when(
    folder: Path, text: str, problem: str
) -> None:
    tables = tables_of(folder)
    good = tables["acme"]
    write_table(folder, text)
    await tables.reload(["acme"])
    assert tables["acme"] is good
    assert problem in tables.refused["acme"].problem
    assert tables.refused["acme"].at == 1_700_000_000_000

    write_table(folder)
    await tables.reload(["acme"])
    assert tables.refused == {}


OTHER_KEY = MAPPING.replace("strong: id", "strong: user")


async def test_a_table_that_knows_events_by_other_keys_is_taken_up_only_by_force(folder: Path) -> None:
    tables = tables_of(folder)
    good = tables["acme"]
    write_table(folder, OTHER_KEY)
    await tables.reload()
    assert tables["acme"] is good
    assert "events would be known by other keys (see 'first'), so that copies" in tables.refused["acme"].problem
    await tables.reload(["acme"], force=True)
    assert tables["acme"].read(dict(RAW), 0)[2] == ["id", "anna"]
    assert tables.refused == {}


async def test_without_examples_the_declared_keys_decide(folder: Path) -> None:
    (folder / "acme" / "examples" / "first.yaml").unlink()
    tables = tables_of(folder)
    write_table(folder, OTHER_KEY)
    await tables.reload()
    assert "(see shape event)" in tables.refused["acme"].problem
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    await tables.reload()
    assert tables.refused == {}
    assert type_of(tables) == "access.LOGOUT"


async def test_a_key_that_joins_others_and_a_shape_for_what_had_none_are_taken_up(folder: Path) -> None:
    none = MAPPING.replace("identity: {strong: id}", "identity: none")
    write_table(folder, none)
    tables = tables_of(folder)
    for text in (MAPPING, MAPPING.replace("{strong: id}", "{strong: id, weak: ['@native', user]}")):
        write_table(folder, text)
        await tables.reload()
        assert tables.refused == {}


def test_a_wrong_table_of_ones_own_is_in_use_after_a_start_and_said(folder: Path) -> None:
    write_example(folder, "access.LOGOUT")
    tables = tables_of(folder)
    assert type_of(tables) == "access.LOGIN"
    assert "type: expected 'access.LOGOUT', is 'access.LOGIN'" in tables.refused["acme"].problem


async def test_a_new_provider_becomes_a_table_once_it_is_good(folder: Path) -> None:
    tables = tables_of(folder)
    write_table(folder, MAPPING.replace("acme", "other").replace("LOGIN", "NONE"), "other")
    await tables.reload()
    assert "other" not in tables
    assert "'NONE' is no type of the catalogue" in tables.refused["other"].problem
    write_table(folder, MAPPING.replace("acme", "other"), "other")
    await tables.reload()
    assert type_of(tables, "other") == "access.LOGIN"
    assert list(tables.refused) == []


async def test_a_refused_newcomer_that_is_gone_is_forgotten(folder: Path) -> None:
    tables = tables_of(folder)
    file = write_table(folder, "nothing", "other")
    await tables.reload(["other"])
    file.unlink()
    await tables.reload(["other"])
    assert tables.refused == {}
    assert list(tables) == ["acme"]


async def test_a_table_whose_file_is_gone_stays_in_use(folder: Path) -> None:
    tables = tables_of(folder)
    (folder / "acme" / "mapping.yaml").unlink()
    await tables.reload()
    assert type_of(tables) == "access.LOGIN"
    assert "its mapping.yaml is gone" in tables.refused["acme"].problem


async def test_a_table_that_hid_another_gives_way_to_it_when_it_is_gone(folder: Path) -> None:
    own = folder / "own"
    file = write_table(own, "provider: acme\ntitle: Mine\nextends: acme\ntypes: {in: {type: LOGOUT}}\n")
    tables = tables_of(own, folder)
    assert type_of(tables) == "access.LOGOUT"
    file.unlink()
    await tables.reload()
    assert type_of(tables) == "access.LOGIN"


async def test_a_folder_that_is_away_gives_way_to_nothing(folder: Path) -> None:
    own = folder / "own"
    write_table(own, "provider: acme\ntitle: Mine\nextends: acme\ntypes: {in: {type: LOGOUT}}\n")
    tables = tables_of(own, folder)
    own.rename(folder / "elsewhere")
    await tables.reload()
    assert type_of(tables) == "access.LOGOUT"
    assert tables.refused["acme"].problem == f"{own}: there is no such folder"


async def test_tables_follow_the_one_that_they_extend(folder: Path) -> None:
    write_table(folder, "provider: own\ntitle: Own\nextends: acme\n", "own")
    tables = tables_of(folder)
    write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
    write_example(folder, "access.LOGOUT")
    await tables.reload(["acme"])
    assert type_of(tables, "own") == "access.LOGOUT"


async def test_a_changed_catalogue_takes_all_tables_along(folder: Path) -> None:
    tables = tables_of(folder)
    before = tables["acme"].version
    (folder / "types.yaml").write_text(TYPES + "  NEWS: {group: login, kind: notice, meaning: New, sentence: New}\n")
    await tables.reload([])
    assert tables.catalogue.outcome("access.NEWS") is Outcome.UNKNOWN
    assert tables.catalogue.known("access.NEWS") is not None
    assert tables["acme"].catalogue is tables.catalogue
    assert tables["acme"].version != before


async def test_a_bad_catalogue_refuses_every_table_and_none_is_lost(folder: Path) -> None:
    tables = tables_of(folder)
    catalogue = tables.catalogue
    (folder / "types.yaml").write_text("typos: {}")
    await tables.reload()
    assert tables.catalogue is catalogue
    assert type_of(tables) == "access.LOGIN"
    assert "types.yaml:1: typos: unknown key" in tables.refused["acme"].problem


async def test_a_table_whose_types_left_the_catalogue_keeps_the_one_it_has(folder: Path) -> None:
    tables = tables_of(folder)
    (folder / "types.yaml").write_text(TYPES.replace("  LOGIN:", "  ENTRY:"))
    await tables.reload()
    assert type_of(tables) == "access.LOGIN"
    assert "'LOGIN' is no type of the catalogue" in tables.refused["acme"].problem
    assert tables.catalogue.known("access.ENTRY") is not None
    assert tables["acme"].catalogue.known("access.LOGIN") is not None


async def test_what_changes_on_disk_is_taken_up_without_a_word(folder: Path) -> None:
    known, tables = look([folder]), Tables([folder])
    async with watched(tables, known, every=0.01):
        write_table(folder, MAPPING.replace("LOGIN", "LOGOUT"))
        await until(lambda: "acme" in tables.refused)
        write_example(folder, "access.LOGOUT")
        await until(lambda: type_of(tables) == "access.LOGOUT")
        assert tables.refused == {}
        write_table(folder, MAPPING.replace("acme", "other"), "other")
        await until(lambda: "other" in tables)
        (folder / "types.yaml").write_text(TYPES + "  NEWS: {group: login, kind: notice, meaning: N, sentence: N}\n")
        await until(lambda: tables.catalogue.known("access.NEWS") is not None)


async def test_without_looks_only_a_request_takes_up_what_changed(folder: Path) -> None:
    known, tables = look([folder]), Tables([folder])
    async with watched(tables, known, every=0):
        write_table(folder, "nothing")
        assert len(asyncio.all_tasks()) == 1
        await tables.reload()
        assert "acme" in tables.refused


def test_a_look_notices_each_file_of_a_table_and_nothing_else(folder: Path) -> None:
    first = look([folder])
    assert set(first) == {"", "acme"}
    (folder / "acme" / "notes.txt").write_text("x")
    (folder / "acme" / "examples" / ".first.yaml.swp").write_text("x")
    assert look([folder]) == first
    file = folder / "acme" / "examples" / "first.yaml"
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert look([folder]) != first


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 200_000 + "]" * 200_000, f"x.yaml:1: is nested more than {DEPTH_LIMIT} deep"),
        ("a: &a [*a]", "x.yaml:1: an alias stands inside what it stands for"),
        (
            "a0: &a0 [1, 1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)),
            "with its aliases written out it has more than 1000000 parts",
        ),
    ],
)
def test_a_text_made_to_exhaust_its_reader_is_refused(text: str, problem: str) -> None:
    with pytest.raises(MappingError, match=problem):
        Document(Path("x.yaml"), text)
