"""What a real Keycloak sent, fed to a real service; what comes out is read as its users read it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.captures import BY_WEBHOOK, EVENTS, HOSTILE, HOSTILE_ID, SOURCE, WAYS, Sent, steps
from tests.e2e.process import Process, command, serving
from tests.opened import Opened, opened

TOKEN = {"Authorization": "Bearer s3cr3t", "Content-Type": "application/json"}

#: What all ways must tell alike.
FACTS = ("type", "outcome", "error", "authDetails.userId", "authDetails.clientId", "authDetails.ipAddress", "time")

#: What only the webhook knows, and of how many events.
WEBHOOK_ALONE = {
    "realmName": 95,
    "authDetails.realmId": 95,
    "authDetails.username": 33,
    "authDetails.sessionId": 22,
    "details.username": 1,
}


@dataclass(frozen=True)
class Acme:
    """A service with the source that all ways share, and a caller who has nothing but what a request carries."""

    service: Opened
    caller: ClientSession

    async def send(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Post; what the service answers."""
        async with self.caller.post("/ingest/acme", data=body, headers=headers) as response:
            assert response.status == 202, await response.text()
            receipts: dict[str, Any] = await response.json()
            return receipts

    async def send_each(self, way: Sequence[Sent]) -> dict[str, dict[str, Any]]:
        """Post each record as it was posted, its recorded signature as its only proof; the events by Keycloak's id."""
        ids = {}
        for sent in way:
            receipts = await self.send(sent.body.encode(), sent.headers or TOKEN)
            ids[receipts["uids"][0]] = sent.id
        return {ids[event["uid"]]: event for event in await self.events()}

    async def events(self) -> list[dict[str, Any]]:
        """All that is in the log."""
        status, page = await self.service.get("/events", order="log", limit=1000)
        assert status == 200
        return list(page["events"])


@asynccontextmanager
async def acme(folder: Path) -> AsyncIterator[Acme]:
    async with opened(folder, sources=[SOURCE]) as service, ClientSession(service.service.url) as caller:
        yield Acme(service, caller)


def flat(event: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path."""
    for name, value in event.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def groups(records: Sequence[Sent], chance: random.Random) -> Iterator[tuple[list[Sent], bytes, dict[str, str]]]:
    """The records in bodies of every kind that a source may send: single ones with their recorded signature, lists,
    lines, packed ones."""
    rest = list(records)
    while rest:
        taken = [rest.pop() for _ in range(min(len(rest), chance.choice((1, 1, 2, 3, 7, 20))))]
        bodies = [sent.body for sent in taken]
        kind = chance.choice(("list", "lines", "packed", "single"))
        if kind == "single":
            yield from (([sent], sent.body.encode(), sent.headers or TOKEN) for sent in taken)
        elif kind == "lines":
            yield taken, "\n".join(bodies).encode(), {**TOKEN, "Content-Type": "application/x-ndjson"}
        else:
            body, headers = f"[{', '.join(bodies)}]".encode(), {**TOKEN, "Content-Type": "application/json"}
            if kind == "packed":
                body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
            yield taken, body, headers


@pytest.mark.parametrize("seed", range(6))
async def test_in_any_order_grouping_and_mixture_the_log_holds_each_event_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    records = [sent for way in WAYS.values() for sent in way]
    chance.shuffle(records)
    totals: Counter[str] = Counter()
    uids = defaultdict(set)
    async with acme(tmp_path) as service:
        for taken, body, headers in groups(records, chance):
            receipts = await service.send(body, headers)
            for sent, uid in zip(taken, receipts.pop("uids"), strict=True):
                uids[sent.id].add(uid)
            totals.update(receipts)
        kept = await service.events()
    assert totals == {"accepted": EVENTS, "duplicates": len(records) - EVENTS, "quarantined": 0, "ignored": 0}
    assert len({event["uid"] for event in kept}) == len(kept) == EVENTS
    assert {id: len(known) for id, known in uids.items()} == dict.fromkeys(uids, 1)


async def test_one_way_after_the_other_adds_nothing_to_the_first(tmp_path: Path) -> None:
    async with acme(tmp_path) as service:
        for way, new in (("webhook", BY_WEBHOOK), ("http", EVENTS - BY_WEBHOOK), ("rest", 0)):
            body = f"[{','.join(sent.body for sent in WAYS[way])}]".encode()
            assert (await service.send(body, TOKEN))["accepted"] == new


async def test_each_way_alone_tells_the_same_story(tmp_path: Path) -> None:
    told = {}
    for way, sent in WAYS.items():
        async with acme(tmp_path / way) as service:
            told[way] = {id: dict(flat(event)) for id, event in (await service.send_each(sent)).items()}

    assert (len(told["http"]), len(told["webhook"]), len(told["rest"])) == (EVENTS, BY_WEBHOOK, EVENTS)

    def facts(way: str, ids: Mapping[str, Any]) -> dict[str, list[Any]]:
        return {id: [told[way][id].get(name) for name in FACTS] for id in ids}

    assert facts("http", told["http"]) == facts("rest", told["http"])
    assert facts("http", told["webhook"]) == facts("webhook", told["webhook"])

    alone: Counter[str] = Counter()
    for id, event in told["webhook"].items():
        alone.update(event.keys() - told["http"][id].keys() - told["rest"][id].keys())
    assert alone == WEBHOOK_ALONE


async def test_each_step_gives_what_a_person_expects_of_it(tmp_path: Path) -> None:
    async with acme(tmp_path) as service:
        kept = await service.send_each(WAYS["http"])
    for step in steps():
        seen = [event for event in kept.values() if step["begin"] <= event["time"] <= step["end"]]
        types = {event["type"] for event in seen}
        assert set(step["expect"]) <= types, step["name"]
        # A step that asks for a thing and gets it brings no failure, and the other way round.
        if all(name.startswith("access.") for name in step["expect"]) and step["expect"]:
            failed = {event["type"] for event in seen if event["outcome"] == "failure"}
            assert failed == {name for name in types if name.endswith("_ERROR")}, step["name"]
            assert bool(failed) == any(name.endswith("_ERROR") for name in step["expect"]), step["name"]


async def test_a_recorded_signature_proves_no_other_body(tmp_path: Path) -> None:
    one, other = WAYS["http"][1], WAYS["http"][2]
    async with acme(tmp_path) as service:
        async with service.caller.post("/ingest/acme", data=one.body.encode(), headers=other.headers) as response:
            assert response.status == 401
        assert await service.events() == []


@pytest.fixture(scope="module")
def hostile() -> Sent:
    return next(sent for sent in WAYS["webhook"] if sent.id == HOSTILE_ID)


def is_plain(text: str) -> bool:
    """Whether nothing in it ends a line early, moves a cursor or turns the direction of writing."""
    return not any((ord(letter) < 32 and letter != "\n") or letter in "\x7f\u202e" for letter in text)


async def test_a_hostile_user_name_comes_out_harmless_everywhere(tmp_path: Path, hostile: Sent) -> None:
    async with serving(tmp_path / "data", settings={"SOURCES": [SOURCE]}) as process:
        uid = await feed_hostile(process, hostile)

        async with process.session.get(f"/events/{uid}", params={"raw": "1"}) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.content_type == "application/json"
            text = await response.text()
        event = json.loads(text)
        assert event["authDetails"]["username"] == event["raw"]["details"]["username"] == HOSTILE
        assert not {"\r", "\n"} & set(text)

        async with process.session.get("/events/export", params={"format": "csv"}) as response:
            assert "attachment" in response.headers["Content-Disposition"]
            text = await response.text()
        assert is_plain(text.replace("\r\n", "\n"))
        [row] = csv.DictReader(io.StringIO(text))
        assert row["authDetails.username"] == (
            "<script>alert('x')</script>\\r\\nFAKE level=INFO \\u202e=cmd|' /C calc'!A0"
        )
        assert all(not cell.startswith(("=", "+", "-", "@")) for cell in row.values())

        async with process.session.get("/metrics") as response:
            text = await response.text()
        assert is_plain(text)
        assert all(line.startswith(("idp_adapter_", "#")) for line in text.splitlines())

        assert [one["uid"] for one in await process.events(user=HOSTILE)] == [uid]
        assert [one["uid"] for one in await process.events(q="FAKE")] == [uid]

        for words in (["list"], ["show", uid]):
            said = await command("events", *words, "--data", str(process.folder))
            assert is_plain(said), words
        await process.stop()
        assert is_plain(process.errors)
        for secret_or_personal in ("FAKE", "calc", "s3cr3t", "A3jt6D8lz"):
            assert secret_or_personal not in process.errors


async def feed_hostile(process: Process, hostile: Sent) -> str:
    """The hostile record as it was sent, and as nobody can read it: its native type is the name. The event's uid."""
    nobody = {**json.loads(hostile.body), "id": "other", "type": HOSTILE}
    async with process.session.post("/ingest/acme", json=[nobody, HOSTILE], headers=TOKEN) as response:
        assert (await response.json())["quarantined"] == 2
    async with process.session.post("/ingest/acme", data=hostile.body.encode(), headers=hostile.headers) as response:
        assert response.status == 202
        uids: list[str] = (await response.json())["uids"]
        return uids[0]
