"""How much one body, many bodies at once, and one event may be: what is right is taken, what is too much is refused
or cut, and what is well-formed but odd is quarantined beside its neighbours."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.hostile.client import Answer
from tests.hostile.shapes import JSON, MIB, NDJSON, TEXT, bomb, events, members
from tests.hostile.stand import Stand, post
from tests.hostile.watches import Watch
from tests.opened import login

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

SECRET = "never-to-be-stored-7f3a"
#: A key that is redacted, and its value.
PASSWORD = f'"password":"{SECRET}"'


def told(answer: Answer) -> tuple[int, ...]:
    """Status, and of a receipt what was accepted and quarantined."""
    if answer.status != 202:
        return (answer.status,)
    receipts = json.loads(answer.body)
    return 202, receipts["accepted"], receipts["quarantined"]


def large(number: int, size: int) -> dict[str, Any]:
    """A login of about so many bytes."""
    return login(number, details={"username": "anna", "note": "x" * size})


async def persistent(watch: Watch, data: bytes, tries: int = 20) -> Answer:
    """Send as a good sender does: again after as long as a 503 asks for."""
    for _ in range(tries):
        answer = await watch.send(data)
        if answer.status != 503:
            return answer
        await asyncio.sleep(min(2.0, float(answer.headers.get("retry-after", "1"))))
    return answer


async def test_the_largest_body_that_is_right_is_taken(stand: Stand) -> None:
    body = json.dumps([large(1_000_000 + number, 1400) for number in range(10_000)]).encode()
    assert 15 * MIB < len(body) < 16 * MIB
    async with stand.attacked("amounts", "10,000 events in 16 MiB", "`body_limit`, `events_limit`: taken") as watch:
        answer = await persistent(watch, post("keycloak", body))
        watch.expect(told(answer) == (202, 10_000, 0), f"{told(answer)}")


async def test_the_largest_body_that_is_right_in_gzip_is_taken(stand: Stand) -> None:
    body = json.dumps([large(2_000_000 + number, 2500) for number in range(10_000)]).encode()
    assert 24 * MIB < len(body) < 32 * MIB
    async with stand.attacked("amounts", "10,000 events in 30 MB, packed", "`unpacked_limit`: taken") as watch:
        answer = await persistent(watch, post("keycloak", gzip.compress(body, 1), packed=True))
        watch.expect(told(answer) == (202, 10_000, 0), f"{told(answer)}")


async def test_fifty_large_bodies_at_once_need_no_more_memory_than_one_after_another(stand: Stand, full: bool) -> None:
    count = 50 if full else 10

    def body(number: int) -> bytes:
        first = 3_000_000 + number * 10_000
        return json.dumps([large(first + each, 8000) for each in range(1350)]).encode()

    bodies = [post("keycloak", body(number)) for number in range(count)]
    async with stand.attacked("amounts", f"{count} posts of 11 MB at once", "`in_flight_limit`: 503") as watch:
        answers = await asyncio.gather(*(watch.send(one) for one in bodies))
        for answer in answers:
            watch.expect(answer.status in (202, 503), f"{answer.status} {answer.body[:200]!r}")
        watch.expect(any(answer.status == 202 for answer in answers), "none of them was taken")


@pytest.mark.parametrize("size", [2, 40])
async def test_an_event_that_is_too_large_is_quarantined_and_its_neighbours_are_stored(stand: Stand, size: int) -> None:
    first = 4_000_000 + size * 100
    body = json.dumps([login(first), large(first + 1, size * MIB // 2), login(first + 2)]).encode()
    expected = (202, 2, 1) if len(body) < 32 * MIB else (413,)
    async with stand.attacked("amounts", f"an event of {size // 2} MiB", "`event_limit`: quarantined") as watch:
        answer = await persistent(watch, post("keycloak", gzip.compress(body, 1), packed=True))
        watch.expect(told(answer) == expected, f"{told(answer)}, not {expected}")


@pytest.mark.parametrize(("count", "size"), [(10_000, 1000), (30, 1_000_000), (100, 10_000_000)])
async def test_pages_and_exports_of_large_events_are_bounded(stand: Stand, count: int, size: int, full: bool) -> None:
    """Events of the largest size are stored by the hundred; pages over them are cut by bytes."""
    first = 5_000_000 + size
    what = f"{count:,} events of {size / 1e6:g} MB, packed, then pages of them"
    async with stand.attacked("amounts", what, "`unpacked_limit`: 413; pages by bytes") as watch:
        repeats = 4 if full else 1
        for repeat in range(repeats):
            body = json.dumps([large(first + repeat * count + number, size) for number in range(count)]).encode()
            answer = await persistent(watch, post("keycloak", gzip.compress(body, 1), packed=True))
            watch.expect(told(answer) in ((202, count, 0), (413,)), f"{told(answer)}")
        for path in ("/events?limit=1000", "/events?limit=1000&order=log", "/events?limit=1000&q=anna"):
            page = await stand.ask("GET", path)
            for _ in range(20):
                if page.status != 503:  # the search is behind
                    break
                await asyncio.sleep(1)
                page = await stand.ask("GET", path)
            watch.expect(page.status == 200, f"{path}: {page.status}")
            watch.expect(len(page.body) < 16 * MIB, f"{path}: {len(page.body):,} bytes")


async def test_bombs_at_once(stand: Stand, full: bool) -> None:
    """gzip that holds a thousand times its bytes, in every media type, from every side at once."""
    size = 64 << 10
    bodies = [
        post("keycloak", bomb(unit)(size), media, packed=True)
        for unit, media in (
            (b"1\n", NDJSON),
            (b"\n", NDJSON),
            (b"[", JSON),
            (b"{}", JSON),
            (b"type=\n", TEXT),
            (b'{"type":"LOGIN"}\n', NDJSON),
        )
    ]
    bodies.append(post("keycloak", members(b"")((4 if full else 1) * MIB), packed=True))
    async with stand.attacked("amounts", "bombs of gzip at once", "`unpacked_limit`, `events_limit`: 413") as watch:
        for _ in range(4 if full else 1):
            answers = await asyncio.gather(*(watch.send(body) for body in bodies))
            for answer in answers:
                watch.expect(answer.status in (400, 413, 503), f"{answer.status} {answer.body[:200]!r}")


def admin(number: int, representation: str) -> dict[str, Any]:
    """An event of Keycloak's administration with a text that may hold secrets."""
    return {
        "id": f"admin-{number}",
        "time": 1_700_000_000_000 + number,
        "operationType": "UPDATE",
        "realmId": "acme",
        "resourceType": "USER",
        "resourcePath": "users/u-1",
        "representation": representation,
    }


def user_added(number: int, payload: bytes) -> dict[str, Any]:
    """ZITADEL's event with a payload in base64."""
    return {
        "aggregateID": f"a-{number}",
        "aggregateType": "user",
        "resourceOwner": "o",
        "instanceID": "i",
        "version": "v1",
        "sequence": number,
        "event_type": "user.human.added",
        "created_at": "2026-05-04T08:00:00Z",
        "userID": "u",
        "event_payload": base64.b64encode(payload).decode(),
    }


def deep(depth: int) -> str:
    """A secret under so many levels."""
    return '{"a":' * depth + "{" + PASSWORD + "}" + "}" * depth


Odd = Callable[[int], tuple[str, list[bytes]]]


def _representations(make: Callable[[int], str]) -> Odd:
    def body(first: int) -> tuple[str, list[bytes]]:
        odd = admin(first, make(first))
        return "keycloak", [json.dumps(one).encode() for one in (login(first), odd, login(first + 1))]

    return body


def _payloads(payload: bytes) -> Odd:
    def body(first: int) -> tuple[str, list[bytes]]:
        plain = b'{"userName":"anna"}'
        return "zitadel", [
            json.dumps(user_added(number, one)).encode()
            for number, one in ((first, plain), (first + 1, payload), (first + 2, plain))
        ]

    return body


def _raw(odd: bytes) -> Odd:
    def body(first: int) -> tuple[str, list[bytes]]:
        return "keycloak", [json.dumps(login(first)).encode(), odd, json.dumps(login(first + 1)).encode()]

    return body


ODD: dict[str, Odd] = {
    **{
        f"representation, {depth} deep": _representations(lambda _, depth=depth: deep(depth))  # type: ignore[misc]
        for depth in (60, 66, 250, 490, 500, 700, 900, 990, 1100, 5000)
    },
    "representation of brackets": _representations(lambda _: "[" * 700 + "]" * 700),
    "representation of lists, then a secret": _representations(lambda _: "[" * 700 + "{" + PASSWORD + "}" + "]" * 700),
    "representation cut off": _representations(lambda _: "{" + PASSWORD + ',"a":"'),
    "representation cut off, deep": _representations(lambda _: "[" * 2000 + "{" + PASSWORD),
    "representation with a lone surrogate": _representations(lambda _: '{"note":"\\ud800",' + PASSWORD + "}"),
    "representation with a huge number": _representations(lambda _: '{"note":' + "9" * 5000 + "," + PASSWORD + "}"),
    "representation in a representation": _representations(
        lambda _: json.dumps({"value": json.dumps({"x": json.dumps({"password": SECRET})})})
    ),
    "base64 with a lone surrogate": _payloads(b'{"note":"\\ud800","password":"%s"}' % SECRET.encode()),
    "base64 with a lone surrogate in a key": _payloads(b'{"\\ud800":1,"password":"%s"}' % SECRET.encode()),
    "base64, 490 deep": _payloads(deep(490).encode()),
    "base64, 900 deep": _payloads(deep(900).encode()),
    "base64, 5000 deep": _payloads(deep(5000).encode()),
    "a lone surrogate": _raw(b'{"id":"s","time":1700000000000,"type":"LOGIN","userId":"\\ud800"}'),
    "a lone surrogate in a key": _raw(b'{"id":"k","time":1700000000000,"type":"LOGIN","\\udfff":"a"}'),
    "a number of 5,000 digits": _raw(b'{"id":"n","type":"LOGIN","time":%s}' % (b"9" * 5000)),
    "900 deep": _raw(b'{"type":"LOGIN","details":%s}' % (b"[" * 900 + b"]" * 900)),
    "5,000 deep": _raw(b'{"type":"LOGIN","details":%s}' % (b"[" * 5000 + b"]" * 5000)),
    "100,000 deep": _raw(b'{"type":"LOGIN","details":%s}' % (b"[" * 100_000 + b"]" * 100_000)),
}


async def test_what_is_odd_is_stored_beside_its_neighbours_and_without_its_secrets(stand: Stand) -> None:
    """Never 500: one odd event of three leaves two accepted, and a third that is accepted or quarantined."""
    what, bound = "well-formed but odd events", "64 levels; quarantined, redacted whole"
    async with stand.attacked("amounts", what, bound) as watch:
        for number, (name, odd) in enumerate(ODD.items()):
            source, records = odd(6_000_000 + number * 100)
            for media, body in ((JSON, b"[%s]" % b",".join(records)), (NDJSON, b"\n".join(records))):
                answer = await watch.send(post(source, body, media))
                got = told(answer)
                watch.expect(got[0] == 202, f"{name} as {media}: {got} {answer.body[:200]!r}")
                if got[0] != 202:
                    continue
                receipts = json.loads(answer.body)
                known = receipts["accepted"] + receipts["duplicates"] + receipts["quarantined"]
                watch.expect(known == 3, f"{name} as {media}: {receipts}")
                for uid in receipts["uids"]:
                    await _holds_no_secret(stand, watch, uid, name)


async def _holds_no_secret(stand: Stand, watch: Watch, uid: str, name: str) -> None:
    answers = [await stand.ask("GET", f"/{path}/{uid}?raw=1") for path in ("events", "quarantine")]
    shown = [answer for answer in answers if answer.status == 200]
    watch.expect(bool(shown), f"{name}: {uid} is neither an event nor quarantined")
    for answer in shown:
        watch.expect(SECRET.encode() not in answer.body, f"{name}: the secret is stored")


async def test_byte_order_marks_are_no_nesting(stand: Stand) -> None:
    async with stand.attacked("amounts", "3,000 byte order marks", "linear; 400 or taken") as watch:
        for count in (1, 2, 3000, 100_000):
            body = b"\xef\xbb\xbf" * count + json.dumps(login(7_000_000 + count)).encode()
            answer = await watch.send(post("keycloak", body))
            watch.expect(answer.status in ((202,) if count == 1 else (202, 400)), f"{count}: {answer.status}")


async def test_a_million_records_of_one_envelope(stand: Stand, full: bool) -> None:
    count = 1_000_000 if full else 100_000
    bodies = [
        post("audit-service", b'{"requestId":"r","records":[%s]}' % b",".join([b"{}"] * count)),
        post("okta", b'{"data":{"events":[%s]}}' % b",".join([b"{}"] * count)),
        post("onewelcome", b'{"page":1,"results":[%s]}' % b",".join([b"{}"] * count)),
        post("keycloak", b'{"events":[%s]}' % b",".join([b"{}"] * count)),
        post("keycloak", b"[%s]" % b",".join([b"{}"] * count)),
        post("keycloak", b"{}\n" * count, NDJSON),
        post("keycloak", events(16 * MIB if full else 6 * MIB, each=150)),
    ]
    async with stand.attacked("amounts", f"envelopes of {count:,} events", "`events_limit`: 413") as watch:
        for body in bodies:
            answer = await persistent(watch, body)
            watch.expect(answer.status == 413, f"{answer.status}: {answer.body[:100]!r}")
