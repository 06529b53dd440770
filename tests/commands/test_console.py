"""``idp-adapter console`` against a real service."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.commands.remote import Machine
from tests.console.conftest import visiting
from tests.opened import opened

KEYS = [{"name": "soc", "token": "soc-token-1", "permissions": ["read"]}]


async def test_a_link_signs_in_with_the_rights_of_the_token(tmp_path: Path) -> None:
    async with opened(tmp_path / "data", keys=KEYS) as service, visiting(service) as visitor:
        machine = Machine(tmp_path)
        where = {"URL": service.service.url, "TOKEN": "soc-token-1"}
        said = await machine.run("console", "link", **where)
        assert said.status == 0, said
        # The link alone is on standard output.
        assert re.fullmatch(rf"{service.service.url}/ui/sign-in/idpl_[\w-]{{43}}\n", said.output)
        assert "signs in as soc, once, within 15 minutes" in said.error
        path = said.output.strip().removeprefix(service.service.url)
        async with visitor.session.post(path, allow_redirects=False) as response:
            assert response.status == 303
        _, text = await visitor.page("/ui/about")
        assert "Signed in as soc" in text
        said = await machine.run(
            "keys", "list", "--sessions", "--utc", URL=where["URL"], TOKEN=service.service.admin_token
        )
        [line] = [line for line in said.output.splitlines() if "link" in line]
        assert line.split()[:2] == ["soc", "link"]
        said = await machine.run("console", "link", "--json", **where)
        assert json.loads(said.output)["name"] == "soc"


async def test_where_no_service_runs_that_is_said(tmp_path: Path) -> None:
    said = await Machine(tmp_path).run("console", "link", "--data", str(tmp_path / "nothing"))
    assert said.status == 1
    assert "start with idp-adapter serve" in said.error
