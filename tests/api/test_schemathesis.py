"""Schemathesis asks a real service every operation of ``/openapi.json``, with what that allows and with what it does
not, and checks the answers. `schemathesis.toml` has the exceptions, and how to run it by hand.

The requests are the same in each run; ``--hypothesis-profile default`` asks many others.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio

from tests.mapping.acme import MAPPING, RAW, write_example, write_table
from tests.opened import Opened, login, opened

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy]

HERE = Path(__file__).parent
#: Of each operation, beside those that cover its schema.
EXAMPLES, MANY = 1, 100
#: What the examples of the description ask for.
UID, USER = "6ab16d80-8a3f-8d51-9c4e-3f6f2b41a0c7", "1f6a2c"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder = tmp_path_factory.mktemp("own")
    write_table(folder)
    write_example(folder)
    write_table(folder, MAPPING.replace("acme", "spare"), "spare")
    async with opened(
        tmp_path_factory.mktemp("data"),
        mappings={"path": [folder], "look_every": 0, "writable": True},
        sources=[{"name": "keycloak", "provider": "keycloak"}, {"name": "acme", "provider": "acme"}],
        sinks=[{"name": "copy", "kind": "file", "path": tmp_path_factory.mktemp("sink") / "copy", "from": "beginning"}],
        # Nothing is sent to the receivers that are made up.
        outgoing={"proxy": "http://127.0.0.1:1"},
    ) as service:
        await service.post([login(number, realmId="acme", userId=USER) for number in range(20)])
        await service.post([login(20, id=UID, realmId="acme", userId=USER)])
        await service.post([RAW, {"id": "2", "kind": "odd"}], "acme")
        webhook = {"name": "soc", "kind": "webhook", "url": "https://soc.example/events"}
        async with service.session.post("/sinks", json=webhook) as response:
            assert response.status == 201, await response.text()
        async with service.session.put("/searches/failed-logins", json={"query": "outcome=failure"}) as response:
            assert response.status == 200, await response.text()
        yield service


async def test_a_service_answers_as_its_description_says(service: Opened, tmp_path: Path) -> None:
    async with service.session.post("/sinks/soc/links", json={}) as response:
        link = (await response.json())["token"]
    config = tmp_path / "schemathesis.toml"
    of_link = f"""
[[operations]]
include-tag = "Links for receivers"
headers = {{Authorization = "Bearer {link}"}}
"""
    config.write_text((HERE / config.name).read_text("utf-8") + of_link, "utf-8")
    repeats = hypothesis.settings.get_current_profile_name() == "repeatable"
    tool = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        tool, "--no-color", "--config-file", config, "run", f"{service.service.url}/openapi.json",
        "--header", f"Authorization: Bearer {service.service.admin_token}", "--phases", "examples,coverage,fuzzing",
        "--max-examples", str(EXAMPLES if repeats else MANY), *(["--generation-deterministic"] if repeats else []),
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    read, _ = await process.communicate()
    output = read.decode()
    assert process.returncode == 0, output[-50_000:]
    async with service.session.get("/openapi.json") as response:
        paths = (await response.json())["paths"]
    found = re.search(r"Operations: +(\d+) selected / (\d+) total", output)
    assert found is not None, output
    # All but the one that it has read the description from.
    assert int(found[1]) == sum(len(methods) for methods in paths.values()) - 1
