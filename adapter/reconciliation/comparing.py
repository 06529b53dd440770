"""Holds what a Keycloak has stored of a realm against the log, page by page: by the identities that storing it would
use, and in the ways of reading that pulling has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from adapter.errors import AdapterError, NoReply, Refused
from adapter.filter import Filter
from adapter.formats.text import harmless
from adapter.log.protocol import Store
from adapter.mapping.body import JSON
from adapter.mapping.catalogue import Catalogue
from adapter.model import uid_text
from adapter.normalize import further_name
from adapter.outgoing.settings import OutgoingSettings
from adapter.quantities import interval_of
from adapter.reconciliation.comparison import NAMED, Comparison, MissingEvent, Result
from adapter.search.search import Search
from adapter.sources.intake import Intake, LookedUp, Source, TooManyEvents
from adapter.sources.keycloak.needs import expiration_of, stored_problem
from adapter.sources.keycloak.passes import Form, halves, whole_milliseconds
from adapter.sources.keycloak.server import Kind, LoginRefused, NoEpoch, Page, Row, Server, open_server
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.keycloak.stream import PAGE, SMALLEST

#: Places of the log that are looked at together.
_PLACES = 1_000
#: What the unified types of a kind begin with.
_TYPES = {Kind.USER: "access.*", Kind.ADMIN: "admin.*"}


@dataclass(frozen=True, slots=True)
class Compared:
    """A source whose server's events are held against the log."""

    source: Source
    settings: PullSettings

    @property
    def overlap(self) -> int:
        """What is younger may not be committed yet; milliseconds."""
        return int(interval_of(self.settings.overlap) * 1000)


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """What comparing needs of the service."""

    log: Store
    search: Search
    intake: Intake
    outgoing: OutgoingSettings
    catalogue: Callable[[], Catalogue]
    #: Gives epoch milliseconds.
    now: Callable[[], int]


class _Told(Struct):
    """What names a stored event to people."""

    id: str | None = None
    realmId: str | None = None
    type: str | None = None
    operationType: str | None = None
    resourceType: str | None = None


_told = Decoder(_Told).decode

#: Is told how far a comparison is.
Tell = Callable[[Comparison], Awaitable[None]]


class Comparer:
    """Compares the realms of one source. Made by `open_comparer`."""

    def __init__(self, compared: Compared, service: ServiceParts, server: Server) -> None:
        self._compared = compared
        self.source = compared.source
        self.overlap = compared.overlap
        self.service = service
        self.server = server
        self.form = Form()

    #: What is compared of a realm.
    kinds = tuple(Kind)

    async def realms(self) -> Sequence[str]:
        """The realms that are read.

        Raises:
            NoReply, Refused: as `Server.events`.
        """
        return self._compared.settings.realms or await self.server.realms()

    async def compare(
        self,
        realm: str,
        kind: Kind,
        since: int,
        until: int,
        *,
        repair: bool = False,
        tell: Tell | None = None,
        ids: list[str] | None = None,
    ) -> Comparison:
        """Hold the events of ``since <= time < until`` (epoch milliseconds) against the log; those alone that are old
        enough to be committed. With ``repair`` what is missing is fetched into the log. ``tell`` hears how far it is.
        ``ids`` gets the id of each event on the server, or its uid where it has none.

        Raises:
            Nothing that a server or the log does: the comparison says it.
        """
        size = PAGE
        while True:
            found = Comparison(source=self._compared.source.name, realm=realm, kind=kind.value, since=since, to=until)
            walk = _Walk(self, found, repair=repair, tell=tell, ids=ids)
            try:
                await walk.run(size)
            except AdapterError as error:
                if isinstance(error, NoReply) and walk.has_begun and size > SMALLEST:
                    # Its pages may be too long to be answered in time.
                    size //= 2
                    continue
                found.result, found.problem = Result.FAILED, str(error)
            return found


class _Walk:
    """One comparison under way."""

    def __init__(
        self, comparer: Comparer, found: Comparison, *, repair: bool, tell: Tell | None, ids: list[str] | None
    ) -> None:
        self._comparer, self._service = comparer, comparer.service
        self._server, self._form = comparer.server, comparer.form
        self._found = found
        self._kind = Kind(found.kind)
        #: Whether the server has answered once.
        self.has_begun = False
        self._repair = repair
        self._tell = tell
        self._ids = ids
        self._realm_id: str | None = None

    async def run(self, size: int) -> None:
        """Read all, ``size`` rows at a time.

        Raises:
            AdapterError: the server, or the log, does not answer or refuses.
        """
        found = self._found
        if self._ids is not None:
            self._ids.clear()
        oldest, now = await self._oldest()
        found.to = min(found.to, now - self._comparer.overlap)
        if found.to <= found.since:
            seconds = self._comparer.overlap / 1000
            raise Refused(
                f"events of the last {seconds:g} s (overlap) may not be committed yet; ask for an earlier time"
            )
        config = await self._server.config(found.realm)
        expiration = await expiration_of(self._server, config, found.realm, self._kind)
        if expiration and now - expiration > found.since:
            found.kept_from = now - expiration
        if stored_problem(config, found.realm, self._kind, found.source) is not None:
            # What happens goes unseen.
            found.kept_from = found.to
        self._realm_id = await self._id_of_realm(oldest)
        self.has_begun = True
        if self._realm_id is not None:
            found.only_in_log = 0
        start = found.since
        if oldest is None:
            start = found.to
        elif self._form.takes_epoch:
            start = min(max(found.since, oldest.time), found.to)
        if await self._count_only_in_log(found.since, start, ()):
            # The server had some of these, and has removed them, or somebody has.
            found.kept_from = max(found.kept_from or 0, start)
        low, high = start, found.to
        # In ascending order the stretch of a page begins where the one before ended, and in descending order it ends
        # where that began: between two pages nothing is left out.
        async with aclosing(whole_milliseconds(self._page, max(start, 1), size, self._form)) as pages:
            async for rows, _ in pages:
                some = sorted(row for row in rows if start <= row.time < found.to)
                uids = await self._look_at(some) if some else []
                if self._form.takes_epoch and rows:
                    reached = min(rows[-1].time + 1, found.to)
                    await self._count_only_in_log(low, reached, uids)
                    low = max(low, reached)
                elif some:
                    await self._count_only_in_log(some[0].time, high, uids)
                    high = some[0].time
                if self._tell is not None:
                    await self._tell(found)
                if low >= found.to:
                    break
        await self._count_only_in_log(low, high, ())
        found.end()

    async def _oldest(self) -> tuple[Row | None, int]:
        """The oldest stored event, or another one where the server cannot say; and the server's clock, where that is
        behind ours, epoch milliseconds."""
        realm, kind = self._found.realm, self._kind
        page: Page | None = None
        if self._form.takes_epoch is not False:
            try:
                page = await self._server.events(realm, kind, dateFrom=1, direction="asc", first=0, max=1)
                self._form.takes_epoch = True
            except NoEpoch:
                self._form.takes_epoch = False
        if page is None:
            page = await self._server.events(realm, kind, max=1)
        return (page.rows[0] if page.rows else None), min(page.now, self._service.now())

    async def _id_of_realm(self, row: Row | None) -> str | None:
        if row is not None and (told := _read(row).realmId) is not None:
            return told
        try:
            found = (await self._server.realm(self._found.realm)).get("id")
        except LoginRefused:
            raise
        except Refused:
            return None
        return found if isinstance(found, str) else None

    async def _look_at(self, rows: list[Row]) -> Sequence[str]:
        """Hold the rows of whole milliseconds against the log; the uids of their events."""
        found = self._found
        looked = await self._look_up(rows)
        lacking = sum(1 for one in looked if one is not None and not one.is_known)
        before = lacking
        if lacking and self._repair:
            await self._store([list(group) for _, group in groupby(rows, attrgetter("time"))])
            looked = await self._look_up(rows)
            lacking = sum(1 for one in looked if one is not None and not one.is_known)
            found.repaired += before - lacking
        taken = [(row, one) for row, one in zip(rows, looked, strict=True) if one is not None]
        found.on_server += len(taken)
        found.in_log += len(taken) - before
        found.missing_count += lacking
        for row, one in taken:
            if not one.is_known and len(found.missing) < NAMED:
                found.missing.append(_named(row, one))
        if self._ids is not None:
            self._ids += [_read(row).id or one.uid for row, one in taken]
        return [one.uid for _, one in taken]

    async def _page(self, query: dict[str, str | int]) -> Page:
        return await self._server.events(self._found.realm, self._kind, **query)

    async def _look_up(self, rows: Sequence[Row]) -> list[LookedUp | None]:
        """
        Raises:
            Refused: the table does not make one record of each row.
        """
        source, now = self._comparer.source, self._service.now()
        looked = await self._service.intake.look_up(source, _body(rows), JSON, now)
        if len(looked) != len(rows):
            raise Refused(
                f"realm {harmless(self._found.realm)}: the table of {source.provider} makes {len(looked)} records of "
                f"{len(rows)} stored events, so they cannot be compared one by one"
            )
        return looked

    async def _store(self, groups: list[list[Row]]) -> None:
        """Have the rows of whole milliseconds in the log, as if they had been pulled."""
        source, now = self._comparer.source, self._service.now()
        try:
            await self._service.intake.take(source, _body([row for group in groups for row in group]), JSON, now)
        except TooManyEvents as error:
            if len(groups) == 1 and len(groups[0]) == 1:
                raise Refused(str(error)) from None
            for half in halves(groups):
                await self._store(half)

    async def _count_only_in_log(self, since: int, until: int, uids: Collection[str]) -> int:
        """Count the events of a stretch that only the log has; ``uids``: of those that the server has."""
        if self._realm_id is None or since >= until:
            return 0
        service = self._service
        terms = {
            "source": [self._comparer.source.name],
            "realm": [self._realm_id],
            "type": [_TYPES[self._kind]],
            "from": [str(since)],
            "to": [str(until)],
        }
        known, count = frozenset(uids), 0
        pages = service.search.pages(Filter.parse(terms, service.catalogue()), limit=_PLACES, caller="reconciliation")
        async for positions in pages:
            left: Sequence[int] = positions
            while left and (entries := await service.log.fetch(left)):
                count += sum(
                    1
                    for entry in entries
                    if entry.event is not None
                    and uid_text(entry.uid) not in known
                    and further_name(entry.event) is None
                )
                left = left[left.index(entries[-1].position) + 1 :]
        self._found.only_in_log = (self._found.only_in_log or 0) + count
        return count


@asynccontextmanager
async def open_comparer(compared: Compared, service: ServiceParts) -> AsyncIterator[Comparer]:
    """A comparer, with a connection to the server of the source, while the context lasts.

    Raises:
        ConfigError: a file that the settings name cannot be used.
    """
    async with open_server(compared.settings, service.outgoing, now=service.now) as server:
        yield Comparer(compared, service, server)


def _body(rows: Sequence[Row]) -> bytes:
    return b"[" + b",".join([row.raw for row in rows]) + b"]"


def _read(row: Row) -> _Told:
    try:
        return _told(row.raw)
    except MsgspecError:
        return _Told()


def _named(row: Row, one: LookedUp) -> MissingEvent:
    told = _read(row)
    type = told.type or " ".join(part for part in (told.operationType, told.resourceType) if part)
    return MissingEvent(id=told.id, uid=one.uid, time=row.time, type=type)
