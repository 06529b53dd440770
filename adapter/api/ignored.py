"""What tables leave out, over HTTP: by source and what it is, with samples, since the service started."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.auditing import record
from adapter.api.feed import read_switch
from adapter.api.operation import Answer, Limited, Operation, Parameter, authorize, sees_source
from adapter.api.stream import sent_json
from adapter.counts import EXCERPT, SAMPLES, SampledCounts
from adapter.settings import Look, Permission


class IgnoredSample(BaseModel):
    """One of a group."""

    receivedAt: int = Field(description="Arrival, epoch milliseconds")
    raw: str | None = Field(None, description=f"With raw=1, how it begins: {EXCERPT} characters")


class IgnoredGroup(BaseModel):
    """What was left out of one source for one reason."""

    source: str
    provider: str | None = Field(description="The source's provider")
    what: str = Field(description="A native type, or what the table calls lines without an event (`ignore`)")
    count: int
    samples: list[IgnoredSample] = Field(description=f"Of the last bodies with one, at most {SAMPLES}")


class Ignored(BaseModel):
    """What was left out since the service started."""

    count: int = Field(description="Records there were")
    groups: list[IgnoredGroup] = Field(description="The largest first")


class IgnoredPages:
    """Shows what is not stored because a table says so. Nothing of it is kept but these counts and samples."""

    def __init__(self, counts: SampledCounts, providers: Mapping[str, str], *, reading_timeout: float) -> None:
        """``providers``: of each configured source, by name."""
        self._counts = counts
        self._providers = providers
        self._reading_timeout = reading_timeout

    def operations(self) -> list[Operation]:
        raw = {"type": "string", "enum": ["0", "1"]}
        return [
            Operation(
                "GET", "/ignored", self.show, "What tables leave out, by source and what it is, since the start",
                {200: Answer("The groups.", model=Ignored)}, Permission.READ,
                [
                    Parameter("source", "Name of the source", repeatable=True),
                    Parameter("raw", "1: also the beginning of what the provider sent; needs the permission raw", raw),
                ],
                limited=Limited.BY_SOURCE,
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.StreamResponse:
        with_raw = read_switch(request, "raw")
        if with_raw:
            authorize(request, Permission.RAW)
            record(request, Look.RAW)
        wanted, is_seen = request.query.getall("source", None), sees_source(request)
        groups = [
            IgnoredGroup(
                source=source,
                provider=self._providers.get(source),
                what=what,
                count=count,
                samples=[
                    IgnoredSample(receivedAt=one.received_at, raw=one.excerpt if with_raw else None)
                    for one in self._counts.samples(source, what)
                ],
            )
            for (source, what), count in self._counts.by_source_and_name().items()
            if (wanted is None or source in wanted) and is_seen(source)
        ]
        groups.sort(key=lambda one: -one.count)
        page = Ignored(count=sum(one.count for one in groups), groups=groups)
        body = page.model_dump_json(exclude_none=not with_raw).encode()
        return await sent_json(request, body, reading_timeout=self._reading_timeout)
