"""Events as they come, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, ClientResponse, ClientSession

from adapter.search.cursor import read_log_cursor
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "other", "token": "other-token"},
    {"name": "of-acme", "token": "of-acme-token", "permissions": ["read"], "realms": ["acme"]},
    {"name": "sender", "token": "sender-token", "permissions": ["ingest"]},
]


class Message(NamedTuple):
    """A message as a browser's EventSource reads it; without data it is no event, and only says a place."""

    id: str | None
    event: str
    data: Any


class Messages:
    """Reads a stream by the rules of the standard."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self.retry: int | None = None
        #: As of the last message that had one.
        self.last_id = ""

    async def block(self) -> Message | None:
        """The next block of lines; ``None`` at the end of the stream."""
        fields: dict[str, str] = {}
        while line := (await self._response.content.readline()).decode():
            assert line.endswith("\n")
            if line == "\n":
                break
            name, _, value = line.rstrip("\n").partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            return None
        if "retry" in fields:
            self.retry = int(fields["retry"])
        self.last_id = fields.get("id", self.last_id)
        data = json.loads(fields["data"]) if "data" in fields else None
        return Message(fields.get("id"), fields.get("event", "message"), data)

    async def next(self) -> Message:
        """The next one with data."""
        while (block := await self.block()) is not None:
            if block.data is not None:
                return block
        raise EOFError

    async def events(self, count: int) -> list[dict[str, Any]]:
        return [(await self.next()).data for _ in range(count)]


@asynccontextmanager
async def live(
    service: Opened, *, token: str | None = None, last_id: str | None = None, **query: Any
) -> AsyncIterator[Messages]:
    """A stream that has begun: what is posted from now on comes in it."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if last_id is not None:
        headers["Last-Event-ID"] = last_id
    async with service.session.get("/events/live", params=query, headers=headers) as response:
        assert response.status == 200, await response.text()
        messages = Messages(response)
        if last_id is None and "cursor" not in query:
            assert (await messages.block()) is not None  # says where it begins
        yield messages


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data"), keys=KEYS) as service:
        await service.post([login(number, realmId="before") for number in range(5)])
        yield service


async def test_each_event_comes_as_it_is_stored_with_its_cursor(service: Opened) -> None:
    async with live(service, realm="one") as messages:
        receipts = await service.post([login(100, realmId="one"), login(101, realmId="two"), login(102, realmId="one")])
        first, second = await messages.next(), await messages.next()
    assert [first.data["uid"], second.data["uid"]] == [receipts["uids"][0], receipts["uids"][2]]
    assert first.data == (await service.get(f"/events/{receipts['uids'][0]}"))[1]
    _, page = await service.get("/events", order="log", realm="one", cursor=first.id)
    assert [event["uid"] for event in page["events"]] == [receipts["uids"][2]]


async def test_the_answer_is_one_that_nobody_on_the_way_holds_back(service: Opened) -> None:
    async with service.session.get("/events/live", headers={"Accept-Encoding": "gzip, deflate"}) as response:
        assert response.content_type == "text/event-stream"
        assert "Content-Encoding" not in response.headers
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Cache-Control"] == "no-store, no-transform"
        messages = Messages(response)
        assert await messages.block() is not None
        assert messages.retry is not None


async def test_who_comes_again_with_the_last_id_misses_nothing_and_gets_nothing_twice(service: Opened) -> None:
    async with live(service, realm="again") as messages:
        await service.post(login(200, realmId="again"))
        await messages.events(1)
    await service.post([login(number, realmId="again") for number in range(201, 204)])
    async with live(service, realm="again", last_id=messages.last_id) as messages:
        assert [event["id"] for event in await messages.events(3)] == [
            login(number)["id"] for number in (201, 202, 203)
        ]
        await service.post(login(204, realmId="again"))
        assert [event["id"] for event in await messages.events(1)] == [login(204)["id"]]


async def test_who_loses_the_connection_before_any_event_goes_on_from_where_he_began(service: Opened) -> None:
    async with live(service, realm="early") as messages:
        pass
    assert messages.last_id
    await service.post(login(210, realmId="early"))
    async with live(service, realm="early", last_id=messages.last_id) as messages:
        assert [event["id"] for event in await messages.events(1)] == [login(210)["id"]]


async def test_filters_that_an_event_decides_itself_do_not_wait_for_the_search(service: Opened) -> None:
    async with live(service, session="s-215", outcome="success", type="access.*", q="anna") as messages:
        await service.post([login(number, sessionId=f"s-{number}") for number in range(214, 218)])
        assert [event["id"] for event in await messages.events(1)] == [login(215)["id"]]
        last = messages.last_id
    await service.post(login(218, sessionId="s-215"))
    async with live(service, session="s-215", last_id=last) as messages:
        assert [event["id"] for event in await messages.events(1)] == [login(218)["id"]]


async def test_it_goes_on_from_a_page_and_the_last_id_goes_before_the_cursor(service: Opened) -> None:
    await service.post([login(number, realmId="paged") for number in range(220, 223)])
    _, page = await service.get("/events", order="log", realm="paged", limit=1)
    async with live(service, realm="paged", cursor=page["next"]) as messages:
        assert [event["id"] for event in await messages.events(2)] == [login(number)["id"] for number in (221, 222)]
        last = messages.last_id
    await service.post(login(223, realmId="paged"))
    async with live(service, realm="paged", cursor=page["next"], last_id=last) as messages:
        assert [event["id"] for event in await messages.events(1)] == [login(223)["id"]]


async def test_who_is_quiet_for_long_is_told_how_far_he_is(tmp_path: Path) -> None:
    """So that he is not far behind when he comes again, though nothing was for him."""
    async with opened(tmp_path, feed={"live_heartbeat": 0.01}) as service:
        async with live(service, realm="nobody") as messages:
            begun = messages.last_id
            await service.post(login(1))
            while messages.last_id == begun:
                block = await messages.block()
                assert block is not None and block.data is None
        _, page = await service.get("/events", order="log", cursor=messages.last_id)
        assert page["events"] == []


async def test_whoever_is_named_is_found_by_his_id_too(service: Opened) -> None:
    """As the feed finds it: most events of somebody carry one of the two alone."""
    await service.post(login(226, realmId="linked", userId="u-226", details={"username": "yara"}))
    await service.get("/events", user="yara")  # the search has it
    async with live(service, user="yara") as named, live(service, not_user="yara", realm="linked") as others:
        await service.post(
            [
                login(227, realmId="linked", userId="u-226", details={}, type="LOGOUT"),
                login(228, realmId="linked", userId="u-228", details={"username": "xaver"}),
                login(229, realmId="linked", userId="u-226", details={}, type="CODE_TO_TOKEN"),
            ]
        )
        assert [event["id"] for event in await named.events(2)] == [login(227)["id"], login(229)["id"]]
        assert [event["id"] for event in await others.events(1)] == [login(228)["id"]]


async def test_names_are_looked_up_where_they_are_asked_for(service: Opened) -> None:
    await service.post(login(230, realmId="named", userId="u-230", details={"username": "zoe"}))
    await service.get("/events", user="zoe")  # the search has it
    async with live(service, realm="named", names="1") as messages:
        await service.post(login(231, realmId="named", userId="u-230", details={}, type="LOGOUT"))
        [event] = await messages.events(1)
    assert event["lookedUp"]["actor"] == "zoe"


async def test_system_events_come_where_they_are_named(service: Opened) -> None:
    async with live(service, type="system.*") as messages, live(service) as all:
        async with service.session.put("/searches/live-test", json={"query": "type=LOGIN"}) as response:
            assert response.status in (200, 201, 204), await response.text()
        async with service.session.post("/keys", json={"name": "told", "permissions": ["read"]}) as response:
            assert response.status == 201, await response.text()
        assert (await messages.next()).data["type"].startswith("system.")
        await service.post(login(240, realmId="plain"))
        assert (await all.next()).data["type"] == "access.LOGIN"


async def test_a_limited_key_gets_what_is_in_its_scope_whatever_it_asks_for(service: Opened) -> None:
    async with (
        live(service, token="of-acme-token") as messages,
        live(service, token="of-acme-token", realm="x") as none,
    ):
        await service.post([login(250, realmId="x"), login(251, realmId="acme"), login(252, realmId="y")])
        assert [event["id"] for event in await messages.events(1)] == [login(251)["id"]]
        await service.post(login(253, realmId="acme"))
        assert [event["id"] for event in await messages.events(1)] == [login(253)["id"]]
        begun = none.last_id
    async with live(service, token="of-acme-token", realm="x", last_id=begun) as none:
        # It has read past what lies there, and none of it came.
        while not none.last_id or read_log_cursor(none.last_id) < read_log_cursor(messages.last_id):
            block = await none.block()
            assert block is not None and block.data is None


async def test_a_key_without_the_permission_is_refused(service: Opened) -> None:
    assert (await service.get("/events/live", token="sender-token"))[0] == 403
    assert (await service.get("/events/live", token="nobody"))[0] == 401


@pytest.mark.parametrize(
    ("query", "parameter"),
    [({"typ": "x"}, "typ"), ({"ip": "nowhere"}, "ip"), ({"cursor": "made-up"}, "cursor"), ({"names": "x"}, "names")],
)
async def test_a_wrong_parameter_is_refused_by_name(service: Opened, query: dict[str, str], parameter: str) -> None:
    status, problem = await service.get("/events/live", **query)
    assert (status, problem["parameter"]) == (400, parameter)


async def test_a_made_up_last_id_is_refused(service: Opened) -> None:
    async with service.session.get("/events/live", headers={"Last-Event-ID": "made-up!"}) as response:
        assert response.status == 400


async def test_a_type_that_nobody_knows_is_told_in_a_header(service: Opened) -> None:
    async with service.session.get("/events/live", params={"type": "access.LOGN"}) as response:
        assert json.loads(response.headers["X-Hints"])[0].startswith("type=access.LOGN: ")


async def test_asked_for_the_head_it_ends(service: Opened) -> None:
    async with service.session.head("/events/live") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")


async def test_a_revoked_key_ends_its_stream_though_nothing_comes(service: Opened) -> None:
    async with service.session.post("/keys", json={"name": "gone", "permissions": ["read"]}) as response:
        token = (await response.json())["token"]
    async with live(service, token=token, realm="nobody") as messages:
        async with service.session.delete("/keys/gone") as response:
            assert response.status in (200, 204)
        with pytest.raises(ClientPayloadError):
            while await messages.block() is not None:
                pass


async def test_one_key_may_not_take_all_and_all_together_are_limited(tmp_path: Path) -> None:
    async with opened(tmp_path, keys=KEYS, feed={"key_live_limit": 1, "live_limit": 2}) as service:
        async with live(service, token="reader-token"), live(service, token="other-token"):
            for token, status in (("reader-token", 429), ("of-acme-token", 503)):
                headers = {"Authorization": f"Bearer {token}"}
                async with service.session.get("/events/live", headers=headers) as response:
                    assert response.status == status
                    assert response.headers["Retry-After"].isdecimal()
        # As soon as somebody has left, the next one may listen.
        headers, status = {"Authorization": "Bearer of-acme-token"}, 503
        while status == 503:
            async with service.session.get("/events/live", headers=headers) as response:
                status = response.status
        assert status == 200


async def test_a_stop_ends_the_streams_at_once_and_says_when_to_come_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(opened(tmp_path / "data", server={"drain": 600}))
        headers = {"Authorization": f"Bearer {service.service.admin_token}"}
        async with (
            ClientSession(headers=headers) as session,
            session.get(f"{service.service.url}/events/live") as answer,
        ):
            messages = Messages(answer)
            await messages.block()
            messages.retry = None
            async with asyncio.timeout(300):
                await stack.aclose()
            while await messages.block() is not None:
                pass
            assert messages.retry is not None


async def test_a_client_that_reads_too_slowly_is_told_where_to_go_on(tmp_path: Path) -> None:
    text = "x" * 60_000
    async with opened(tmp_path, feed={"live_behind": 100, "reading_timeout": 600}) as service:
        url = service.session._base_url
        assert url is not None and url.host is not None and url.port is not None
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(slow, (url.host, url.port))
        reader, writer = await asyncio.open_connection(sock=slow, limit=2048)
        token = service.service.admin_token
        writer.write(f"GET /events/live HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        head = await reader.readuntil(b"retry: 2000\n")
        assert b"200 OK" in head
        sent = []
        async with live(service) as prompt:
            for batch in range(40):
                events = [login(10 * batch + n, details={"username": "anna", "text": text}) for n in range(10)]
                sent += (await service.post(events))["uids"]
                await prompt.events(10)
        # Now it reads on, and as fast as it comes.
        behind: dict[str, Any] | None = None
        got: list[str] = []
        last = login(999_999)
        posted = False
        while True:
            line = await _line(reader)
            if line.startswith(b"event: behind"):
                behind = json.loads((await _line(reader)).removeprefix(b"data: "))
                before = list(got)
                if not posted:
                    posted = True
                    await service.post(last)
            elif line.startswith(b"data: "):
                event = json.loads(line.removeprefix(b"data: "))
                got.append(event["uid"])
                if event["id"] == last["id"]:
                    break
        writer.close()
        assert behind is not None
        assert before == sent[: len(before)]
        assert len(before) < len(sent)
        async with service.session.get(behind["path"]) as response:
            page = await response.json()
        # The page goes on exactly where the stream left off.
        assert page["events"][0]["uid"] == sent[len(before)]


async def _line(reader: asyncio.StreamReader) -> bytes:
    """A line of any length."""
    parts = []
    while True:
        try:
            parts.append(await reader.readuntil(b"\n"))
            return b"".join(parts)
        except asyncio.LimitOverrunError as error:
            parts.append(await reader.readexactly(error.consumed))
