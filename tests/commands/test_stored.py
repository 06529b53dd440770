"""Tables held against the log on the command line: in the data folder when no service runs, and by the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from adapter.commands.mapping import app
from adapter.commands.stored import told_arrivals
from tests.mapping.acme import MAPPING, TYPES, write_example, write_table
from tests.opened import opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody works: settings, a table of their own, and a log."""
    tmp_path = tmp_path_factory.mktemp("work")
    own = tmp_path / "mappings"
    write_table(own)
    write_example(own)
    (own / "types.yaml").write_text(TYPES)
    (tmp_path / "adapter.toml").write_text(
        '[mappings]\npath = ["mappings"]\n[[sources]]\nname = "shop"\nprovider = "acme"\n'
    )
    sources = [{"name": "shop", "provider": "acme"}]
    async with opened(tmp_path / "adapter-data", mappings={"path": [own]}, sources=sources) as service:
        raws = [{"id": str(number), "kind": kind, "user": "u"} for number, kind in enumerate(["in", "in", "new"])]
        await service.post([*raws, 5], "shop")
    return tmp_path


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    write_example(made / "mappings")
    return made


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_coverage_tells_what_has_arrived(folder: Path) -> None:
    lines = run("coverage", "acme", "--arrived").splitlines()
    assert lines[0] == "acme: its table has no list of the vendor's types (catalogue) to hold its rows against"
    assert lines[2] == "  arrived: 4 entries of 3 native types, 2 quarantined"
    assert [line.split() for line in lines[3:]] == [
        ["in", "2", "last", *lines[3].split()[3:5]],
        ["(unreadable)", "1", "last", *lines[4].split()[3:5], "1", "quarantined"],
        ["new", "1", "last", *lines[5].split()[3:4], lines[5].split()[4], "1", "quarantined,", "no", "row"],
    ]


def test_coverage_tells_what_the_table_has_no_word_for() -> None:
    found = {"arrived": [], "untranslated": [{"path": "why", "value": "a\nb", "count": 3}]}
    assert list(told_arrivals(found)) == ["  nothing has arrived yet", "  no word for why 'a\\nb'  3"]


def test_diff_tells_what_would_become_of_stored_events(folder: Path) -> None:
    changed = folder / "changed.yaml"
    changed.write_text(MAPPING.replace("in: {type: LOGIN}", "in: {type: LOGIN}\n  new: {type: LOGOUT}"))
    output = run("diff", "acme", str(changed), "--since", "2h")
    assert "0 examples would change, 0 of them their keys\nstored raw events: looked at 4 entries\n" in output
    assert "  recovered            1  without an event, would be events\n" in output
    assert "changes by field: type 1" in output
    assert "recovered: new -> access.LOGOUT\n  type: quarantined (no row for 'new': add one to the table)" in output


def test_diff_refuses_other_keys_that_only_stored_events_show(folder: Path) -> None:
    (folder / "mappings" / "acme" / "examples" / "first.yaml").write_text("[]")
    changed = folder / "changed.yaml"
    changed.write_text(MAPPING.replace("strong: id", "strong: user"))
    output = run("diff", "acme", str(changed), "--since", "2h", code=1)
    assert "  other keys           3  would be known by other keys" in output
    assert "the identity of events would change" in output


def test_a_text_that_cannot_be_a_table_is_refused_before_the_log_is_asked(folder: Path) -> None:
    changed = folder / "changed.yaml"
    changed.write_text(json.dumps({"provider": "acme"}))
    assert "changed.yaml:1: " in run("diff", "acme", str(changed), "--since", "2h", code=1)


def test_a_folder_without_data_is_named(folder: Path) -> None:
    assert "nowhere: there is no such data folder" in run("coverage", "acme", "--arrived", "--data", "nowhere", code=1)
