"""A changed table held against the one in use, over HTTP: what it would do to the examples, and to stored raw events.

The answer is JSON, a line at a time: how far it is, and at last the result.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import (
    Answer,
    Body,
    Limited,
    Operation,
    Parameter,
    authorize,
    refuse_beyond,
    scope_of_caller,
)
from adapter.api.stream import streamed
from adapter.api.trial import PROVIDER, read_trial, table_in_use
from adapter.filter import Filter
from adapter.log.protocol import Log
from adapter.mapping.body import NDJSON
from adapter.renormalization.choice import Choice
from adapter.renormalization.comparing import Comparer
from adapter.renormalization.job import Job, Question, State
from adapter.renormalization.step import Findings
from adapter.renormalization.walk import Walk, stretch_of
from adapter.settings import Permission
from adapter.sources.intake import Source
from adapter.tables.in_use import Tables
from adapter.timestamps import SCHEMA
from adapter.trials.pool import Trials
from adapter.workbench import trial
from adapter.workbench.compare import Difference
from adapter.workbench.trial import TableComparison, Texts
from adapter.workbench.unsaved import Unsaved

#: Between two lines that say how far it is, seconds.
TELLING = 0.5

_MOMENTS = ("received_from", "received_to")


class Comparison(BaseModel):
    """What a changed table would do."""

    examples: list[Difference] = Field(description="Examples of the table in use that it reads differently")
    identity: str | None = Field(
        description="Where one sees that events would be known by other keys; null if they would not"
    )
    stored: Findings | None = Field(description="What it would do to stored raw events, if that was asked")


class Looked(BaseModel):
    """How far it is."""

    done: int = Field(description="Entries of the log that are done")
    all: int = Field(description="Entries that are asked for, other providers' among them")


class DiffLine(BaseModel):
    """One line of the answer: the last one has the result, those before it say how far it is."""

    progress: Looked | None = None
    result: Comparison | None = None


class Comparisons:
    """Compares changed tables."""

    def __init__(self, tables: Tables, log: Log, sources: Mapping[str, Source], trials: Trials) -> None:
        """``sources``: those that are configured, by name."""
        self._tables = tables
        self._log = log
        self._sources = sources
        self._trials = trials

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/mappings/{provider}/diff", self.diff,
                'What a changed table would do, {"mapping": TEXT}: to the examples, and with received_from also to '
                "stored raw events (this needs the permission read, too)",
                {200: Answer("A line each time it gets on, and one with the result.", (NDJSON[0],), DiffLine)},
                Permission.MAPPINGS,
                [
                    PROVIDER,
                    Parameter("received_from", "Stored raw events that arrived at or after this timestamp", SCHEMA),
                    Parameter("received_to", "Only those that arrived before this timestamp", SCHEMA),
                ],
                Body(model=Unsaved),
                limited=Limited.BY_SOURCE, errors=(409, 422),
            ),
        ]  # fmt: skip

    async def diff(self, request: web.Request) -> web.StreamResponse:
        given = {name: request.query.getall(name) for name in _MOMENTS if name in request.query}
        timestamps = Filter.parse(given, self._tables.catalogue)
        if given:
            authorize(request, Permission.READ)
            # It is compared on all that the provider has sent, by whichever source.
            refuse_beyond(request, scope_of_caller(request).sources is None)
        with self._trials.place():
            tried = await read_trial(request, self._tables)
            answer = await self._trials.run(trial.compare, self._tables.folders, tried)
            compared = TableComparison.model_validate_json(answer)
            found = Comparison(examples=compared.examples, identity=compared.identity, stored=None)
            old = table_in_use(self._tables, tried.provider)
            async with streamed(request, NDJSON[0]) as stream:
                if given:

                    async def tell(looked: Looked) -> None:
                        await stream.write(_line("progress", looked))

                    found.stored = await self.stored(old.provider, old.texts, compared.texts, timestamps, tell)
                await stream.write(_line("result", found))
            return stream.response

    async def stored(
        self,
        provider: str,
        old: Texts,
        new: Texts,
        timestamps: Filter,
        tell: Callable[[Looked], Awaitable[None]] | None = None,
    ) -> Findings:
        """What a changed table would do to stored raw events. ``tell`` is told how far it is.

        Raises:
            RequestError: the tables take too long or too much memory.
        """
        since, until = timestamps.received_from, timestamps.received_to
        question = Question(provider=provider, received_from=since, received_to=until, rate=0, dry_run=True)
        begin, end = await stretch_of(self._log, question)
        job = Job(state=State.RUNNING, question=question, begin=begin, end=end, position=begin, started_at=0)
        providers = {name: source.provider for name, source in self._sources.items()}
        choice = Choice(question, providers, self._tables.catalogue)
        comparer = Comparer(self._trials, self._sources, self._tables.folders, old, new)
        walk = Walk(self._log, None, comparer, choice, job, Counter(), now=lambda: 0)
        going = asyncio.create_task(walk.run())
        try:
            while not going.done():
                await asyncio.wait([going], timeout=TELLING)
                if tell is not None:
                    await tell(Looked(done=walk.job.position - begin, all=end - begin))
            await going
        finally:
            going.cancel()
            await asyncio.wait([going])
        return Findings.model_validate(walk.job.model_dump(include=set(Findings.model_fields)))


def _line(name: str, told: BaseModel) -> bytes:
    return orjson.dumps({name: told.model_dump(mode="json")}) + b"\n"
