from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter.__main__ import make_app
from tests.delivery.parts import until
from tests.opened import login, opened

SINKS = [{"name": "out", "from": "beginning", "kind": "file"}]


def test_a_sink_is_audited_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    sinks = [{**SINKS[0], "path": tmp_path / "out"}]

    async def fill() -> None:
        async with opened(data, sources=[{"name": "keycloak", "provider": "keycloak"}], sinks=sinks) as service:
            await service.post([login(number) for number in range(3)])
            await until(lambda: (tmp_path / "out").exists())

    asyncio.run(fill())
    config = tmp_path / "adapter.toml"
    config.write_text(
        f'[data]\nfolder = "{data}"\n[[sinks]]\nname = "out"\nkind = "file"\npath = "{tmp_path / "out"}"\n'
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(make_app("sinks"), ["sinks", "audit", "out", "--json", "--config", str(config)])
    assert result.exit_code == 0, result.output
    audit = json.loads(result.stdout)
    assert (audit["sink"], audit["state"], audit["differences"]) == ("out", "done", [])
