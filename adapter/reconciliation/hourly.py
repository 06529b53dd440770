"""Every hour a signed statement of each realm that is pulled: whether the log has all that the server stored.

A statement is made when the events of its hour are committed, and what is missing is fetched first. How far the
statements are is a note, which is stored in the transaction of each: so an hour has one, whenever a service ends and
whoever goes on, and hours that a service was away for are made up for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from msgspec import MsgspecError, Struct, field
from msgspec.json import Decoder, encode

from adapter.errors import AdapterError, StoreMismatch
from adapter.formats.text import harmless
from adapter.log.protocol import Note
from adapter.reconciliation.comparing import Compared, Comparer, ServiceParts, open_comparer
from adapter.reconciliation.comparison import Result
from adapter.reconciliation.statement import StatementKey, state, statement_event
from adapter.sources.keycloak.server import Kind
from adapter.tasks import in_background

#: Milliseconds of a span.
HOUR = 3_600_000
#: Milliseconds that a poll, which looks back once a minute, gets before its hour is compared.
SETTLING = 120_000
#: Hours that are made up for.
MOST = 168
#: Seconds between two looks whether an hour is over, and the longest wait after failures.
LOOKING, LONGEST = 30.0, 900.0

_log = structlog.get_logger("adapter.reconciliation")


class Stated(Struct):
    """Up to when there are statements, by realm and kind; epoch milliseconds."""

    until: dict[str, dict[str, int]] = field(default_factory=dict)


_decode = Decoder(Stated).decode


class Hourly:
    """The statements of one source."""

    def __init__(self, compared: Compared, service: ServiceParts, key: StatementKey, name: str) -> None:
        """``name``: of the note."""
        self._compared = compared
        self._service = service
        self._key = key
        self._name = name
        #: How far the statements are.
        self._note = Note(name, "", 0)
        self._problems: dict[tuple[str, str], str] = {}

    async def run(self) -> None:
        """Make the statements of each hour, without end."""
        wait = LOOKING
        while True:
            try:
                is_well = await self.round()
            except AdapterError as error:
                is_well = False
                self._say("", "", str(error))
            wait = LOOKING if is_well else min(wait * 2, LONGEST)
            await asyncio.sleep(wait)

    async def round(self) -> bool:
        """Make all statements that are due; whether none of them failed.

        Raises:
            NoReply, Refused: the realms cannot be listed.
            NoteChanged: another service makes them.
            StoreError: the log cannot be read or written.
        """
        now = self._service.now()
        over = (now - self._compared.overlap - SETTLING) // HOUR * HOUR
        self._note = await self._service.log.noted(self._name) or Note(self._name, "", 0)
        stated = _read(self._note)
        if not self._is_due(stated, over):
            return True
        is_well = True
        async with open_comparer(self._compared, self._service) as comparer:
            realms = await comparer.realms()
            self._say("", "", None)
            # One that is gone is not asked for any more; if it comes again, it begins again.
            stated.until = {realm: kinds for realm, kinds in stated.until.items() if realm in realms}
            for realm in realms:
                for kind in Kind:
                    # The first hour is one of which nothing can have been left out on purpose.
                    begin = stated.until.setdefault(realm, {}).setdefault(kind.value, -(-now // HOUR) * HOUR)
                    for hour in range(max(begin, over - MOST * HOUR), over, HOUR):
                        if not await self._make(comparer, realm, kind, hour, stated):
                            is_well = False
                            break
        if (note := self._next_note(stated)).text != self._note.text:
            # Where the first statement of a realm begins.
            await self._service.log.keep(note)
        return is_well

    def _is_due(self, stated: Stated, over: int) -> bool:
        pulled = self._compared.settings.realms
        if not stated.until or (pulled and set(pulled) != stated.until.keys()):
            return True
        # Realms that are new to the account are met with the hour that ends next.
        return any(until < over for kinds in stated.until.values() for until in kinds.values())

    async def _make(self, comparer: Comparer, realm: str, kind: Kind, hour: int, stated: Stated) -> bool:
        """Make one statement; whether that could be done."""
        ids: list[str] = []
        found = await comparer.compare(realm, kind, hour, hour + HOUR, repair=True, ids=ids)
        self._say(realm, kind.value, found.problem)
        if found.result is Result.FAILED or found.to < hour + HOUR:
            # The latter by the server's clock.
            return False
        if found.missing_count or found.repaired:
            _log.warning(
                "source_events_missing", source=found.source, realm=harmless(realm), kind=kind.value,
                hour=f"{datetime.fromtimestamp(hour / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
                missing=found.missing_count, repaired=found.repaired,
            )  # fmt: skip
        has_ids = comparer.form.takes_epoch is True
        statement = state(found, self._compared.settings.url, self._service.now(), ids, has_ids)
        stated.until[realm][kind.value] = hour + HOUR
        note = self._next_note(stated)
        await self._service.log.append([statement_event(statement, self._key)], note)
        self._note = note
        return True

    def _next_note(self, stated: Stated) -> Note:
        return Note(self._name, encode(stated).decode(), self._note.version + 1)

    def _say(self, realm: str, kind: str, problem: str | None) -> None:
        """Once for each problem, however often it is met."""
        if problem == self._problems.get((realm, kind)):
            return
        if problem is None:
            del self._problems[realm, kind]
        else:
            self._problems[realm, kind] = problem
            _log.warning("source_reconciliation_failed", source=self._compared.source.name, problem=problem)


@asynccontextmanager
async def open_hourly(hourly: Hourly) -> AsyncIterator[Hourly]:
    """Make the statements in the background while the context lasts."""
    async with in_background(hourly.run(), "reconciliation"):
        yield hourly


def _read(note: Note) -> Stated:
    if not note.version:
        return Stated()
    try:
        return _decode(note.text)
    except MsgspecError as error:
        raise StoreMismatch(f"the note {note.name} cannot be read: {error}") from None
