"""The examples of tables, and those made of what has arrived, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web
from pydantic import ValidationError

from adapter.api.auditing import record
from adapter.api.lookup import Lookup
from adapter.api.operation import Answer, Body, Limited, Operation, authorize, caller, json_answer, scope_of_caller
from adapter.api.slots import Slots
from adapter.api.trial import PROVIDER, provider_name, read_body, table_in_use, unknown
from adapter.errors import RequestError
from adapter.log.protocol import Log
from adapter.mapping.table import table_file
from adapter.model import uid_text
from adapter.settings import Look, Permission
from adapter.tables.in_use import Tables
from adapter.trials.pool import Trials
from adapter.workbench.arrived import ArrivedExample, Wanted, example_of
from adapter.workbench.trial import Examples, examples


class ExamplePages:
    """Shows examples, and makes them of stored raw events."""

    def __init__(
        self, tables: Tables, trials: Trials, log: Log, lookup: Lookup, questions: Slots, providers: Mapping[str, str]
    ) -> None:
        """``providers``: of each configured source, by name. ``questions`` bounds those that are under way."""
        self._tables = tables
        self._trials = trials
        self._log = log
        self._lookup = lookup
        self._questions = questions
        self._providers = providers

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/mappings/{provider}/examples", self.show, "The examples of a table, as its files are now",
                {200: Answer("The examples, in order of the files.", model=Examples)}, Permission.READ, [PROVIDER],
                limited=Limited.BY_SOURCE, errors=(422,),
            ),
            Operation(
                "POST", "/mappings/{provider}/examples", self.make,
                "Make an example of an event that arrived, quarantined ones too; needs the permission raw, too",
                {200: Answer("The example, and its file with it; nothing is written.", model=ArrivedExample)},
                Permission.MAPPINGS, [PROVIDER], Body(model=Wanted), limited=Limited.BY_SOURCE, errors=(409, 422),
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        provider = provider_name(request)
        if table_file(provider, self._tables.folders) is None:
            raise unknown(self._tables)
        with self._trials.place():
            return json_answer(await self._trials.run(examples, self._tables.folders, provider))

    async def make(self, request: web.Request) -> web.Response:
        provider = provider_name(request)
        authorize(request, Permission.RAW)
        with self._trials.place():
            wanted = _read(await read_body(request))
            table = table_in_use(self._tables, provider)
            with self._questions.taken(caller(request)):
                entry = await self._lookup.find(wanted.uid, caller(request), scope_of_caller(request))
                kept = None if entry is None else await self._log.raw(entry.position)
            if entry is None or kept is None:
                detail = "There is nothing with this uid, or what the provider sent for it is not kept."
                raise RequestError(404, "Not found", detail)
            if self._providers.get(entry.source, provider) != provider:
                detail = f"it came from {entry.source}, a source of {self._providers[entry.source]!r}"
                raise RequestError(409, "Another provider's", detail)
            record(request, Look.RAW, of=wanted.uid)
            raw, media, _ = kept
            name = f"{(entry.native_type or 'unreadable')[:100]} {uid_text(entry.uid)[-12:]}"
            work = example_of, self._tables.folders, provider, table.texts, wanted, raw, media.partition(";")[0], name
            return json_answer(await self._trials.run(*work))


def _read(body: bytes) -> Wanted:
    """
    Raises:
        RequestError: 400, it does not say which event.
    """
    try:
        return Wanted.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise RequestError(400, "Bad request", 'send a JSON object: {"uid": UID}') from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise RequestError(400, "Bad request", f"{place}: {first['msg']}" if place else first["msg"]) from None
