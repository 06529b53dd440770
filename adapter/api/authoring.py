"""What an author of tables has written for them, over HTTP: a first draft from samples, and examples rewritten to what
the table makes of them now; by the same functions as ``idp-adapter mapping new`` and ``accept``."""

from __future__ import annotations

import asyncio

from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import Answer, Operation, Parameter, json_answer, request_body
from adapter.api.trial import PROVIDER, provider_name, refused, tried_document, unknown
from adapter.errors import MappingError, RequestError
from adapter.mapping.body import JSON, NDJSON
from adapter.mapping.table import load_table, table_file
from adapter.settings import Permission
from adapter.tables.in_use import Tables
from adapter.workbench.accept import Change, changes, digest, write
from adapter.workbench.check import is_built_in
from adapter.workbench.draft import draft, read_samples, refuse_name

_SEEN = Parameter("seen", "The answer's own `seen`: write exactly the changes that were shown with it")


class Proposed(BaseModel):
    """A table proposed from samples. Nothing is written: a table that nobody has decided is not for a service's
    folder, where it would be refused."""

    file: str = Field(description="Where its text belongs")
    mapping: str = Field(description="The text of the table; each row's type is still to be decided")
    examples_file: str = Field(description="Where its examples belong")
    examples: str = Field(description="Samples of each type and form, with nothing expected of them yet")
    remarks: list[str] = Field(description="What should be known of it, such as which secrets are redacted")


class ChangedExample(BaseModel):
    """An example that the table, as its file is now, reads differently."""

    example: str
    file: str
    line: int | None
    lines: list[str] = Field(description="What would change in it, for people")
    expect: list[dict[str, object]] = Field(description="What it would expect")


class Acceptance(BaseModel):
    """What the examples' expected events would become."""

    changes: list[ChangedExample] = Field(description="Empty: every example is reproduced")
    seen: str = Field(description="Names these changes; send it as `seen` to have them written")
    written: bool = Field(description="Whether they stand in the files now")


class Authoring:
    """Proposes tables and accepts examples, one at a time."""

    def __init__(self, tables: Tables, *, events_limit: int) -> None:
        """``events_limit``: samples that are looked at in one request."""
        self._tables = tables
        self._events_limit = events_limit
        self._turn = asyncio.Lock()

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/mappings/{provider}/new", self.propose,
                "Propose a table from raw events: JSON, a list, or one a line; nothing is written",
                {200: Answer("The texts of its files.", model=Proposed)}, Permission.MAPPINGS, [PROVIDER],
                (JSON, *NDJSON),
            ),
            Operation(
                "POST", "/mappings/{provider}/accept", self.accept,
                "What the examples' expected events would become; with seen they are written",
                {200: Answer("The examples that would change.", model=Acceptance)}, Permission.MAPPINGS,
                [PROVIDER, _SEEN],
            ),
        ]  # fmt: skip

    async def propose(self, request: web.Request) -> web.Response:
        provider, body = provider_name(request), await request_body(request)
        try:
            refuse_name(provider)
        except ValueError as error:
            raise RequestError(409, "Name is taken", str(error)) from None

        def proposed() -> Proposed:
            try:
                samples = read_samples(body, "the body")
                if len(samples.events) > self._events_limit:
                    detail = f"the body holds {len(samples.events)} samples; send at most {self._events_limit}"
                    raise RequestError(413, "Body too large", detail)
                file = tried_document(self._tables, provider, "").file
                found = draft(provider, samples, file.parent)
            except (MappingError, ValueError) as error:
                raise RequestError(400, "Not readable", str(error)) from None
            return Proposed(
                file=str(found.file),
                mapping=found.mapping,
                examples_file=str(found.examples_file),
                examples=found.examples,
                remarks=[*found.remarks],
            )

        async with self._turn:
            return json_answer((await asyncio.to_thread(proposed)).model_dump_json().encode())

    async def accept(self, request: web.Request) -> web.Response:
        provider, seen = provider_name(request), request.query.get("seen")
        async with self._turn:
            accepted = await asyncio.to_thread(self._accept, provider, seen)
        return json_answer(accepted.model_dump_json().encode())

    def _accept(self, provider: str, seen: str | None) -> Acceptance:
        """The examples against the table as its file is now: it may be refused for no other reason than them."""
        file = table_file(provider, self._tables.folders)
        if file is None:
            raise unknown(self._tables)
        try:
            found = list(changes(load_table(file, self._tables.catalogue, self._tables.folders)))
        except (MappingError, ValueError) as error:
            raise refused(str(error)) from None
        name = digest(found)
        if seen is not None:
            if is_built_in(file):
                detail = "this table comes with the adapter; write one of your own that extends it"
                raise RequestError(409, "Not yours to change", detail)
            if seen != name:
                detail = "the table or its examples have changed since; look again before you accept"
                raise RequestError(409, "Changed since", detail)
            try:
                write(found)
            except MappingError as error:
                raise RequestError(409, "Cannot be written", str(error)) from None
            except OSError as error:
                detail = f"{error.filename} cannot be written: {error.strerror}"
                raise RequestError(409, "Cannot be written", detail) from None
        return Acceptance(changes=[_told(one) for one in found], seen=name, written=seen is not None)


def _told(change: Change) -> ChangedExample:
    placed = change.placed
    return ChangedExample(
        example=placed.example.name,
        file=str(placed.file),
        line=placed.line,
        lines=change.lines(),
        expect=change.found,
    )
