"""A link at several services over one log: each knows it, and none knows it any more when one was told that it ends."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from yarl import URL

from tests.console.conftest import visiting
from tests.e2e.process import until
from tests.e2e.receiver import receiver
from tests.opened import Opened, login, opened

KEY = base64.b64encode(b"k" * 32).decode()


async def by_link(service: Opened, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with (
        ClientSession(service.service.url, headers=headers) as session,
        session.request(method, f"/links/soc/{path}", json=body) as response,
    ):
        return response.status, json.loads(await response.text())


async def test_a_link_holds_at_every_service_over_one_log(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(receiver())
        settings: dict[str, Any] = {
            "store": {"url": database_url},
            "outgoing": {"allow": ["127.0.0.0/8"]},
        }
        services = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            data = {"folder": tmp_path / name, "secret_key": KEY}
            services.append(await stack.enter_async_context(opened(tmp_path / name, data=data, **settings)))
        one, other = services
        sink = {"kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/", "on_4xx": "dead"}
        async with one.session.put("/sinks/soc", json=sink) as response:
            assert response.status == 201, await response.text()
        hook.status = 422
        uids = (await one.post([login(1), login(2)]))["uids"]

        async def are_dead() -> bool:
            return bool((await one.get("/sinks/soc"))[1]["counts"]["dead"] == 2)

        await until(are_dead)
        async with other.session.post("/sinks/soc/links", json={}) as response:
            link = await response.json()
        for service in services:
            status, state = await by_link(service, link["token"], "GET", "")
            assert (status, state["state"], state["canRotate"]) == (200, "running", True)
        hook.status = 204
        # Each does it, whoever delivers.
        for service, uid in zip(services, uids, strict=True):

            async def is_taken(service: Opened = service, uid: str = uid) -> bool:
                return (await by_link(service, link["token"], "POST", "resend", {"uid": uid}))[0] == 200

            await until(is_taken)
            await hook.has([uid])
        assert (await by_link(one, link["token"], "POST", "test"))[1]["outcome"] == "delivered"
        async with one.session.delete(f"/sinks/soc/links/{link['id']}") as response:
            assert response.status == 200
        answers = await asyncio.gather(*(by_link(service, link["token"], "GET", "") for service in services))
        assert [status for status, _ in answers] == [401, 401]


async def test_a_session_holds_at_every_service_over_one_log(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        services = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            data = {"folder": tmp_path / name, "secret_key": KEY}
            settings: dict[str, Any] = {"store": {"url": database_url}, "data": data}
            services.append(await stack.enter_async_context(opened(tmp_path / name, **settings)))
        one, other = services
        # A link of the one is good at the other, once; and so is the session that comes of it.
        path = (await one.service.make_link()).removeprefix(one.service.url)
        async with visiting(other) as there, visiting(one) as here:
            async with there.session.post(path, allow_redirects=False) as response:
                assert response.status == 303, await response.text()
            async with here.session.post(path, allow_redirects=False) as response:
                assert response.status == 404
            [cookie] = there.session.cookie_jar
            here.session.cookie_jar.update_cookies({cookie.key: cookie.value}, URL(one.service.url))
            for visitor in (there, here):
                assert (await visitor.page("/ui/keys"))[0] == 200
            assert (await here.send("/ui/sign-out", {}))[0] == 200

            async def is_out() -> bool:
                async with there.session.get("/ui/keys", allow_redirects=False) as response:
                    return response.status == 303

            await until(is_out)
