"""``idp-adapter import phasetwo`` between a server that answers as Phase Two's extension does and a real service."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.commands.remote import Machine, Said
from tests.e2e.process import until
from tests.opened import Opened, login, opened
from tests.phasetwo.upstream import Phasetwo, phasetwo

SECRET = "A3jt6D8lz"
FIRST, SECOND = "1f3a9c2e-0000-4000-8000-000000000001", "2b3a9c2e-0000-4000-8000-000000000002"


@pytest.fixture
async def there() -> AsyncIterator[Phasetwo]:
    async with phasetwo() as one:
        yield one


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Opened]:
    async with opened(tmp_path / "data", outgoing={"allow": ["127.0.0.0/8"]}) as one:
        yield one


class Shell:
    def __init__(self, machine: Machine, service: Opened, there: Phasetwo) -> None:
        self._machine, self._service, self._there = machine, service, there

    async def __call__(
        self, *words: str | Path, status: int = 0, login: tuple[str, ...] = ("--client-id", "importer"), input: str = ""
    ) -> Said:
        """Import, as the client ``importer`` if nothing else is said."""
        environment = {"URL": self._service.service.url, "TOKEN": self._service.service.admin_token}
        url = f"{self._there.url}/realms/acme"
        said = await self._machine.run("import", "phasetwo", url, *login, *words, input=input, **environment)
        assert said.status == status, said
        for secret in (*self._there.secrets.values(), "importers-secret"):
            assert secret not in said.output + said.error
        return said

    async def sinks(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in (await self._service.get("/sinks"))[1]["sinks"]}


@pytest.fixture
def importing(tmp_path: Path, service: Opened, there: Phasetwo, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHASETWO_CLIENT_SECRET", "importers-secret")
    return Shell(Machine(tmp_path / "config"), service, there)


def lines(said: Said) -> list[str]:
    """What the command wrote, without the log of the service, which runs in the same process here."""
    return [line for line in said.output.splitlines() if not line[:4].isdigit()]


async def test_a_webhook_becomes_a_paused_sink_that_signs_as_it_did(
    importing: Shell, there: Phasetwo, service: Opened, aiohttp_server: Any
) -> None:
    got: list[tuple[bytes, str]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((await request.read(), request.headers["X-Keycloak-Signature"]))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    hook = await aiohttp_server(app)
    url = str(hook.make_url("/hook"))
    there.add(FIRST, secret=SECRET, url=url, authType="hmac", eventTypes=["access.LOGIN", "admin.USER-.*"])
    said = await importing("--yes")
    assert "sink acme-1f3a9c2e: made, paused" in lines(said)
    sink = (await importing.sinks())["acme-1f3a9c2e"]
    assert sink["state"] == "paused"
    assert sink["settings"] == {
        "name": "acme-1f3a9c2e", "kind": "webhook", "url": url, "format": {"name": "phasetwo"},
        "filter": {"type": ["access.LOGIN", "admin.USER-*"], "realm": ["acme", "6abba41c"]},
        "signature": ["phasetwo-sha256"], "secret": ["<kept>"],
    }  # fmt: skip
    # Nothing is sent until it is switched on; then what happened in this realm is, and of no other one.
    await service.post([login(1, realmId="6abba41c"), login(2, realmId="other"), login(3, realmId="acme")])
    assert got == []
    async with service.session.post("/sinks/acme-1f3a9c2e/resume") as response:
        assert response.status == 200
    await until(lambda: len(got) == 2)
    assert {json.loads(body)["id"] for body, _ in got} == {login(1)["id"], login(3)["id"]}
    assert all(signature == hmac.digest(SECRET.encode(), body, hashlib.sha256).hex() for body, signature in got)


async def test_every_kind_of_signature_is_carried_over(importing: Shell, there: Phasetwo) -> None:
    there.add("aaaaaaaa-1", secret=SECRET, authType="hmac", algorithm="HmacSHA1")
    there.add("bbbbbbbb-1", authType="bearer", algorithm="RS256", audience="siem")
    there.add("cccccccc-1", authType="none")
    there.add("dddddddd-1", secret=SECRET)  # as extensions before 0.62 have it
    there.add("eeeeeeee-1")
    await importing("--yes", "--source", "keycloak")
    signed = {name: one["settings"].get("signature") for name, one in (await importing.sinks()).items()}
    bearer = {"kind": "phasetwo-bearer", "issuer": "https://id.example/realms/acme", "audience": "siem"}
    assert signed == {
        "acme-aaaaaaaa": ["phasetwo-sha1"], "acme-bbbbbbbb": [bearer], "acme-cccccccc": None,
        "acme-dddddddd": ["phasetwo-sha256"], "acme-eeeeeeee": None,
    }  # fmt: skip
    sinks = await importing.sinks()
    assert "secret" not in sinks["acme-cccccccc"]["settings"]
    assert sinks["acme-cccccccc"]["settings"]["filter"]["source"] == ["keycloak"]
    assert (await importing("--yes", "--source", "keycloak")).output.count("nothing to do") == 1


async def test_what_cannot_be_carried_over_is_named_and_nothing_unsigned_is_made(
    importing: Shell, there: Phasetwo
) -> None:
    there.attributes = {"_providerConfig.ext-event-http.0": '{"sharedSecret": "x"}', "other": "y"}
    there.add("aaaaaaaa-1", secret=SECRET, authType="hmac", algorithm="HmacSHA512")
    there.add("bbbbbbbb-1", authType="hmac")
    there.add("cccccccc-1", authType="headers")
    there.add("dddddddd-1", payloadFormat="datadog")
    there.add("eeeeeeee-1", eventTypes=[])
    there.add("ffffffff-1", eventTypes=["*.LOGIN", r"access\.(?!LOGIN).*"])
    there.add("88888888-2")
    there.add("99999999-1", url="http://169.254.169.254/latest")
    there.add("88888888-1", enabled=False, attributes={"team": "soc"}, eventTypes=["admin.CLIENT-*", "access.LOGIN"],
              somethingNew=1)  # fmt: skip
    said = await importing("--yes")
    refused = {line.split(":")[0]: line for line in lines(said) if "NOT CARRIED OVER" in line}
    assert "begins alike" in refused.pop("acme-88888888 (88888888-2)")
    expected = {
        "aaaaaaaa": "algorithm: HmacSHA512: there is no such signature here; there are HmacSHA256, HmacSHA1",
        "bbbbbbbb": "secret: it signs with one, and the extension has none",
        "cccccccc": "authType: headers: is not carried over",
        "dddddddd": "payloadFormat: datadog: there is no such format here",
        "eeeeeeee": "eventTypes: it has none, so it would get nothing",
        "ffffffff": "eventTypes: none of them can be carried over",
        "99999999": "url: blocked",
    }
    assert refused.keys() == {f"acme-{id}" for id in expected}
    for id, why in expected.items():
        assert why in refused[f"acme-{id}"]
    assert list(await importing.sinks()) == ["acme-88888888"]
    for note in ("it is disabled there, too", "attributes: is not carried over", "somethingNew: is not carried over",
                 "event type admin.CLIENT-*: there '-*' is any number of '-'"):  # fmt: skip
        assert any(line.startswith(f"acme-88888888: {note}") for line in lines(said)), note
    assert "event type *.LOGIN: is no expression that a filter can have" in said.output
    assert "_providerConfig.ext-event-http.0: a sender that is no webhook" in said.error


async def test_run_again_it_changes_what_changed_there_and_nothing_else(
    importing: Shell, there: Phasetwo, service: Opened
) -> None:
    there.add(FIRST, secret=SECRET)
    there.add(SECOND, secret=SECRET)
    assert "+ acme-1f3a9c2e" in lines(await importing("--dry-run"))
    assert await importing.sinks() == {}
    assert "nothing was done; --yes does it" in (await importing(status=1)).error
    await importing("--yes")
    change = {"rate": 5, "filter": {"type": ["access.LOGIN"], "realm": ["acme", "6abba41c"], "not_client": ["probe"]}}
    async with service.session.patch("/sinks/acme-1f3a9c2e", json=change) as response:
        assert response.status == 200
    assert lines(await importing("--yes"))[1:] == ["nothing to do"]
    there.webhooks[FIRST]["eventTypes"] = ["access.*"]
    there.secrets[SECOND] = "another-one"
    said = lines(await importing("--yes"))
    assert said[1:] == [
        "~ acme-1f3a9c2e",
        '  - filter = { type = ["access.LOGIN"], realm = ["acme", "6abba41c"], not_client = ["probe"] }',
        '  + filter = { type = ["access.*"], realm = ["acme", "6abba41c"], not_client = ["probe"] }',
        "~ acme-2b3a9c2e",
        '  - secret = ["<kept>"]',
        '  + secret = ["<kept>"] (changed)',
        "sink acme-1f3a9c2e: changed",
        "sink acme-2b3a9c2e: changed",
    ]
    assert (await importing.sinks())["acme-1f3a9c2e"]["settings"]["rate"] == 5
    del there.webhooks[FIRST]
    said = lines(await importing("--yes"))
    assert said[1].startswith("acme-1f3a9c2e: there is no such webhook any more")
    assert "acme-1f3a9c2e" in await importing.sinks()


async def test_hundreds_of_webhooks_are_all_of_them_or_none(importing: Shell, there: Phasetwo) -> None:
    for number in range(230):
        there.add(f"{number:08x}-1", authType="none")
    assert sum(line.startswith("+ ") for line in lines(await importing("--dry-run"))) == 230
    there.restless = True
    assert "somebody may be changing them" in (await importing("--dry-run", status=1)).error
    there.restless, there.deaf = False, True
    assert "of 230 webhooks its pages show 100" in (await importing("--dry-run", status=1)).error


async def test_a_token_that_runs_out_is_got_again_and_one_that_was_given_is_told(
    importing: Shell, there: Phasetwo, tmp_path: Path
) -> None:
    there.add(FIRST, secret=SECRET)
    there.add(SECOND, authType="none")
    there.lifetime = 1
    await importing("--dry-run")
    assert there.logins > 3
    there.tokens = {"mine": ({"view-events", "manage-events"}, 100), "poor": ({"view-events"}, 100)}
    (tmp_path / "token").write_text("mine\n")
    said = await importing("--dry-run", login=("--access-token-file", "token"))
    assert "the realm's id cannot be seen" in said.error
    there.tokens["mine"] = {"view-events", "manage-events"}, 2
    said = await importing("--dry-run", login=("--access-token-file", "token"), status=1)
    assert "this token is not known there (401); it has run out" in said.error
    said = await importing("--dry-run", login=("--access-token-file", "-"), input="poor\n", status=1)
    assert "lacks the role manage-events of the realm acme (403)" in said.error


async def test_who_asks_and_where_is_said_when_it_is_wrong(
    importing: Shell, there: Phasetwo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there.users["zoe"] = "pass word", {"view-events", "manage-events", "view-realm"}
    (tmp_path / "password").write_text("pass word\n")
    await importing("--dry-run", login=("--user", "zoe", "--password-file", "password"))
    (tmp_path / "password").write_text("wrong")
    said = await importing("--dry-run", login=("--user", "zoe", "--password-file", "password"), status=1)
    assert "no token for the user zoe in the realm acme (401: invalid_grant)" in said.error
    assert "wrong" not in said.error
    assert "say who asks" in (await importing(login=(), status=1)).error
    assert "--realm says other" in (await importing("--realm", "other", status=1)).error
    both = ("--client-id", "importer", "--access-token-file", "password")
    assert "give one of them" in (await importing(login=both, status=1)).error
    monkeypatch.delenv("PHASETWO_CLIENT_SECRET")
    assert "the client's secret is missing" in (await importing(status=1)).error
    monkeypatch.setenv("PHASETWO_CLIENT_SECRET", "importers-secret")
    there.realm = "gone"
    assert "there are no webhooks of a realm acme (404)" in (await importing(status=1)).error
