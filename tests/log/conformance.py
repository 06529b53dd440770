"""What every log must do. An implementation's test file subclasses `LogConformance` and gives it a ``place``."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

import orjson
import pytest

from adapter.errors import ClaimLost, NoteChanged, StoreError
from adapter.log.protocol import (
    Arrivals,
    Attempt,
    BlockedKey,
    Claim,
    Held,
    Log,
    NewEntry,
    Note,
    QuarantineGroup,
    Raw,
    ReaderState,
    Receipt,
    Removal,
    Removed,
    Replacement,
    RetainingStore,
    Revision,
    Settlement,
    Share,
    Store,
    Stored,
    Usage,
)
from adapter.model import Entry, uid_text
from tests.log.entries import (
    SECONDS,
    new_entry,
    quarantined_entry,
    read_entry,
    read_keys,
    strong_key,
    unread_entry,
    weak_digest,
    weak_key,
)
from tests.mapping.acme_also import LOCKED, RAW
from tests.sources.several import Bench


class Place(Protocol):
    """Where one log lies."""

    def open(self, *, claim_seconds: float = 60.0) -> AbstractAsyncContextManager[Store]:
        """The log that lies here; a new one at first. Claims last so long, if they end at all. To be opened twice at
        once only in `SharedLogConformance`."""


class RetainingPlace(Protocol):
    """Where one log lies that removes what is old."""

    def open(self) -> AbstractAsyncContextManager[RetainingStore]:
        """As `Place.open`."""


async def read_all(log: Log, *, limit: int = 1000) -> list[Entry]:
    """Every entry, page by page."""
    entries: list[Entry] = []
    while page := await log.read(entries[-1].position if entries else 0, limit=limit):
        entries += page
    return entries


def raw_of(entry: NewEntry) -> Raw:
    """What a log keeps of what was sent."""
    return Raw(entry.raw, entry.media, entry.envelope)


class LogConformance:
    # Appending and reading

    async def test_the_events_of_a_record_are_entries_that_are_known_and_have_its_bytes(self, place: Place) -> None:
        weak = {**{name: value for name, value in RAW.items() if name != "id"}, "user": "ben"}
        async with place.open() as log:
            bench = Bench(log)
            first = await bench.take(LOCKED, weak, weak)
            assert first[:2] == (3, 0)
            wanted = [None, "report", "lock", None, "report", None, "report"]
            assert [also for _, also, _ in await bench.stored()] == wanted
            assert (await bench.take(weak, weak, LOCKED))[:2] == (0, 3)
            assert log.head == 7
        async with place.open() as log:
            assert (await Bench(log).take(weak, LOCKED, weak, weak))[:2] == (1, 3)
            assert log.head == 9
            sent = [orjson.dumps(raw) for raw in (*3 * [LOCKED], *6 * [weak])]
            assert [one.raw for one in await log.read_stored(0)] == sent

    async def test_a_new_log_is_empty(self, place: Place) -> None:
        async with place.open() as log:
            assert log.head == 0
            assert await log.read(0) == []
            assert await log.fetch([1]) == []
            assert await log.raw(1) is None
            assert await log.position_at(2**40) == 0

    async def test_an_entry_is_read_as_it_was_appended(self, place: Place) -> None:
        async with place.open() as log:
            new = new_entry("a", event='{"name": "Zoë \u202e"}'.encode(), raw=b"\x00\xff raw", media="text/plain")
            assert await log.append([new]) == [Receipt(new.uid, 1)]
            expected = Entry(
                position=1,
                uid=new.uid,
                revision=0,
                received_at=new.received_at,
                source="prod",
                type="access.LOGIN",
                event=new.event,
                problem=None,
                native_type="LOGIN",
            )
            assert await log.read(0) == [expected]
            assert await log.fetch([1]) == [expected]
            assert await log.raw(1) == Raw(b"\x00\xff raw", "text/plain")
            assert log.head == 1

    async def test_a_quarantined_entry_has_a_problem_and_no_event(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([quarantined_entry(raw=b"")])
            (entry,) = await log.read(0)
            assert (entry.type, entry.event, entry.native_type, entry.problem) == (None, None, None, "not JSON")
            assert await log.raw(1) == Raw(b"", "text/plain")

    async def test_everything_is_there_after_closing_and_opening(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry(), quarantined_entry()])
            await log.begin("sink", 0, "f")
            await log.settle(Settlement("sink", 1, 2, matched=2, delivered=1, hold=[Held(1, 1, 5, "503")]))
            before = (await read_all(log), await log.progress("sink"), await log.held("sink"))
        async with place.open() as log:
            assert log.head == 3
            assert (await read_all(log), await log.progress("sink"), await log.held("sink")) == before
            assert await log.append([new_entry("a"), new_entry("b")]) == [
                Receipt(strong_key("a"), None),
                Receipt(strong_key("b"), 4),
            ]

    async def test_an_empty_request_has_no_receipts(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.append([]) == []
            assert log.head == 0

    async def test_sources_keep_their_names(self, place: Place) -> None:
        async with place.open() as log:
            names = ["prod", "Test ☃", "prod"]
            await log.append([new_entry(source=name) for name in names])
            assert [entry.source for entry in await log.read(0)] == names

    async def test_hostile_text_comes_back(self, place: Place) -> None:
        texts = ['"', "\\u0041", "\n\t\x01", "'; DROP TABLE entry; --", "‮😀", ""]
        async with place.open() as log:
            await log.append([new_entry(native_type=text) for text in texts])
            await log.append([quarantined_entry(problem=text) for text in texts])
            entries = await log.read(0)
            assert [entry.native_type for entry in entries[:6]] == texts
            assert [entry.problem for entry in entries[6:]] == texts

    async def test_a_nul_cuts_no_text_off(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry(native_type="a\0b")])
            ((native_type),) = [entry.native_type for entry in await log.read(0)]
            assert native_type in ("a\0b", "a\ufffdb")

    async def test_a_request_that_cannot_be_stored_hurts_no_neighbour(self, place: Place) -> None:
        async with place.open() as log:
            requests = [[new_entry(f"{number}-{part}") for part in range(2)] for number in range(20)]
            requests[7][1] = requests[7][1]._replace(native_type="\ud800")
            answers = await asyncio.gather(*(log.append(request) for request in requests), return_exceptions=True)
            assert [number for number, answer in enumerate(answers) if isinstance(answer, StoreError)] == [7]
            kept = [entry for answer in answers if not isinstance(answer, BaseException) for entry in answer]
            assert sorted(receipt.position or 0 for receipt in kept) == list(range(1, 39))
            assert {entry.uid for entry in await read_all(log)} == {receipt.uid for receipt in kept}
            assert await log.append([new_entry("7-0")]) == [Receipt(strong_key("7-0"), 39)]

    async def test_a_caller_that_hangs_up_cancels_nothing(self, place: Place) -> None:
        async with place.open() as log:
            tasks = [asyncio.create_task(log.append([new_entry(str(number))])) for number in range(10)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await log.append([new_entry("last")])
            assert len(await read_all(log)) == 11

    async def test_positions_are_dense_and_in_order_under_many_writers_and_readers(self, place: Place) -> None:
        async with place.open() as log:
            finished = False

            async def write(writer: int) -> list[Receipt]:
                receipts = []
                for number in range(20):
                    size = 1 + (writer + number) % 4
                    receipts += await log.append([new_entry(f"{writer}-{number}-{part}") for part in range(size)])
                return receipts

            async def follow() -> list[Entry]:
                seen: list[Entry] = []
                while not finished or len(seen) < log.head:
                    await log.wait(len(seen), 0.01)
                    seen += await log.read(len(seen), limit=7)
                return seen

            followers = [asyncio.create_task(follow()) for _ in range(3)]
            receipts = [receipt for answer in await asyncio.gather(*map(write, range(16))) for receipt in answer]
            finished = True
            uids = {receipt.position: receipt.uid for receipt in receipts}
            assert sorted(position or 0 for position in uids) == list(range(1, len(receipts) + 1))
            for seen in await asyncio.gather(*followers):
                assert [entry.position for entry in seen] == list(range(1, len(receipts) + 1))
                assert all(uids[entry.position] == entry.uid for entry in seen)

    async def test_the_entries_of_a_request_stand_together(self, place: Place) -> None:
        async with place.open() as log:
            answers = await asyncio.gather(*(log.append([new_entry() for _ in range(5)]) for _ in range(10)))
            for answer in answers:
                first = answer[0].position
                assert first is not None
                assert [receipt.position for receipt in answer] == list(range(first, first + 5))

    async def test_what_was_acknowledged_is_read_at_once(self, place: Place) -> None:
        async with place.open() as log:

            async def append(number: int) -> None:
                (receipt,) = await log.append([new_entry(str(number))])
                assert receipt.position is not None
                assert log.head >= receipt.position
                (entry,) = await log.read(receipt.position - 1, limit=1)
                assert entry.uid == receipt.uid
                assert await log.latest(entry.uid) == receipt.position

            await asyncio.gather(*(append(number) for number in range(50)))

    @pytest.mark.parametrize("limit", [1, 3, 7, 20, 50])
    async def test_pages_joined_give_each_entry_once(self, place: Place, limit: int) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(20)])
            assert [entry.position for entry in await read_all(log, limit=limit)] == list(range(1, 21))

    async def test_a_read_ends_where_it_is_told(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(9)])
            assert [entry.position for entry in await log.read(2, until=5)] == [3, 4, 5]
            assert [entry.position for entry in await log.read(7, until=99)] == [8, 9]
            assert await log.read(5, until=5) == []
            assert await log.read(9) == []

    async def test_a_read_is_bounded_in_bytes_and_never_empty_before_the_end(self, place: Place) -> None:
        async with place.open() as log:
            mib = 1024 * 1024
            for size in (3, 3, 3, 3, 30, 1):
                await log.append([new_entry(event=b" " * (size * mib))])
            lengths = []
            after = 0
            while page := await log.read(after):
                lengths.append([len(entry.event or b"") // mib for entry in page])
                after = page[-1].position
            assert lengths == [[3, 3, 3], [3, 30], [1]]

    async def test_entries_are_fetched_in_the_order_asked(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(5)])
            assert [entry.position for entry in await log.fetch([4, 99, 1, 5])] == [4, 1, 5]
            assert await log.fetch([]) == []

    async def test_what_is_fetched_is_bounded_in_bytes_and_is_asked_for_again_where_it_ended(
        self, place: Place
    ) -> None:
        async with place.open() as log:
            mib = 1024 * 1024
            sizes = (3, 3, 3, 3, 30, 1)
            for size in sizes:
                await log.append([new_entry(event=b" " * (size * mib))])
            asked = [6, 5, 4, 99, 3, 2, 1]
            lengths = []
            while entries := await log.fetch(asked):
                lengths.append([len(entry.event or b"") // mib for entry in entries])
                asked = asked[asked.index(entries[-1].position) + 1 :]
            assert lengths == [[1, 30], [3, 3, 3], [3]]
            assert [entry.position for entry in await log.fetch([2, 1], size=1)] == [2]

    async def test_many_entries_far_apart_are_fetched_as_they_are_read(self, place: Place) -> None:
        async with place.open() as log:
            for _ in range(5):
                await log.append([new_entry() for _ in range(200)])
            entries = await read_all(log)
            assert await log.fetch([entry.position for entry in reversed(entries)]) == entries[::-1]

    async def test_the_beginning_of_what_was_sent(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry(raw=b"first"), new_entry(raw=b"0123456789"), new_entry(raw=b"")])
            assert [await log.raw(2, size=size) for size in (4, 100)] == [
                Raw(b"0123", "application/json"),
                Raw(b"0123456789", "application/json"),
            ]
            assert await log.raw(3, size=4) == Raw(b"", "application/json")

    async def test_what_an_event_came_in_is_kept_beside_it(self, place: Place) -> None:
        small, large = b'[{"members":{"stream":"stdout"}}]', b'[{"members":{"filling":"%s"}}]' % (b"x" * 4000)
        envelopes = [small, b"", large, large, b"", small, small]
        new = [
            new_entry(raw=b"line\n\xff %d" % number, media="text/plain", envelope=envelope)
            for number, envelope in enumerate(envelopes)
        ]
        async with place.open() as log:
            await log.append(new[:4])
            await log.append([*new[4:], new_entry(raw=b"", envelope=small)])
            for position, one in enumerate(new, 1):
                assert await log.raw(position) == raw_of(one)
                assert await log.raw(position, size=3) == Raw(one.raw[:3], "text/plain", one.envelope)
            assert await log.raw(8) == Raw(b"", "application/json", small)
            assert [one.envelope for one in await log.read_stored(0)] == [*envelopes, small]
            assert [one.raw for one in await log.read_stored(2, limit=3)] == [one.raw for one in new[2:5]]
        async with place.open() as log:
            assert [one.envelope for one in await log.read_stored(0)] == [*envelopes, small]

    async def test_what_is_quarantined_is_the_same_whatever_it_came_in(self, place: Place) -> None:
        first = quarantined_entry(raw=b"line", weak=weak_digest("w"), envelope=b'[{"forwarder":"docker"}]')
        async with place.open() as log:
            await log.append([first])
            for envelope in (b"", b'[{"forwarder":"vector"}]', first.envelope):
                again = quarantined_entry(raw=b"line", uid=first.uid, weak=first.weak, envelope=envelope)
                assert await log.append([again]) == [Receipt(first.uid, None)]
                both = [again, again._replace(raw=b"other")]
                receipts = await log.append(both)
                assert receipts[0] == Receipt(first.uid, None)

    async def test_an_entry_is_found_by_its_uid_alone(self, place: Place) -> None:
        async with place.open() as log:
            entries = [new_entry(weak="w"), new_entry("s", "w"), new_entry(), new_entry("t", "u")]
            await log.append(entries)
            assert await log.latest(weak_key("w")) == 1
            # Known to be the first one's, but not its uid.
            assert await log.latest(strong_key("s")) is None
            assert await log.latest(entries[2].uid) == 2
            assert await log.latest(strong_key("t")) == 3
            assert await log.latest(weak_key("u")) is None
            assert await log.latest(uuid.uuid4().bytes) is None

    async def test_a_position_is_found_by_time_of_arrival(self, place: Place) -> None:
        async with place.open() as log:
            arrivals = [100, 300, 200, 300, 500, 400]
            await log.append([new_entry(received_at=at) for at in arrivals])
            found = [await log.position_at(at) for at in (100, 101, 300, 301, 401, 500, 501)]
            assert found == [0, 1, 1, 4, 4, 4, 6]

    async def test_a_position_is_found_by_time_in_a_long_log(self, place: Place) -> None:
        async with place.open() as log:
            for start in range(0, 5000, 250):
                await log.append([new_entry(received_at=number - number % 7) for number in range(start, start + 250)])
            for at in (7, 700, 2100, 4900):
                assert await log.position_at(at) == at
            assert await log.position_at(10**9) == 5000

    async def test_waiting_ends_when_an_entry_comes_or_the_time_is_over(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.wait(0, 0.001) == 0
            waiters = [asyncio.create_task(log.wait(0)) for _ in range(3)]
            await asyncio.sleep(0)
            await log.append([new_entry()])
            assert await asyncio.gather(*waiters) == [1, 1, 1]
            assert await log.wait(0) == 1

    async def test_a_log_in_order_is_writable(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.writable() is None
            assert log.head == 0

    # Revisions

    async def test_a_quarantined_entry_becomes_an_event_like_any_other(self, place: Place) -> None:
        async with place.open() as log:
            first = quarantined_entry(received_at=500)
            await log.append([first, new_entry(received_at=900)])
            event = b'{"at": "last"}'
            assert await log.revise([Revision(1, 1, "LOGIN", "access.LOGIN", event)]) == [3]
            assert (await log.read(2)) == [
                Entry(3, first.uid, 0, 500, "prod", "access.LOGIN", event, None, "LOGIN"),
            ]
            assert (await log.read(0))[0].event is None
            assert await log.latest(first.uid) == 3
            assert log.head == 3

    async def test_corrections_are_numbered(self, place: Place) -> None:
        async with place.open() as log:
            new = new_entry("a")
            await log.append([new, quarantined_entry()])
            latest = {1: 1, 2: 2}
            for _ in range(3):
                revisions = [revision(first, latest[first]) for first in (1, 2)]
                first, second = await log.revise(revisions) or []
                assert first is not None
                assert second is not None
                latest = {1: first, 2: second}
            entries = await log.read(2)
            assert [(entry.position, entry.revision) for entry in entries] == [
                (3, 1), (4, 0), (5, 2), (6, 1), (7, 3), (8, 2)
            ]  # fmt: skip
            assert {entry.uid for entry in entries[::2]} == {new.uid}
            assert await log.latest(new.uid) == 7

    async def test_a_revision_has_what_the_provider_sent_for_its_event(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry("a", raw=b"sent", media="text/plain"), new_entry("b", raw=b"other")])
            await log.revise([revision(1, 1)])
            await log.revise([revision(1, 3)])
            assert await log.raw(3) == await log.raw(4) == Raw(b"sent", "text/plain")

    async def test_a_revision_made_for_an_earlier_entry_is_refused_with_all_that_came_with_it(
        self, place: Place
    ) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry("b")])
            assert await log.revise([revision(1, 1)], Note("job", "at 1", 1)) == [3]
            assert await log.revise([revision(2, 2), revision(1, 1)], Note("job", "at 2", 2)) is None
            assert await log.revise([revision(2, 2), revision(2, 2)]) is None
            assert (log.head, await log.noted("job")) == (3, Note("job", "at 1", 1))
            answers = await asyncio.gather(*(log.revise([revision(2, 2)]) for _ in range(5)))
            assert sorted(answers, key=bool) == [None] * 4 + [[4]]

    async def test_a_revision_of_nothing_hurts_no_neighbour(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry()])
            refused, stored, receipts = await asyncio.gather(
                log.revise([revision(9, 9)]), log.revise([revision(1, 1)]), log.append([new_entry()]),
                return_exceptions=True,
            )  # fmt: skip
            assert isinstance(refused, StoreError)
            assert isinstance(stored, list)
            assert isinstance(receipts, list)
            assert {*stored, *(receipt.position for receipt in receipts)} == {2, 3}

    async def test_a_copy_of_a_revised_event_is_a_duplicate(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry("a")])
            await log.revise([revision(1, 1)])
            assert await log.append([new_entry("a")]) == [Receipt(strong_key("a"), None)]

    async def test_positions_stay_dense_while_events_are_revised(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(100)])

            async def revise(first: int) -> None:
                assert await log.revise([revision(first, first)]) is not None

            await asyncio.gather(
                *(revise(first) for first in range(1, 101)),
                *(log.append([new_entry(), new_entry()]) for _ in range(50)),
            )
            entries = await read_all(log)
            assert [entry.position for entry in entries] == list(range(1, 301))
            assert sum(entry.revision for entry in entries) == 100

    async def test_revisions_and_notes_outlive_closing(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([quarantined_entry(), new_entry("a")])
            await log.revise([revision(1, 1), revision(2, 2)], Note("job", "☃", 1))
            await log.revise([], Note("other", "", 1))
            before = await read_all(log)
        async with place.open() as log:
            assert await read_all(log) == before
            assert [await log.noted(name) for name in ("job", "other", "none")] == [
                Note("job", "☃", 1),
                Note("other", "", 1),
                None,
            ]
            assert await log.revise([revision(1, 1)]) is None
            assert await log.revise([revision(1, 3)]) == [5]

    async def test_an_arrival_is_found_although_revisions_take_theirs_over(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry(received_at=100), new_entry(received_at=200)])
            await log.revise([revision(1, 1)])
            await log.append([new_entry(received_at=300)])
            assert [await log.position_at(at) for at in (100, 101, 201, 301)] == [0, 1, 3, 4]

    async def test_entries_are_read_with_what_they_were_made_of(self, place: Place) -> None:
        async with place.open() as log:
            new = [new_entry(raw=b"%d" % number) for number in range(40)]
            new[7:9] = [quarantined_entry(raw=b""), new_entry(raw=b"line", media="text/x")]
            new[12:15] = [one._replace(envelope=b'[{"time":%d}]' % number) for number, one in enumerate(new[12:15])]
            await log.append(new[:30])
            await log.append(new[30:])
            await log.revise([revision(8, 8), revision(31, 31)])
            await log.append([new_entry(raw=b"after")])
            await log.revise([revision(8, 41)])
            entries = await read_all(log)
            expected = [
                Stored(entry, one.raw, one.media, entry.position, one.envelope)
                for entry, one in zip(entries, new, strict=False)
            ]
            expected[7] = expected[7]._replace(latest=44)
            expected[30] = expected[30]._replace(latest=42)
            expected += [Stored(entry, None, "", entry.position) for entry in entries[40:]]
            expected[42] = Stored(entries[42], b"after", "application/json", 43)
            for limit in (1, 7, 32, 100):
                found: list[Stored] = []
                while page := await log.read_stored(len(found), limit=limit):
                    assert len(page) <= limit
                    found += page
                assert found == expected
            assert await log.read_stored(5, until=8) == expected[5:8]
            assert await log.read_stored(44) == []

    async def test_what_was_sent_is_bounded_in_bytes(self, place: Place) -> None:
        async with place.open() as log:
            mib = 1024 * 1024
            for size in (3, 3, 3, 9, 0, 1):
                await log.append([new_entry(raw=b" " * (size * mib))])
            sizes = []
            after = 0
            while page := await log.read_stored(after):
                sizes.append([len(one.raw or b"") // mib for one in page])
                after = page[-1].entry.position
            assert sizes == [[3, 3], [3], [9], [0, 1]]

    async def test_what_is_quarantined_comes_in_groups_the_largest_first(self, place: Place) -> None:
        async with place.open() as log:
            for number, (source, native_type, problem) in enumerate(
                [
                    ("prod", "999", "no row"),
                    ("prod", None, "not JSON: a quote: line 1 column 5 (char 4)"),
                    ("test", "999", "no row"),
                    ("prod", None, "not JSON: a quote: line 3 column 1 (char 40)"),
                    ("prod", "998", "no row"),
                    ("prod", None, "not JSON: a comma: line 3 column 1 (char 40)"),
                ]
            ):
                entry = quarantined_entry(
                    source=source, native_type=native_type, problem=problem, received_at=100 - number
                )
                await log.append([entry, new_entry()])
            found = await log.quarantine()
            assert (found.entries, found.kinds) == (6, 5)
            assert found.groups[0] == QuarantineGroup("prod", None, "not JSON: a quote", 2, 97, 99, 3, 7)
            assert [group.last for group in found.groups] == [7, 11, 9, 5, 1]
            assert [group.last for group in (await log.quarantine(limit=2)).groups] == [7, 11]
            assert (await log.quarantine(sources=["test"])).groups == [
                QuarantineGroup("test", "999", "no row", 1, 98, 98, 5, 5)
            ]
            assert (await log.quarantine(native_types=["999"])).entries == 2
            assert await log.quarantine(sources=[]) == (0, 0, [])

    async def test_what_became_an_event_is_not_quarantined_any_more(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([quarantined_entry(), quarantined_entry()])
            await log.revise([revision(1, 1)])
            assert [(group.entries, group.first) for group in (await log.quarantine()).groups] == [(1, 2)]

    async def test_arrivals_are_counted_by_source_and_native_type_each_event_once(self, place: Place) -> None:
        async with place.open() as log:
            new = [
                new_entry(native_type="LOGIN", received_at=5),
                quarantined_entry(native_type="999", received_at=6),
                quarantined_entry(native_type="999", received_at=3),
                quarantined_entry(received_at=8),
                new_entry(native_type="LOGIN", received_at=4),
                new_entry(source="test", native_type="LOGIN", received_at=9),
            ]
            for entry in new:
                await log.append([entry])
            await log.revise([revision(1, 1), Revision(2, 2, "999", "access.X", b"{}")])
            await log.revise([revision(1, 7)])
            assert await log.arrivals() == [
                Arrivals("prod", "999", 2, 1, 6),
                Arrivals("prod", "LOGIN", 2, 0, 5),
                Arrivals("prod", None, 1, 1, 8),
                Arrivals("test", "LOGIN", 1, 0, 9),
            ]
            assert await log.arrivals(after=4) == [
                Arrivals("prod", "999", 1, 0, 6),
                Arrivals("prod", "LOGIN", 1, 0, 4),
                Arrivals("test", "LOGIN", 1, 0, 9),
            ]

    # Identity

    async def test_a_second_copy_is_a_duplicate_of_the_first(self, place: Place) -> None:
        async with place.open() as log:
            first = new_entry("a", "w")
            await log.append([first])
            assert await log.append([new_entry("a", "w"), new_entry("a")]) == [Receipt(first.uid, None)] * 2
            assert [entry.event for entry in await log.read(0)] == [first.event]

    async def test_copies_in_one_request_and_at_the_same_time_are_one_event(self, place: Place) -> None:
        async with place.open() as log:
            requests = [[new_entry("a"), new_entry("a")], [new_entry("a")], [new_entry("a")]]
            answers = await asyncio.gather(*(log.append(request) for request in requests))
            assert sorted(receipt.position or 0 for answer in answers for receipt in answer) == [0, 0, 0, 1]

    async def test_entries_without_keys_are_new_each_time(self, place: Place) -> None:
        async with place.open() as log:
            entries = [new_entry() for _ in range(3)]
            assert await log.append(entries) == [
                Receipt(entry.uid, position) for position, entry in enumerate(entries, 1)
            ]

    async def test_a_strong_copy_takes_the_weak_one_and_keeps_its_uid(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry(weak="w")])
            assert await log.append([new_entry("a", "w")]) == [Receipt(weak_key("w"), None)]
            # Now it is known by both, and the weak key is taken.
            assert await log.append([new_entry("a", "w")]) == [Receipt(weak_key("w"), None)]
            assert await log.append([new_entry("b", "w")]) == [Receipt(strong_key("b"), 2)]

    async def test_a_weak_copy_takes_the_strong_one(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry("a", "w")])
            assert await log.append([new_entry(weak="w")]) == [Receipt(strong_key("a"), None)]

    async def test_what_is_known_is_told_as_if_it_were_appended_and_nothing_is_stored(self, place: Place) -> None:
        async with place.open() as log:
            strong, weak, both = new_entry("a"), new_entry(weak="w"), new_entry("b", "v")
            twins = [new_entry(weak="t") for _ in range(2)]
            unread = unread_entry(b"odd")
            given = [strong, weak, both, *twins, unread]
            assert await log.known(given) == [None] * 6
            assert log.head == 0
            receipts = await log.append(given)
            uids = [one.uid for one in receipts]
            assert await log.known(given) == uids
            # A strong copy of the weak one, a weak copy of the strong one, and bytes that can be read by now.
            assert await log.known([new_entry("c", "w"), new_entry(weak="v")]) == [weak.uid, both.uid]
            assert await log.known([read_entry(b"odd", "read")]) == [unread.uid]
            # Of three equal ones without ids in one request the log has two, and of one the first.
            assert await log.known([new_entry(weak="t") for _ in range(3)]) == [*uids[3:5], None]
            assert await log.known([new_entry(weak="t")]) == [uids[3]]
            # A second copy of what is new is as new as the first.
            assert await log.known([new_entry("n"), new_entry("n"), new_entry("a")]) == [None, None, strong.uid]
            # Another session, another event.
            here, there = (new_entry(weak="s", session=one) for one in ("here", "there"))
            await log.append([here])
            assert await log.known([there, here]) == [None, here.uid]
            assert log.head == 7
            assert await log.append([new_entry("c", "w")]) == [Receipt(weak.uid, None)]

    async def test_two_ids_with_equal_fields_are_two_events(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.append([new_entry("a", "w"), new_entry("b", "w"), new_entry("c", "w")]) == [
                Receipt(strong_key("a"), 1),
                Receipt(strong_key("b"), 2),
                Receipt(strong_key("c"), 3),
            ]
            *known, fourth = await log.append([new_entry(weak="w") for _ in range(4)])
            assert known == [
                Receipt(strong_key("a"), None),
                Receipt(strong_key("b"), None),
                Receipt(strong_key("c"), None),
            ]
            assert fourth.position == 4
            assert await log.append([new_entry("d", "w")]) == [Receipt(fourth.uid, None)]

    async def test_equal_fields_in_one_request_are_told_apart_and_in_two_are_not(self, place: Place) -> None:
        async with place.open() as log:
            pair = [new_entry(weak="w"), new_entry(weak="w")]
            first, second = await log.append(pair)
            assert [first.position, second.position] == [1, 2]
            assert first.uid == pair[0].uid != second.uid
            assert await log.append(pair) == [Receipt(first.uid, None), Receipt(second.uid, None)]
            assert await log.append([new_entry(weak="w")]) == [Receipt(first.uid, None)]

    async def test_strong_copies_take_the_numbered_ones_in_order(self, place: Place) -> None:
        async with place.open() as log:
            numbered = await log.append([new_entry(weak="w") for _ in range(3)])
            assert await log.append([new_entry("a", "w"), new_entry("b", "w")]) == [
                Receipt(numbered[0].uid, None),
                Receipt(numbered[1].uid, None),
            ]
            assert await log.append([new_entry("c", "w")]) == [Receipt(numbered[2].uid, None)]
            assert await log.append([new_entry("d", "w")]) == [Receipt(strong_key("d"), 4)]

    async def test_an_event_is_known_by_its_id_and_its_second_together(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.append(
                [new_entry("a"), new_entry("a", seconds=SECONDS + 1), new_entry("a", seconds=0)]
            ) == [
                Receipt(strong_key("a"), 1),
                Receipt(strong_key("a", SECONDS + 1), 2),
                Receipt(strong_key("a", 0), 3),
            ]
            assert (await log.append([new_entry("a", seconds=SECONDS + 1)]))[0].position is None
            assert await log.latest(strong_key("a", 0)) == 3

    @pytest.mark.parametrize("ways", [(False, False), (True, False), (False, True), (True, True)])
    async def test_events_of_one_weak_key_are_told_apart_by_their_session(
        self, place: Place, ways: tuple[bool, bool]
    ) -> None:
        """Whether with ids or without, and whichever comes alone first."""

        def event(session: str, *, has_id: bool) -> NewEntry:
            return new_entry(session if has_id else None, "w", session=session)

        first, later = ways
        async with place.open() as log:
            (alone,) = await log.append([event("B", has_id=first)])
            a, b = await log.append([event("A", has_id=later), event("B", has_id=later)])
            assert (alone.position, a.position, b) == (1, 2, Receipt(alone.uid, None))
            assert await log.append([event("A", has_id=first)]) == [Receipt(a.uid, None)]
            assert {entry.uid for entry in await log.read(0)} == {a.uid, b.uid}

    async def test_details_that_both_have_tell_apart_and_others_do_not(self, place: Place) -> None:
        def event(**details: str) -> NewEntry:
            return new_entry(weak="w", details=details)

        async with place.open() as log:
            pushed = await log.append([event(code_id="1", more="x"), event(code_id="2", more="x")])
            assert [receipt.position for receipt in pushed] == [1, 2]
            polled = await log.append([event(code_id="2"), event(code_id="1"), event(code_id="3")])
            assert [receipt.uid for receipt in polled[:2]] == [pushed[1].uid, pushed[0].uid]
            assert [receipt.position for receipt in polled] == [None, None, 3]
            assert [receipt.position for receipt in await log.append([event(code_id="3")])] == [None]

    async def test_what_is_quarantined_is_told_apart_by_its_bytes(self, place: Place) -> None:
        def quarantined(raw: bytes) -> NewEntry:
            return new_entry(weak="w", raw=raw, type=None, event=None, problem="no row")

        async with place.open() as log:
            first = await log.append([quarantined(b"A"), quarantined(b"B")])
            assert [receipt.position for receipt in first] == [1, 2]
            assert await log.append([quarantined(b"B")]) == [Receipt(first[1].uid, None)]
            event = new_entry(weak="w", raw=b"A")
            assert await log.append([event, event._replace(raw=b"C")]) == [
                Receipt(first[0].uid, None, 1),
                Receipt((await log.read(2))[0].uid, 3),
            ]

    # What is quarantined is known by its bytes

    @pytest.mark.parametrize("keys", [("a", None), (None, "w"), ("a", "w"), (None, None)])
    @pytest.mark.parametrize("before", [(None, None), ("other", None), (None, "other")])
    async def test_an_event_is_the_quarantined_entry_of_the_same_bytes_whatever_its_keys(
        self, place: Place, before: tuple[str | None, str | None], keys: tuple[str | None, str | None]
    ) -> None:
        async with place.open() as log:
            await log.append([new_entry("first")])
            first = unread_entry(b"{", *before)
            await log.append([first])
        async with place.open() as log:
            assert await log.append([unread_entry(b"{", *before)]) == [Receipt(first.uid, None)]
            assert await log.append([read_entry(b"{", *keys)]) == [Receipt(first.uid, None, 2)]
            assert await log.revise([revision(2, 2)]) == [3]
            if keys != (None, None):
                # Whatever its bytes are now: its keys are known.
                assert await log.append([read_entry(b"{ }", *keys)]) == [Receipt(first.uid, None)]
            assert await log.latest(first.uid) == 3

    async def test_bytes_of_events_tell_nothing(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([read_entry(b"{", "a")])
            assert (await log.append([read_entry(b"{", "b")]))[0].position == 2
            assert (await log.append([unread_entry(b"{")]))[0].position == 3

    async def test_an_event_whose_keys_the_quarantined_entry_has_is_that_entry(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([unread_entry(b"{", "a"), unread_entry(b"[", None, "w")])
            assert await log.append([read_entry(b"{ ", "a"), read_entry(b"[", None, "w")]) == [
                Receipt(strong_key("a"), None, 1),
                Receipt(weak_key("w"), None, 2),
            ]

    async def test_of_one_request_an_event_is_the_quarantined_entry_before_it(self, place: Place) -> None:
        async with place.open() as log:
            receipts = await log.append([new_entry(), unread_entry(b"{", "a"), read_entry(b"{", "a")])
            assert receipts[2] == Receipt(strong_key("a"), None, 2)

    async def test_equal_quarantined_entries_become_as_many_events(self, place: Place) -> None:
        async with place.open() as log:
            first, second = await log.append([unread_entry(b"{"), unread_entry(b"{")])
            assert (first.position, second.position) == (1, 2)
            for _ in range(2):
                assert await log.append([read_entry(b"{", None, "w")]) == [Receipt(first.uid, None, 1)]
            again = await log.append([read_entry(b"{", None, "w"), read_entry(b"{", None, "w")])
            assert again == [Receipt(first.uid, None, 1), Receipt(second.uid, None, 2)]
            assert (await log.append([read_entry(b"{", None, "w") for _ in range(3)]))[2].position == 3

    @pytest.mark.parametrize("is_one", [True, False])
    async def test_equal_quarantined_entries_that_are_read_again_become_as_many_events(
        self, place: Place, is_one: bool
    ) -> None:
        async with place.open() as log:
            first, second = await log.append([unread_entry(b"{"), unread_entry(b"{")])
            keys = read_keys(b"{", None, "w")
            revisions = [revision(1, 1)._replace(keys=keys), revision(2, 2)._replace(keys=keys)]
            if is_one:
                assert await log.revise(revisions) == [3, 4]
            else:
                assert [await log.revise([one]) for one in revisions] == [[3], [4]]
            again = await log.append([read_entry(b"{", None, "w") for _ in range(3)])
            assert again[:2] == [Receipt(first.uid, None), Receipt(second.uid, None)]
            assert again[2].position == 5

    @pytest.mark.parametrize("keys", [("a", None), (None, "w"), ("a", "w")])
    @pytest.mark.parametrize("before", [(None, None), ("other", None), (None, "w")])
    async def test_what_is_read_again_is_known_by_its_keys_from_then_on(
        self, place: Place, before: tuple[str | None, str | None], keys: tuple[str | None, str | None]
    ) -> None:
        async with place.open() as log:
            first = unread_entry(b"{", *before)
            await log.append([first])
            again = revision(1, 1)._replace(keys=read_keys(b"{", *keys))
            assert await log.revise([again]) == [2]
            assert await log.append([read_entry(b"{ }", *keys)]) == [Receipt(first.uid, None)]
            assert await log.append([read_entry(b"{", *keys)]) == [Receipt(first.uid, None)]

    async def test_what_an_older_version_read_again_is_known_by_its_bytes(self, place: Place) -> None:
        async with place.open() as log:
            first = unread_entry(b"{")
            await log.append([first])
            assert await log.revise([revision(1, 1)]) == [2]
            assert await log.append([read_entry(b"{", "a")]) == [Receipt(first.uid, None)]
            assert await log.append([read_entry(b"{ }", "a")]) == [Receipt(first.uid, None)]

    @pytest.mark.parametrize("keys", [("a", None), (None, "w")])
    async def test_what_is_read_again_as_a_copy_of_another_event_is_left_as_it_is(
        self, place: Place, keys: tuple[str | None, str | None]
    ) -> None:
        async with place.open() as log:
            await log.append([unread_entry(b"{"), unread_entry(b"[")])
            await log.append([read_entry(b"{ }", *keys)])
            copy = revision(1, 1)._replace(keys=read_keys(b"{", *keys))
            other = revision(2, 2)._replace(keys=read_keys(b"[", "b"))
            assert await log.revise([copy, other]) == [None, 4]
            assert await log.revise([copy], Note("job", "done", 1)) == [None]
            assert await log.noted("job") == Note("job", "done", 1)
            assert [one.entries for one in (await log.quarantine()).groups] == [1]

    async def test_a_large_request_that_can_be_read_by_now_is_what_was_quarantined(self, place: Place) -> None:
        async with place.open() as log:
            raws = [b"%d " % number * 50 for number in range(3000)]
            first = await log.append([unread_entry(raw) for raw in raws])
            again = await log.append([read_entry(raw, f"{number}") for number, raw in enumerate(raws)])
            assert again == [Receipt(one.uid, None, one.position) for one in first]

    @pytest.mark.parametrize("has_ids", [True, False])
    async def test_any_number_of_events_share_a_weak_key(self, place: Place, has_ids: bool) -> None:
        def events(numbers: Iterable[int]) -> list[NewEntry]:
            return [new_entry(f"{one}" if has_ids else None, "w", session=f"{one}") for one in numbers]

        async with place.open() as log:
            first = await log.append(events(range(100)))
            assert [receipt.position for receipt in first] == list(range(1, 101))
            assert await log.append(events(reversed(range(100)))) == [
                Receipt(receipt.uid, None) for receipt in reversed(first)
            ]
            (alone,) = await log.append(events([57]))
            assert alone == Receipt(first[57].uid, None)
            assert len({entry.uid for entry in await log.read(0)}) == 100

    async def test_an_event_is_called_what_its_entry_is(self, place: Place) -> None:
        large = [new_entry(weak="w", session=f"{number}", raw=bytes(50_000)) for number in range(200)]
        async with place.open() as log:
            for request in ([new_entry(weak="v"), new_entry(weak="v")], large):
                await log.append(request)
            for entry in await log.read(0):
                assert entry.event is not None
                assert orjson.loads(entry.event)["uid"] == uid_text(entry.uid)

    # Readers' progress

    async def test_a_reader_never_seen_has_no_progress(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.progress("sink") is None
            assert await log.held("sink") == []
            assert await log.next_due("sink") is None

    async def test_a_reader_begins_once(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.begin("sink", 7, "f") == ReaderState(cursor=7, epoch=1, filter="f", since=7)
            assert await log.begin("sink", 99, "f") == ReaderState(cursor=7, epoch=1, filter="f", since=7)
            assert await log.progress("other") is None

    async def test_settlements_move_progress_on(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            await log.begin("other", 0, "f")
            await log.settle(Settlement("sink", 1, 10, matched=5, delivered=3, hold=[held(2), held(4)]))
            await log.settle(Settlement("sink", 1, 20, matched=7, delivered=4, skipped=2, release=[4]))
            assert await log.progress("sink") == ReaderState(
                20, 1, "f", matched=7, delivered=4, skipped=2, held=1, waiting=2, since=0
            )
            assert await log.progress("other") == ReaderState(0, 1, "f", since=0)

    async def test_a_settlement_that_is_stored_twice_counts_once(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            first = Settlement("sink", 1, 10, matched=5, delivered=3, skipped=1, hold=[held(2), held(4)])
            second = Settlement("sink", 1, 12, matched=7, delivered=6, skipped=1, hold=[held(2, tries=2)], release=[4])
            for settlement in (first, first, second, second):
                await log.settle(settlement)
            assert await log.progress("sink") == ReaderState(
                12, 1, "f", matched=7, delivered=6, skipped=1, held=1, waiting=2, since=0
            )
            assert await log.held("sink") == [held(2, tries=2)]

    async def test_progress_never_goes_back(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 5, "f")
            await log.settle(Settlement("sink", 1, 7, matched=2, delivered=2))
            await log.settle(Settlement("sink", 1, 3, matched=1))
            assert await log.progress("sink") == ReaderState(7, 1, "f", matched=2, delivered=2, since=5)

    async def test_many_readers_are_moved_on_at_once(self, place: Place) -> None:
        async with place.open() as log:
            claims = {name: await claimed(log, name, "a") for name in ("idle", "ahead", "lost")}
            for name in ("idle", "ahead", "lost", 'un"claimed'):
                await log.begin(name, 3, "f", claims[name].token if name in claims else 0)
            tokens = {name: claim.token for name, claim in claims.items()} | {'un"claimed': 0, "unknown": 0}
            await log.settle(Settlement("idle", 1, 4, matched=2, delivered=1, hold=[held(2)], token=tokens["idle"]))
            await log.settle(Settlement("ahead", 1, 12, token=tokens["ahead"]))
            await log.advance(10, tokens | {"lost": claims["lost"].token + 1})
            await log.advance(9, tokens | {"lost": 0})
            cursors = {name: state and state.cursor for name in tokens for state in [await log.progress(name)]}
            assert cursors == {"idle": 10, "ahead": 12, "lost": 3, 'un"claimed': 10, "unknown": None}
            assert await log.progress("idle") == ReaderState(
                10, 1, "f", matched=2, delivered=1, held=1, waiting=2, since=3
            )
            await log.advance(20, {})

    async def test_held_rows_come_soonest_due_first_and_the_dead_last(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            rows = [held(1, due_at=300), held(2, due_at=None), held(3, due_at=100), held(4, due_at=200)]
            await log.settle(Settlement("sink", 1, 4, matched=4, hold=rows))
            assert [row.position for row in await log.held("sink")] == [3, 4, 1, 2]
            assert [row.position for row in await log.held("sink", limit=2)] == [3, 4]
            assert [row.position for row in await log.held("sink", due_at=200)] == [3, 4]
            assert await log.next_due("sink") == 100
            progress = await log.progress("sink")
            assert progress is not None
            assert (progress.held, progress.dead) == (3, 1)

    async def test_a_held_row_is_replaced(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            await log.settle(Settlement("sink", 1, 1, matched=1, hold=[held(1, tries=1)]))
            await log.settle(Settlement("sink", 1, 1, hold=[Held(1, 2, None, 'gave up: "no"')]))
            assert await log.held("sink") == [Held(1, 2, None, 'gave up: "no"')]
            assert await log.next_due("sink") is None

    async def test_held_rows_are_found_by_position_and_page_by_page(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            rows = [held(1, due_at=None), held(2), held(4, due_at=None), held(9, due_at=None)]
            await log.settle(Settlement("sink", 1, 9, matched=9, hold=rows))
            assert await log.held_at("sink", [9, 3, 2]) == [rows[1], rows[3]]
            assert await log.held_at("other", [9]) == []
            assert await log.rows("sink") == rows
            assert await log.rows("sink", dead=False) == [rows[1]]
            assert await log.rows("sink", dead=True, limit=2) == [rows[0], rows[2]]
            assert await log.rows("sink", dead=True, after=4) == [rows[3]]
            assert await log.rows("sink", after=1, until=8) == [rows[1], rows[2]]
            assert await log.rows("other") == []

    async def test_attempts_are_remembered_with_the_settlement_and_once(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            await log.begin("other", 0, "f")
            tried = [attempt(100, 1), attempt(100, 2, outcome="delivered", status=200), attempt(90, 3)]
            step = Settlement("sink", 1, 3, matched=3, delivered=1, hold=[held(1), held(3)], attempts=tried)
            await log.settle(step)
            await log.settle(step)
            assert await log.attempts("sink") == [tried[1], tried[0], tried[2]]
            assert await log.attempts("other") == []
            assert await log.attempts("nobody") == []

    async def test_attempts_alone_move_nothing_else(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 4, "f")
            await log.settle(Settlement("sink", 1, 4, attempts=[attempt(100, 5, status=None)]))
            assert await log.progress("sink") == ReaderState(4, 1, "f", since=4)
            (found,) = await log.attempts("sink")
            assert (found.status, found.resolve, found.total, found.excerpt) == (None, None, 12, 'no \u202e\n"')

    async def test_attempts_are_found_by_what_they_came_to_and_when_and_for_which_event(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            tried = [
                attempt(10, 1),
                attempt(20, 2, outcome="dead", status=400),
                attempt(30, 3, outcome="delivered", status=204, last=9, entries=5),
                attempt(40, 2),
            ]
            await log.settle(Settlement("sink", 1, 9, attempts=tried))

            async def found(**asked: Any) -> list[int]:
                return [one.began_at for one in await log.attempts("sink", **asked)]

            assert await found(position=2) == [40, 20]
            assert await found(position=7) == [30]
            assert await found(outcomes=["dead", "delivered"]) == [30, 20]
            assert await found(statuses=[503]) == [40, 10]
            assert await found(began_from=20, began_to=40) == [30, 20]
            assert await found(limit=2) == [40, 30]
            assert await found(before=(30, 3), limit=1) == [20]
            assert await found(outcomes=[]) == []

    async def test_attempts_that_are_old_or_too_many_are_forgotten_step_by_step(self, place: Place) -> None:
        async with place.open() as log:
            for reader, times in (("sink", numbers(1, 10)), ("other", numbers(5, 9))):
                await log.begin(reader, 0, "f")
                await log.settle(Settlement(reader, 1, 0, attempts=[attempt(time, time) for time in times]))
            assert await log.remove_attempts(before=4, most=100, limit=2) == 2
            assert [one.began_at for one in await log.attempts("sink")] == [10, 9, 8, 7, 6, 5, 4, 3]
            assert await log.remove_attempts(before=4, most=100, limit=2) == 1
            assert await log.remove_attempts(before=4, most=100) == 0
            assert await log.remove_attempts(before=4, most=3) == 6
            assert [one.began_at for one in await log.attempts("sink")] == [10, 9, 8]
            assert [one.began_at for one in await log.attempts("other")] == [9, 8, 7]

    async def test_a_changed_filter_begins_an_epoch_with_the_held_ones_as_matched(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            rows = [held(2), held(3, due_at=None)]
            await log.settle(Settlement("sink", 1, 9, matched=6, delivered=3, skipped=1, hold=rows))
            expected = ReaderState(9, 2, "g", matched=2, held=1, dead=1, waiting=2, since=9, carried=2)
            assert await log.begin("sink", 0, "g") == expected
            # The last settlement of the former epoch comes late: no counter of this one is touched.
            await log.settle(Settlement("sink", 1, 9, matched=4, delivered=4))
            assert await log.progress("sink") == expected

    async def test_keys_are_blocked_at_a_position_and_let_go(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            await log.begin("other", 0, "f")
            await log.settle(Settlement("other", 1, 9, hold=[held(2), held(4)], block=[BlockedKey("user:a", 9)]))
            blocked = [BlockedKey("user:a", 4), BlockedKey("user:b", 2), BlockedKey("user:c", 3)]
            first = Settlement("sink", 1, 9, matched=6, delivered=2, behind=4, block=blocked)
            again = [BlockedKey("user:b", 7)]
            second = Settlement("sink", 1, 9, matched=6, delivered=3, behind=3, block=again, unblock=["user:c", "none"])
            await log.settle(first)
            assert await log.blocked("sink") == [blocked[1], blocked[2], blocked[0]]
            assert await log.progress("sink") == ReaderState(
                9, 1, "f", matched=6, delivered=2, waiting=3, since=0, behind=4
            )
            for _ in range(2):
                await log.settle(second)
            assert await log.blocked("sink") == [blocked[0], *again]
            assert await log.blocked("nobody") == []
        async with place.open() as log:
            assert await log.blocked("sink") == [blocked[0], *again]
            # What is behind is counted anew with another filter; where each key is, stays.
            assert await log.begin("sink", 0, "g") == ReaderState(9, 2, "g", waiting=5, since=9)
            # The last settlement of the former epoch comes late: where its keys are, holds.
            await log.settle(replace(second, unblock=["user:a"]))
            assert await log.progress("sink") == ReaderState(9, 2, "g", waiting=8, since=9)
            await log.settle(Settlement("sink", 2, 9, matched=1, delivered=1, behind=3, carried=1))
            assert await log.progress("sink") == ReaderState(
                9, 2, "g", matched=1, delivered=1, waiting=8, since=9, behind=3, carried=1
            )

    async def test_a_blocked_key_says_whether_a_held_row_blocks_it(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            rows = [held(1), held(2), held(3, due_at=None)]
            others = [BlockedKey("user:c", 2), BlockedKey("user:d", 4, is_held=True)]
            blocked = [BlockedKey("user:a", 2, is_held=True), BlockedKey("user:b", 3, is_held=True), *others]
            await log.settle(Settlement("sink", 1, 9, matched=9, delivered=2, behind=4, hold=rows, block=blocked))
            assert await log.blocked("sink") == [
                BlockedKey("user:a", 2, True, True), others[0], BlockedKey("user:b", 3, True, False), others[1]
            ]  # fmt: skip

    async def test_a_reader_that_never_began_cannot_settle(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            appended = log.append([new_entry()])
            settled = log.settle(Settlement("nobody", 1, 3, hold=[held(1)]))
            known = log.settle(Settlement("sink", 1, 3, matched=1))
            receipts, refusal, done = await asyncio.gather(appended, settled, known, return_exceptions=True)
            assert isinstance(refusal, StoreError)
            assert "'nobody'" in str(refusal)
            assert (receipts, done) == ([Receipt((await log.read(0))[0].uid, 1)], None)
            assert await log.progress("sink") == ReaderState(3, 1, "f", matched=1, since=0)

    async def test_appends_and_settlements_go_on_together(self, place: Place) -> None:
        async with place.open() as log:
            await log.begin("sink", 0, "f")
            await asyncio.gather(
                *(log.append([new_entry()]) for _ in range(50)),
                *(log.settle(Settlement("sink", 1, number, matched=number, delivered=number)) for number in range(50)),
            )
            assert log.head == 50
            assert await log.progress("sink") == ReaderState(49, 1, "f", matched=49, delivered=49, since=0)

    # Notes

    async def test_a_note_takes_the_place_of_the_one_it_was_made_after(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.noted("place") is None
            await log.keep(Note("place", "1 ☃", 1))
            await log.keep(Note("place", "", 2))
            await log.keep(Note("other", "x" * 100_000, 1))
            assert await log.noted("place") == Note("place", "", 2)
        async with place.open() as log:
            assert await log.noted("place") == Note("place", "", 2)
            assert await log.noted("other") == Note("other", "x" * 100_000, 1)

    @pytest.mark.parametrize("version", [0, 1, 2, 4])
    async def test_a_note_that_was_made_after_another_one_is_refused(self, place: Place, version: int) -> None:
        async with place.open() as log:
            for number in (1, 2):
                await log.keep(Note("place", str(number), number))
            late = Note("place", "late", version)
            with pytest.raises(NoteChanged):
                await log.keep(late)
            with pytest.raises(NoteChanged):
                await log.append([new_entry("a")], late)
            with pytest.raises(NoteChanged):
                await log.append([], late)
            await log.append([new_entry("b")])
            with pytest.raises(NoteChanged):
                await log.revise([Revision(1, 1, None, "access.LOGIN", b"{}")], late)
            assert [entry.uid for entry in await read_all(log)] == [strong_key("b")]
            assert await log.noted("place") == Note("place", "2", 2)

    async def test_a_first_note_is_refused_as_a_later_one(self, place: Place) -> None:
        async with place.open() as log:
            with pytest.raises(NoteChanged):
                await log.keep(Note("place", "", 2))

    async def test_of_those_who_keep_a_note_at_once_one_does(self, place: Place) -> None:
        async with place.open() as log:
            notes = [Note("place", str(number), 1) for number in range(20)]
            answers = await asyncio.gather(*(log.keep(note) for note in notes), return_exceptions=True)
            assert sum(isinstance(answer, NoteChanged) for answer in answers) == 19
            assert await log.noted("place") == notes[answers.index(None)]

    async def test_notes_are_listed_by_how_their_names_begin(self, place: Place) -> None:
        async with place.open() as log:
            assert await log.notes("sink ") == []
            kept = [Note(f"sink {name}", name, 1) for name in ("Z", "a", "a%", "a_b", "ä", "\U0010fffd")]
            for note in (*reversed(kept), Note("sink", "", 1), Note("sink-standing a", "", 1), Note("sinl a", "", 1)):
                await log.keep(note)
            assert await log.notes("sink ") == kept
            assert await log.notes("sink a") == kept[1:4]
            assert await log.notes("sink a%") == kept[2:3]
            assert len(await log.notes("")) == 9

    async def test_a_note_that_was_dropped_is_gone_and_the_next_one_is_a_first_one(self, place: Place) -> None:
        async with place.open() as log:
            for version in (1, 2):
                await log.keep(Note("place", "", version))
            for name, version in (("place", 1), ("place", 3), ("other", 1)):
                with pytest.raises(NoteChanged):
                    await log.drop(name, version)
            await log.drop("place", 2)
            with pytest.raises(NoteChanged):
                await log.drop("place", 2)
        async with place.open() as log:
            assert (await log.noted("place"), await log.notes("")) == (None, [])
            await log.keep(Note("place", "anew", 1))
            assert await log.noted("place") == Note("place", "anew", 1)

    async def test_of_those_who_keep_and_drop_a_note_at_once_one_does(self, place: Place) -> None:
        async with place.open() as log:
            await log.keep(Note("place", "", 1))
            works = [log.drop("place", 1), log.keep(Note("place", "new", 2)), log.drop("place", 1)]
            answers = await asyncio.gather(*works, return_exceptions=True)
            assert sum(isinstance(answer, NoteChanged) for answer in answers) == 2
            kept = None if answers[1] is not None else Note("place", "new", 2)
            assert await log.noted("place") == kept

    async def test_of_a_reader_that_was_forgotten_nothing_is_left(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(3)])
            for name in ("sink", "other"):
                await log.begin(name, 1, "f")
                await log.settle(Settlement(name, 1, 3, matched=2, delivered=1, hold=[Held(2, 1, 5, "no")]))
            await log.forget_reader("sink")
            await log.forget_reader("sink")
            await log.forget_reader("unknown")
            assert (await log.progress("sink"), await log.held("sink")) == (None, [])
            assert len(await log.held("other")) == 1
            assert await log.begin("sink", 0, "f") == ReaderState(0, 1, "f", since=0)
            with pytest.raises(StoreError):
                await log.settle(Settlement("unknown", 1, 3))

    async def test_who_has_lost_the_claim_forgets_no_reader(self, place: Place) -> None:
        async with place.open() as log:
            claim = await log.claim("sink", "one")
            assert claim is not None
            await log.begin("sink", 0, "f", claim.token)
            for token in (0, claim.token + 1):
                with pytest.raises(ClaimLost):
                    await log.forget_reader("sink", token)
            await log.forget_reader("sink", claim.token)
            assert await log.progress("sink") is None

    async def test_entries_are_stored_with_their_note(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry("b")], Note("place", "at 2", 1))
            await log.append([new_entry("a")], Note("place", "at 3", 2))
            await log.append([], Note("place", "at 4", 3))
            assert (log.head, await log.noted("place")) == (2, Note("place", "at 4", 3))

    async def test_many_entries_are_stored_with_their_note(self, place: Place) -> None:
        async with place.open() as log:
            many = [new_entry(str(number), raw=b"x" * 10_000) for number in range(600)]
            await log.append(many, Note("place", "at 600", 1))
            assert (log.head, await log.noted("place")) == (600, Note("place", "at 600", 1))
            with pytest.raises(NoteChanged):
                await log.append(
                    [one._replace(uid=strong_key(one.uid.hex()), strong=None) for one in many], Note("place", "", 1)
                )
            assert log.head == 600

    # Claims

    async def test_of_two_owners_one_has_the_claim_until_it_is_released(self, place: Place) -> None:
        async with place.open() as log:
            claim = await log.claim("sink", "a")
            assert claim is not None
            assert (claim.name, await log.claim("sink", "b"), await log.claim("sink", "a")) == ("sink", None, claim)
            assert await log.claim("other", "b") is not None
            await log.release(claim)
            later = await log.claim("sink", "b")
            assert later is not None
            assert later.token > claim.token
            await log.release(claim)
            assert await log.claim("sink", "a") is None

    async def test_of_those_who_claim_at_once_one_gets_it(self, place: Place) -> None:
        async with place.open() as log:
            claims = await asyncio.gather(*(log.claim("sink", str(number)) for number in range(20)))
            assert sum(claim is not None for claim in claims) == 1

    async def test_a_token_is_greater_than_those_before_the_log_was_closed(self, place: Place) -> None:
        async with place.open(claim_seconds=0.1) as log:
            claim = await claimed(log, "sink", "a")
        async with place.open(claim_seconds=0.1) as log:
            later = await claimed(log, "sink", "b")
            assert later.token > claim.token

    async def test_who_has_lost_the_claim_settles_nothing(self, place: Place) -> None:
        async with place.open() as log:
            first = await claimed(log, "sink", "a")
            await log.append([new_entry() for _ in range(5)])
            await log.begin("sink", 0, "f", first.token)
            await log.settle(Settlement("sink", 1, 2, matched=2, delivered=2, token=first.token))
            await log.release(first)
            second = await claimed(log, "sink", "b")
            before = await log.progress("sink")
            late = Settlement("sink", 1, 5, matched=5, delivered=5, hold=[Held(3, 1, 5, "503")], token=first.token)
            with pytest.raises(ClaimLost):
                await log.settle(late)
            with pytest.raises(ClaimLost):
                await log.settle(replace(late, token=0))
            with pytest.raises(ClaimLost):
                await log.begin("sink", 0, "g", first.token)
            assert (await log.progress("sink"), await log.held("sink")) == (before, [])
            await log.settle(replace(late, token=second.token))
            assert [held.position for held in await log.held("sink")] == [3]

    async def test_a_settlement_that_is_refused_hurts_no_neighbour(self, place: Place) -> None:
        async with place.open() as log:
            await claimed(log, "sink", "a")
            await log.begin("other", 0, "")
            late = Settlement("sink", 1, 5)
            answers = await asyncio.gather(
                log.append([new_entry("a")]), log.settle(late), log.settle(Settlement("other", 1, 1)),
                return_exceptions=True,
            )  # fmt: skip
            assert isinstance(answers[1], ClaimLost)
            assert log.head == 1
            assert await log.progress("other") == ReaderState(1, 1, "", since=0)


Group = tuple[Sequence[str], int]


async def remove(
    log: RetainingStore, *, until: int, groups: Sequence[Group] = (), others: int | None = None, after: int = 0
) -> None:
    """Remove events of a stretch, step by step."""
    while after < until:
        removal = Removal(after, until, groups, until if others is None else others, had=log.head)
        reached = (await log.remove(removal)).reached
        assert after <= reached <= until
        if reached == after:
            # The next event has a later entry, by another service, that this one has not heard of yet.
            await log.wait(log.head, 0.1)
        after = reached


async def progress(log: Store, reader: str) -> ReaderState:
    """How far a reader is that is known."""
    state = await log.progress(reader)
    assert state is not None
    return state


def revision(first: int, latest: int) -> Revision:
    """A later reading of the event that first stood there."""
    return Revision(first, latest, "LOGOUT", "access.LOGOUT", b'{"read": "again after %d"}' % latest)


def held(position: int, *, tries: int = 1, due_at: int | None = 1000) -> Held:
    return Held(position, tries, due_at, "503")


def attempt(
    began_at: int,
    position: int,
    *,
    last: int | None = None,
    entries: int = 1,
    outcome: str = "held",
    status: int | None = 503,
) -> Attempt:
    end = position if last is None else last
    seen = (outcome, status, None, 3, 11 if status else None, 12)
    return Attempt(began_at, position, end, entries, 1, *seen, 'no \u202e\n"', "the receiver answered")


def numbers(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


async def claimed(log: Store, name: str, owner: str) -> Claim:
    """The claim, once nobody else has it."""
    async with asyncio.timeout(20):
        while True:
            claim = await log.claim(name, owner)
            if claim is not None:
                return claim
            await asyncio.sleep(0.02)


class SharedLogConformance(LogConformance):
    """What a log must do, too, that several programs may have open at once."""

    async def test_what_one_appends_the_other_reads_at_once(self, place: Place) -> None:
        async with place.open() as one, place.open() as other:
            await one.append([new_entry("a")])
            assert await other.wait(0, 20) == 1
            assert [entry.uid for entry in await other.read(0)] == [strong_key("a")]
            assert await other.append([new_entry("a"), new_entry("b")]) == [
                Receipt(strong_key("a"), None),
                Receipt(strong_key("b"), 2),
            ]
            assert await one.wait(1, 20) == 2

    async def test_copies_that_come_to_both_are_one_event(self, place: Place) -> None:
        async with place.open() as one, place.open() as other:
            names = [str(number) for number in range(50)]
            answers = await asyncio.gather(
                *(log.append([new_entry(name)]) for name in names for log in (one, other)),
                *(log.append([new_entry(name) for name in reversed(names)]) for log in (one, other)),
            )
            assert sum(receipt.position is not None for receipts in answers for receipt in receipts) == 50
            await one.wait(49, 20)
            assert [entry.position for entry in await read_all(one)] == list(range(1, 51))

    async def test_what_one_has_quarantined_the_other_knows_by_its_bytes_at_once(self, place: Place) -> None:
        async with place.open() as one, place.open() as other:
            await other.append([read_entry(b"[", "before")])
            for number in range(3):
                raw = b"%d" % number
                (first,) = await one.append([unread_entry(raw)])
                again = await other.append([read_entry(raw, f"{number}")])
                assert again == [Receipt(first.uid, None, first.position)]

    async def test_of_copies_that_come_to_both_at_once_each_is_the_quarantined_entry(self, place: Place) -> None:
        async with place.open() as one, place.open() as other:
            raws = [b"%d" % number for number in range(50)]
            first = await one.append([unread_entry(raw) for raw in raws])
            answers = await asyncio.gather(
                *(
                    log.append([read_entry(raw, f"{number}", "w")])
                    for number, raw in enumerate(raws)
                    for log in (one, other)
                )
            )
            assert one.head == len(raws)
            assert {receipt.uid for answer in answers for receipt in answer} == {receipt.uid for receipt in first}

    async def test_readers_miss_no_entry_while_both_append(self, place: Place) -> None:
        async with place.open() as one, place.open() as other:
            total = 600

            async def write(log: Store, name: str) -> None:
                for number in range(0, total // 2, 3):
                    await log.append([new_entry(f"{name} {number + part}") for part in range(3)])

            async def follow(log: Store) -> list[int]:
                seen: list[int] = []
                while len(seen) < total:
                    await log.wait(len(seen), 20)
                    seen += [entry.position for entry in await log.read(len(seen))]
                return seen

            appending = asyncio.gather(write(one, "a"), write(other, "b"))
            first, second = await asyncio.gather(follow(one), follow(other))
            await appending
            assert first == second == list(range(1, total + 1))

    async def test_of_two_who_revise_one_event_one_does(self, place: Place) -> None:
        async with place.open() as one, place.open() as other:
            await one.append([new_entry("a")])
            await other.wait(0, 20)
            revision = Revision(1, 1, None, "access.LOGIN", b"{}")
            answers = await asyncio.gather(one.revise([revision]), other.revise([revision]))
            assert sorted(map(str, answers)) == ["None", "[2]"]

    async def test_a_claim_that_is_not_renewed_is_taken_over(self, place: Place) -> None:
        async with place.open(claim_seconds=0.2) as one, place.open(claim_seconds=0.2) as other:
            first = await claimed(one, "sink", "a")
            await one.begin("sink", 0, "f", first.token)
            second = await claimed(other, "sink", "b")
            assert second.token > first.token
            with pytest.raises(ClaimLost):
                await one.settle(Settlement("sink", 1, 1, token=first.token))

    async def test_a_claim_that_is_renewed_stays(self, place: Place) -> None:
        async with place.open(claim_seconds=0.5) as one, place.open(claim_seconds=0.5) as other:
            claim = await claimed(one, "sink", "a")
            for _ in range(10):
                await asyncio.sleep(0.1)
                assert await one.claim("sink", "a") == claim
                assert await other.claim("sink", "b") is None


class RetentionConformance:
    """What a log must do, too, that removes what is old."""

    async def test_what_is_removed_is_passed_over_and_its_positions_are_not_given_again(
        self, place: RetainingPlace
    ) -> None:
        async with place.open() as log:
            entries = [new_entry(f"{number}") for number in range(100)]
            await log.append(entries)
            await remove(log, until=40)
            assert [entry.position for entry in await log.read(0)] == list(range(41, 101))
            assert [entry.position for entry in await log.read(20, limit=3)] == [41, 42, 43]
            assert [one.entry.position for one in await log.read_stored(0, limit=3)] == [41, 42, 43]
            assert await log.read(20, until=40) == []
            assert await log.read_stored(20, until=40) == []
            assert [entry.position for entry in await log.fetch([39, 40, 41])] == [41]
            assert await log.raw(40) is None
            assert await log.raw(41) == Raw(entries[40].raw, "application/json")
            assert await log.latest(strong_key("39")) is None
            assert await log.latest(strong_key("40")) == 41
            assert await log.append([new_entry("later")]) == [Receipt(strong_key("later"), 101)]

    async def test_how_many_were_removed_is_told_of_any_stretch(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            kinds = ["access.LOGIN" if number % 3 else "access.LOGOUT" for number in range(5000)]
            for start in range(0, 5000, 1000):
                await log.append([new_entry(type=kind) for kind in kinds[start : start + 1000]])
            await remove(log, until=4500, groups=[(["access.LOGOUT"], 4500)], others=1000)
            gone = [p for p in range(1, 5001) if p <= 1000 or (p <= 4500 and kinds[p - 1] == "access.LOGOUT")]
            for after, until in [
                (0, 5000),
                (0, 9),
                (999, 1001),
                (1023, 1024),
                (1000, 4000),
                (2047, 4096),
                (4400, 9999),
            ]:
                expected = sum(1 for position in gone if after < position <= until)
                assert await log.removed(after, until) == expected
            assert await log.removed(7, 7) == 0

    async def test_the_end_of_the_log_stays_where_it_was_when_all_is_removed(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry("b"), quarantined_entry()])
            await remove(log, until=3)
            assert (log.head, await log.read(0)) == (3, [])
            assert await log.usage() == Usage(4, 0, (await log.usage()).size, (await log.usage()).free)
        async with place.open() as log:
            assert log.head == 3
            assert await log.position_at(2**42) == 3
            assert await log.append([new_entry("a"), new_entry("c")]) == [
                Receipt(strong_key("a"), None),
                Receipt(strong_key("c"), 4),
            ]

    async def test_a_copy_of_what_was_removed_is_a_duplicate_until_it_is_forgotten(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append(
                [new_entry("a", "wa"), new_entry(None, "wb", session="s"), quarantined_entry(), new_entry("c")]
            )
            await remove(log, until=3)
            copies = [
                new_entry("a"),
                new_entry("other", "wa"),
                new_entry(None, "wb", session="s"),
                new_entry("late", "wb"),
            ]
            known = [strong_key("a"), strong_key("other"), weak_key("wb"), weak_key("wb")]
            receipts = [(await log.append([copy]))[0] for copy in copies]
            assert [receipt.uid for receipt in receipts] == known
            assert [receipt.position for receipt in receipts] == [None, 5, None, None]
            while await log.forget(3, SECONDS):
                pass
            assert await log.append([new_entry("a"), new_entry("c")]) == [
                Receipt(strong_key("a"), 6),
                Receipt(strong_key("c"), None),
            ]

    async def test_the_bytes_of_what_was_removed_are_forgotten_with_its_keys(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([unread_entry(b"{", "a")])
            await remove(log, until=1, others=1)
            assert (await log.append([read_entry(b"{", "b")]))[0].position is None
            while await log.forget(1, 2**33):
                pass
            assert (await log.append([read_entry(b"{", "c")]))[0].position == 2

    async def test_what_was_removed_is_known_until_it_is_forgotten(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            entry = new_entry("a")
            await log.append([entry, new_entry("b")])
            await remove(log, until=1, others=1)
            assert await log.known([entry]) == [entry.uid]
            while await log.forget(1, 2**33):
                pass
            assert await log.known([entry]) == [None]

    async def test_what_is_left_is_not_forgotten(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry("b", type="admin.USER-CREATE")])
            await remove(log, until=2, groups=[(["admin.*"], 0)], others=2)
            while await log.forget(2, SECONDS):
                pass
            assert await log.append([new_entry("b"), new_entry("a")]) == [
                Receipt(strong_key("b"), None),
                Receipt(strong_key("a"), 3),
            ]

    async def test_the_first_group_of_types_that_fits_decides(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            types = ["access.LOGIN", "access.LOGIN_ERROR", "admin.USER-CREATE", "access.LOGOUT_ERROR", "x"]
            await log.append([*(new_entry(type=type) for type in types), quarantined_entry()])
            groups: list[Group] = [(["access.LOGOUT*", "x"], 0), (["access.*_ERROR"], 6)]
            await remove(log, until=6, groups=groups, others=0)
            assert [entry.position for entry in await log.read(0)] == [1, 3, 4, 5, 6]
            await remove(log, until=6, groups=groups, others=6)
            assert [entry.type for entry in await log.read(0)] == ["access.LOGOUT_ERROR", "x"]

    async def test_what_stays_is_whole_whatever_is_removed_around_it(self, place: RetainingPlace) -> None:
        rng = random.Random(7)
        async with place.open() as log:
            entries = [
                new_entry(
                    f"{number}",
                    type=rng.choice("abc"),
                    raw=rng.randbytes(rng.randrange(400)),
                    media=media,
                    envelope=rng.choice([b"", b"", b"", b'[{"number":%d}]' % number]),
                )
                for number in range(700)
                for media in [rng.choice(["application/json"] * 9 + ["text/plain"])]
            ]
            entries += [quarantined_entry(raw=b"") for _ in range(40)]
            rng.shuffle(entries)
            for start in range(0, len(entries), 70):
                await log.append(entries[start : start + 70])
            left = dict(enumerate(entries, 1))
            for until, type, limit in [(300, "a", 300), (200, "b", 100), (740, "c", 500), (740, "a", 740)]:
                await remove(log, until=until, groups=[([type], limit)], others=0)
                left = {p: one for p, one in left.items() if not (p <= min(until, limit) and one.type == type)}
                for limit in (1000, 7):
                    read = await read_all(log, limit=limit)
                    assert [(one.position, one.uid, one.event) for one in read] == [
                        (position, one.uid, one.event) for position, one in left.items()
                    ]
            stored = await log.read_stored(0)
            kept = [Raw(one.raw or b"", one.media, one.envelope) for one in stored]
            assert kept == [raw_of(one) for one in left.values()]
            asked = rng.sample(range(1, 741), 300)
            assert [one.event for one in await log.fetch(asked)] == [left[p].event for p in asked if p in left]
            for position in asked[:50]:
                there = left.get(position)
                assert await log.raw(position) == (None if there is None else raw_of(there))

    async def test_an_event_goes_with_all_its_entries_by_its_type_as_it_is_now(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry("b"), quarantined_entry(), new_entry("c")])
            later = [Revision(p, p, "LOGIN", type, b"{}") for p, type in [(1, "x.KEPT"), (2, "x.GONE"), (3, "x.GONE")]]
            assert await log.revise(later) == [5, 6, 7]
            groups: list[Group] = [(["x.GONE"], 7), (["x.KEPT", "access.LOGIN"], 0)]
            await remove(log, until=7, groups=groups, others=0)
            assert [entry.position for entry in await log.read(0)] == [1, 4, 5]
            assert await log.revise([revision(2, 6)]) is None
            assert (await log.quarantine()).entries == 0

    async def test_an_event_stays_while_a_later_entry_of_it_is_wanted(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry("a"), new_entry("b"), new_entry("c")])
            assert await log.revise([revision(2, 2)]) == [4]
            removal = Removal(0, 3, (), 3, had=3)
            assert await log.remove(removal) == Removed(1, 1)
            assert await log.remove(removal._replace(after=1)) == Removed(1, 0)
            assert await log.remove(removal._replace(after=1, had=4)) == Removed(3, 3)

    async def test_what_the_provider_sent_is_removed_alone(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            entries = [new_entry(f"{number}") for number in range(100)]
            for entry in entries:
                await log.append([entry])
            reached = 0
            while reached < 60:
                reached = (await log.remove_raw(reached, 60)).reached
            assert [entry.event for entry in await log.read(0)] == [entry.event for entry in entries]
            assert [await log.raw(position) for position in (1, 60)] == [None, None]
            assert await log.raw(61) == Raw(entries[60].raw, "application/json")
            assert [one.raw for one in await log.read_stored(59, limit=2)] == [None, entries[60].raw]
            assert await log.append([new_entry("0")]) == [Receipt(strong_key("0"), None)]

    async def test_a_reader_is_told_what_was_removed_before_it_came_there(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(10)])
            await log.begin("before", 3, "f")
            await log.begin("behind", 8, "f")
            await remove(log, until=6)
            assert [(await progress(log, name)).removed for name in ("before", "behind")] == [3, 0]
            await log.begin("new", 0, "f")
            await log.begin("before", 3, "g")
            assert [(await progress(log, name)).removed for name in ("before", "new")] == [0, 0]

    async def test_dead_rows_of_what_was_removed_are_told(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry() for _ in range(4)])
            await log.begin("sink", 0, "f")
            rows = [held(1, due_at=None), held(2), held(3, due_at=None), held(4, due_at=None)]
            await log.settle(Settlement("sink", 1, 4, matched=4, hold=rows))
            assert (await progress(log, "sink")).waiting == 2
            assert await log.dead_removed("sink") == []
            await remove(log, until=3)
            assert await log.dead_removed("sink") == [1, 3]
            assert await log.dead_removed("sink", limit=1) == [1]

    async def test_what_is_left_is_counted_by_source_and_type(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            entries = [
                new_entry(type="a"),
                new_entry(type="b"),
                new_entry(type="a", source="test"),
                quarantined_entry(),
            ]
            await log.append([*entries, *entries])
            await remove(log, until=2)
            size = len(entries[1].event or b"")
            shares = {(one.source, one.type): one for one in await log.shares(0, 6)}
            assert {key: one.entries for key, one in shares.items()} == {
                ("prod", "a"): 1,
                ("prod", "b"): 1,
                ("test", "a"): 1,
                ("prod", None): 1,
            }
            assert shares["prod", "b"] == Share("prod", "b", 1, size)
            usage = await log.usage()
            assert (usage.first, usage.entries) == (3, 6)
            assert usage.size > 0
            assert sum(one.entries for one in await log.arrivals()) == 6

    async def test_appends_go_on_while_entries_are_removed(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry(f"{number}") for number in range(500)])

            async def append() -> None:
                for number in range(500, 600):
                    await log.append([new_entry(f"{number}")])

            await asyncio.gather(append(), remove(log, until=450))
            assert [entry.position for entry in await read_all(log)] == list(range(451, 601))


class ReplacingConformance:
    """What every log must do from which a secret is taken out. Mixed into the class that has its ``place``."""

    async def test_an_entry_holds_something_else_and_stays_what_it_was(self, place: Place) -> None:
        wrapped = new_entry("strong-3", envelope=b'[{"token":"hunter2!"}]')
        quarantined = new_entry("strong-2", type=None, event=None, problem="hunter2! is no date", media="text/plain")
        entries = [new_entry("strong-1"), quarantined, wrapped, new_entry("last")]
        async with place.open() as log:
            await log.append(entries)
            before = await log.read_stored(0)
            changed = [
                Replacement(2, None, "in", "[redacted] is no date", None, b"plain"),
                Replacement(3, "access.LOGIN", "in", None, b'{"type":"access.LOGIN"}', b'{"a":1}', b"[{}]"),
            ]
            assert await log.replace(changed) == [2, 3]
        async with place.open() as log:
            after = await log.read_stored(0)
            assert after[1].entry == before[1].entry._replace(native_type="in", problem="[redacted] is no date")
            assert (after[1].raw, after[1].media) == (b"plain", before[1].media)
            assert after[2].entry == before[2].entry._replace(
                type="access.LOGIN", native_type="in", event=b'{"type":"access.LOGIN"}'
            )
            assert await log.raw(3) == Raw(b'{"a":1}', wrapped.media, b"[{}]")
            # Its neighbours, which lie with it, and the keys by which it is known.
            assert [after[0], after[3]] == [before[0], before[3]]
            assert [one.position for one in await log.append(entries)] == [None] * 4
            assert log.head == 4

    async def test_many_entries_hold_something_else_whatever_lies_between(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry(f"strong-{number}") for number in range(100)])
            changed = [Replacement(at, "t", "n", None, b"%d" % at, b"raw %d" % at) for at in range(100, 0, -3)]
            assert await log.replace(changed) == sorted(one.position for one in changed)
            held = {one.position: one for one in changed}
            for stored in await log.read_stored(0):
                one = held.get(stored.entry.position)
                assert (one is not None) == (stored.entry.native_type == "n")
                assert one is None or (stored.entry.event, stored.raw) == (one.event, one.raw)

    async def test_a_later_entry_has_no_bytes_of_its_own_and_gets_none(self, place: Place) -> None:
        async with place.open() as log:
            [receipt] = await log.append([new_entry("strong-1")])
            await log.revise([Revision(1, 1, "in", "access.LOGIN", b'{"secret":1}')])
            assert await log.replace([Replacement(2, "access.LOGIN", "in", None, b'{"secret":0}', None)]) == [2]
            [first, later] = await log.read_stored(0)
            assert (first.raw is not None, later.raw, later.entry.event) == (True, None, b'{"secret":0}')
            assert (later.entry.uid, later.entry.revision) == (receipt.uid, 1)

    async def test_what_was_removed_meanwhile_is_left_out(self, place: RetainingPlace) -> None:
        async with place.open() as log:
            await log.append([new_entry(), new_entry(), new_entry()])
            await log.remove(Removal(0, 1, (), 1, 3))
            await log.remove_raw(0, 3)
            changed = [Replacement(at, "t", "n", None, b"{}", b"back") for at in (1, 2)]
            assert await log.replace(changed) == [2]
            assert [(one.entry.position, one.raw) for one in await log.read_stored(0)] == [(2, None), (3, None)]

    async def test_it_is_stored_with_a_note_or_not_at_all(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry()])
            before = await log.read(0)
            changed = [Replacement(1, "t", "n", None, b"{}", b"{}")]
            with pytest.raises(NoteChanged):
                await log.replace(changed, Note("job", "x", 2))
            assert await log.read(0) == before
            await log.replace(changed, Note("job", "x", 1))
            assert await log.noted("job") == Note("job", "x", 1)
            assert [one.event for one in await log.read(0)] == [b"{}"]

    async def test_nothing_is_left_to_wipe_while_nobody_reads(self, place: Place) -> None:
        async with place.open() as log:
            await log.append([new_entry()])
            async with asyncio.timeout(60):
                while not await log.wipe():  # noqa: ASYNC110 - somebody else may read now
                    await asyncio.sleep(0.01)
            await log.append([new_entry()])
            assert log.head == 2
