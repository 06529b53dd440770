"""A table as people look at it and write it, over HTTP: what becomes of each native type, and which words there are."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.arrivals import ArrivalCounts
from adapter.api.feed import read_switch
from adapter.api.operation import Answer, Limited, Operation, Parameter, json_answer, sees_source
from adapter.api.trial import PROVIDER, table_in_use
from adapter.mapping.catalogue import ERROR, Catalogue
from adapter.schemas import mapping_schema
from adapter.settings import Permission
from adapter.tables.in_use import Tables
from adapter.workbench.native_types import KnownTypes, NativeTypes

_SWITCH = {"type": "string", "enum": ["0", "1"]}

#: Native types that arrived, the most frequent ones; a sender may make up any number of them.
ARRIVED = 1000


class Words(BaseModel):
    """What may stand in a table's file."""

    words: dict[str, Any] = Field(
        description="The JSON Schema of the file, with the types, reasons and details of the catalogue in use"
    )
    types: dict[str, str] = Field(description="Unified types, `access.` left out, and what each means")
    reasons: dict[str, str] = Field(description="Reasons, and what each means")


class NativeTypePages:
    """Shows tables row by row, and the words of the language."""

    def __init__(self, tables: Tables, arrivals: ArrivalCounts) -> None:
        self._tables = tables
        self._arrivals = arrivals
        #: By provider: the version of the table that it was made of, since a large one takes a while.
        self._known: dict[str, tuple[str, KnownTypes]] = {}
        self._words: tuple[str, bytes] | None = None

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/mappings/{provider}/types", self.types, "Each native type, and what the table makes of it",
                {200: Answer("Those with rows in order of the file, then others.", model=NativeTypes)}, Permission.READ,
                [PROVIDER, Parameter("arrived", "1: also what has arrived; all of the log is looked at", _SWITCH)],
                limited=Limited.BY_SOURCE, errors=(422,),
            ),
            Operation(
                "GET", "/mappings/{provider}/words", self.words, "What may stand in a table's file, for editors",
                {200: Answer("Words with their meanings.", model=Words)}, Permission.READ, [PROVIDER],
                limited=Limited.BY_SOURCE, errors=(422,),
            ),
        ]  # fmt: skip

    async def types(self, request: web.Request) -> web.Response:
        table = table_in_use(self._tables, request.match_info["provider"])
        version, known = self._known.get(table.provider, ("", None))
        if known is None or version != table.version:
            known = await asyncio.to_thread(KnownTypes, table)
            self._known[table.provider] = table.version, known
        arrived = None
        if read_switch(request, "arrived"):
            found = await self._arrivals.of(table, sees_source(request))
            arrived = {one.nativeType: (one.entries, one.quarantined, one.lastAt) for one in found[:ARRIVED]}
        return json_answer(known.with_arrived(arrived).model_dump_json().encode())

    async def words(self, request: web.Request) -> web.Response:
        # Whoever asks about a provider that has no table is told so, as everywhere.
        table_in_use(self._tables, request.match_info["provider"])
        catalogue = self._tables.catalogue
        if self._words is None or self._words[0] != catalogue.digest:
            self._words = catalogue.digest, await asyncio.to_thread(_words, catalogue)
        return json_answer(self._words[1])


def _words(catalogue: Catalogue) -> bytes:
    types = {}
    for name in catalogue.names:
        known = catalogue.known(name.removesuffix(ERROR))
        if known is not None:
            meaning = f"{known.meaning}: it failed" if name.endswith(ERROR) else known.meaning
            types[name.removeprefix("access.")] = meaning
    reasons = {name: one.meaning for name, one in catalogue.reasons.items()}
    return Words(words=mapping_schema(catalogue), types=types, reasons=reasons).model_dump_json().encode()
