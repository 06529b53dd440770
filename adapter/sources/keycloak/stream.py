"""The user events or the admin events of a realm, read into the log.

Events may become visible later than others with a later time: a transaction's events carry the time at which they were
made. So each pass reads again what is not older than a transaction can be; what was taken then is left out, and what is
left out by nobody is a duplicate to the log. Most passes look back for some seconds alone, and one a minute as far as
is needed. Only that one moves the place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter

from adapter.errors import NoReply
from adapter.formats.text import harmless
from adapter.quantities import interval_of
from adapter.sources.intake import TooManyEvents
from adapter.sources.keycloak.needs import expiration_of, stored_problem
from adapter.sources.keycloak.passes import Form, halves, whole_milliseconds
from adapter.sources.keycloak.place import Place, find_gap
from adapter.sources.keycloak.server import Kind, Page, Row, Server
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.protocol import Inlet

#: Rows of a page: at first, and the least when answers do not come.
PAGE, SMALLEST = 500, 20
#: Seconds between two passes that look back as far as is needed, and between two looks at what the realm keeps.
WHOLE_EVERY, LOOK_EVERY = 60.0, 300.0
#: Milliseconds that the other passes look back.
SHORT = 15_000
#: Milliseconds for which a gap is a warning.
GAP_TOLD = 3 * 86_400_000


class Stream:
    """The user events or the admin events of a realm."""

    def __init__(
        self,
        realm: str,
        kind: Kind,
        settings: PullSettings,
        server: Server,
        inlet: Inlet,
        place: Place,
        clock: Callable[[], float],
    ) -> None:
        self.realm = realm
        self.kind = kind
        #: When it is polled next, and how often it was refused since it was read.
        self.due_at = 0.0
        self.failures = 0
        #: What is to be changed on the server so that events are kept there.
        self.warning: str | None = None
        #: Up to when, by our clock, the server's events are known to be in the log; epoch milliseconds.
        self.read_until = 0
        self._settings = settings
        self._server = server
        self._inlet = inlet
        self._place = place
        self._progress = place.of(realm, kind.value)
        self._clock = clock
        self._overlap = int(interval_of(settings.overlap) * 1000)
        self._page = PAGE
        self._form = Form()
        #: Digest of the rows of each millisecond that was taken and is read again.
        self._taken: dict[int, bytes] = {}
        self._newest: int | None = None
        self._whole_at: float | None = None
        self._looked_at: float | None = None
        self._expiration: int | None = None

    @property
    def gaps(self) -> int:
        """How many gaps there ever were."""
        return self._progress.gaps

    @property
    def last_gap(self) -> tuple[int, int] | None:
        """From and until when events may be missing by the last one, epoch milliseconds."""
        return self._progress.gap

    def recent_gap(self, now: int) -> str | None:
        """From and until when events may be missing, for people, for some days. ``now``: epoch milliseconds."""
        gap = self._progress.gap
        if gap is None or gap[1] < now - GAP_TOLD:
            return None
        return (
            f"realm {harmless(self.realm)}: {self.kind}: the server removed events before they were read: those of "
            f"{_shown(gap[0])} to {_shown(gap[1])} (UTC) may be missing"
        )

    def forget_version(self) -> None:
        """Find out anew which version the server has, and what it keeps."""
        self._form.takes_epoch = self._looked_at = None

    async def poll(self) -> None:
        """Read once what is new.

        Raises:
            NoReply, Refused: as `Server.events`.
        """
        begun = self._clock()
        if self._looked_at is None or begun - self._looked_at >= LOOK_EVERY:
            config = await self._server.config(self.realm)
            self.warning = stored_problem(config, self.realm, self.kind, self._inlet.source.name)
            self._expiration = await expiration_of(self._server, config, self.realm, self.kind)
            self._looked_at = begun
        whole = self._whole_at is None or begun - self._whole_at >= WHOLE_EVERY
        await self._pass(whole=whole)
        if whole:
            self._whole_at = begun

    async def _pass(self, *, whole: bool) -> None:
        progress = self._progress
        ours, began_at = self._inlet.now(), None
        known, has_known, judged = progress.newest, False, not whole
        newest: int | None = None
        async with aclosing(whole_milliseconds(self._fetch, self._begin(whole=whole), self._page, self._form)) as pages:
            async for rows, now in pages:
                if began_at is None:
                    began_at = now
                if rows:
                    has_known = has_known or any(row.time == known for row in rows)
                    newest = max(newest or 0, rows[-1].time)
                    # A node whose clock is fast moves nothing beyond the time of the answer.
                    self._newest = max(self._newest or 0, min(newest, began_at))
                if rows and whole and self._form.takes_epoch:
                    # From the oldest on, all up to here is read. What is committed from now on carries no time before
                    # the beginning of this pass, less the overlap.
                    reached = min(rows[-1].time, began_at)
                    if not judged and (known is None or reached >= known):
                        self._judge(has_known, began_at)
                        judged = True
                    if judged and reached > (progress.until or 0):
                        progress.until, progress.newest = reached, rows[-1].time
                        progress.polled = max(progress.polled or 0, reached)
                await self._take(rows)
        assert began_at is not None
        if not judged:
            self._judge(has_known, began_at)
        if whole:
            if newest is not None:
                progress.until = max(progress.until or 0, min(newest, began_at))
            progress.newest, progress.polled = newest, began_at
        self.read_until = ours

    def _judge(self, has_known: bool, now: int) -> None:
        """Find out whether events were removed that were never read."""
        gap = find_gap(
            self._progress, has_newest=has_known, now=now, expiration=self._expiration, overlap=self._overlap
        )
        if gap is not None:
            self._progress.gap = gap
            self._progress.gaps += 1

    def _begin(self, *, whole: bool) -> int:
        """From when on this pass reads, epoch milliseconds."""
        progress = self._progress
        if progress.begin is None:
            begin = self._settings.from_
            if isinstance(begin, datetime):
                progress.begin = int(begin.timestamp() * 1000)
            else:
                # Of a realm that is made later nothing is left out. Events have the server's time.
                progress.begin = (self._place.started or 0) + self._server.ahead if begin == "now" else 0
        since = 0
        if whole:
            since = (progress.until or 0) - self._overlap
        elif self._newest is not None:
            since = self._newest - SHORT
        return max(since, progress.begin, 1)

    async def _fetch(self, query: dict[str, str | int]) -> Page:
        try:
            page = await self._server.events(self.realm, self.kind, **query)
        except NoReply:
            self._page = max(self._page // 2, SMALLEST)
            raise
        self._page = min(self._page * 2, PAGE)
        return page

    async def _take(self, rows: Sequence[Row]) -> None:
        """Store what was not taken before: all rows of a millisecond, if one of them is new."""
        changed: list[list[Row]] = []
        digests: dict[int, bytes] = {}
        for moment, group in groupby(rows, attrgetter("time")):
            # Equal ones stand together, whatever their order was.
            same = sorted(group)
            digest = blake2b(b"\n".join(row.raw for row in same), digest_size=16).digest()
            if self._taken.get(moment) != digest:
                changed.append(same)
                digests[moment] = digest
        if not changed:
            return
        await self._store(changed, self._place.written())
        self._taken |= digests
        # No pass will look back any further.
        for moment in [one for one in self._taken if one < (self._newest or 0) - self._overlap - SHORT]:
            del self._taken[moment]

    async def _store(self, groups: list[list[Row]], place: str) -> None:
        body = b"[" + b",".join(row.raw for group in groups for row in group) + b"]"
        try:
            await self._inlet.take(body, "application/json", place)
        except TooManyEvents:
            if len(groups) == 1 and len(groups[0]) == 1:
                raise
            first, second = halves(groups)
            # At the new place is who has both.
            await self._store(first, self._inlet.place or Place().written())
            await self._store(second, place)


def _shown(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"
