"""What an author of tables has written for them, over HTTP: a first draft from samples, and examples rewritten to what
the table makes of them now; by the same functions as ``idp-adapter mapping new`` and ``accept``."""

from __future__ import annotations

from aiohttp import web

from adapter.api.operation import Answer, Body, Operation, Parameter, authorize, caller, json_answer
from adapter.api.saving import Saving
from adapter.api.trial import PROVIDER, provider_name, read_body, unknown
from adapter.mapping.body import JSON, NDJSON
from adapter.mapping.table import table_file
from adapter.settings import Permission
from adapter.tables.in_use import Tables
from adapter.trials.pool import Trials
from adapter.workbench import trial
from adapter.workbench.trial import Acceptance, Proposed

#: What a provider without a table may send.
_RAW = [{"id": "1", "kind": "signed in", "user": "anna", "at": "2026-09-21T13:46:40Z"}]
_SEEN = Parameter(
    "seen",
    "The answer's own `seen`: write exactly the changes that were shown with it; this needs the permission "
    "write_mappings, too",
)


class Authoring:
    """Proposes tables and accepts examples."""

    def __init__(self, tables: Tables, trials: Trials, saving: Saving, *, events_limit: int) -> None:
        """``events_limit``: samples that are looked at in one request."""
        self._tables = tables
        self._trials = trials
        self._saving = saving
        self._events_limit = events_limit

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/mappings/{provider}/new", self.propose,
                "Propose a table from raw events: JSON, a list, or one a line; nothing is written",
                {200: Answer("The texts of its files.", model=Proposed)}, Permission.MAPPINGS, [PROVIDER],
                Body((JSON, *NDJSON), examples={JSON: _RAW}), errors=(409, 415, 422),
            ),
            Operation(
                "POST", "/mappings/{provider}/accept", self.accept,
                "What the examples' expected events would become; with seen they are written",
                {200: Answer("The examples that would change.", model=Acceptance)}, Permission.MAPPINGS,
                [PROVIDER, _SEEN], errors=(409, 412, 422),
            ),
        ]  # fmt: skip

    async def propose(self, request: web.Request) -> web.Response:
        provider = provider_name(request)
        with self._trials.place():
            body = await read_body(request)
            work = trial.propose, self._tables.folders, provider, body, self._events_limit
            return json_answer(await self._trials.run(*work))

    async def accept(self, request: web.Request) -> web.Response:
        provider, seen = provider_name(request), request.query.get("seen")
        if table_file(provider, self._tables.folders) is None:
            raise unknown(self._tables)
        with self._trials.place():
            if seen is not None:
                authorize(request, Permission.WRITE_MAPPINGS)
                accepted = await self._saving.accept(provider, seen, caller(request))
                return json_answer(accepted.model_dump_json(by_alias=True).encode())
            return json_answer(await self._trials.run(trial.accept, self._tables.folders, provider))
