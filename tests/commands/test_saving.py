"""A table saved by the service, from files of whoever asks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter.commands.mapping import app
from tests.mapping.acme import MAPPING, TYPES, write_example, write_table
from tests.opened import opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which somebody works: settings, the service's table, and its log."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "mappings"
    write_table(own)
    write_example(own)
    (own / "types.yaml").write_text(TYPES)
    asyncio.run(served_once(tmp_path / "adapter-data"))
    settings = '[mappings]\npath = ["mappings"]\nwritable = true\n[[sources]]\nname = "shop"\nprovider = "acme"\n'
    (tmp_path / "adapter.toml").write_text(settings)
    return tmp_path


async def served_once(data: Path) -> None:
    async with opened(data):
        pass


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["save", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_table_is_shown_and_then_saved(folder: Path) -> None:
    kept = folder / "mappings" / "acme" / "mapping.yaml"
    changed = folder / "changed.yaml"
    changed.write_text(MAPPING.replace("LOGIN", "LOGOUT"))
    output = run("acme", str(changed), "--dry-run", code=1)
    assert "expected 'access.LOGIN', is 'access.LOGOUT'" in output
    assert "dry run: 1 example would be read differently" in output
    assert "Table refused" in run("acme", str(changed), code=1)
    assert kept.read_text() == MAPPING
    output = run("acme", str(changed), "--accept")
    assert "type: 'access.LOGIN' becomes 'access.LOGOUT'" in output
    assert "saved, and in use: acme@" in output
    assert kept.read_text() == changed.read_text()


def test_a_folder_is_saved_with_its_examples(folder: Path) -> None:
    work = folder / "work"
    write_table(work, MAPPING.replace("acme", "fresh"), "fresh")
    write_example(work, name="fresh")
    output = run("fresh", str(work / "fresh"), "--accept")
    assert 'no source is read by it yet; add one under [[sources]] with provider = "fresh"' in output
    assert (folder / "mappings" / "fresh" / "examples" / "first.yaml").exists()
    assert "cannot be read" in run("fresh", str(work / "nothing"), code=1)
