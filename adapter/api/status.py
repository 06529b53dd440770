"""How it stands with every source and every sink, and what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from adapter import __version__
from adapter.api.advice import sink_advice, source_advice
from adapter.api.operation import (
    Answer,
    Limited,
    Operation,
    json_answer,
    scope_of_caller,
    sees_source,
    told_to_caller,
)
from adapter.api.status_answer import Counted, PulledStream, RefusedRequests, SinkStatus, SourceStatus, Status, Todo
from adapter.counts import PullCounts, Tally
from adapter.delivery.loop import Delivery, reader_name
from adapter.delivery.standing import Decided, read
from adapter.log.protocol import Store
from adapter.ownership import Ownership
from adapter.settings import Permission
from adapter.source_state.judging import is_refused
from adapter.source_state.state import SourceState
from adapter.source_state.watching import WatchedSource, Watching


class StatusPages:
    """Answers how it stands."""

    def __init__(
        self,
        log: Store,
        watching: Watching,
        pulls: PullCounts,
        sinks: Callable[[], Sequence[tuple[str, str]]],
        deliveries: Mapping[str, Ownership[Delivery]],
        warnings: Callable[[], Sequence[str]],
        refusal: Callable[[], str | None],
        *,
        store: str,
        now: Callable[[], int],
    ) -> None:
        """``sinks`` gives the present ones, each with its kind; ``warnings``: what else somebody should look at;
        ``refusal``: why no events are taken; ``store``: the kind of the log's; ``now`` gives epoch milliseconds."""
        self._log = log
        self._watching = watching
        self._pulls = pulls
        self._sinks = sinks
        self._deliveries = deliveries
        self._warnings = warnings
        self._refusal = refusal
        self._store = store
        self._now = now
        self._started_at = now()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET",
                "/status",
                self.show,
                "How it stands with each source and sink, and what is to be done",
                {200: Answer("The sources, the sinks, and what is to be done.", model=Status)},
                Permission.READ,
                limited=Limited.BY_SOURCE,
            )
        ]

    async def show(self, request: web.Request) -> web.Response:
        is_seen = sees_source(request) if scope_of_caller(request).is_limited else None
        status = await self.status(is_seen, told_to_caller(request))
        return json_answer(status.model_dump_json().encode())

    async def status(self, is_seen: Callable[[str], bool] | None = None, told: Callable[[str], str] = str) -> Status:
        """How it stands now; where ``is_seen`` says which sources may be seen, with these alone, and without sinks.
        ``told``: what the reader may be told of what we said about a receiver or a server.

        Raises:
            StoreError: the log does not answer.
        """
        now, states = self._now(), await self._watching.present()
        problem = self._log.damaged or self._refusal()
        watched = [one for one in self._watching.sources if is_seen is None or is_seen(one.name)]
        sources = [self._source(one, states.get(one.key), now, told) for one in watched]
        sinks = [await self._sink(name, kind, now, told) for name, kind in self._sinks()] if is_seen is None else []
        warnings = self._warnings() if is_seen is None else ()
        todo = [
            *([Todo(kind="service", about="", problem=problem, advice="see docs/operate.md")] if problem else []),
            *(Todo(kind="service", about="", problem=one, advice="") for one in warnings),
            *(
                Todo(kind="source", about=one.name, problem=what, advice=how)
                for one in sources
                for what, how in source_advice(one, now)
            ),
            *(
                Todo(kind="sink", about=one.name, problem=what, advice=how)
                for one in sinks
                for what, how in sink_advice(one, now)
            ),
        ]
        return Status(
            version=__version__, store=self._store, startedAt=self._started_at, now=now, problem=problem,
            head=self._log.head, sources=sources, sinks=sinks, todo=todo,
        )  # fmt: skip

    def _source(
        self, source: WatchedSource, state: SourceState | None, now: int, told: Callable[[str], str]
    ) -> SourceStatus:
        known = state or SourceState(now)
        refusing, refused = known.refusing, None
        if refusing is not None:
            refused = RefusedRequests(
                count=refusing.count,
                firstAt=refusing.first_at,
                lastAt=refusing.last_at,
                reasons=refusing.reasons,
                addresses=refusing.addresses,
            )
        if is_refused(known, now, told=False):
            said = "refused"
        elif known.silent_since is not None:
            said = "silent"
        else:
            said = "new" if known.heard_at is None else "ok"
        return SourceStatus(
            name=source.name,
            provider=source.provider,
            state=said,
            lastAt=known.heard_at,
            lastEventTime=known.event_at,
            silentSince=known.silent_since,
            tenMinutes=known.lately(now, 10).received,
            hour=_counted(known.lately(now, 60)),
            since=None if state is None else state.added_at,
            total=_counted(known.total),
            refused=refused,
            pulls=self._streams(source.name, now, told),
        )

    def _streams(self, source: str, now: int, told: Callable[[str], str]) -> list[PulledStream]:
        pulls = self._pulls
        keys = {key for kept in (pulls.last, pulls.problems, pulls.gaps) for key in kept if key[0] == source}
        streams = []
        for key in sorted(keys):
            read_at, until = pulls.last.get(key, (None, None))
            streams.append(
                PulledStream(
                    realm=key[1],
                    kind=key[2],
                    readAt=None if read_at is None else int(read_at * 1000),
                    lag=None if until is None else max(0.0, now / 1000 - until),
                    errors=pulls.errors[key],
                    gaps=pulls.gaps.get(key, 0),
                    problem=None if (problem := pulls.problems.get(key)) is None else told(problem),
                )
            )
        return streams

    async def _sink(self, name: str, kind: str, now: int, told: Callable[[str], str]) -> SinkStatus:
        reader, owned = reader_name(name), self._deliveries.get(name)
        delivery = None if owned is None else owned.present
        shot = None if delivery is None else delivery.snapshot()
        if shot is not None:
            cursor, held, dead = shot.cursor, shot.counts.held, shot.counts.dead
        else:
            progress = await self._log.progress(reader)
            found = (0, 0, 0) if progress is None else (progress.cursor, progress.held, progress.dead)
            cursor, held, dead = found
        left = await self._log.read(cursor, limit=1)
        standing = shot.standing if shot is not None else await read(self._log, name)
        is_decided = shot is None and standing.state is not Decided.RUNNING
        state = str(shot.state) if shot is not None else "off" if owned is None else "elsewhere"
        return SinkStatus(
            name=name,
            kind=kind,
            state=str(standing.state) if is_decided else state,
            since=shot.since if shot is not None else standing.since if is_decided else None,
            lag=max(0, self._log.head - cursor),
            behind=max(0.0, (now - left[0].received_at) / 1000) if left else 0.0,
            held=held,
            dead=dead,
            nextTry=await self._log.next_due(reader) if held else None,
            answer=None if shot is None else told(shot.answer),
            reason=None if standing.state is Decided.RUNNING else told(standing.reason),
            by=None if standing.state is Decided.RUNNING else standing.by,
            failingSince=None if shot is None else shot.failing_since,
            rate=None if shot is None else shot.rate,
        )


def _counted(tally: Tally) -> Counted:
    return Counted(
        accepted=tally.accepted,
        duplicates=tally.duplicates,
        quarantined=tally.quarantined,
        ignored=tally.ignored,
        refused=tally.refused,
    )
