"""Schemathesis asks a real service what ``/openapi.json`` allows, and what it does not, and checks the answers.

The requests are the same in each run. To look for others, by hand against any service:

    schemathesis run http://127.0.0.1:8282/openapi.json --header "Authorization: Bearer $TOKEN"
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.mapping.acme import RAW, write_example, write_table
from tests.opened import Opened, login, opened

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.heavy]

#: What is not checked, and why.
LEFT_OUT = {
    # A schema says what a parameter looks like, not which names there are, or which go together.
    "positive_data_acceptance": "a value that is well formed may be refused",
}
#: The operations that are asked, by how their paths begin.
ASKED = ("events/values", "searches", "quarantine", "healthz", "readyz", "keys", "status", "ignored", "metrics")
EXAMPLES = 2


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder = tmp_path_factory.mktemp("own")
    write_table(folder)
    write_example(folder)
    async with opened(
        tmp_path_factory.mktemp("data"),
        mappings={"path": [folder], "look_every": 0, "writable": True},
        sources=[{"name": "keycloak", "provider": "keycloak"}, {"name": "acme", "provider": "acme"}],
        sinks=[{"name": "copy", "kind": "file", "path": tmp_path_factory.mktemp("sink") / "copy", "from": "beginning"}],
    ) as service:
        await service.post([login(number) for number in range(20)])
        await service.post([RAW, {"id": "2", "kind": "odd"}], "acme")
        yield service


async def test_a_service_answers_as_its_description_says(service: Opened, tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        tool, "--no-color", "run", f"{service.service.url}/openapi.json",
        "--header", f"Authorization: Bearer {service.service.admin_token}",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--generation-deterministic",
        "--checks", "all", "--exclude-checks", ",".join(LEFT_OUT), "--request-timeout", "60", "--workers", "1",
        "--include-path-regex", f"^/({'|'.join(ASKED)})",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-50_000:]
