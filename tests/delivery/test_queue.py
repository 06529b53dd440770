from __future__ import annotations

import asyncio

import pytest

from adapter.delivery.ledger import Flight, Ledger
from adapter.delivery.queue import SendQueue
from adapter.log.protocol import READ_SIZE, ReaderState
from adapter.model import Entry
from adapter.sinks.protocol import Batch
from tests.delivery.parts import numbers
from tests.sinks.entries import make_entries, make_entry


def make_queue(*fresh: int, window: int = 2, batch: int | Batch = 1) -> tuple[SendQueue, Ledger]:
    ledger = Ledger("sink:soc", ReaderState(0, 1, ""))
    queue = SendQueue(ledger, window=window, batch=Batch(batch) if isinstance(batch, int) else batch, read_to=0)
    queue.add_fresh([make_entry(position) for position in fresh], max(fresh, default=0))
    return queue, ledger


def positions(flight: Flight | None) -> list[int]:
    return [entry.position for entry in flight.entries] if flight else []


def take_all(queue: SendQueue) -> list[list[int]]:
    taken = []
    while flight := queue.take():
        taken.append(positions(flight))
    return taken


def take(queue: SendQueue) -> Flight:
    flight = queue.take()
    assert flight is not None
    return flight


def test_what_is_to_be_sent_again_goes_first_then_what_is_due_then_what_is_new() -> None:
    queue, _ = make_queue(7, 8, window=4)
    queue.put_back(take(queue))
    queue.add_due([make_entry(3)], {3: 1})
    assert take_all(queue) == [[7], [3], [8]]


def test_a_flight_is_as_large_as_the_sink_takes_and_there_is() -> None:
    queue, _ = make_queue(*numbers(1, 8), batch=3)
    assert take_all(queue) == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_held_rows_that_never_failed_are_sent_together() -> None:
    queue, _ = make_queue(batch=2)
    queue.add_due(make_entries(3), dict.fromkeys(numbers(1, 3), 0))
    first, second = take(queue), take(queue)
    assert (positions(first), positions(second)) == ([1, 2], [3])
    assert first.has_rows


def test_what_failed_is_tried_again_alone_and_knows_its_tries() -> None:
    queue, _ = make_queue(batch=9)
    queue.add_due(make_entries(4), {1: 4, 2: 0, 3: 6, 4: 0})
    flights = [take(queue) for _ in range(3)]
    assert [positions(flight) for flight in flights] == [[2, 4], [1], [3]]
    assert [flight.tried(entry) for flight in flights for entry in flight.entries] == [0, 0, 4, 6]


def test_no_more_is_sent_than_two_windows_until_it_is_settled() -> None:
    queue, ledger = make_queue(*numbers(1, 9))
    sent = [take(queue) for _ in numbers(1, 4)]
    assert queue.take() is None
    for flight in sent[:3]:
        ledger.answer(flight, flight.entries, (), ())
    assert queue.take() is None
    ledger.settle(queue.reached, 0, 0)
    assert queue.take() is None
    ledger.commit()
    assert take_all(queue) == [[5], [6], [7]]


def test_what_was_sent_before_may_be_sent_again_although_all_room_is_taken() -> None:
    queue, _ = make_queue(*numbers(1, 9))
    sent = [take(queue) for _ in numbers(1, 4)]
    queue.put_back(sent[0])
    assert take_all(queue) == [[1]]


def test_due_rows_wait_for_room_and_new_entries_may_pass_them() -> None:
    queue, _ = make_queue(11, 12, window=1, batch=3)
    take(queue)
    queue.add_due(make_entries(5), dict.fromkeys(numbers(1, 5), 0))
    queue.add_fresh(make_entries(1, first=13), 13)
    assert take_all(queue) == [[1, 2, 3], [13]]


@pytest.mark.parametrize("exposed", range(10))
def test_as_many_flights_are_announced_as_can_be_taken(exposed: int) -> None:
    queue, ledger = make_queue(*numbers(1, 12), window=1, batch=3)
    queue.put_back(take(queue))
    ledger.exposed = exposed
    announced = queue.flights
    assert announced == len(take_all(queue))


def test_all_is_reached_up_to_the_first_that_was_not_sent() -> None:
    queue, _ = make_queue(3, 6)
    assert queue.reached == 2
    take(queue)
    assert queue.reached == 5
    take(queue)
    queue.add_fresh([], 9)
    assert queue.reached == 9


def test_probes_go_round_new_entries_and_those_that_failed() -> None:
    queue, _ = make_queue(*numbers(1, 9))
    for flight in [take(queue), take(queue)]:
        queue.put_back(flight)
    probed = []
    for _ in numbers(1, 5):
        probe = queue.take_probe()
        assert probe is not None
        probed += positions(probe)
        queue.put_back(probe)
    assert probed == [1, 3, 2, 4, 1]


def test_with_one_send_at_a_time_the_probe_is_what_failed() -> None:
    queue, _ = make_queue(*numbers(1, 9), window=1)
    queue.put_back(take(queue))
    for _ in numbers(1, 3):
        probe = queue.take_probe()
        assert positions(probe) == [1]
        assert probe is not None
        queue.put_back(probe)
    assert take_all(queue) == [[1], [2]]


async def test_it_runs_short_when_half_a_stretch_is_left() -> None:
    queue, _ = make_queue(*numbers(1, 1000), window=1000)
    reader = asyncio.create_task(queue.wait_until_short())
    for _ in numbers(1, 499):
        take(queue)
    await asyncio.sleep(0)
    assert not reader.done()
    take(queue)
    async with asyncio.timeout(60):
        await reader


# Batches


def sized(position: int, size: int) -> Entry:
    """An entry whose event has so many bytes."""
    return make_entry(position)._replace(event=b"x" * size)


def test_a_flight_has_no_more_bytes_than_the_sink_takes() -> None:
    queue, _ = make_queue(window=9, batch=Batch(5, bytes=100))
    queue.add_fresh([sized(number, size) for number, size in enumerate([60, 40, 1, 50, 50, 99, 2], 1)], 7)
    assert take_all(queue) == [[1, 2], [3, 4], [5], [6], [7]]


def test_an_entry_that_is_larger_than_a_batch_goes_alone() -> None:
    queue, _ = make_queue(window=9, batch=Batch(5, bytes=100))
    queue.add_fresh([sized(number, size) for number, size in enumerate([1, 500, 1, 1], 1)], 4)
    assert take_all(queue) == [[1], [2], [3, 4]]


def test_held_rows_are_sent_in_batches_of_as_many_bytes() -> None:
    queue, _ = make_queue(window=9, batch=Batch(3, bytes=100))
    queue.add_due([sized(number, 40) for number in numbers(1, 5)], dict.fromkeys(numbers(1, 5), 0))
    assert take_all(queue) == [[1, 2], [3, 4], [5]]


@pytest.mark.parametrize("sizes", [[60] * 12, [1] * 12, [100, 1] * 6, [40, 40, 40] * 4])
def test_no_fewer_flights_are_announced_than_can_be_taken(sizes: list[int]) -> None:
    queue, _ = make_queue(window=99, batch=Batch(5, bytes=100))
    queue.add_fresh([sized(number, size) for number, size in enumerate(sizes, 1)], len(sizes))
    announced = queue.flights
    assert announced >= len(take_all(queue))
    assert queue.flights == 0


def test_less_than_a_batch_waits_until_its_time_and_more_may_come_meanwhile() -> None:
    queue, _ = make_queue(window=9, batch=Batch(5, wait=10))
    queue.add_fresh(make_entries(2), 2, waits_until=110)
    queue.add_fresh(make_entries(1, first=3), 3, waits_until=115)
    assert queue.take() is None
    assert queue.ripe_at() == 110
    queue.ripen(110)
    assert take_all(queue) == [[1, 2, 3]]
    assert queue.ripe_at() is None


def test_a_full_batch_does_not_wait_and_what_is_left_keeps_its_own_time() -> None:
    queue, _ = make_queue(window=9, batch=Batch(5, wait=10))
    queue.add_fresh(make_entries(2), 2, waits_until=110)
    queue.add_fresh(make_entries(5, first=3), 7, waits_until=115)
    assert take_all(queue) == [[1, 2, 3, 4, 5]]
    assert queue.ripe_at() == 115


def test_a_batch_that_is_full_of_bytes_does_not_wait() -> None:
    queue, _ = make_queue(window=9, batch=Batch(5, bytes=100, wait=10))
    queue.add_fresh([sized(number, 60) for number in numbers(1, 2)], 2, waits_until=110)
    assert take_all(queue) == [[1]]


def test_what_failed_or_is_due_does_not_wait() -> None:
    queue, _ = make_queue(window=9, batch=Batch(5, wait=10))
    queue.add_fresh(make_entries(6), 6, waits_until=110)
    queue.put_back(take(queue))
    queue.add_due([make_entry(9)], {9: 1})
    assert take_all(queue) == [[1, 2, 3, 4, 5], [9]]


async def test_the_log_is_not_read_on_while_many_bytes_wait() -> None:
    queue, _ = make_queue(window=9, batch=Batch(100))
    queue.add_fresh([sized(number, READ_SIZE // 2) for number in numbers(1, 3)], 3)
    reader = asyncio.create_task(queue.wait_until_short())
    await asyncio.sleep(0)
    assert not reader.done()
    take(queue)
    async with asyncio.timeout(60):
        await reader
