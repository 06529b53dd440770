"""``idp-adapter keys`` against a real service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.commands.remote import Machine, Said
from tests.opened import Opened, opened


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Opened]:
    keys = [{"name": "from-settings", "token": "from-settings-token", "permissions": ["read", "metrics"]}]
    async with opened(tmp_path / "data", keys=keys) as one:
        yield one


async def call(service: Opened, machine: Machine, *words: str, status: int = 0, **more: str) -> Said:
    token = service.service.admin_token
    said = await machine.run("keys", *words, **{"URL": service.service.url, "TOKEN": token, **more})
    assert said.status == status, said
    return said


async def test_a_token_goes_to_standard_output_alone(service: Opened, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    said = await call(
        service, machine, "create", "--name", "siem", "--can", "read,export", "--can", "metrics",
        "--source", "keycloak", "--expires", "2099-01-01T00:00:00Z",
    )  # fmt: skip
    token = said.output.splitlines()[-1]
    assert (await service.get("/metrics", token=token))[0] != 401
    assert (
        "made the key siem: may export, metrics, read; limited to sources keycloak; it ends at 2099-01-01" in said.error
    )
    assert token not in said.error


async def test_keys_are_listed_and_revoked(service: Opened, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await call(service, machine, "create", "--name", "siem", "--realm", "acme")
    shown = (await call(service, machine, "list", "--utc")).output
    [line] = [line for line in shown.splitlines() if line.startswith("siem")]
    assert line.split() == ["siem", "read", "realms", "acme", "never", "never", "admin"]
    [line] = [line for line in shown.splitlines() if line.startswith("from-settings")]
    assert "adapter.toml" in line
    listed = json.loads((await call(service, machine, "list", "--json")).output)
    assert [one["name"] for one in listed["keys"]] == ["from-settings", "siem"]
    assert "key siem: revoked" in (await call(service, machine, "revoke", "siem")).output
    refused = await call(service, machine, "revoke", "siem", status=1)
    assert "There is no key 'siem' in the log; there are: none yet" in refused.error
