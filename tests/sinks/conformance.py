"""What every kind of sink must do. A kind's test file subclasses `SinkConformance` and gives it a ``receiver``."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from adapter.sinks.protocol import DELIVERED, Later, Promise, Sink
from tests.sinks.entries import make_entries, make_entry


class Receiver(Protocol):
    """The far end of a sink, as its test file makes it."""

    def open(self) -> AbstractAsyncContextManager[Sink]:
        """A sink that sends here."""

    def received(self) -> list[bytes]:
        """Every event that arrived, in order of arrival."""

    async def fail(self) -> None:
        """Be out of order from now on."""

    async def fix(self) -> None:
        """Be in order again."""


class SinkConformance:
    async def test_what_is_delivered_has_arrived_byte_for_byte(self, receiver: Receiver) -> None:
        entry = make_entry(1, name="Zoë \u202e\u2028\n\t\"'\\ \u0000 end")
        async with receiver.open() as sink:
            answers = await sink.send([entry])
            assert receiver.received() == [entry.event]
        assert list(answers) == [DELIVERED]

    async def test_there_is_one_answer_for_each_entry(self, receiver: Receiver) -> None:
        async with receiver.open() as sink:
            entries = make_entries(sink.batch.entries)
            answers = await sink.send(entries)
        assert list(answers) == [DELIVERED] * len(entries)
        assert receiver.received() == [entry.event for entry in entries]

    async def test_it_says_how_much_it_takes(self, receiver: Receiver) -> None:
        async with receiver.open() as sink:
            assert sink.window >= 1
            assert sink.batch.entries >= 1
            assert sink.batch.bytes >= 1
            assert sink.batch.wait >= 0
            assert sink.promise in Promise

    async def test_a_large_event_arrives_whole(self, receiver: Receiver) -> None:
        entry = make_entry(1, representation="x" * 1_000_000)
        async with receiver.open() as sink:
            assert list(await sink.send([entry])) == [DELIVERED]
        assert receiver.received() == [entry.event]

    async def test_a_receiver_out_of_order_is_an_answer_and_no_error(self, receiver: Receiver) -> None:
        async with receiver.open() as sink:
            await receiver.fail()
            (answer,) = await sink.send([make_entry()])
            assert isinstance(answer, Later)
            assert answer.receiver_down
            assert answer.reason
        assert receiver.received() == []

    async def test_after_an_outage_the_same_sink_delivers_again(self, receiver: Receiver) -> None:
        async with receiver.open() as sink:
            await sink.send([make_entry(1)])
            await receiver.fail()
            await sink.send([make_entry(2)])
            await receiver.fix()
            assert list(await sink.send([make_entry(2)])) == [DELIVERED]
        assert receiver.received() == [make_entry(1).event, make_entry(2).event]

    async def test_a_sink_opened_again_goes_on_where_it_ended(self, receiver: Receiver) -> None:
        for position in (1, 2):
            async with receiver.open() as sink:
                await sink.send([make_entry(position)])
        assert receiver.received() == [make_entry(1).event, make_entry(2).event]
