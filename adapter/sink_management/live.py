"""The sinks of a running service, those of the settings and those of the log: opened, replaced and closed as they
change, each for itself, while all others go on.

Of a sink that has changed the old delivery ends in order, what it knows is settled, and the new one goes on from there.
Services over one log look at its sinks every two seconds; the one that changes a sink takes it up at once. Whoever gets
the claim of a sink looks once more whether it is still that one, so that no service brings back what another deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import orjson
import structlog

from adapter.delivery import reporting, standing
from adapter.delivery.loop import Delivery, open_delivery, reader_name, replay_note, replay_reader
from adapter.delivery.select import Selection
from adapter.delivery.standing import Decided, Standings, open_standings
from adapter.delivery.tail import Tail
from adapter.errors import AdapterError, ClaimLost, NoteChanged, StoreError
from adapter.filter import Filter
from adapter.formats.text import counted
from adapter.hints import Hints
from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import Claim, Note, Store
from adapter.mapping.catalogue import Catalogue
from adapter.outgoing.settings import HttpSettings, OutgoingSettings
from adapter.outgoing.tls import ends_of
from adapter.ownership import Ownership, open_ownership
from adapter.sealing import Sealing, SealingError
from adapter.search.looked_up import NamingSink
from adapter.search.search import Search
from adapter.sink_management.stored import PREFIX, StoredSink, link_notes, read_stored
from adapter.sinks.settings import SinkSettings, open_sink
from adapter.sinks.token_key import GetTokenKey
from adapter.tasks import in_background

#: Seconds between two looks at the sinks of the log.
EVERY = 2.0
#: Sinks that are opened at the same time.
OPENING = 32
#: Milliseconds of a day; and so long before a certificate ends it is warned of.
DAY = 86_400_000
SOON = 30 * DAY
#: Milliseconds for which it is not looked again when certificates end, as everybody may ask.
FRESH = 10_000
#: Sinks of the log that are named in a warning.
_NAMED = 5

_log = structlog.get_logger("adapter.sinks")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A sink as it is to be delivered to."""

    settings: SinkSettings = field(compare=False)
    #: By what it is told from what it was before: empty for one of the settings.
    id: str = ""
    version: int = 0
    #: When the replaced secrets end that are still valid, epoch milliseconds.
    ends: tuple[int, ...] = ()


def select(settings: SinkSettings, filter: Filter) -> Selection:
    """Which events a sink gets whose filter this is."""
    return Selection(filter, revisions=settings.revisions == "send", sink=settings.name)


def _ends_of(settings: SinkSettings) -> dict[str, int]:
    auth = getattr(settings, "auth", None)
    found = ends_of(settings) if isinstance(settings, HttpSettings) else dict[str, int]()
    if isinstance(auth, HttpSettings):
        found |= {f"auth.{what}": until for what, until in ends_of(auth).items()}
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(sorted(names)[:_NAMED]) + more


class _Slot:
    """One name, and what is delivered under it."""

    def __init__(self) -> None:
        self.wanted: Wanted | None = None
        self.present: Wanted | None = None
        self.stack: AsyncExitStack | None = None
        #: What could not be opened, and why; tried again with the next look.
        self.failed: Wanted | None = None
        self.problem: str | None = None
        self.task: asyncio.Task[None] | None = None


class ReaderNames:
    """Names by which the log knows the sinks, or the sinks' own, as they are each time that they are asked for."""

    def __init__(self, live: LiveSinks, name: Callable[[str], str]) -> None:
        self._live = live
        self._name = name

    def __iter__(self) -> Iterator[str]:
        return iter([self._name(name) for name in self._live.names()])


class LiveSinks:
    """The sinks of a service. Made by `open_live_sinks`."""

    def __init__(
        self,
        configured: Sequence[SinkSettings],
        log: Store,
        search: Search,
        sealing: Sealing,
        outgoing: OutgoingSettings,
        token_key: GetTokenKey,
        catalogue: Callable[[], Catalogue],
        known_secrets: KnownSecrets,
        *,
        owner: str,
        patience: Callable[[], float],
        now: Callable[[], int],
        standings: Standings,
        is_shared: bool,
        delivers: bool,
    ) -> None:
        #: Who delivers to each sink that is open here; the same mapping for ever.
        self.deliveries: dict[str, Ownership[Delivery]] = {}
        #: The sinks of the settings, and those of the log, by name.
        self.configured: Mapping[str, SinkSettings] = {one.name: one for one in configured}
        self.stored: dict[str, StoredSink] = {}
        #: What is decided about sinks, for all that are open here.
        self.standings = standings
        self._log = log
        self._search = search
        self._sealing = sealing
        self._outgoing = outgoing
        #: What signs tokens, where a sink asks for it.
        self.token_key = token_key
        self._catalogue = catalogue
        self._known_secrets = known_secrets
        self._owner = owner
        self._patience = patience
        self._now = now
        self._is_shared = is_shared
        self._delivers = delivers
        self._slots: dict[str, _Slot] = {}
        self._opening, self._tail = asyncio.Semaphore(OPENING), Tail(log)
        #: The texts of the notes that were read, with their versions: most looks find them as they were.
        self._notes: dict[str, Note] = {}
        #: Sinks that were deleted, and of which something is left: versions of their notes.
        self._deleted: dict[str, int] = {}
        #: The settings of those of the log as they were read last: to read one takes a millisecond. With id, version,
        #: and how many replaced secrets are valid.
        self._read_as: dict[str, tuple[tuple[str, int, int], SinkSettings | None]] = {}
        #: When the certificates of all sinks were read last, and when they end.
        self._ends: tuple[int, Sequence[tuple[str, str, int]]] | None = None
        self._turn = asyncio.Lock()
        self._is_ending = False

    def names(self) -> list[str]:
        """All sinks."""
        return [*self.configured, *(name for name in self.stored if name not in self.configured)]

    def kinds(self) -> list[tuple[str, str]]:
        """All sinks, each with its kind."""
        stored = [(name, one.kind) for name, one in self.stored.items() if name not in self.configured]
        return [*((name, one.kind) for name, one in self.configured.items()), *stored]

    def is_received(self, name: str) -> bool:
        """Whether somebody else receives what a sink sends: it does not end on the service's own machine."""
        configured = self.configured.get(name)
        return name in self.stored if configured is None else type(configured).by_api

    def settings(self) -> list[SinkSettings]:
        """The settings of all sinks that can be read."""
        now = self._now()
        return [one for name in self.names() if (one := self._settings_of(name, now)) is not None]

    def _settings_of(self, name: str, now: int) -> SinkSettings | None:
        """The settings of a sink; ``None`` if there is none, or they cannot be read."""
        if name in self.configured:
            return self.configured[name]
        one = self.stored.get(name)
        if one is None or one.problem is not None:
            return None
        version = one.id, one.version, len(one.valid(now))
        if name not in self._read_as or self._read_as[name][0] != version:
            self._read_as[name] = version, None
            with suppress(ValueError):  # of another version: told where it is opened
                self._read_as[name] = version, one.settings(now)
        return self._read_as[name][1]

    def selection(self, settings: SinkSettings) -> Selection:
        """Which events a sink gets.

        Raises:
            ConfigError: its filter is none.
        """
        name = settings.name
        return select(settings, Filter.from_settings(settings.filter, self._catalogue(), f"sinks: {name}: filter"))

    def certificates(self, name: str) -> dict[str, int]:
        """When the certificates of a sink end, by what they are for, epoch milliseconds."""
        settings = self._settings_of(name, self._now())
        return {} if settings is None else _ends_of(settings)

    def all_certificates(self) -> Sequence[tuple[str, str, int]]:
        """The same of all sinks: a sink, what one is for, and when it ends. Of files, as they were a moment ago."""
        now = self._now()
        if self._ends is None or not 0 <= now - self._ends[0] < FRESH:
            found = [
                (settings.name, what, until)
                for settings in self.settings()
                for what, until in _ends_of(settings).items()
            ]
            self._ends = now, found
        return self._ends[1]

    def problem(self, name: str) -> str | None:
        """Why a sink is not delivered to here, for people."""
        stored, slot = self.stored.get(name), self._slots.get(name)
        if stored is not None and name not in self.configured and stored.problem is not None:
            return stored.problem
        return None if slot is None else slot.problem

    async def begin_paused(self, stored: StoredSink) -> None:
        """Pause a new sink that is to begin so, unless something was decided about it already. Whoever opens it does
        so, too: who made it may have died before.

        Raises:
            StoreError: the log does not answer.
        """
        if stored.begins_paused and not (await standing.read(self._log, stored.name)).version:
            await self.standings.change(
                stored.name, state=Decided.PAUSED, reason="made paused", by=stored.created_by, now=self._now()
            )

    def public_warnings(self) -> list[str]:
        """The same for everybody: without names."""
        return [f"sinks: {told}" for told in self._warned(lambda names: counted(len(names), "sink"))]

    def warnings(self) -> list[str]:
        """What somebody should look at, a line each."""
        return [f"sinks: {told}" for told in self._warned(_some)]

    def _warned(self, tell: Callable[[Sequence[str]], str]) -> list[str]:
        told = []
        for what, names in (
            (
                "a sink of the log has the name of one of adapter.toml, which counts; delete or rename one",
                self.hidden(),
            ),
            *self._ending(),
            ("its secrets cannot be read", [one.name for one in self.stored.values() if one.problem is not None]),
        ):
            if names:
                told.append(f"{tell(names)}: {what}")
        return told

    def _ending(self) -> Iterator[tuple[str, list[str]]]:
        ends, now = self.all_certificates(), self._now()
        over = {name for name, _, until in ends if until <= now}
        soon = {name for name, _, until in ends if now < until <= now + SOON} - over
        yield "a certificate of it is over", sorted(over)
        yield f"a certificate of it ends within {SOON // DAY} days", sorted(soon)

    def hidden(self) -> list[str]:
        """Sinks of the log whose name one of the settings has."""
        return [name for name in self.stored if name in self.configured]

    async def open(self, hints: Hints) -> None:
        """Open the sinks of the settings, and begin to open those of the log.

        Raises:
            ConfigError: one of the settings cannot be opened.
            StoreError: the log does not answer.
        """
        for one in self.configured.values():
            filter = Filter.from_settings(one.filter, self._catalogue(), f"sinks: {one.name}: filter")
            for hint in hints.of(filter.terms):
                _log.warning("sink_filter_doubtful", sink=one.name, problem=hint)
        await self.look()
        if self._delivers:
            # All side by side: they share commits, and none waits until those before it are no longer busy sending.
            opening = [self._open_configured(one) for one in self.configured.values()]
            for error in await asyncio.gather(*opening, return_exceptions=True):
                if error is not None:
                    raise error
        self._align_all()

    async def _open_configured(self, settings: SinkSettings) -> None:
        slot, wanted = self._slots.setdefault(settings.name, _Slot()), Wanted(settings)
        async with self._opening:
            slot.stack = await self._open(wanted)
        slot.wanted = slot.present = wanted

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                if self._is_shared:
                    await self.look()
                await self._drop_ended()
                self._align_all()
            except StoreError as error:
                _log.warning("sinks_unknown", problem=str(error))
            except Exception:  # the next look goes on
                _log.exception("sinks_look_failed")

    async def look(self) -> None:
        """Read which sinks the log has now.

        Raises:
            StoreError: the log does not answer.
        """
        async with self._turn:
            notes = {note.name: note for note in await self._log.notes(PREFIX)}
            for name in self._notes.keys() - notes.keys():
                self._forget(name.removeprefix(PREFIX))
            if any(name not in self._notes for name in notes):
                await self._sealing.refresh()  # another service may have sealed for the first time, or changed the key
            changed = [note for note in notes.values() if self._notes.get(note.name) != note]
            self._take(changed)

    async def take(self, name: str) -> None:
        """Take up what has just been said of a sink.

        Raises:
            StoreError: the log does not answer.
        """
        async with self._turn:
            note = await self._log.noted(PREFIX + name)
            if note is None:
                self._forget(name)
            elif self._notes.get(note.name) != note:
                self._take([note])
        self._align(name)

    async def taken_up(self, name: str, patience: float, *, is_new: bool) -> None:
        """Wait until what was said of a sink has taken effect here, so many seconds at most; of a new one, until its
        place in the log is known: what comes from then on it gets.

        Raises:
            StoreError: the log does not answer.
        """
        loop = asyncio.get_running_loop()
        until, slot = loop.time() + patience, self._slots.get(name)
        if slot is None:
            return
        while (task := slot.task) is not None and loop.time() < until:
            await asyncio.wait([task], timeout=until - loop.time())
        # Another service may have got the claim.
        while is_new and slot.wanted is not None and slot.problem is None and loop.time() < until:
            owned = self.deliveries.get(name)
            is_begun = owned is not None and owned.present is not None
            if is_begun or await self._log.progress(reader_name(name)) is not None:
                return
            await asyncio.sleep(0.02)

    async def gone(self, name: str, patience: float) -> bool:
        """Whether nothing is left of a deleted sink, after so many seconds at most."""
        until = asyncio.get_running_loop().time() + patience
        while name in self._deleted:
            self._align(name)
            if not self._delivers:
                await self._sweep(name, self._deleted[name])
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(0.1)
            await self.take(name)
        return True

    async def end(self) -> None:
        """Close all deliveries, side by side: one receiver that hangs holds up no other."""
        self._is_ending = True
        for name, slot in self._slots.items():
            slot.wanted = None
            self._start(name, slot)
        tasks = [slot.task for slot in self._slots.values() if slot.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drop_ended(self) -> None:
        """Keep replaced secrets no longer than they are valid; whoever delivers to a sink sees to it."""
        now = self._now()
        for name, one in list(self.stored.items()):
            owned = self.deliveries.get(name)
            if len(one.valid(now)) == len(one.retiring) or owned is None or owned.present is None:
                continue
            try:
                await self._log.keep(replace(one, version=one.version + 1, retiring=one.valid(now)).note(self._sealing))
            except (NoteChanged, SealingError):
                continue  # with the next look
            await self.take(name)

    # What the log says

    def _take(self, notes: Sequence[Note]) -> None:
        if notes:
            self._ends = None
        found = []
        for note in notes:
            name = note.name.removeprefix(PREFIX)
            self._notes[note.name] = note
            try:
                stored = read_stored(note, self._sealing)
            except (ValueError, KeyError, TypeError):
                _log.error("sink_not_readable", sink=name, version=note.version)
                continue
            if stored is None:
                self.stored.pop(name, None)
                self._deleted[name] = note.version
                continue
            self._deleted.pop(name, None)
            self.stored[name] = stored
            if stored.problem is not None:
                _log.error("sink_secrets_not_readable", sink=name, problem=stored.problem)
            found.append(stored)
        self._known_secrets.add(*(one for stored in found for one in stored.redacted_secrets()))

    def _forget(self, name: str) -> None:
        self._ends = None
        self._notes.pop(PREFIX + name, None)
        self.stored.pop(name, None)
        self._read_as.pop(name, None)
        self._deleted.pop(name, None)

    def _wanted(self, name: str) -> Wanted | None:
        """What is to be delivered to under a name; what cannot be, is told in its slot."""
        if name in self.configured:
            return Wanted(self.configured[name])
        stored, slot = self.stored.get(name), self._slots[name]
        if stored is None:
            slot.problem = None
            return None
        if stored.problem is not None:
            # What runs goes on: another adapter may have changed the key before this one was told.
            return slot.present if slot.present is not None and slot.present.id == stored.id else None
        now = self._now()
        ends = tuple(one.until for one in stored.valid(now))
        for present in (slot.present, slot.wanted):
            if present is not None and (present.id, present.version, present.ends) == (stored.id, stored.version, ends):
                return present
        try:
            return Wanted(stored.settings(now), stored.id, stored.version, ends)
        except ValueError as error:
            slot.problem = f"its settings are none that this version takes: {error}"
            return None

    # What is open

    def _align_all(self) -> None:
        for name in {*self._slots, *self.stored, *self._deleted}:
            self._align(name)

    def _align(self, name: str) -> None:
        """See that a sink is delivered to as it is to be, or not at all, in the background."""
        if self._is_ending or not self._delivers:
            return
        slot = self._slots.setdefault(name, _Slot())
        slot.wanted = self._wanted(name)
        if slot.wanted != slot.present or name in self._deleted:
            self._start(name, slot)
        elif slot.present is None and slot.task is None and name not in self.stored and name not in self.configured:
            del self._slots[name]

    def _start(self, name: str, slot: _Slot) -> None:
        if slot.task is None:
            slot.task = asyncio.create_task(self._run(name, slot), name=f"sink {name}")

    async def _run(self, name: str, slot: _Slot) -> None:
        try:
            await self._open_or_close(name, slot)
            if name in self._deleted and not self._is_ending:
                await self._sweep(name, self._deleted[name])
                await self._open_or_close(name, slot)  # it may have been made anew meanwhile
        finally:
            slot.task = None

    async def _open_or_close(self, name: str, slot: _Slot) -> None:
        slot.failed = None
        while slot.wanted != slot.present and (slot.wanted is None or slot.wanted != slot.failed):
            if slot.stack is not None:
                await self._close(name, slot)
            elif slot.wanted is not None:
                await self._try_to_open(name, slot, slot.wanted)

    async def _try_to_open(self, name: str, slot: _Slot, wanted: Wanted) -> None:
        try:
            async with self._opening:
                slot.stack = await self._open(wanted)
        except AdapterError as error:
            problem = str(error)
        except Exception as error:
            _log.exception("sink_open_failed", sink=name)
            problem = f"could not be opened: {type(error).__name__}; the service's log says more"
        else:
            slot.present, slot.problem = wanted, None
            return
        if slot.problem != problem:
            _log.warning("sink_not_opened", sink=name, problem=problem)
        slot.failed, slot.problem = wanted, problem

    async def _close(self, name: str, slot: _Slot) -> None:
        stack, slot.stack, slot.present = slot.stack, None, None
        assert stack is not None
        self.deliveries.pop(name, None)
        try:
            await stack.aclose()
        except Exception:
            _log.exception("sink_end_failed", sink=name)

    async def _open(self, wanted: Wanted) -> AsyncExitStack:
        """Open a sink, and deliver to it while nobody else does.

        Raises:
            AdapterError: it cannot be opened, or its progress cannot be begun.
        """
        settings = wanted.settings
        filter = Filter.from_settings(settings.filter, self._catalogue(), f"sinks: {settings.name}: filter")
        selection = select(settings, filter)
        stack = AsyncExitStack()
        try:
            sink = await stack.enter_async_context(open_sink(settings, self._outgoing, self.token_key))
            if settings.names:
                sink = NamingSink(sink, settings.name, self._search, filter)

            @asynccontextmanager
            async def deliver(claim: Claim) -> AsyncIterator[Delivery]:
                if (stored := await self._check_still(settings.name, wanted.id)) is not None:
                    await self.begin_paused(stored)
                delivering = open_delivery(
                    settings, sink, self._log, selection, token=claim.token, standings=self.standings,
                    tail=self._tail, patience=self._patience,
                )  # fmt: skip
                async with delivering as delivery:
                    yield delivery

            opened = open_ownership(self._log, reader_name(settings.name), self._owner, deliver)
            self.deliveries[settings.name] = await stack.enter_async_context(opened)
        except BaseException:
            await stack.aclose()
            raise
        return stack

    async def _check_still(self, name: str, id: str) -> StoredSink | None:
        """A sink of the log as it is now; ``None``: it is one of the settings.

        Raises:
            ClaimLost: a sink of the log is not there any more, or another one has its name.
        """
        if not id:
            return None
        note = await self._log.noted(PREFIX + name)
        stored = None if note is None else read_stored(note, self._sealing)
        if stored is None or stored.id != id:
            raise ClaimLost(f"sink {name}: was deleted")
        return stored

    async def _forget_replays(self, name: str) -> bool:
        """Know nothing more of what replays of a deleted sink sent; ``False``: one still runs elsewhere."""
        note = await self._log.noted(replay_note(name))
        for number in range(1, 1 + (0 if note is None else orjson.loads(note.text)["id"])):
            claim = await self._log.claim(replay_reader(name, number), self._owner)
            if claim is None:
                return False
            try:
                await self._log.forget_reader(claim.name, claim.token)
            finally:
                await self._log.release(claim)
        return True

    async def _sweep(self, name: str, version: int) -> None:
        """Take away what a deleted sink left behind, unless somebody still delivers to it: then it is tried again. Its
        note goes last, so that whoever dies in between has left word."""
        reader = reader_name(name)
        try:
            claim = await self._log.claim(reader, self._owner)
            if claim is None:
                return
            try:
                await self._log.forget_reader(reader, claim.token)
                if not await self._forget_replays(name):
                    return  # the last answers are still settled elsewhere
                for left in (standing.note_name(name), reporting.note_name(name), replay_note(name)):
                    if (note := await self._log.noted(left)) is not None:
                        await self._log.drop(note.name, note.version)
                for note in await self._log.notes(link_notes(name)):
                    await self._log.drop(note.name, note.version)
                await self._log.drop(PREFIX + name, version)
            finally:
                await self._log.release(claim)
        except (NoteChanged, ClaimLost):
            return  # by another service
        except StoreError as error:
            _log.warning("sink_not_swept", sink=name, problem=str(error))
            return
        if self._deleted.get(name) == version:
            self._forget(name)


@asynccontextmanager
async def open_live_sinks(
    configured: Sequence[SinkSettings],
    log: Store,
    search: Search,
    sealing: Sealing,
    outgoing: OutgoingSettings,
    token_key: GetTokenKey,
    catalogue: Callable[[], Catalogue],
    known_secrets: KnownSecrets,
    hints: Hints,
    *,
    owner: str,
    patience: Callable[[], float],
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    is_shared: bool,
    delivers: bool = True,
) -> AsyncIterator[LiveSinks]:
    """The sinks of the settings (``configured``) and of the log, delivered to while the context lasts. ``owner`` tells
    the services apart; ``patience`` gives the seconds that receivers get to answer when a delivery ends; ``now``: epoch
    milliseconds. ``is_shared``: whether other services may change the sinks of the log. Without ``delivers`` they are
    known, and nothing is sent.

    Raises:
        ConfigError: a sink of the settings cannot be opened. Those of the log say so where they are shown.
        StoreError: the log does not answer.
    """
    async with open_standings(log) as standings:
        live = LiveSinks(
            configured, log, search, sealing, outgoing, token_key, catalogue, known_secrets,
            owner=owner, patience=patience, now=now, standings=standings, is_shared=is_shared, delivers=delivers,
        )  # fmt: skip
        try:
            await live.open(hints)
            async with in_background(live.follow(), "sinks"):
                yield live
        finally:
            await live.end()
