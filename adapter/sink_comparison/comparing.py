"""Holds what a sink got against what another sink got, or against the recorded bodies of another sender.

The log is read once, in stretches. What became of an entry at a sink is said as `adapter.delivery.why` says it of one
event, from the sink's place, its rows and its filter; so nothing needs to be remembered of what was delivered. Events
are chosen by their own time, which is the same on both sides, whatever the clocks of those who sent them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from adapter.delivery.attempts import Outcome
from adapter.delivery.fault import Fault
from adapter.delivery.keys import kind_of, make_key_of
from adapter.delivery.loop import reader_name
from adapter.delivery.select import Selection
from adapter.delivery.why import Present, Stage, Verdict, explain
from adapter.formats.text import counted
from adapter.log.protocol import Attempt, ReaderState, Store
from adapter.model import Entry, uid_text
from adapter.sink_comparison.comparison import Comparison, Differing, Group, Result, Side
from adapter.sink_comparison.comparison import Looked as Progress
from adapter.sink_comparison.recording import Looked, Names, Rank, Recording, names_of

#: Entries that are read at a time, and in a second: others are to get their turn.
STRETCH, RATE = 250, 20_000
#: Events may have arrived so long before they happened, by the clocks of those who sent them; milliseconds.
SLACK = 3_600_000
#: Skipped events of a sink that are known by its attempts: pages of them, and attempts in a page.
_PAGES, _PAGE = 20, 1000

#: For how long Phase Two's sender goes on trying an event, milliseconds.
RETRYING = 900_000

#: Of stages that are no end: the event may still be delivered.
_PENDING = {Stage.IN_FLIGHT, Stage.HELD, Stage.BLOCKED, Stage.WAITING}

NOT_IN_LOG = "not_in_log"
NOT_RECORDED = "not_recorded"
_NOT_IN_LOG = "no event of the log is this one: its source did not send it, or it could not be made an event"
_NOT_RECORDED = "the recording has no such event"

Tell = Callable[[Progress], Awaitable[None]]


@dataclass(frozen=True)
class Compared:
    """A sink that is held against another one, or against a recording."""

    name: str
    selection: Selection
    #: Tells what the sink is doing now.
    present: Callable[[str], Awaitable[Present]]
    #: What the caller may be told of a text about a receiver.
    may_tell: Callable[[str], str] = str

    @property
    def reader(self) -> str:
        return reader_name(self.name)


class _Asked:
    """What became of entries at one sink."""

    def __init__(self, log: Store, sink: Compared) -> None:
        self._log = log
        self._sink = sink
        self._present = Present("off")
        #: Of events that the receiver asked not to get, as far as attempts are remembered.
        self._skipped: dict[int, Attempt] = {}
        #: As it was when the comparison began; ``None``: it has not begun.
        self.progress: ReaderState | None = None

    async def open(self) -> None:
        """Look at it as it is now."""
        present = await self._sink.present(self._sink.name)
        self._present = replace(present, reason=self._sink.may_tell(present.reason))
        self.progress = progress = await self._log.progress(self._sink.reader)
        before: tuple[int, int] | None = None
        for _ in range(_PAGES if progress is not None and progress.skipped else 0):
            found = await self._log.attempts(self._sink.reader, outcomes=[Outcome.SKIPPED], before=before, limit=_PAGE)
            for one in found:
                places = range(one.position, one.last + 1) if one.has(one.position + 1) else (one.position, one.last)
                self._skipped |= dict.fromkeys(places, one._replace(reason=self._sink.may_tell(one.reason)))
            if len(found) < _PAGE:
                break
            before = (found[-1].began_at, found[-1].position)

    def notes(self, first: int) -> Iterable[str]:
        """What else is to be known of it; ``first``: position of the first entry that was compared."""
        name, progress = self._sink.name, self.progress
        if progress is None:
            yield f"{name} has not begun to read the log"
            return
        if progress.epoch > 1 and progress.since is not None and first <= progress.since:
            yield (
                f"the filter of {name} has changed: of what it passed before position {progress.since}, nobody knows "
                "what the former one took; compare a later time"
            )
        if progress.skipped:
            yield (
                f"{counted(progress.skipped, 'event')} of {name} were skipped; those of which no attempt is remembered "
                "count as delivered here"
            )

    async def verdicts(self, entries: Sequence[Entry], wanted: Collection[int] = ()) -> dict[int, Verdict]:
        """What became of entries, by position: of those that the sink takes, or has a row of, and of those at the
        positions that are ``wanted``."""
        # Before the rows: what the sink had passed then, and has no row afterwards, was delivered.
        progress = await self._log.progress(self._sink.reader)
        held = await self._log.held_at(self._sink.reader, [entry.position for entry in entries])
        blocked = {one.key: one.position for one in await self._log.blocked(self._sink.reader)}
        key_of = make_key_of(kind_of(next(iter(blocked)))) if blocked else None
        rows = {row.position: replace(row, answer=self._sink.may_tell(row.answer)) for row in held}
        taken = {entry.position for entry in self._sink.selection.select(entries)}
        found: dict[int, Verdict] = {}
        for entry in entries:
            position = entry.position
            if position not in taken and position not in rows and position not in wanted:
                continue
            head = None if key_of is None or entry.event is None else blocked.get(key_of(entry.event) or "")
            is_behind = head is not None and progress is not None and head < position <= progress.cursor
            skipped = self._skipped.get(position)
            found[position] = explain(
                position, entry, self._sink.selection, progress, rows.get(position),
                [] if skipped is None else [skipped], self._present, head if is_behind else None,
            )  # fmt: skip
        return found


class Comparing:
    """One comparison, from its beginning to its end."""

    def __init__(
        self,
        log: Store,
        sink: Compared,
        other: Compared | Recording,
        canonical: Callable[[str], str],
        *,
        since: int | None,
        until: int,
        told: int,
    ) -> None:
        """Of events that happened in ``since <= time < until`` (epoch milliseconds). ``canonical`` gives the one name
        of a type that has several; ``told``: how many events of a group are told."""
        self._log = log
        self._sink = _Asked(log, sink)
        self._canonical = canonical
        self._recording = other if isinstance(other, Recording) else None
        self._other = None if isinstance(other, Recording) else _Asked(log, other)
        self._since, self._until = since, until
        self._told = told
        #: Events that the recording has not, and that happened shortly before its end.
        self._late = 0
        self.found = Comparison(
            sink=sink.name, other=None if isinstance(other, Recording) else other.name, result=Result.SAME,
            since=since, until=until, begin=0, end=log.head,
        )  # fmt: skip

    async def run(self, tell: Tell) -> Comparison:
        """What it comes to; ``tell`` hears how far it is.

        Raises:
            StoreError: the log cannot be read now.
        """
        found = self.found
        asked = [self._sink, *([self._other] if self._other is not None else [])]
        for one in asked:
            await one.open()
        found.begin = min(found.end, await self._begin(asked))
        clock = asyncio.get_running_loop().time
        began, looked_at = clock(), 0
        position, first, quarantined = found.begin, found.end + 1, 0
        while position < found.end:
            entries = await self._log.read(position, until=found.end, limit=STRETCH)
            if not entries:
                break
            quarantined += sum(entry.event is None and self._is_of_time(entry.received_at) for entry in entries)
            chosen = [(entry, names) for entry in entries if (names := self._names(entry)) is not None]
            if chosen:
                first = min(first, chosen[0][0].position)
                await (self._meet(chosen) if self._recording is not None else self._both(chosen))
            position = entries[-1].position
            looked_at += len(entries)
            await asyncio.sleep(max(0.0, began + looked_at / RATE - clock()))
            await tell(Progress(done=position - found.begin, all=found.end - found.begin))
        if self._recording is not None:
            await asyncio.to_thread(self._end_recording, self._recording)
        for one in asked:
            found.notes += one.notes(first)
        if removed := await self._log.removed(found.begin, found.end):
            said = "1 entry" if removed == 1 else f"{removed} entries"
            found.notes.append(f"{said} of that part of the log had been removed, and cannot be compared")
        if quarantined:
            said = "1 record" if quarantined == 1 else f"{quarantined} records"
            found.notes.append(
                f"{said} of that time could not be made an event, and no sink got them: idp-adapter events quarantine"
            )
        if self._late:
            found.notes.append(
                f"{self._late} of the extra ones happened in the last {RETRYING // 60_000} minutes of the recording: "
                "the other sender may still have been trying them; let the time end earlier"
            )
        if found.missing.count or found.extra.count or found.unclear.count:
            found.result = Result.DIFFERENT
        elif found.pending.count:
            found.result = Result.PENDING
        elif not found.same:
            found.result = Result.NOTHING
        return found

    async def _begin(self, asked: Sequence[_Asked]) -> int:
        """Behind which position the log is to be read."""
        if self._since is not None:
            return await self._log.position_at(max(0, self._since - SLACK))
        # Before one of two began, it had nothing.
        return max((one.progress.since or 0) if one.progress is not None else self.found.end for one in asked)

    def _is_of_time(self, time: int) -> bool:
        return (self._since is None or self._since <= time) and time < self._until

    def _names(self, entry: Entry) -> Names | None:
        """What an entry is known by; ``None``: it is not compared. Of an event its first entry is."""
        if entry.event is None or entry.revision:
            return None
        names = names_of(entry.event, self._canonical)
        return names if names is not None and names.time is not None and self._is_of_time(names.time) else None

    async def _both(self, chosen: Sequence[tuple[Entry, Names]]) -> None:
        """Hold two sinks against each other."""
        assert self._other is not None
        entries = [entry for entry, _ in chosen]
        # Of what one of them has, it is asked at the other one, too.
        mine = await self._sink.verdicts(entries)
        theirs = await self._other.verdicts(entries, mine)
        if rest := theirs.keys() - mine.keys():
            mine |= await self._sink.verdicts([entry for entry in entries if entry.position in rest], rest)
        for entry, names in chosen:
            one, other = mine.get(entry.position), theirs.get(entry.position)
            if one is None or other is None:
                continue
            ranks = _rank(one), _rank(other)
            if ranks == (Rank.GOT, Rank.GOT):
                self.found.same += 1
            elif Rank.PENDING in ranks:
                self._note(self.found.pending, entry, names, *_of(one, other, ranks, Rank.PENDING))
            elif Rank.UNCLEAR in ranks:
                self._note(self.found.unclear, entry, names, *_of(one, other, ranks, Rank.UNCLEAR))
            elif ranks == (Rank.NOT, Rank.GOT):
                self._note(self.found.missing, entry, names, Side.SINK, one)
            elif ranks == (Rank.GOT, Rank.NOT):
                self._note(self.found.extra, entry, names, Side.OTHER, other)

    async def _meet(self, chosen: Sequence[tuple[Entry, Names]]) -> None:
        """Hold the sink against the recording."""
        assert self._recording is not None
        # Which of them were recorded is known only afterwards; so all are asked about.
        verdicts = await self._sink.verdicts([entry for entry, _ in chosen], {entry.position for entry, _ in chosen})
        looked = [
            Looked(names, entry.position, uid_text(entry.uid), _rank(one), one.stage, one.reason, one.fault)
            for entry, names in chosen
            for one in [verdicts[entry.position]]
        ]
        recorded = await asyncio.to_thread(self._recording.meet, looked)
        for (entry, names), is_recorded in zip(chosen, recorded, strict=True):
            if is_recorded:
                continue
            one = verdicts[entry.position]
            if one.stage is Stage.DELIVERED:
                self._note(self.found.extra, entry, names, Side.OTHER, None)
                last = self._recording.told.last
                self._late += last is not None and names.time is not None and names.time > last - RETRYING
            elif one.stage in _PENDING:
                self._note(self.found.pending, entry, names, Side.SINK, one)

    def _end_recording(self, recording: Recording) -> None:
        """Count what became of the recorded events."""
        found = self.found
        found.recorded = recording.told
        found.same = sum(recording.count(Rank.GOT).values())
        groups = ((Rank.UNKNOWN, found.missing), (Rank.NOT, found.missing), (Rank.PENDING, found.pending),
                  (Rank.UNCLEAR, found.unclear))  # fmt: skip
        for rank, group in groups:
            for stage, count in recording.count(rank).items():
                group.count += count
                group.stages[stage or NOT_IN_LOG] = group.stages.get(stage or NOT_IN_LOG, 0) + count
            for row in recording.first(rank, self._told - len(group.first)):
                group.first.append(
                    Differing(
                        id=row["id"], uid=row["uid"], type=row["type"], time=row["time"], position=row["position"],
                        line=row["line"], of=Side.SINK, stage=None if row["stage"] is None else Stage(row["stage"]),
                        reason=row["reason"] or _NOT_IN_LOG,
                        fault=None if row["fault"] is None else Fault(row["fault"]),
                    )
                )  # fmt: skip

    def _note(self, group: Group, entry: Entry, names: Names, of: Side, verdict: Verdict | None) -> None:
        """Count an event, and tell it if it is one of the first; ``None``: the recording has it not."""
        group.count += 1
        key = NOT_RECORDED if verdict is None else str(verdict.stage)
        group.stages[key] = group.stages.get(key, 0) + 1
        if len(group.first) < self._told:
            group.first.append(
                Differing(
                    id=names.id, uid=uid_text(entry.uid), type=names.type, time=names.time, position=entry.position,
                    line=None, of=of, stage=None if verdict is None else verdict.stage,
                    reason=_NOT_RECORDED if verdict is None else verdict.reason,
                    fault=None if verdict is None else verdict.fault,
                )
            )  # fmt: skip


def _rank(verdict: Verdict) -> int:
    if verdict.stage is Stage.DELIVERED:
        return Rank.GOT
    if verdict.stage in _PENDING:
        return Rank.PENDING
    return Rank.UNCLEAR if verdict.stage is Stage.EARLIER_FILTER else Rank.NOT


def _of(one: Verdict, other: Verdict, ranks: tuple[int, int], rank: int) -> tuple[Side, Verdict]:
    """The one of the two of which that rank is true."""
    return (Side.SINK, one) if ranks[0] == rank else (Side.OTHER, other)
