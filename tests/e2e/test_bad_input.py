"""Bad input of every kind: a caller's mistake is told in its place, and an event is never lost to its neighbours."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"
NDJSON = "application/x-ndjson"
MIB = 1024 * 1024


@dataclass
class Door:
    """A service, and a caller who says nothing of himself."""

    service: Opened
    caller: ClientSession
    #: Number of the next event.
    number: int = 0

    def login(self, **changes: Any) -> dict[str, Any]:
        """A login that never came before."""
        self.number += 1
        return login(self.number, **changes)

    async def answer(self, body: bytes, media: str | None = JSON, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        """Post as Keycloak; status, JSON and headers of the answer."""
        given = {"Authorization": "Bearer keycloak-token", **headers}
        if media is not None:
            given["Content-Type"] = media
        async with self.caller.post(
            "/ingest/keycloak", data=io.BytesIO(body), headers=given, skip_auto_headers=["Content-Type"]
        ) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def refused(self, status: int, body: bytes, media: str | None = JSON, **headers: str) -> dict[str, Any]:
        """Post what is refused as a whole with this status; the problem document. Nothing is stored."""
        before = await self.position()
        got, problem, answered = await self.answer(body, media, **headers)
        assert (got, problem["status"]) == (status, status), problem
        assert answered["Content-Type"].startswith("application/problem+json")
        assert problem["title"] and problem["detail"]
        assert await self.position() == before
        return dict(problem)

    async def counts(self, body: bytes, media: str | None = JSON, **headers: str) -> tuple[int, int, int, int]:
        """Post what is taken: accepted, duplicates, quarantined, ignored; a uid for each but the ignored ones."""
        before = await self.position()
        status, receipts, _ = await self.answer(body, media, **headers)
        assert status == 202, receipts
        counts = tuple(receipts[name] for name in ("accepted", "duplicates", "quarantined", "ignored"))
        assert sum(counts) == len(receipts["uids"])
        assert receipts["uids"].count(None) == counts[3]
        assert await self.position() == before + counts[0] + counts[2]
        return counts

    async def position(self) -> int:
        """How many entries the log holds."""
        async with self.service.session.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        return int(float(next(line for line in lines if line.startswith("idp_adapter_log_position ")).split()[1]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    folder: Path = tmp_path_factory.mktemp("data")
    source = {"name": "keycloak", "provider": "keycloak", "token": "keycloak-token"}
    server = {"unpacked_limit": 2 * MIB, "body_limit": MIB, "events_limit": 5000}
    async with (
        opened(folder, sources=[source], server=server) as service,
        ClientSession(service.service.url) as caller,
    ):
        yield Door(service, caller)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n ",
        b"not json",
        b"{",
        b'{"a": 1',
        b"[{}",
        b"[{},]",
        b'{"a": 1}{"b": 2',
        b'{"a": 1} 2',
        b'{"a": 1}, {"b": 2}',
        b"\xff\xfe\x00",
        b'{"a": "\xff"}',
        b"NaN",
        b'{"a": NaN}',
        b"[" * 100_000,
        b"'single'",
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_what_is_not_json_is_refused(door: Door, body: bytes) -> None:
    await door.refused(400, body)


async def test_objects_one_after_another_are_taken_one_by_one(door: Door) -> None:
    body = b"".join(json.dumps(door.login()).encode() for _ in range(3))
    assert await door.counts(body) == (3, 0, 0, 0)
    assert await door.counts(body.replace(b"}{", b"}\n{")) == (0, 3, 0, 0)


async def test_a_broken_body_is_told_where_it_breaks(door: Door) -> None:
    problem = await door.refused(400, b'{"type": "LOGIN",\n  "time": }')
    assert "line 2" in problem["detail"]


async def test_an_unknown_source_and_wrong_credentials_get_one_answer(door: Door) -> None:
    answers = []
    for source, headers in (
        ("keycloak", {}),
        ("keycloak", {"Authorization": "Bearer wrong"}),
        ("keycloak", {"Authorization": "Basic bm9ib2R5Ondyb25n"}),
        ("keycloak", {"Authorization": "Bearer keycloak-token", "X-Keycloak-Signature": "00"}),
        ("nowhere", {}),
        ("nowhere", {"Authorization": "Bearer wrong"}),
        ("nowhere", {"Authorization": "Bearer keycloak-token"}),
        ("no%20where", {}),
    ):
        async with door.caller.post(f"/ingest/{source}", data=json.dumps(door.login()), headers=headers) as response:
            told = {name: value for name, value in response.headers.items() if name != "Date"}
            answers.append((response.status, await response.text(), told))
    assert answers == [answers[0]] * len(answers)
    assert answers[0][0] == 401
    assert "WWW-Authenticate" in answers[0][2]


async def test_who_is_not_known_learns_nothing_of_what_is_wrong_with_a_body(door: Door) -> None:
    for body in (b"not json", gzip.compress(b" " * 4 * MIB)):
        status, problem, _ = await door.answer(body, "image/png", Authorization="Bearer wrong")
        assert (status, problem["title"]) == (401, "Unauthorized")


@pytest.mark.parametrize("media", ["text/html", "image/png", "application/xml", "multipart/form-data; boundary=x", "x"])
async def test_a_media_type_that_nobody_declared_is_refused_with_those_there_are(door: Door, media: str) -> None:
    problem = await door.refused(415, json.dumps(door.login()).encode(), media)
    assert JSON in problem["detail"] and NDJSON in problem["detail"]


@pytest.mark.parametrize("media", [None, JSON, "application/json; charset=utf-8", "APPLICATION/JSON"])
async def test_json_needs_no_type_and_bears_parameters(door: Door, media: str | None) -> None:
    assert await door.counts(json.dumps(door.login()).encode(), media) == (1, 0, 0, 0)


async def test_an_encoding_that_is_not_gzip_is_refused(door: Door) -> None:
    body = json.dumps(door.login()).encode()
    await door.refused(415, zlib.compress(body), **{"Content-Encoding": "deflate"})
    await door.refused(415, body, **{"Content-Encoding": "br"})
    await door.refused(400, body, **{"Content-Encoding": "gzip"})
    await door.refused(400, gzip.compress(body)[:-9], **{"Content-Encoding": "gzip"})


async def test_a_body_past_its_limit_is_refused(door: Door) -> None:
    await door.refused(413, b"[" + b" " * MIB + b"]")


async def test_a_body_past_its_limit_is_refused_without_a_length_too(door: Door) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    before = await door.position()
    headers = {"Authorization": "Bearer keycloak-token", "Content-Type": JSON}
    async with door.caller.post("/ingest/keycloak", data=pieces(), headers=headers) as response:
        assert response.status == 413
    assert await door.position() == before


async def test_a_small_body_that_unpacks_past_its_limit_is_refused(door: Door) -> None:
    bomb = gzip.compress(b"[" + b" " * 40 * MIB + b"]")
    assert len(bomb) < MIB
    problem = await door.refused(413, bomb, **{"Content-Encoding": "gzip"})
    assert str(2 * MIB) in problem["detail"]


async def test_many_members_that_unpack_past_the_limit_are_refused(door: Door) -> None:
    await door.refused(413, gzip.compress(b" " * 10_000) * 300, **{"Content-Encoding": "gzip"})


async def test_too_many_events_are_refused_with_the_number_that_may_be_sent(door: Door) -> None:
    problem = await door.refused(413, b"[" + b"{}," * 5000 + b"{}]")
    assert "5000" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "media"), [(b"[]", JSON), (b"[ \n ]", JSON), (b"", NDJSON), (b"\n\n", NDJSON), (b"", "text/plain")]
)
async def test_nothing_is_taken_as_nothing(door: Door, body: bytes, media: str) -> None:
    assert await door.counts(body, media) == (0, 0, 0, 0)


@pytest.mark.parametrize("body", [b"42", b'"text"', b"null", b"true", b"-0.5e300"])
async def test_a_bare_value_is_kept_and_quarantined(door: Door, body: bytes) -> None:
    assert await door.counts(body) == (0, 0, 1, 0)


async def test_one_bad_record_costs_its_neighbours_nothing(door: Door) -> None:
    good = [json.dumps(door.login()).encode() for _ in range(3)]
    status, receipts, _ = await door.answer(b'[%s, 4711, %s, "first", [4711], %s, {"first": 1}]' % tuple(good))
    assert status == 202
    assert (receipts["accepted"], receipts["quarantined"]) == (3, 4)
    read = [(await door.service.get(f"/events/{uid}"))[0] for uid in receipts["uids"]]
    assert read == [200, 404, 200, 404, 404, 200, 404]


async def test_a_broken_line_is_kept_and_quarantined_in_its_place(door: Door) -> None:
    first, last = door.login(), door.login()
    lines = [json.dumps(first), '{"type": "LOGIN", "ti', "", "17", json.dumps(last), json.dumps(first)]
    status, receipts, _ = await door.answer("\r\n".join(lines).encode(), NDJSON)
    assert status == 202
    assert (receipts["accepted"], receipts["duplicates"], receipts["quarantined"]) == (2, 1, 2)
    uids = receipts["uids"]
    assert len(uids) == 5 and uids[0] == uids[4]
    for uid, event in ((uids[0], first), (uids[3], last)):
        assert (await door.service.get(f"/events/{uid}"))[1]["time"] == event["time"]
    for uid in uids[1:3]:
        status, problem = await door.service.get(f"/events/{uid}")
        assert (status, problem["title"]) == (404, "Quarantined")


async def test_lines_of_a_log_are_read_others_ignored_in_their_place_and_unknown_ones_kept(door: Door) -> None:
    line = (
        '2023-11-14 22:13:20,000 DEBUG [org.keycloak.events] (executor-thread-1) type="LOGIN", realmId="r", '
        'realmName="acme", clientId="app", userId="u", ipAddress="198.51.100.7", username="anna"'
    )
    other = "2023-11-14 22:13:20,000 INFO [io.quarkus] (main) Keycloak started"
    unknown = "2023-11-14 22:13:20,000 DEBUG [org.keycloak.events] (executor-thread-1) LOGIN of anna"
    status, receipts, _ = await door.answer(f"{other}\n{line}\n{unknown}\n{other}\n".encode(), "text/plain")
    assert status == 202
    assert (receipts["accepted"], receipts["quarantined"], receipts["ignored"]) == (1, 1, 2)
    assert [uid is None for uid in receipts["uids"]] == [True, False, False, True]

    status, page = await door.service.get("/ignored", source="keycloak", raw="1")
    [group] = [one for one in page["groups"] if one["what"] == "another logger"]
    assert (status, group["count"], group["provider"]) == (200, 2, "keycloak")
    assert [one["raw"] for one in group["samples"]] == [other]
    status, page = await door.service.get("/ignored", source="another")
    assert (status, page) == (200, {"count": 0, "groups": []})


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"json={[]: 1}", "application/x-www-form-urlencoded"),
        (b"json={'type': 'LOGIN', 'userId': b'u'}", "application/x-www-form-urlencoded"),
        (b"json=" + b"[" * 5000, "application/x-www-form-urlencoded"),
        (b"json=", "application/x-www-form-urlencoded"),
        (b'{"type": "LOGIN", ', "text/plain"),
        (b'{"a":' * 5000, "text/plain"),
    ],
    ids=lambda part: repr(part[:24]),
)
async def test_a_form_or_a_line_that_nobody_can_read_is_kept_and_quarantined(
    door: Door, body: bytes, media: str
) -> None:
    assert await door.counts(body, media) == (0, 0, 1, 0)


async def test_the_same_bytes_again_are_duplicates_also_when_nobody_can_read_them(door: Door) -> None:
    body = json.dumps([door.login(), 4712, {"neither": "this"}]).encode()
    assert await door.counts(body) == (1, 0, 2, 0)
    assert await door.counts(body) == (0, 3, 0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lone surrogate", '"\\ud800"'),
        ("surrogates the wrong way round", '"\\udc00\\ud800"'),
        ("a zero character", '"a\\u0000b"'),
        ("controls", '"\\u001b[2J\\r\\n"'),
        ("a number without end", "1" * 4000),
        ("a large whole number", "18446744073709551616"),
        ("a small whole number", "-9223372036854775809"),
        ("a number out of range", "1e999"),
        ("a fraction", "0.1"),
        ("a list", "[[[]]]"),
        ("an object", '{"a": {"b": []}}'),
        ("nothing", "null"),
        ("a truth", "true"),
        ("much text", json.dumps("x" * 100_000)),
        ("many letters", json.dumps("\U0001f600é" * 1000)),
    ],
)
@pytest.mark.parametrize("field", ["userId", "ipAddress", "details", "error", "realmId", "id", "unknown"])
async def test_odd_values_are_kept_whatever_field_they_stand_in(door: Door, field: str, name: str, value: str) -> None:
    event = {key: one for key, one in door.login().items() if key != field}
    body = json.dumps(event)[:-1] + f', "{field}": {value}}}'
    status, receipts, _ = await door.answer(body.encode())
    assert status == 202
    assert receipts["accepted"] + receipts["quarantined"] + receipts["duplicates"] == 1
    status, shown = await door.service.get(f"/events/{receipts['uids'][0]}", raw=1)
    assert status == 200 or shown["title"] == "Quarantined"
    if status == 200:
        assert shown["time"] == event["time"]
        texts = [*shown["details"].values(), *shown["authDetails"].values()]
        assert all(isinstance(text, str) and text not in ("", "null", "None") for text in texts)


@pytest.mark.parametrize("time", ["null", '"yesterday"', "-1", "1e300", "99999999999999999999", "[]", '"\\ud800"'])
async def test_a_moment_that_is_none_is_replaced_by_the_arrival(door: Door, time: str) -> None:
    event = {key: one for key, one in door.login().items() if key != "time"}
    status, receipts, _ = await door.answer((json.dumps(event)[:-1] + f', "time": {time}}}').encode())
    assert (status, receipts["accepted"]) == (202, 1)
    _, shown = await door.service.get(f"/events/{receipts['uids'][0]}")
    assert shown["time"] == shown["source"]["receivedAt"]


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
async def test_deep_nesting_is_kept_and_quarantined(door: Door, depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    assert await door.counts(deep.encode()) == (0, 0, 1, 0)
    event = json.dumps(door.login())[:-1] + f', "deep": {deep}}}'
    neighbour = json.dumps(door.login())
    assert await door.counts(f"{event}\n{neighbour}".encode(), NDJSON) == (1, 0, 1, 0)


async def test_deep_nesting_in_a_list_costs_its_neighbours_nothing(door: Door) -> None:
    deep = '{"a":' * 500 + "1" + "}" * 500
    body = f"[{json.dumps(door.login())}, {deep}, {json.dumps(door.login())}]"
    assert await door.counts(body.encode()) == (2, 0, 1, 0)


async def test_a_key_given_twice_is_no_reason_to_refuse(door: Door) -> None:
    body = json.dumps(door.login())[:-1] + ', "type": "LOGOUT"}'
    assert await door.counts(body.encode()) == (1, 0, 0, 0)


async def test_thousands_of_events_in_one_body_are_answered_one_by_one(door: Door) -> None:
    events = [door.login() for _ in range(1500)]
    for index in range(0, 1500, 100):
        events[index] = events[index + 1]
    body = json.dumps(events).encode()
    status, receipts, _ = await door.answer(gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert status == 202
    assert (receipts["accepted"], receipts["duplicates"]) == (1485, 15)
    assert len(receipts["uids"]) == 1500 and len(set(receipts["uids"])) == 1485
    shown = await asyncio.gather(*(door.service.get(f"/events/{receipts['uids'][at]}") for at in (0, 749, 1499)))
    assert [event["time"] for _, event in shown] == [events[at]["time"] for at in (0, 749, 1499)]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_another_method_is_refused_with_the_one_there_is(door: Door, method: str) -> None:
    async with door.caller.request(method, "/ingest/keycloak") as response:
        assert response.status == 405
        assert "POST" in response.headers["Allow"]
        assert response.content_type == "application/problem+json"


async def test_after_all_of_this_the_service_is_well(door: Door) -> None:
    assert await door.service.get("/readyz") == (200, {"status": "ready"})
    assert await door.counts(json.dumps(door.login()).encode()) == (1, 0, 0, 0)
