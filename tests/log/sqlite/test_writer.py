"""How many works one transaction takes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from adapter.log.protocol import Revision
from adapter.log.sqlite.messages import ROW_WEIGHT, Append, Packer, Revise, Work
from adapter.log.sqlite.writer import Inbox
from tests.log.entries import new_entry


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, Inbox]]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    theirs.settimeout(5)  # a work that does not come is a failure, not a wait for ever
    with ours, theirs:
        yield ours, Inbox(theirs)


def send(line: socket.socket, works: list[Work]) -> None:
    frames, packer = bytearray(), Packer()
    for work in works:
        packer.add(work, frames)
    line.sendall(frames)


def small(number: int) -> Append:
    return Append([new_entry(str(number), event=b"{}", raw=b"{}")])


def test_all_that_is_there_goes_into_one_transaction_in_order(line: tuple[socket.socket, Inbox]) -> None:
    works: list[Work] = [small(number) for number in range(100)]
    send(line[0], works)
    assert line[1].take() == works


def test_a_transaction_takes_no_more_rows_than_it_may(
    line: tuple[socket.socket, Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.log.sqlite.writer.COMMIT_WEIGHT", 10 * ROW_WEIGHT)
    revisions = [Revision(number, number, None, "access.LOGIN", b"{}") for number in range(1, 25)]
    works: list[Work] = [*(small(number) for number in range(14)), Revise(revisions, None), small(14)]
    send(line[0], works)
    taken = [line[1].take() for _ in range(3)]
    assert [len(some) for some in taken] == [10, 5, 1]
    assert [work for some in taken for work in some] == works


def test_long_events_fill_a_transaction_and_a_work_is_never_divided(
    line: tuple[socket.socket, Inbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.log.sqlite.writer.COMMIT_WEIGHT", 100_000)
    long = Append([new_entry("long", event=b" " * 60_000, raw=b" " * 60_000)])
    works: list[Work] = [small(1), long, small(2)]
    send(line[0], works)
    assert [len(line[1].take()) for _ in range(2)] == [2, 1]


def test_it_ends_with_the_service(line: tuple[socket.socket, Inbox]) -> None:
    line[0].close()
    assert line[1].take() == []
