"""What is quarantined, over HTTP: in groups by source, native type and problem, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.auditing import record
from adapter.api.feed import ENVELOPE, UID, Wrapped, raw_members, read_limit, read_switch
from adapter.api.lookup import Lookup
from adapter.api.operation import (
    Answer,
    Limited,
    Operation,
    Parameter,
    authorize,
    caller,
    scope_of_caller,
    sees_source,
)
from adapter.api.slots import Slots
from adapter.api.stream import sent_json
from adapter.counts import EXCERPT
from adapter.errors import RequestError
from adapter.filter import Term
from adapter.hints import Hints
from adapter.log.protocol import QuarantineGroup, Store
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.compile import NO_ROW
from adapter.model import uid_text
from adapter.search.turns import Turns
from adapter.settings import Feed, Look, Permission
from adapter.workbench.likely import likely_row

#: Characters of a native type in which its words are looked for.
_WORDS = 200


class Sample(BaseModel):
    """One entry of a group."""

    uid: str
    position: int = Field(description="Its place in the log")
    receivedAt: int = Field(description="Arrival, epoch milliseconds")
    raw: str | None = Field(None, description="With raw=1, the beginning of what the provider sent")


class Group(BaseModel):
    """Entries with source, native type and problem in common."""

    source: str
    provider: str | None = Field(description="The source's provider; null if the source is not configured any more")
    nativeType: str | None = Field(description="null if it could not be read")
    problem: str = Field(description="Without the place in the text where it was found")
    count: int
    firstAt: int = Field(description="Earliest arrival, epoch milliseconds")
    lastAt: int = Field(description="Latest arrival, epoch milliseconds")
    samples: list[Sample] = Field(description="The first one and the last one")
    likely: dict[str, str] | None = Field(
        None,
        description="The row that the words of its native type suggest, for whoever decides; null: they say nothing",
    )


class Groups(BaseModel):
    """What is quarantined."""

    count: int = Field(description="Entries there are")
    kinds: int = Field(description="Groups there are")
    groups: list[Group] = Field(description="The largest of them")
    hints: list[str] = Field(
        default_factory=list, description="Only if there are any: sources and providers asked for that nobody knows"
    )


class Quarantined(Sample):
    """One quarantined entry."""

    source: str
    nativeType: str | None
    problem: str
    raw: Any = Field(None, description="With raw=1, what the provider sent: JSON as JSON, all else as text")
    envelope: list[Wrapped] = Field(default_factory=list, description=ENVELOPE)


class QuarantinePages:
    """Shows what has no event, and did not become one later."""

    def __init__(
        self,
        log: Store,
        providers: Mapping[str, str],
        hints: Hints,
        lookup: Lookup,
        questions: Slots,
        settings: Feed,
        catalogue: Callable[[], Catalogue],
    ) -> None:
        """``providers``: of each configured source, by name. ``questions`` bounds those that are under way.
        ``catalogue`` gives the present one."""
        self._catalogue = catalogue
        self._questions = questions
        self._timeout = settings.question_timeout
        self._reading_timeout = settings.reading_timeout
        #: One count at a time.
        self._turns = Turns(1)
        self._log = log
        self._providers = providers
        self._hints = hints
        self._lookup = lookup

    def operations(self) -> list[Operation]:
        limit = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
        raw = {"type": "string", "enum": ["0", "1"]}
        return [
            Operation(
                "GET", "/quarantine", self.groups, "What has no event, by source, native type and problem",
                {200: Answer("The largest groups.", model=Groups)}, Permission.READ,
                [
                    Parameter("source", "Name of the source", repeatable=True),
                    Parameter("provider", "Kind of identity provider", repeatable=True),
                    Parameter("native_type", "Native type", repeatable=True),
                    Parameter("limit", "Groups", limit),
                    Parameter("raw", "1: also the beginning of what the provider sent; needs the permission raw", raw),
                ],
                limited=Limited.BY_SOURCE,
            ),
            Operation(
                "GET", "/quarantine/{uid}", self.show, "One quarantined entry",
                {200: Answer("The entry.", model=Quarantined)}, Permission.READ,
                [UID, Parameter("raw", "1: also what the provider sent; needs the permission raw", raw)],
                limited=Limited.BY_SOURCE, errors=(409,),
            ),
        ]  # fmt: skip

    async def groups(self, request: web.Request) -> web.StreamResponse:
        with_raw = self._with_raw(request)
        limit = read_limit(request.query.get("limit"))
        native_types = request.query.getall("native_type", None)
        who = caller(request)
        with self._questions.taken(who):
            try:
                async with self._turns.of(who, timeout=self._timeout):
                    found = await self._log.quarantine(
                        sources=self._sources(request),
                        native_types=native_types,
                        limit=limit,
                        timeout=self._timeout,
                    )
            except TimeoutError:
                detail = f"not counted within {self._timeout:g} s; narrow it, for example with source"
                raise RequestError(503, "Count took too long", detail, headers={"Retry-After": "5"}) from None
            samples = await self._samples(
                [one for group in found.groups for one in (group.first, group.last)], with_raw
            )
            groups = [self._group(group, samples) for group in found.groups]
            page = Groups(count=found.entries, kinds=found.kinds, groups=groups)
            terms = [Term(name, False, tuple(request.query.getall(name, ()))) for name in ("source", "provider")]
            # Who is limited is not told which sources and tables there are for others.
            if not scope_of_caller(request).is_limited and (hints := self._hints.of(terms)):
                page.hints = hints
            body = page.model_dump_json(exclude_unset=True).encode()
            return await sent_json(request, body, reading_timeout=self._reading_timeout)

    async def show(self, request: web.Request) -> web.StreamResponse:
        with_raw = self._with_raw(request)
        with self._questions.taken(caller(request)):
            body = await self._entry(request, with_raw)
            return await sent_json(request, body, reading_timeout=self._reading_timeout)

    async def _entry(self, request: web.Request, with_raw: bool) -> bytes:
        """One quarantined entry, as JSON.

        Raises:
            RequestError: 404, there is none; 409, there are several.
        """
        entry = await self._lookup.find(request.match_info["uid"], caller(request), scope_of_caller(request))
        if entry is None or entry.event is not None:
            raise RequestError(404, "Not found", "Nothing with this uid is quarantined.")
        told: dict[str, Any] = {
            "uid": uid_text(entry.uid),
            "position": entry.position,
            "receivedAt": entry.received_at,
            "source": entry.source,
            "nativeType": entry.native_type,
            "problem": entry.problem,
        }
        if with_raw:
            told |= {name: orjson.Fragment(value) for name, value in (await raw_members(self._log, entry)).items()}
        return orjson.dumps(told)

    def _with_raw(self, request: web.Request) -> bool:
        with_raw = read_switch(request, "raw")
        if with_raw:
            authorize(request, Permission.RAW)
            record(request, Look.RAW)
        return with_raw

    def _sources(self, request: web.Request) -> list[str] | None:
        """The sources that are asked for; ``None``: all."""
        sources = request.query.getall("source", None)
        providers = request.query.getall("provider", None)
        scope = scope_of_caller(request)
        if scope.is_limited:
            # One that is configured no more has no provider, but it has its name.
            known = {*self._providers, *(scope.sources or ())} if sources is None else sources
            sources = [name for name in known if sees_source(request)(name)]
        if providers is None:
            return sources
        of_providers = [name for name, provider in self._providers.items() if provider in providers]
        return [name for name in of_providers if sources is None or name in sources]

    def _group(self, group: QuarantineGroup, samples: Mapping[int, Sample]) -> Group:
        return Group(
            source=group.source,
            provider=self._providers.get(group.source),
            nativeType=group.native_type,
            problem=group.problem,
            count=group.entries,
            firstAt=group.first_at,
            lastAt=group.last_at,
            samples=[samples[one] for one in dict.fromkeys((group.first, group.last)) if one in samples],
            likely=self._likely(group),
        )

    def _likely(self, group: QuarantineGroup) -> dict[str, str] | None:
        """The row that would read a group, if it lacks one."""
        if group.native_type is None or not group.problem.startswith(NO_ROW):
            return None
        return likely_row(group.native_type[:_WORDS], self._catalogue())

    async def _samples(self, positions: Iterable[int], with_raw: bool) -> dict[int, Sample]:
        """A sample of each entry, by position."""
        samples = {}
        left = sorted(set(positions))
        while left and (entries := await self._log.fetch(left)):
            for entry in entries:
                sample = Sample(uid=uid_text(entry.uid), position=entry.position, receivedAt=entry.received_at)
                if with_raw:
                    kept = await self._log.raw(entry.position, size=4 * EXCERPT)
                    sample.raw = None if kept is None else kept.content.decode("utf-8", "replace")[:EXCERPT]
                samples[entry.position] = sample
            left = left[left.index(entries[-1].position) + 1 :]
        return samples
