"""Frames are whole or not there, and bytes that are no message are told from messages."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import StoreError
from adapter.log.protocol import Receipt
from adapter.log.sqlite.messages import Append, Appended, BrokenLine, Committed, Packer, Told, TryWrite, Unpacker
from tests.log.entries import new_entry


def unpacker() -> Unpacker[Told]:
    return Unpacker(Told)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 50), max_size=20))
def test_messages_come_out_whole_however_the_bytes_are_cut(cuts: list[int]) -> None:
    frames, packer = bytearray(), Packer()
    sent: list[Told] = [Append([new_entry("a")]), TryWrite(), Append([new_entry("b"), new_entry("c")])]
    for message in sent:
        packer.add(message, frames)
    taker, taken = unpacker(), []
    rest = bytes(frames)
    for cut in [*cuts, len(rest)]:
        taken += taker.take(rest[:cut])
        rest = rest[cut:]
    assert taken == sent


def test_what_cannot_be_packed_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    frames, packer = bytearray(), Packer()
    packer.add(TryWrite(), frames)
    before = bytes(frames)
    with pytest.raises(StoreError, match="cannot be stored"):
        packer.add(Append([new_entry("a"), new_entry("b", native_type="\ud800")]), frames)
    assert frames == before
    monkeypatch.setattr("adapter.log.sqlite.messages.FRAME_LIMIT", 1000)
    with pytest.raises(StoreError, match="at most 1000"):
        packer.add(Append([new_entry("a", raw=bytes(2000))]), frames)
    assert frames == before


OUT_OF_MEMORY = """
import resource
from adapter.errors import StoreUnavailable
from adapter.log.sqlite.messages import Append, Packer, TryWrite
from tests.log.entries import new_entry

frames, packer = bytearray(), Packer()
packer.add(TryWrite(), frames)
before = bytes(frames)
large = Append([new_entry(raw=bytes(1 << 20)) for _ in range(60)])
pages = int(open("/proc/self/statm").read().split()[0])
room = pages * resource.getpagesize() + (20 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    packer.add(large, frames)
except StoreUnavailable as error:
    print(error, frames == before)
"""


def test_without_memory_nothing_is_left_behind() -> None:
    told = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "not enough memory to hand it to the process that writes the log True"


@given(st.binary(max_size=200))
def test_bytes_are_messages_or_a_broken_line(data: bytes) -> None:
    for taker in (unpacker(), Unpacker(Committed)):
        try:
            taker.take(len(data).to_bytes(4, "big") + data)
            taker.take(data)
        except BrokenLine:
            pass


def test_a_length_beyond_the_limit_breaks_the_line_before_anything_is_kept() -> None:
    with pytest.raises(BrokenLine, match="at most"):
        unpacker().take(b"\x04\x00\x00\x01")


def test_an_answer_that_was_changed_on_the_way_is_a_broken_line() -> None:
    frames = bytearray()
    Packer().add(Committed(3, 1, 0.1, [Appended([Receipt(b"u" * 16, 3)])]), frames)
    frames[4] = 0xC1  # no msgpack begins so
    with pytest.raises(BrokenLine):
        Unpacker(Committed).take(bytes(frames))
