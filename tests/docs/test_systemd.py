"""The units that the pages give."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter.__main__ import make_app
from tests.docs.pages import DOCS

UNITS = [DOCS / "systemd" / f"idp-adapter.{kind}" for kind in ("service", "socket")]


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


@pytest.mark.parametrize("key", ["ExecStart", "ExecReload"])
def test_their_commands_are_those_of_the_program(key: str) -> None:
    program, command, *words = shlex.split(read(UNITS[0])["Service"][key])
    assert Path(program).name == "idp-adapter"
    shown = CliRunner().invoke(make_app(command), [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert [word for word in words if word.startswith("-") and word not in shown.stdout] == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    for unit in UNITS:
        # The program is not installed there.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/idp-adapter/bin/idp-adapter", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
