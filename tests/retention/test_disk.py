"""What is told, and refused, when a disk fills."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from adapter.errors import RequestError
from adapter.event import Event
from adapter.retention.disk import Disk, Room, disk_low

GB = 10**9


class Filling:
    """A disk of 100 GB."""

    def __init__(self) -> None:
        self.free = 50 * GB
        self.disk = Disk(Path("adapter-data"), "5GB", "1%", look=lambda folder: (self.free, 100 * GB))

    def look(self, free: int) -> bool:
        self.free = free
        return self.disk.look()

    def room(self) -> Room:
        return self.disk.room


def test_little_room_is_a_warning_and_almost_none_a_refusal() -> None:
    filling = Filling()
    assert not filling.look(6 * GB)
    assert (filling.disk.warnings, filling.disk.refusal) == ([], None)
    assert filling.look(4 * GB)
    (warning,) = filling.disk.warnings
    assert "4.0 GB are left on the disk" in warning
    filling.disk.check()
    assert not filling.look(900_000_000)
    with pytest.raises(RequestError) as refused:
        filling.disk.check()
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "60"})
    assert "900 MB" in refused.value.detail


def test_a_state_ends_when_there_is_clearly_more_room() -> None:
    filling = Filling()
    filling.look(GB - 1)
    filling.look(GB + 1)
    assert filling.room() is Room.FULL
    filling.look(2 * GB)
    assert filling.room() is Room.LOW
    filling.look(5 * GB + 1)
    assert filling.room() is Room.LOW
    filling.look(6 * GB)
    assert filling.room() is Room.ENOUGH


def test_it_is_told_once_as_an_event_like_any_other() -> None:
    filling = Filling()
    assert [filling.look(free * GB) for free in (4, 3, 4, 9, 4)] == [True, False, False, False, True]
    entry = disk_low(4 * GB, 1_700_000_000_000)
    event = Event.model_validate_json(entry.event or b"")
    assert (event.type, event.details) == ("system.DISK-LOW", {"free_bytes": "4000000000"})
    assert event.uid.bytes == entry.uid
    assert orjson.loads(entry.raw)["free_bytes"] == 4 * GB


def test_of_a_small_disk_a_size_is_a_share() -> None:
    free = 30 * 10**6
    disk = Disk(Path("adapter-data"), "5GB", "500MB", look=lambda folder: (free, 100 * 10**6))
    assert [disk.look(), disk.room] == [False, Room.ENOUGH]
    free = 20 * 10**6
    assert [disk.look(), disk.room] == [True, Room.LOW]
    free = 9 * 10**6
    assert [disk.look(), disk.room] == [False, Room.FULL]
