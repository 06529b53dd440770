"""Removes from the log what is older than it is to be kept: in the background, by one owner, a little at a time.

What is to go is found by position: the log is in the order of arrival, so what is too old ends somewhere. Up to there
the log is walked once for each time that events are kept; how far each of these walks is, is kept in a note. A sink
that has not had its events yet holds them back, 30 days beyond their time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson
import structlog

from adapter.errors import NoteChanged, StoreError
from adapter.log.protocol import Note, Removal, RetainingStore, Share, Usage
from adapter.log.removal import Limits
from adapter.mapping.catalogue import Catalogue
from adapter.retention.policy import PATIENCE, Policy, all_names
from adapter.tasks import in_background

#: Name of the claim under which it runs, and of the note.
NAME = "retention"
#: Seconds between two rounds, and between two looks at what may be forgotten.
EVERY, FORGETTING = 60.0, 3600.0
#: Wait between two steps, seconds: the writer has four fifths of its time for others.
PACE = 0.05
#: Share of the size that is left after something was removed for it.
LEFT = 0.98
#: How often a size is looked at in one round: what one entry takes is an estimate.
LOOKS = 5

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RetentionCounts:
    """What was removed since the start."""

    entries: int = 0
    raw: int = 0
    #: What the log took after the last round.
    usage: Usage | None = None


@dataclass(slots=True, frozen=True)
class Preview:
    """What a round would remove."""

    shares: Sequence[Share]
    #: Up to which position native bytes would go alone.
    raw_until: int
    #: What the log takes, and where it ends.
    usage: Usage
    head: int
    #: Up to where every sink has had what is in the log.
    had: int


@dataclass(slots=True, frozen=True)
class _Limit:
    """Events go up to ``position``; up to ``overdue`` whether all sinks have had them or not."""

    position: int
    overdue: int


class Retaining:
    """The rounds of retention over one log."""

    def __init__(
        self,
        log: RetainingStore,
        policy: Policy,
        readers: Iterable[str],
        catalogue: Callable[[], Catalogue],
        *,
        others_size: Callable[[], Awaitable[int]],
        prune: Callable[[], Awaitable[bool]],
        clock: Callable[[], float] = time.time,
        pace: float = PACE,
    ) -> None:
        """``readers``: names by which the log knows the sinks, asked for in each round. ``others_size`` gives the
        bytes of what is made of the log, and counts into the size; ``prune`` removes from it what the log has not any
        more, where a size is to be kept."""
        self.counts = RetentionCounts()
        self._log = log
        self._policy = policy
        self._readers = readers
        self._catalogue = catalogue
        self._others_size = others_size
        self._prune = prune
        self._clock = clock
        self._pace = pace
        #: Up to where the walk of each time is done, and that of native bytes.
        self._done: dict[str, int] = {}
        self._note: Note | None = None
        self._forgot_at = float("-inf")

    @property
    def removes(self) -> bool:
        """Whether anything is ever removed."""
        return self._policy.removes

    async def run(self) -> None:
        """One round after the other, for ever; whatever fails, the next one begins where it was."""
        while True:
            try:
                await self.round()
            except StoreError as error:
                _log.warning("retention_waits", problem=str(error))
            except Exception:
                _log.exception("retention_failed")
            await asyncio.sleep(EVERY)

    async def round(self) -> None:
        """Remove what is to go by now."""
        await self._read_note()
        before = self.counts.entries, self.counts.raw
        now = int(self._clock() * 1000)
        had = await self._had()
        await self._remove_old(now, had)
        await self._remove_raw(now, had)
        if self._policy.size is not None:
            await self._remove_most(now, had, self._policy.size)
        if (self.counts.entries, self.counts.raw) != before:
            removed = {"entries": self.counts.entries - before[0], "raw": self.counts.raw - before[1]}
            _log.info("retention_removed", **removed)
        if time.monotonic() - self._forgot_at >= FORGETTING:
            await self._forget(now)
            self._forgot_at = time.monotonic()
        self.counts.usage = await self._log.usage()

    async def preview(self) -> Preview:
        """What a round would remove now, without removing it. All entries up to there are counted."""
        await self._read_note()
        now, had = int(self._clock() * 1000), await self._had()
        groups, others = await self._limits(now, had)
        removal = Removal(0, 0, [(types, limit.position) for types, limit in groups], others.position, had)
        usage = await self._log.usage()
        for_size = 0
        if self._policy.size is not None:
            taken = usage.size + await self._others_size()
            if taken > self._policy.size:
                for_size = min(self._until(usage, taken, self._policy.size), had)
        limits = Limits(removal)
        found: dict[tuple[str, str | None], tuple[int, int]] = {}
        # Between two limits the same types go.
        ends = sorted({limit for limit in (for_size, removal.others, *(limit for _, limit in removal.groups)) if limit})
        after = usage.first - 1
        for end in ends:
            for one in await self._log.shares(after, end) if end > after else ():
                if end <= max(limits.of(one.type), for_size):
                    entries, size = found.get((one.source, one.type), (0, 0))
                    found[one.source, one.type] = entries + one.entries, size + one.size
            after = max(after, end)
        shares = [Share(*key, *counts) for key, counts in found.items()]
        raw = await self._limit(now - self._policy.raw, had) if self._policy.raw is not None else _Limit(0, 0)
        return Preview(sorted(shares, key=lambda one: -one.entries), raw.position, usage, self._log.head, had)

    async def _had(self) -> int:
        """Up to where every sink has had what is in the log."""
        had = self._log.head
        for reader in self._readers:
            state = await self._log.progress(reader)
            if state is not None:
                had = min(had, state.cursor if state.waiting is None else min(state.cursor, state.waiting - 1))
        return had

    async def _limit(self, before: int, had: int) -> _Limit:
        """What arrived before a timestamp."""
        overdue = await self._log.position_at(before - PATIENCE)
        due = await self._log.position_at(before)
        return _Limit(max(min(due, had), overdue), overdue)

    async def _remove_old(self, now: int, had: int) -> None:
        groups, others = await self._limits(now, had)
        limits = [(types, limit.position) for types, limit in groups]
        for name, limit in [*((str(number), limit) for number, (_, limit) in enumerate(groups)), ("others", others)]:
            done = self._done.get(name, 0)
            for until, known in ((limit.overdue, self._log.head), (limit.position, had)):
                if done < until:
                    done = await self._walk(Removal(done, until, limits, others.position, known))
            self._done[name] = done
        await self._keep_note()

    async def _limits(self, now: int, had: int) -> tuple[list[tuple[Sequence[str], _Limit]], _Limit]:
        """Up to where the types of each group go, and all others."""
        policy = self._policy
        groups: list[tuple[Sequence[str], _Limit]] = [
            (all_names(group.types, self._catalogue()), await self._limit(now - group.keep, had))
            for group in policy.groups
        ]
        return groups, _Limit(0, 0) if policy.keep is None else await self._limit(now - policy.keep, had)

    async def _walk(self, removal: Removal) -> int:
        """Remove step by step; up to where it is done."""
        reached = removal.after
        while reached < removal.until:
            step = await self._log.remove(removal._replace(after=reached))
            self.counts.entries += step.entries
            if step.reached == reached:
                break
            reached = step.reached
            await asyncio.sleep(self._pace)
        return reached

    async def _remove_raw(self, now: int, had: int) -> None:
        if self._policy.raw is None:
            return
        limit, reached = await self._limit(now - self._policy.raw, had), self._done.get("raw", 0)
        if reached >= limit.position:
            return
        while reached < limit.position:
            step = await self._log.remove_raw(reached, limit.position)
            self.counts.raw += step.entries
            reached = step.reached
            await asyncio.sleep(self._pace)
        self._done["raw"] = reached
        await self._keep_note()

    async def _remove_most(self, now: int, had: int, size: int) -> None:
        """Remove the oldest until log and search take no more than that."""
        overdue = await self._log.position_at(now - PATIENCE)
        most = max(had, overdue)
        for _ in range(LOOKS):
            usage = await self._log.usage()
            taken = usage.size + await self._others_size()
            if taken <= size or not usage.entries:
                return
            until = min(self._until(usage, taken, size), most)
            if until < usage.first:
                _log.warning("retention_held_back", size=taken, limit=size, wanted_from=had + 1)
                return
            known = self._log.head if until <= overdue else had
            await self._walk(Removal(usage.first - 1, until, (), until, known))
            if not await self._prune():
                return  # what is made of the log has not become smaller yet

    def _until(self, usage: Usage, taken: int, size: int) -> int:
        """Up to where entries go for the rest to take less than a size, about."""
        share = (taken - size * LEFT) / taken
        return usage.first + int(share * (self._log.head - usage.first + 1))

    async def _forget(self, now: int) -> None:
        """Forget what removed events were known by, once that is old enough."""
        known = self._policy.known
        before = None if known is None else now - known
        if before is None and self._policy.size is not None:
            first = await self._log.read((await self._log.usage()).first - 1, limit=1)
            before = first[0].received_at - PATIENCE if first else None
        if before is None:
            return
        until = await self._log.position_at(before)
        more = until > 0
        while more:
            more = await self._log.forget(until, before // 1000)
            await asyncio.sleep(self._pace)

    async def _read_note(self) -> None:
        """How far the walks are, of those who had the claim before; a walk by other rules begins anew."""
        self._note = await self._log.noted(NAME)
        kept = {} if self._note is None else orjson.loads(self._note.text)
        self._done = kept.get("done", {}) if kept.get("rules") == self._policy.digest else {}

    async def _keep_note(self) -> None:
        text = orjson.dumps({"rules": self._policy.digest, "done": self._done}).decode()
        if self._note is not None and self._note.text == text:
            return
        note = Note(NAME, text, 1 if self._note is None else self._note.version + 1)
        try:
            await self._log.keep(note)
        except NoteChanged:
            await self._read_note()
        else:
            self._note = note


@contextlib.asynccontextmanager
async def open_retention(retaining: Retaining) -> AsyncIterator[Retaining]:
    """Retention in the background while the context lasts."""
    async with in_background(retaining.run(), "retention"):
        yield retaining
