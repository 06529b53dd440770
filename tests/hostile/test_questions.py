"""Questions: whatever is asked, it takes bounded work, waits for those of the same key alone, and is not slower for
what senders invented. Tables that are tried are questions, too."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.hostile.client import NoAnswer
from tests.hostile.shapes import MIB
from tests.hostile.stand import HEAVY, READER, Stand, post
from tests.hostile.watches import Watch
from tests.opened import login

pytestmark = [pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

#: Seconds that the hardest question may take, and a page of one beside it.
HARD = 10.0
PAGE = 1.0
#: And what is tried on a table, when seven others of the same key wait before it.
TRIED = 100.0
#: What a question may be answered: a page, refused as too much, told to come again.
ANSWERS = {200, 400, 413, 414, 422, 429, 431, 503}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(stand: Stand, full: bool) -> Stand:
    """The service with events enough that a question's work shows."""
    watch = Watch(stand.subject)
    for first in range(0, 500_000 if full else 40_000, 5000):
        body = [event(first + number) for number in range(5000)]
        answer = await watch.send(post("keycloak", json.dumps(body).encode()))
        assert answer.status == 202, answer
    await stand.ask("GET", "/events?limit=1")  # waits until all can be found
    return stand


def event(number: int) -> dict[str, Any]:
    """A login of one of many users, with words that many share."""
    return login(
        20_000_000 + number,
        userId=f"user-{number % 5000}",
        clientId=f"client-{number % 300}",
        sessionId=f"session-{number % 9000}",
        ipAddress=f"203.{number % 113}.{number % 250}.7",
        details={"username": f"anna{number % 5000}", "note": f"word{number % 1000} shared w{number % 7}"},
    )


def many(name: str, value: str, count: int) -> str:
    """A question with so many values of one filter."""
    return "/events?limit=100&" + urlencode([(name, value.format(number)) for number in range(count)])


def hard(count: int) -> dict[str, str]:
    """Questions that are made to cost, with so many values where there may be many."""
    several = {
        name: many(name, value, count)
        for name, value in {
            "user": "user-{}",
            "not_user": "user-{}",
            "client": "client-{}",
            "not_client": "client-{}",
            "session": "session-{}",
            "ip": "203.{}.1.7",
            "not_ip": "203.{}.0.0/16",
            "type": "access.*LO*{}*",
            "not_type": "*{}*",
            "q": "word{} shared",
            "realm": "realm-{}",
        }.items()
    }
    return {
        **{f"{count} values of {name}": path for name, path in several.items()},
        "CIDRs of all": "/events?limit=100&" + urlencode([("ip", f"{n}.0.0.0/8") for n in range(min(count, 200))]),
        "an address that nobody has, over all": "/events?limit=100&ip=9.9.9.0/24&not_user=user-1",
        "globs of stars": "/events?limit=100&type=" + "*".join("aLOGINx") * 8 + "*",
        "words that begin": "/events?limit=100&q=" + "+".join(f"{letter}*" for letter in "awsu"),
        "words that never meet": "/events?limit=100&q=w1+w2+w3+shared",
        "a long word": "/events?limit=100&q=" + "a" * 4000,
        "a long value": "/events?limit=100&user=" + "a" * 4000,
        "everything at once": "/events?limit=1000&q=a*+w*+shared&ip=203.0.0.0/8&not_user=user-1&not_client=client-1"
        "&type=*&outcome=success&not_session=session-3",
        "nothing that is": "/events?limit=1000&outcome=failure&q=shared",
        "by the log": "/events?limit=1000&order=log&not_user=user-1&q=w*",
        "deep in time": "/events?limit=1000&to=1971-01-01T00:00:00Z",
    }


async def test_every_question_takes_bounded_work(filled: Stand, full: bool) -> None:
    async with filled.attacked(
        "questions", "many values, globs, CIDRs, words", "work of each bounded; 400 or 503"
    ) as watch:
        for count in (33, 64, 200) if full else (33, 64):
            for name, path in hard(count).items():
                begin = time.monotonic()
                try:
                    answer = await filled.ask("GET", path, token=HEAVY)
                except NoAnswer as error:
                    watch.expect(False, f"{name}: {error}")
                    continue
                took = time.monotonic() - begin
                watch.answers[answer.status] += 1
                watch.expect(answer.status in ANSWERS - {503}, f"{name}: {answer.status} {answer.body[:150]!r}")
                watch.expect(took < HARD * filled.limits.margin, f"{name}: {took:.1f} s")


async def test_deep_pages_cost_what_the_first_one_costs(filled: Stand) -> None:
    async with filled.attacked("questions", "deep cursors", "a page costs the same at any depth") as watch:
        for query in ("", "&q=shared", "&user=user-7&user=user-8", "&order=log"):
            times = []
            path = f"/events?limit=1000{query}"
            cursor = ""
            for _ in range(40):
                begin = time.monotonic()
                answer = await filled.ask("GET", path + cursor)
                times.append(time.monotonic() - begin)
                watch.expect(answer.status == 200, f"{query}: {answer.status}")
                page = json.loads(answer.body)
                if answer.status != 200 or not page["next"] or not page["events"]:
                    break
                cursor = f"&cursor={page['next']}"
            if len(times) > 10:
                early, late = statistics.median(times[:5]), statistics.median(times[-5:])
                allowed = (3 * early + 0.1) * filled.limits.margin
                watch.expect(late < allowed, f"{query}: {early:.3f} s, then {late:.3f} s")
        for cursor in ("AAAA", "dP" + "_" * 32, "t" * 5000, "%00", "bA", "\u2603".encode().hex()):
            answer = await filled.ask("GET", f"/events?cursor={cursor}")
            watch.expect(answer.status in (400, 414, 431), f"{cursor[:20]}: {answer.status}")


async def test_questions_of_one_key_do_not_hold_up_another(filled: Stand) -> None:
    """Eight heavy ones at a time, for some seconds; a page of one of another key beside them."""
    heavy = list(hard(64).values())
    what = "8 heavy questions at a time of one key, a page of one of another"
    async with filled.attacked("questions", what, "a queue for each key") as watch:
        over = asyncio.Event()

        async def lane(number: int) -> None:
            while not over.is_set():
                for path in heavy[number::8]:
                    try:
                        answer = await filled.ask("GET", path, token=HEAVY)
                        watch.answers[answer.status] += 1
                        watch.expect(answer.status in ANSWERS, f"{path[:80]}: {answer.status}")
                    except NoAnswer as error:
                        watch.expect(False, f"{path[:80]}: {error}")
                    if over.is_set():
                        return

        lanes = [asyncio.create_task(lane(number)) for number in range(8)]
        await asyncio.sleep(0.2)
        times = []
        for _ in range(20):
            begin = time.monotonic()
            answer = await filled.ask("GET", "/events?limit=1", token=READER)
            times.append(time.monotonic() - begin)
            watch.expect(answer.status == 200, f"the other key: {answer.status} {answer.body[:100]!r}")
            await asyncio.sleep(0.1)
        over.set()
        await asyncio.gather(*lanes)
        watch.expect(max(times) < PAGE * filled.limits.margin, f"the other key waited {max(times):.1f} s")


async def test_exports_of_one_key_do_not_hold_up_another(filled: Stand) -> None:
    async with filled.attacked(
        "questions", "20 exports at a time of one key", "bounded for each key: 429 or 503"
    ) as watch:

        async def export(number: int) -> None:
            form = ("csv", "unified")[number % 2]
            try:
                answer = await filled.ask("GET", f"/events/export?format={form}&q=shared", token=HEAVY, patience=600)
                watch.answers[answer.status] += 1
                watch.expect(answer.status in (200, 429, 503), f"{answer.status}")
            except NoAnswer as error:
                watch.expect(False, str(error))

        exports = [asyncio.create_task(export(number)) for number in range(20)]
        await asyncio.sleep(0.2)
        begin = time.monotonic()
        answer = await filled.ask("GET", "/events?limit=1", token=READER)
        took = time.monotonic() - begin
        await asyncio.gather(*exports)
        watch.expect(answer.status == 200 and took < PAGE * filled.limits.margin, f"{answer.status} after {took:.1f} s")


async def test_invented_types_slow_nothing(filled: Stand, full: bool) -> None:
    """Types, realms and native types that a sender made up, by the ten thousands."""
    count = 200_000 if full else 20_000
    paths = ["/events?limit=100&type=LOGIN", "/events?limit=100&user=user-7", "/events?limit=100&q=word7"]

    async def asked() -> float:
        times = []
        for path in paths * 5:
            begin = time.monotonic()
            answer = await filled.ask("GET", path)
            assert answer.status == 200, answer
            times.append(time.monotonic() - begin)
        return statistics.median(times)

    before = await asked()
    what = f"{count:,} invented types and realms"
    async with filled.attacked("questions", what, "questions do not slow with the number of types") as watch:
        for first in range(0, count, 5000):
            body = [
                {
                    **event(30_000_000 + first + number),
                    "type": f"MADE_UP_{first + number}",
                    "realmId": f"r-{first + number}",
                }
                for number in range(5000)
            ]
            answer = await watch.send(post("keycloak", json.dumps(body).encode()))
            watch.expect(answer.status == 202, f"{answer.status}")
        await filled.ask("GET", "/events?limit=1")
        after = await asked()
        allowed = (2 * before + 0.05) * filled.limits.margin
        watch.expect(after < allowed, f"a question took {before * 1000:.0f} ms before, {after * 1000:.0f} ms after")


async def test_lists_of_what_is_quarantined(filled: Stand, full: bool) -> None:
    """Many groups, and samples of what is large."""
    size = MIB // 2
    async with filled.attacked(
        "questions", "quarantine of many groups and large samples", "300 characters each"
    ) as watch:
        for first in range(0, 40_000 if full else 10_000, 5000):
            body = [
                {"event_type_id": f"x{first + number}", "timestamp": "2026-05-04T08:00:00Z"} for number in range(5000)
            ]
            await watch.send(post("onewelcome", json.dumps(body).encode()))
        large = [
            {"event_type_id": f"y{number}", "timestamp": "2026-05-04T08:00:00Z", "a": "x" * size}
            for number in range(24)
        ]
        await watch.send(post("onewelcome", json.dumps(large).encode()))
        for path in ("/quarantine?limit=1000", "/quarantine?limit=1000&raw=1", "/quarantine?source=onewelcome&raw=1"):
            answers = await asyncio.gather(*(filled.ask("GET", path) for _ in range(8)), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException):
                    watch.expect(False, f"{path}: {answer}")
                else:
                    watch.expect(answer.status in (200, 429, 503), f"{path}: {answer.status}")
                    watch.expect(len(answer.body) < 8 * MIB, f"{path}: {len(answer.body):,} bytes")


TABLE = """provider: tried
title: Tried
auth: [bearer]
identity: none
type: kind
fields:
  details.found: {path: text, as: text}
types:
  a:
%s
    - {type: LOGOUT}
"""


def pattern_table(pattern: str, rows: int = 1) -> str:
    """A table whose type depends on a pattern."""
    row = "    - {when: {text: {matches: '%s'}}, type: LOGIN}"
    return TABLE % "\n".join([row % pattern] * rows)


def tried_tables(size: int, rows: int) -> Mapping[str, Mapping[str, Any]]:
    """Tables, and what is tried on them, that are made to cost."""
    raw = {"kind": "a", "text": "a" * size}
    anchors = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10) if n else 'x'}]\n" for n in range(9))
    return {
        "a pattern of 999 stars": {"mapping": pattern_table("(.*){999}x"), "raw": raw},
        "a pattern of nested counts": {"mapping": pattern_table("((a{1,30}){1,30}){1,30}b"), "raw": raw},
        "many patterns": {"mapping": pattern_table("(a|b|c)*x", rows // 10), "raw": raw},
        "aliases of aliases": {"mapping": anchors + pattern_table("a"), "raw": {"kind": "a"}},
        "deep YAML": {"mapping": "a: " + "[" * 50_000, "raw": {"kind": "a"}},
        "a long number": {"mapping": "a: " + "9" * 900_000, "raw": {"kind": "a"}},
        "many rows": {
            "mapping": TABLE % "    - {type: LOGIN}" + "".join(f"  t{n}: {{type: LOGIN}}\n" for n in range(rows)),
            "raw": {"kind": "a"},
        },
    }


async def test_tables_that_are_tried(stand: Stand, full: bool) -> None:
    """Eight of each at once; the service answers others meanwhile, and stops as it should."""
    what, bound = "tried tables that are made to cost", "a process with a deadline: 503 or 422"
    plain = json.dumps({"mapping": pattern_table("a"), "raw": {"kind": "a"}}).encode()
    # The process that tries them stays for a while; it is no growth.
    assert (await stand.ask("POST", "/mappings/tried/apply", plain, token=HEAVY)).status == 200
    async with stand.attacked("tables", what, bound) as watch:
        for name, given in tried_tables(*((5_000_000, 30_000) if full else (500_000, 3000))).items():
            body = json.dumps(given).encode()

            async def apply(body: bytes = body, name: str = name) -> None:
                begin = time.monotonic()
                try:
                    answer = await stand.ask("POST", "/mappings/tried/apply", body, token=HEAVY)
                except NoAnswer as error:
                    watch.expect(False, f"{name}: {error}")
                    return
                watch.answers[answer.status] += 1
                watch.expect(answer.status in ANSWERS, f"{name}: {answer.status} {answer.body[:150]!r}")
                took = time.monotonic() - begin
                watch.expect(took < TRIED, f"{name}: {took:.1f} s")

            trying = [asyncio.create_task(apply()) for _ in range(8)]
            await asyncio.sleep(0.3)
            begin = time.monotonic()
            answer = await stand.ask("GET", "/mappings", token=HEAVY)
            took = time.monotonic() - begin
            watch.expect(
                answer.status == 200 and took < PAGE * stand.limits.margin, f"/mappings beside {name}: {took:.1f} s"
            )
            await asyncio.gather(*trying)


async def test_a_stop_does_not_wait_for_tried_tables(stand: Stand) -> None:
    body = json.dumps(tried_tables(5_000_000, 10)["a pattern of 999 stars"]).encode()
    async with stand.beside("stopped", {"SERVER__DRAIN": "2"}) as one:

        async def apply() -> None:
            with suppress(NoAnswer):
                await one.ask("POST", "/mappings/tried/apply", body, token=HEAVY)

        trying = [asyncio.create_task(apply()) for _ in range(8)]
        await asyncio.sleep(1)
        begin = time.monotonic()
        one.process.popen.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(one.process.popen.wait, 120)
        took = time.monotonic() - begin
        await asyncio.gather(*trying)
        assert code == 0
        assert took < 5 * one.limits.margin, f"the stop took {took:.1f} s"
        await one.forget()
