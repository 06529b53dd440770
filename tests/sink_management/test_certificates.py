"""Certificates of sinks as PEM text over HTTP: shown to receivers, sealed in the log, and warned of before they end."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.e2e.process import until
from tests.opened import Opened, login, opened
from tests.outgoing.certificates import Authority
from tests.sink_management.test_weaknesses import ask

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS: dict[str, Any] = {"outgoing": {"allow": ["127.0.0.0/8", "localhost"]}}


@pytest_asyncio.fixture(loop_scope="module")
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """Files of an authority, of its certificates for the receiver and for us, and of another one's."""
    authority = Authority(tmp_path)
    authority.sign("localhost")
    authority.sign("us")
    authority.sign("locked", password="opens it")
    Authority(tmp_path, "stranger").sign("them")
    yield tmp_path


def pem(folder: Path, name: str) -> str:
    return (folder / name).read_text()


async def test_a_receiver_that_asks_for_a_certificate_gets_the_one_that_was_given(folder: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "localhost.crt", folder / "localhost.key")
    names: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        assert request.transport is not None
        names.append(request.transport.get_extra_info("peercert")["subject"])
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/", take)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(ssl=context)
    own = {"ca": pem(folder, "authority.pem"), "certificate": pem(folder, "us.crt"), "key": pem(folder, "us.key")}
    sink = {"name": "soc", "kind": "webhook", "url": f"https://localhost:{server.port}/", "tls": own}
    data = folder / "data"
    data.mkdir()
    try:
        async with opened(data, **SETTINGS) as service:
            made = await ask(service, "POST", "/sinks", sink, status=201)
            assert made["settings"]["tls"] == {"ca": "<kept>", "certificate": "<kept>", "key": "<kept>"}
            assert set(made["certificates"]) == {"certificate", "ca"}
            await service.post([login(8_000)])
            await until(lambda: names == [((("commonName", "us"),),)])
            # What was read may be put back.
            assert (await ask(service, "PUT", "/sinks/soc", made["settings"]))["changed"] == []
            locked = {"certificate": pem(folder, "locked.crt"), "key": pem(folder, "locked.key")}
            # How long it takes to open a key is up to whoever made it.
            refused = await ask(service, "PATCH", "/sinks/soc", {"tls": locked, "key_password": "opens it"}, status=400)
            assert "not encrypted" in refused["detail"]
            await service.post([login(8_001)])
            await until(lambda: len(names) == 2)
            assert "BEGIN" not in json.dumps((await service.get("/sinks"))[1])
            [event, *_] = (await service.get("/events", type="system.CONFIG-SINK-CREATED"))[1]["events"]
            assert "BEGIN" not in json.dumps(event)
        # Sealed: neither the key nor the certificates lie in the log.
        stored = b"".join(one.read_bytes() for one in data.iterdir() if one.is_file())
        assert b"BEGIN CERTIFICATE" not in stored
        assert b"PRIVATE KEY" not in stored
        async with opened(data, **SETTINGS) as service:
            await service.post([login(8_002)])
            await until(lambda: len(names) == 3)
    finally:
        await server.close()


@pytest_asyncio.fixture(loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data"), **SETTINGS) as one:
        yield one


async def test_what_is_no_certificate_with_its_key_is_refused_without_repeating_it(
    service: Opened, folder: Path
) -> None:
    certificate, key = pem(folder, "us.crt"), pem(folder, "us.key")
    url = {"name": "soc", "kind": "webhook", "url": "https://soc.example/"}
    for given, said in (
        ({"tls": {"ca": "nothing of the kind"}}, "tls.ca: is no PEM of certificates"),
        ({"tls": {"ca": key}}, "tls.ca: is no PEM of certificates"),
        ({"tls": {"certificate": certificate}}, "tls: certificate and key belong together"),
        ({"tls": {"certificate": certificate, "key": certificate}}, "tls.key: is no PEM of a private key"),
        ({"tls": {"certificate": certificate, "key": pem(folder, "them.key")}}, "tls.key: belongs to another"),
        ({"tls": {"certificate": pem(folder, "locked.crt"), "key": pem(folder, "locked.key")}}, "key_password"),
        ({"tls": {"certificate_file": "/etc/passwd", "key": key}}, "secrets are not read from files"),
        ({"tls": {"more": "x"}}, "tls.more"),
        ({"certificate_file": "/etc/passwd"}, "give its PEM as tls.certificate"),
        ({"ca_file": "/etc/passwd"}, "give its PEM as tls.ca"),
    ):
        refused = await ask(service, "POST", "/sinks", {**url, **given}, status=400)
        assert said in refused["detail"], refused
        assert "MII" not in refused["detail"]
        assert "nothing of the kind" not in refused["detail"]


async def test_a_certificate_that_ends_is_warned_of_in_time(service: Opened, folder: Path) -> None:
    own = {"certificate": pem(folder, "us.crt"), "key": pem(folder, "us.key")}
    made = await ask(
        service, "POST", "/sinks", {"name": "ending", "kind": "webhook", "url": "https://soc.example/", "tls": own},
        status=201,
    )  # fmt: skip
    async with service.session.get("/readyz", headers={"Authorization": ""}) as response:
        assert (await response.json())["warnings"] == ["sinks: 1 sink: a certificate of it ends within 30 days"]
    told = [one["problem"] for one in (await service.get("/status"))[1]["todo"]]
    assert "sinks: ending: a certificate of it ends within 30 days" in told
    async with service.session.get("/metrics") as response:
        [line] = [one for one in (await response.text()).splitlines() if one.startswith("idp_adapter_sink_certificate")]
    assert line.startswith('idp_adapter_sink_certificate_ends_seconds{for="certificate",sink="ending"} ')
    assert float(line.rpartition(" ")[2]) == made["certificates"]["certificate"] / 1000
    await ask(service, "DELETE", "/sinks/ending?force=1")
    async with service.session.get("/readyz", headers={"Authorization": ""}) as response:
        assert "warnings" not in await response.json()
