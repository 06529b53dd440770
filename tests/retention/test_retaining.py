"""What retention removes, and what holds it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapter.errors import ConfigError
from adapter.log.memory import Memory, MemoryLog, open_memory_log
from adapter.log.protocol import Held, Receipt, RetainingStore, Revision, Settlement
from adapter.mapping.catalogue import Catalogue, CatalogueFile
from adapter.retention.policy import Policy, all_names
from adapter.retention.retaining import Retaining
from adapter.settings import StoreSettings
from tests.log.entries import new_entry, strong_key

CATALOGUE = Catalogue(CatalogueFile.model_validate({"aliases": {"FEDERATED_IDENTITY_LINK": "SOCIAL_LINK"}}))
DAY = 86_400_000
#: The first entry of a test arrives now; one more each day.
FIRST_AT = 1_700_000_000_000


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    async with open_memory_log(Memory()) as log:
        yield log


async def append(log: RetainingStore, *types: str) -> None:
    """One entry a day, of these types."""
    for type in types:
        day = log.head
        entry = new_entry(f"{day}", type=type, received_at=FIRST_AT + day * DAY, seconds=(FIRST_AT + day * DAY) // 1000)
        await log.append([entry])


def retaining(log: RetainingStore, day: float, *sinks: str, larger: int = 0, **settings: Any) -> Retaining:
    """Retention at the end of a day, counted from 0; the search is so many times ``larger`` than the log."""

    async def others_size() -> int:
        return (await log.usage()).size * larger

    async def prune() -> bool:
        return True

    return Retaining(
        log,
        Policy.of(StoreSettings.model_validate(settings)),
        sinks,
        lambda: CATALOGUE,
        others_size=others_size,
        prune=prune,
        clock=lambda: (FIRST_AT + day * DAY) / 1000,
        pace=0,
    )


async def left(log: RetainingStore) -> list[int]:
    return [entry.position for entry in await log.read(0)]


async def test_what_arrived_before_its_time_is_over_stays(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 10)
    await retaining(log, 9.5, keep="4d").round()
    assert await left(log) == [7, 8, 9, 10]
    assert log.head == 10


async def test_without_settings_everything_is_kept(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 5)
    one = retaining(log, 5000)
    assert not one.removes
    await one.round()
    assert await left(log) == [1, 2, 3, 4, 5]


async def test_types_have_times_of_their_own_shorter_or_longer(log: MemoryLog) -> None:
    await append(log, "access.LOGIN", "access.LOGIN_ERROR", "admin.USER-CREATE", "access.LOGIN_ERROR", "access.LOGIN")
    keep_types = [{"type": "access.*_ERROR", "keep": "2d"}, {"type": ["admin.*"], "keep": "1y"}]
    await retaining(log, 4.5, keep="4d", keep_types=keep_types).round()
    assert await left(log) == [3, 4, 5]
    await retaining(log, 300, keep="4d", keep_types=keep_types).round()
    assert await left(log) == [3]
    await retaining(log, 400, keep="4d", keep_types=keep_types).round()
    assert await left(log) == []


async def test_other_rules_are_held_against_all_that_is_there(log: MemoryLog) -> None:
    await append(log, "access.LOGIN", "access.LOGOUT", "access.LOGIN")
    await retaining(log, 100, keep_types=[{"type": "access.LOGOUT", "keep": "1d"}]).round()
    assert await left(log) == [1, 3]
    await retaining(log, 100, keep_types=[{"type": "access.LOGIN", "keep": "99d"}]).round()
    assert await left(log) == [3]


async def test_an_alias_means_its_type() -> None:
    names = all_names(["access.SOCIAL_LINK"], CATALOGUE)
    assert "access.FEDERATED_IDENTITY_LINK" in names
    assert all_names(["access.*"], CATALOGUE)[0] == "access.*"


async def test_native_bytes_go_before_their_events(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 4)
    one = retaining(log, 3.5, keep_raw="2d")
    await one.round()
    assert await left(log) == [1, 2, 3, 4]
    assert [await log.raw(position) is None for position in (1, 2, 3, 4)] == [True, True, False, False]
    assert one.counts.raw == 2


async def test_what_a_sink_has_not_had_waits_for_it_for_30_days(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 60)
    await log.begin("sink:siem", 3, "f")
    await retaining(log, 30, "sink:siem", keep="10d").round()
    assert await left(log) == list(range(4, 61))
    await retaining(log, 50.5, "sink:siem", keep="10d").round()
    assert (await left(log))[0] == 12  # what arrived on day 10, and is 40 days old, is not kept any longer
    state = await log.progress("sink:siem")
    assert state is not None
    assert state.removed == 8


async def test_a_held_row_waits_like_the_cursor_and_a_dead_one_does_not(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 10)
    await log.begin("sink:siem", 0, "f")
    rows = [Held(2, 1, None, "400"), Held(5, 1, 99, "503")]
    await log.settle(Settlement("sink:siem", 1, 10, matched=10, delivered=8, hold=rows))
    await retaining(log, 20, "sink:siem", keep="1d").round()
    assert await left(log) == [5, 6, 7, 8, 9, 10]
    assert await log.dead_removed("sink:siem") == [2]


async def test_a_sink_that_is_not_configured_any_more_holds_nothing_back(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 5)
    await log.begin("sink:former", 0, "f")
    await retaining(log, 20, keep="1d").round()
    assert await left(log) == []


async def test_a_revision_that_a_sink_has_not_had_keeps_its_event(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 3)
    assert await log.revise([Revision(2, 2, "LOGIN", "access.LOGOUT", b"{}")]) == [4]
    await log.begin("sink:siem", 3, "f")
    await retaining(log, 20, "sink:siem", keep="1d").round()
    assert await left(log) == [2, 3, 4]
    await log.settle(Settlement("sink:siem", 1, 4))
    await retaining(log, 20, "sink:siem", keep="1d").round()
    assert await left(log) == []


async def test_by_size_the_oldest_go_until_it_fits(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 200)
    larger = 2 * 10**9 // (await log.usage()).size
    await retaining(log, 200, keep="1GB", larger=larger).round()
    assert 90 <= len(await left(log)) <= 100
    assert (await left(log))[-1] == 200


async def test_by_size_what_a_sink_has_not_had_stays(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 20)
    await log.begin("sink:siem", 4, "f")
    await retaining(log, 20, "sink:siem", keep="1GB", larger=10**9).round()
    assert await left(log) == list(range(5, 21))


async def test_a_removed_event_is_known_for_30_days_more_or_as_long_as_is_set(log: MemoryLog) -> None:
    await append(log, *["access.LOGIN"] * 3)
    seconds = FIRST_AT // 1000
    copy = new_entry("0", seconds=seconds)
    await retaining(log, 30, keep="1d").round()
    assert await left(log) == []
    assert await log.append([copy]) == [Receipt(strong_key("0", seconds), None)]
    await retaining(log, 31.5, keep="1d").round()
    assert await log.append([copy]) == [Receipt(strong_key("0", seconds), 4)]
    again = new_entry("1", seconds=seconds + 86_400)
    await retaining(log, 31.5, keep="1d", keep_identities="3w").round()
    assert (await log.append([again]))[0].position == 5


async def test_a_preview_says_what_would_go_and_removes_nothing(log: MemoryLog) -> None:
    await append(log, "access.LOGIN", "access.LOGIN_ERROR", "access.LOGIN", "access.LOGIN_ERROR", "access.LOGIN")
    one = retaining(log, 4.5, keep="3d", keep_types=[{"type": "access.*_ERROR", "keep": "1d"}], keep_raw="2d")
    found = await one.preview()
    assert {(share.type, share.entries) for share in found.shares} == {("access.LOGIN", 1), ("access.LOGIN_ERROR", 2)}
    assert (found.raw_until, found.usage.entries) == (3, 5)
    assert await left(log) == [1, 2, 3, 4, 5]
    await one.round()
    assert await left(log) == [3, 5]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keep": "4 months"}, "neither a time such as 400d nor a size such as 200GB"),
        ({"keep": "0d"}, "neither a time"),
        ({"keep": "20MB"}, "1GB is the least"),
        ({"keep_raw": "20GB"}, "not a time such as 12h, 90d, 8w or 7y"),
        ({"keep_types": [{"type": [], "keep": "1d"}]}, "type"),
        ({"low_disk": "101%"}, "neither a size such as 5GB nor a share of the disk"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=said):
        StoreSettings.model_validate(settings)
