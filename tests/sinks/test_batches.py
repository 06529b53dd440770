"""Several events in one post, and bodies that are compressed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks.webhooks import Webhook as Judge

from adapter.delivery.loop import open_delivery
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.memory import open_memory_log
from adapter.model import Entry, uid_text
from adapter.sinks.bodies import batch_id
from adapter.sinks.protocol import DELIVERED, Batch, Later, Sink, Stop
from adapter.sinks.webhook import Webhook, open_sink
from tests.delivery.parts import CATALOGUE, append, new_entry, numbers, until
from tests.sinks.conformance import SinkConformance
from tests.sinks.entries import make_entries, make_entry
from tests.sinks.test_webhook import LOOPBACK, SECRET, HttpReceiver, opened, settings


class Picky(HttpReceiver):
    """Refuses bodies with certain events in them, or beyond a size, as a receiver does that takes all or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: set[str] = set()
        self.refusal = 400
        self.most = 1 << 30
        #: Posts after which it is down.
        self.lasts = 1 << 30
        self.tried: list[int] = []
        self.taken: list[str] = []

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((f"{request.method} {request.path}", request.headers.copy(), body))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        read = orjson.loads(body) if body[:1] == b"[" else [orjson.loads(line) for line in body.splitlines()]
        self.tried.append(len(read))
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        if len(self.tried) > self.lasts:
            return web.Response(status=503)
        if len(body) > self.most:
            return web.Response(status=413)
        if self.bad & {one["uid"] for one in read}:
            return web.Response(status=self.refusal)
        self.taken += [one["uid"] for one in read]
        return web.Response()

    def received(self) -> list[bytes]:
        return [orjson.dumps(one) for _, _, body in self.requests for one in orjson.loads(body)]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Webhook]:
        async with opened(self.url, secret=SECRET, batch={"entries": 20}) as sink:
            yield sink


@pytest.fixture
async def receiver() -> AsyncIterator[Picky]:
    receiver = Picky()
    await receiver.fix()
    yield receiver
    await receiver.fail()


class TestWebhookOfBatchesConforms(SinkConformance):
    pass


def uids(entries: Sequence[Entry]) -> list[str]:
    return [uid_text(entry.uid) for entry in entries]


# What is sent


@pytest.mark.parametrize(
    ("form", "as_", "media"),
    [
        ("unified", "json", "application/json"),
        ("unified", "ndjson", "application/x-ndjson"),
        ("phasetwo", "json", "application/json"),
        ("cloudevents", "json", "application/cloudevents-batch+json"),
        ("cloudevents", "ndjson", "application/x-ndjson"),
    ],
)
async def test_a_batch_is_one_post_and_one_is_a_batch_too(
    receiver: HttpReceiver, form: str, as_: str, media: str
) -> None:
    plain = HttpReceiver()
    await plain.fix()
    async with opened(plain.url, format=form, batch={"as": as_}) as sink:
        assert list(await sink.send(make_entries(3))) == [DELIVERED] * 3
        assert list(await sink.send(make_entries(1))) == [DELIVERED]
    await plain.fail()
    for (_, headers, body), count in zip(plain.requests, (3, 1), strict=True):
        assert headers["Content-Type"] == media
        read = orjson.loads(body) if as_ == "json" else [orjson.loads(line) for line in body.splitlines()]
        assert [one.get("uid") or one["id"] for one in read] == uids(make_entries(count))
        if as_ == "ndjson":
            assert body.endswith(b"\n")


async def test_a_batch_of_cloudevents_is_what_their_library_reads() -> None:
    plain = HttpReceiver()
    await plain.fix()
    async with opened(plain.url, format="cloudevents", batch={}) as sink:
        await sink.send(make_entries(2))
    async with opened(plain.url, format={"name": "cloudevents", "mode": "binary"}) as sink:
        await sink.send(make_entries(1))
    await plain.fail()
    (_, _, batch), (_, headers, body) = plain.requests
    media = {"content-type": "application/cloudevents+json"}
    read = [from_http_event(HTTPMessage(media, orjson.dumps(one))) for one in orjson.loads(batch)]
    assert [one.get_id() for one in read] == uids(make_entries(2))
    one = from_http_event(HTTPMessage({name.lower(): value for name, value in headers.items()}, body))
    assert (one.get_id(), one.get_type(), one.get_data()) == (
        uids(make_entries(1))[0],
        "access.LOGIN",
        orjson.loads(make_entry().event or b""),
    )


def test_how_much_it_takes_is_what_its_settings_say() -> None:
    told = settings("https://soc.example/", batch={"entries": 7, "wait": 0.25, "bytes": 4096})
    assert told.batch is not None
    assert (told.batch.entries, told.batch.wait, told.batch.bytes) == (7, 0.25, 4096)


async def test_the_loop_learns_of_the_batch(receiver: Picky) -> None:
    async with opened(receiver.url, batch={"entries": 7, "wait": 0.25, "bytes": 4096}) as sink:
        assert sink.batch == Batch(7, 4096, 0.25)
    async with opened(receiver.url) as sink:
        assert sink.batch == Batch()


async def test_a_batch_has_one_id_the_same_when_it_is_sent_again_and_one_signature(receiver: Picky) -> None:
    async with receiver.open() as sink:
        await sink.send(make_entries(5))
        await sink.send(make_entries(5))
        await sink.send(make_entries(4))
        await sink.send(make_entries(1))
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert ids[3] == uids(make_entries(1))[0]
    assert not any("." in id for id in ids)
    for _, headers, body in receiver.requests:
        Judge(SECRET).verify(body, dict(headers))


def test_a_correction_makes_another_batch() -> None:
    entries = make_entries(2)
    assert batch_id(entries) != batch_id([entries[0]._replace(revision=1), entries[1]])
    assert batch_id(entries) != batch_id(entries[::-1])


# What is refused


async def test_one_event_that_a_receiver_refuses_holds_up_no_other(receiver: Picky) -> None:
    entries = make_entries(20)
    receiver.bad = {uids(entries)[13]}
    async with receiver.open() as sink:
        answers = await sink.send(entries)
    assert [isinstance(answer, Later) for answer in answers] == [position == 13 for position in range(20)]
    assert receiver.taken == [one for one in uids(entries) if one not in receiver.bad]
    assert len(receiver.tried) <= 11


async def test_a_batch_that_is_too_large_is_halved_until_it_is_not(receiver: Picky) -> None:
    entries = [*make_entries(9), make_entry(10, text="x" * 20_000)]
    receiver.most = 8_000
    async with receiver.open() as sink:
        answers = await sink.send(entries)
    assert [answer is DELIVERED or answer == DELIVERED for answer in answers] == [True] * 9 + [False]
    assert "413" in getattr(answers[9], "reason", "")
    assert receiver.taken == uids(entries[:9])


async def test_whatever_is_bad_the_answers_are_those_of_the_events(receiver: Picky) -> None:
    entries = make_entries(16)
    async with receiver.open() as sink:
        for bad in ({0}, {15}, {0, 15}, {3, 4, 5}, set(range(16)), set(range(0, 16, 2))):
            receiver.bad = {uids(entries)[number] for number in bad}
            answers = await sink.send(entries)
            assert {number for number, answer in enumerate(answers) if answer != DELIVERED} == bad


@pytest.mark.parametrize("status", [401, 403, 405, 408, 415, 425, 429, 500, 503, 301])
async def test_what_is_no_refusal_of_the_content_is_one_answer_for_all(receiver: Picky, status: int) -> None:
    receiver.status = status
    async with receiver.open() as sink:
        answers = await sink.send(make_entries(10))
    assert len(answers) == 10
    assert len(set(map(repr, answers))) == 1
    assert receiver.tried == [10]


async def test_gone_stops_without_another_try(receiver: Picky) -> None:
    receiver.status = 410
    async with receiver.open() as sink:
        answers = await sink.send(make_entries(10))
    assert all(isinstance(answer, Stop) for answer in answers)
    assert receiver.tried == [10]


async def test_a_receiver_that_goes_down_while_a_batch_is_halved_is_left_alone(receiver: Picky) -> None:
    entries = make_entries(8)
    receiver.bad = set(uids(entries[:2]))
    receiver.lasts = 4
    async with receiver.open() as sink:
        answers = await sink.send(entries)
    # 8, 4, 2, the first alone, and the second alone finds it down.
    assert receiver.tried == [8, 4, 2, 1, 1]
    assert [getattr(answer, "receiver_down", None) for answer in answers] == [False] + [True] * 7


async def test_every_event_but_the_bad_ones_arrives_by_the_loop(receiver: Picky) -> None:
    async with open_memory_log() as log:
        await append(log, 500)
        entries = await log.read(0)
        bad = [entries[number] for number in (0, 77, 78, 79, 300, 499)]
        receiver.bad = set(uids(bad))
        told = settings(receiver.url, batch={"entries": 50, "wait": 0.01}, retry=[0.01, 0.01], **{"from": "beginning"})
        async with sink_of(receiver, told) as sink:
            selection = Selection(Filter.from_settings({}, CATALOGUE))
            async with open_delivery(told, sink, log, selection) as delivery:
                await until(lambda: delivery.snapshot().counts.dead == 6)
                await until(lambda: delivery.snapshot().lag == 0)
                counts = delivery.snapshot().counts
    assert sorted(receiver.taken) == sorted(set(uids(entries)) - receiver.bad)
    assert (counts.matched, counts.delivered, counts.dead) == (500, 494, 6)


async def test_an_event_that_makes_the_receiver_fail_kills_none_of_its_batch(receiver: Picky) -> None:
    async with open_memory_log() as log:
        await append(log, 200)
        entries = await log.read(0)
        receiver.bad, receiver.refusal = set(uids(entries[30:31])), 500
        told = settings(receiver.url, batch={"entries": 50, "wait": 0.01}, retry=[0.01] * 3, **{"from": "beginning"})
        async with sink_of(receiver, told) as sink:
            selection = Selection(Filter.from_settings({}, CATALOGUE))
            async with open_delivery(told, sink, log, selection, probe=0.01) as delivery:
                number = 200
                while delivery.snapshot().counts.dead < 1:
                    # Others pass meanwhile, so that its failures are its own.
                    number += 1
                    await append(log, 1, first=number)
                    await asyncio.sleep(0.02)
                    assert number < 1500
                await until(lambda: delivery.snapshot().counts.delivered == number - 1)
                counts = delivery.snapshot().counts
    assert counts.dead == 1
    assert set(receiver.taken) == set({uid_text(new_entry(one).uid) for one in numbers(1, number)}) - receiver.bad


@asynccontextmanager
async def sink_of(receiver: Picky, told: Any) -> AsyncIterator[Sink]:
    async with open_sink(told, LOOPBACK) as sink:
        yield sink


# Compressed bodies


async def test_a_compressed_body_is_the_body_and_its_signature_is_of_what_was_sent(receiver: Picky) -> None:
    entries = make_entries(3)
    async with opened(receiver.url, secret=SECRET, batch={}, compress="gzip") as sink:
        assert list(await sink.send(entries)) == [DELIVERED] * 3
        assert list(await sink.send(entries)) == [DELIVERED] * 3
    (_, headers, body), (_, _, again) = receiver.requests
    assert body == again
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Type"] == "application/json"
    assert int(headers["Content-Length"]) == len(body)
    assert orjson.loads(gzip.decompress(body)) == [orjson.loads(entry.event or b"") for entry in entries]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


async def test_a_large_body_is_compressed_whole(receiver: Picky) -> None:
    entry = make_entry(1, text="xyz" * 1_000_000)
    async with opened(receiver.url, compress="gzip") as sink:
        assert list(await sink.send([entry])) == [DELIVERED]
    ((_, _, body),) = receiver.requests
    assert gzip.decompress(body) == entry.event
    assert len(body) < 100_000


async def test_a_receiver_that_does_not_take_it_is_told_in_words(receiver: Picky) -> None:
    receiver.status = 415
    async with opened(receiver.url, compress="gzip") as sink:
        (answer,) = await sink.send([make_entry()])
    assert isinstance(answer, Later)
    assert "it does not take application/json, gzip; see format, batch and compress" in answer.reason
