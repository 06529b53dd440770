"""Reconciliation over HTTP: hold what a source's server has stored against the log, and show the key that signs the
statements of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import (
    Answer,
    Body,
    Limited,
    Operation,
    Parameter,
    caller,
    is_administrator,
    json_answer,
    refuse_beyond,
    request_body,
    sees_source,
)
from adapter.api.slots import Slots
from adapter.api.stream import streamed
from adapter.errors import NoReply, Refused, RequestError, public_text
from adapter.filter import Filter
from adapter.mapping.body import NDJSON
from adapter.mapping.catalogue import Catalogue
from adapter.reconciliation.comparison import Comparison
from adapter.reconciliation.opening import Reconciliation
from adapter.settings import Permission
from adapter.timestamps import FORMS

#: Between two lines that say how far it is, seconds.
TELLING = 1.0


class Asked(BaseModel):
    """Which events are to be compared."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"from": "-2h", "to": "now", "repair": False}]}
    )

    since: int | str = Field(alias="from", description=f"Happened then or later: {FORMS}")
    to: int | str = Field("now", description="Happened before; what is younger than `overlap` is left out")
    repair: bool = Field(False, description="Fetch what is missing into the log")


class PublicKey(BaseModel):
    """A JWK (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str = Field(description="Its thumbprint (RFC 7638), by which a statement names it")


class ReconciliationPages:
    """Compares, and tells."""

    def __init__(
        self,
        reconciliation: Reconciliation,
        sources: Iterable[str],
        catalogue: Callable[[], Catalogue],
        *,
        reading_timeout: float,
    ) -> None:
        """``sources``: names of all of them."""
        self._reconciliation = reconciliation
        self._sources = list(sources)
        self._catalogue = catalogue
        self._reading_timeout = reading_timeout
        self._slots = Slots("reconciliations", each=1, together=2)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "POST", "/sources/{name}/reconciliation", self.reconcile,
                "Hold the events that the server of a source that pulls has stored against the log, and with repair "
                "fetch those that are missing",
                {200: Answer(
                    "Of each realm, its user events and its admin events: a line each time it gets on, and one when "
                    "it has ended.", (NDJSON[0],), Comparison,
                )},
                Permission.RECONCILE,
                [Parameter("name", "Name of the source")],
                Body(model=Asked),
                limited=Limited.BY_SOURCE, errors=(502,),
            ),
            Operation(
                "GET", "/statement-key", self.show_key,
                "The public key by which the hourly statements of reconciliation are verified",
                {200: Answer("The key.", model=PublicKey)}, Permission.READ, errors=(404,),
            ),
        ]  # fmt: skip

    async def reconcile(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        refuse_beyond(request, sees_source(request)(name))
        if name not in self._reconciliation.comparers:
            if name in self._sources:
                detail = f"the source {name} pulls nothing: it has no [sources.pull], so there is nothing to compare"
            else:
                known = filter(sees_source(request), self._sources)
                detail = f"no source is called {name}; there are {', '.join(known)}"
            raise RequestError(404, "Not found", detail)
        asked, since, until = self._question(await request_body(request))
        with self._slots.taken(caller(request)):
            async with self._reconciliation.comparers[name]() as comparer:
                try:
                    realms = await comparer.realms()
                except (NoReply, Refused) as error:
                    said = str(error) if is_administrator(request) else public_text(str(error))
                    raise RequestError(502, "No answer of the source", said) from None
                sending = streamed(request, NDJSON[0], reading_timeout=self._reading_timeout)
                async with sending as stream:
                    told_at = time.monotonic()

                    async def tell(found: Comparison) -> None:
                        nonlocal told_at
                        if time.monotonic() - told_at >= TELLING:
                            told_at = time.monotonic()
                            # What is missing is told at the end.
                            await stream.write(_line(found.model_copy(update={"missing": []})))

                    for realm in realms:
                        for kind in comparer.kinds:
                            found = await comparer.compare(realm, kind, since, until, repair=asked.repair, tell=tell)
                            await stream.write(_line(found))
                return stream.response

    async def show_key(self, request: web.Request) -> web.Response:
        if self._reconciliation.public_key is None:
            raise RequestError(404, "Not found", "No source pulls and makes statements, so there is no key.")
        return json_answer(orjson.dumps(self._reconciliation.public_key))

    def _question(self, body: bytes) -> tuple[Asked, int, int]:
        """What is asked, from and until when.

        Raises:
            RequestError: 400, it says what is wrong.
        """
        asked = read_asked(Asked, read_object(body))
        moments = Filter.parse({"from": [str(asked.since)], "to": [str(asked.to)]}, self._catalogue())
        assert moments.time_from is not None
        assert moments.time_to is not None
        if moments.time_from >= moments.time_to:
            raise RequestError(400, "Bad parameter", "from must be before to", parameter="from")
        return asked, moments.time_from, moments.time_to


def _line(found: Comparison) -> bytes:
    return orjson.dumps(found.model_dump(mode="json", by_alias=True)) + b"\n"
