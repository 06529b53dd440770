"""A log that is carried to another engine is the same there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from adapter.errors import ConfigError, StoreError, StoreMismatch, StoreUnavailable
from adapter.log.opening import file_url, open_new_log, open_store, open_whole
from adapter.log.protocol import BlockedKey, Note, Receipt, RetainingStore, Settlement, Stored
from adapter.log.transfer import UNFINISHED, carry, compare, refuse_unfinished
from tests.log.conformance import held, read_all, remove, revision
from tests.log.entries import SECONDS, new_entry, quarantined_entry, read_entry, strong_key, unread_entry
from tests.postgresql import Server

DICTIONARY = b'{"uid":"","unified":0,"authDetails":{},"details":{}}'


class Places:
    """Empty places for logs of each engine."""

    def __init__(self, folder: Path, server: Server, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._server = server
        self._stack = stack
        self._number = 0

    async def url(self, engine: str) -> str:
        self._number += 1
        if engine == "sqlite":
            return file_url(self._folder / f"{self._number}" / "log.sqlite")
        return await self._stack.enter_async_context(self._server.database())


@pytest.fixture
async def places(tmp_path: Path, postgresql: Server) -> AsyncIterator[Places]:
    async with AsyncExitStack() as stack:
        yield Places(tmp_path, postgresql, stack)


def opened(url: str) -> Any:
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite://")).parent.mkdir(parents=True, exist_ok=True)
    return open_store(url, dictionary=lambda: DICTIONARY, commit_timeout=10)


def silent(what: str, done: int, of: int | None) -> None:
    pass


async def transfer(source: str, target: str, progress: Callable[[str, int, int | None], None] = silent) -> int:
    async with open_whole(source) as one, open_new_log(target, one.dictionary) as other:
        return await carry(one, other, progress, leaving={"left"}, adding=[Note("added", "yes", 1)])


async def fill(log: RetainingStore) -> None:
    """Everything that a log may hold."""
    chance = random.Random(1)
    for _ in range(30):
        entries = []
        for _ in range(chance.randrange(1, 300)):
            strong = chance.choice([None, f"s{chance.randrange(9000)}", f"s{chance.randrange(9000)}"])
            weak = chance.choice([None, f"w{chance.randrange(60)}"])
            session = chance.choice([None, "a", "b"])
            media = chance.choice(["application/json"] * 9 + ["text/plain"])
            type = chance.choice(["access.LOGIN", "access.LOGOUT", "admin.USER-CREATE"])
            envelope = chance.choice([b"", b"", b'[{"forwarder":"docker","time":%d}]' % chance.randrange(9)])
            if chance.random() < 0.1:
                entries.append(quarantined_entry(raw=chance.randbytes(chance.randrange(99)), envelope=envelope))
            else:
                source = chance.choice(["prod", "test", "ü"])
                entries.append(
                    new_entry(strong, weak, session=session, media=media, type=type, source=source, envelope=envelope)
                )
        await log.append(entries)
    for first in chance.sample(range(1, log.head + 1), 200):
        latest = (await log.read_stored(first - 1, limit=1))[0].latest
        if (await log.read(latest - 1, limit=1))[0].revision == 0 and latest == first:
            await log.revise([revision(first, first)])
    await log.append([new_entry("last", "w1"), unread_entry(b"not yet read", "unread")])
    await remove(log, until=900, groups=[(["admin.*"], 0)], others=700)
    after = 0
    while after < 1200:
        after = (await log.remove_raw(after, 1200)).reached
    await log.begin("sink", 800, "f")
    await log.settle(
        Settlement(
            "sink", 1, 2000, matched=40, delivered=30, hold=[held(1500), held(1600, due_at=None)], skipped=2, behind=5,
            carried=1, block=[BlockedKey("user:b", 1500, is_held=True), BlockedKey("user:a", 1510)],
        )
    )  # fmt: skip
    claim = await log.claim("other", "me")
    assert claim is not None
    await log.begin("other", 5, "g", claim.token)
    await log.release(claim)
    await log.keep(Note("kept", "first", 1))
    await log.keep(Note("kept", "ünd second", 2))
    await log.keep(Note("left", "behind", 1))


async def whole(log: RetainingStore) -> list[Any]:
    """All that can be asked of a log."""
    stored: list[Stored] = []
    while page := await log.read_stored(stored[-1].entry.position if stored else 0, limit=500):
        stored += page
    stretches = [(0, log.head), (700, 1100), (1023, 2048), (5, 6)]
    return [
        log.head,
        [one if one.raw is not None else one._replace(media="") for one in stored],
        [await log.removed(*stretch) for stretch in stretches],
        [await log.raw(one.entry.position) for one in stored[::37]],
        [await log.latest(one.entry.uid) for one in stored[::11]],
        [await log.progress(name) for name in ("sink", "other", "unknown")],
        [await log.held(name) for name in ("sink", "other")],
        await log.blocked("sink"),
        [await log.noted(name) for name in ("kept", "unknown", UNFINISHED)],
        await log.quarantine(),
        await log.arrivals(),
        [await log.position_at(stored[place].entry.received_at) for place in (-1, -100, -1000)],
    ]


WAYS = [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "sqlite"), ("postgresql", "postgresql")]


@pytest.mark.parametrize(("one", "other"), WAYS)
async def test_it_holds_the_same_and_goes_on_as_it_would_have(places: Places, one: str, other: str) -> None:
    source, target = await places.url(one), await places.url(other)
    async with opened(source) as log:
        await fill(log)
        before = await whole(log)
        entries = len(before[1])
    assert await transfer(source, target) == entries
    more = [
        read_entry(b"not yet read", "read"),
        new_entry("last"),
        new_entry(None, "w1", session="a"),
        new_entry("fresh", "w2", session="b"),
    ]
    receipts = []
    for url in (source, target):
        async with opened(url) as log:
            await refuse_unfinished(log)
            assert await whole(log) == before
            assert (await log.claim("other", "another")).token == 2
            receipts.append(await log.append(more))
            assert (await log.append([new_entry("fresh")]))[0].uid == strong_key("fresh")
            # Those that were removed are known, until they are forgotten.
            while await log.forget(600, SECONDS + 10):
                pass
            receipts.append(await log.append([new_entry(f"s{number}") for number in range(9000)]))
    assert receipts[0] == receipts[2]
    assert receipts[0][0] == Receipt(strong_key("unread"), None, before[0])
    assert receipts[1] == receipts[3]
    async with opened(target) as log:
        assert await log.noted("added") == Note("added", "yes", 1)
        assert await log.noted("left") is None


class Broken(Exception):
    pass


@pytest.mark.parametrize(("one", "other"), WAYS[:2])
@pytest.mark.parametrize("stage", ["entries", "keys", "comparing entries"])
async def test_one_that_was_broken_off_goes_on_where_it_was(places: Places, one: str, other: str, stage: str) -> None:
    source, target = await places.url(one), await places.url(other)
    async with opened(source) as log:
        await fill(log)
        await log.append([new_entry(f"more-{number}") for number in range(3000)])
        before = await whole(log)
    done: list[tuple[str, int]] = []

    def break_off(what: str, number: int, of: int | None) -> None:
        done.append((what, number))
        if what == stage:
            raise Broken

    with pytest.raises(Broken):
        await transfer(source, target, break_off)
    async with opened(target) as log:
        with pytest.raises(ConfigError, match="store migrate"):
            await refuse_unfinished(log)
    again: list[tuple[str, int]] = []
    await transfer(source, target, lambda what, number, of: again.append((what, number)))
    assert min(number for what, number in [*again, ("entries", 1 << 30)] if what == "entries") > done[0][1]
    async with opened(target) as log:
        assert await whole(log) == before


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_a_place_that_has_a_log_is_refused_and_left_alone(places: Places, engine: str) -> None:
    source, target = await places.url("sqlite"), await places.url(engine)
    for url in (source, target):
        async with opened(url) as log:
            await log.append([new_entry("a")])
    with pytest.raises(StoreMismatch, match="there is a log already"):
        await transfer(source, target)
    async with opened(target) as log:
        assert len(await read_all(log)) == 1
        assert await log.noted(UNFINISHED) is None


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_where_no_log_is_none_is_made(places: Places, engine: str) -> None:
    with pytest.raises(StoreUnavailable, match="no log"):
        async with open_whole(await places.url(engine)):
            pass


async def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="/proc/none: cannot be made"):
        async with open_new_log(file_url(Path("/proc/none/log.sqlite")), b""):
            pass


async def test_a_log_that_is_open_is_refused(places: Places) -> None:
    source = await places.url("sqlite")
    async with opened(source):
        with pytest.raises(StoreUnavailable, match="another process writes this log"):
            await transfer(source, await places.url("sqlite"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE entry SET type = 'x' WHERE place = 1", "position 2 in type"),
        ("DELETE FROM entry WHERE place = 2", "position 3"),
        ("UPDATE raw SET media = 'text/plain'", "position 1 in media"),
        ("UPDATE identity SET equal = equal + 1", "known by"),
        ("DELETE FROM identity", "keys|known by"),
        ("INSERT INTO note VALUES ('theirs', '', 1)", "in their notes"),
        ("UPDATE reader SET cursor = 2", "in their readers"),
        ("UPDATE held SET tries = 9", "in their held"),
        ("INSERT INTO blocked VALUES ('sink', 'user:a', 1, false)", "in their blocked"),
        ("DELETE FROM claim", "in their tokens"),
        ("UPDATE counter SET head = 7", "ends at position"),
    ],
)
async def test_what_differs_is_found(places: Places, change: str, told: str) -> None:
    source, target = await places.url("sqlite"), await places.url("postgresql")
    async with opened(source) as log:
        await log.append([new_entry(f"{number}", f"w{number}") for number in range(4)])
        await log.keep(Note("kept", "text", 1))
        claim = await log.claim("sink", "me")
        await log.begin("sink", 0, "f", claim.token)
        await log.settle(Settlement("sink", 1, 1, matched=1, hold=[held(1)], token=claim.token))
    await transfer(source, target)
    async with open_whole(source) as one, open_whole(target) as other:
        await compare(one, other, silent, leaving={"added"})
        await other._connection.execute(change)  # type: ignore[attr-defined]
        with pytest.raises(StoreError, match=told):
            await compare(one, other, silent, leaving={"added"})
