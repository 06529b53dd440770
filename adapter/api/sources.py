"""The sources over HTTP: where each is posted to, what proves it, and from where it fetches; never a token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import (
    Answer,
    Limited,
    Operation,
    Parameter,
    is_administrator,
    json_answer,
    refuse_beyond,
    sees_source,
)
from adapter.errors import RequestError
from adapter.mapping.table import Table
from adapter.outgoing.tls import ends_of
from adapter.settings import Permission
from adapter.sources.authentication import said
from adapter.sources.keycloak.settings import PullSettings
from adapter.sources.opening import OpenSource
from adapter.sources.settings import SourceSettings

#: Where events are posted.
INGEST = "/ingest/"
#: Bytes of a file of examples that are read for one.
_READ = 20_000


class PullShown(BaseModel):
    """From where a source fetches its events."""

    url: str | None = Field(description="Address of the server; null: for the administrator alone")
    realms: list[str] = Field(description="Those that are read; none: all that the account sees")
    interval: str = Field(description="Pause between two polls")
    overlap: str = Field(description="How far back is read again for events that are committed late")
    statements: bool = Field(description="Whether a signed statement is made of each hour")
    certificates: dict[str, int] = Field(
        description="When those end that it shows (`certificate`) and trusts (`ca`), epoch milliseconds"
    )


class SourceShown(BaseModel):
    """One source, as it is set."""

    name: str
    provider: str
    kind: str = Field(description="How its events come in: `push`")
    path: str | None = Field(description="Where its events are posted; null: nothing is posted to it")
    proofs: list[str] = Field(
        description="What proves that a request is of its sender, by the provider's table: each way, for people"
    )
    token: str | None = Field(
        description="`generated` into the data folder, or `settings`: it is set there, and replaced there; null: none"
    )
    tokens: int = Field(description="How many tokens are valid: several while one is being replaced")
    unwrap: str = Field(description="Which envelopes of forwarders are opened: `auto`, `none`, or a forwarder")
    silence: str = Field(description="After which time without anything it counts as silent: `usual`, `never`, 1h, …")
    pull: PullShown | None = Field(description="Of a source that fetches, too")


class SourcePage(SourceShown):
    """A source, with what it takes."""

    example: dict[str, Any] | None = Field(
        description="An event as its provider sends it, of the table's examples; null: none of them is a short JSON "
        "object"
    )


class SourceList(BaseModel):
    """The sources."""

    sources: list[SourceShown]


class SourcePages:
    """Shows how the sources are set."""

    def __init__(
        self, configured: Sequence[SourceSettings], opened: Sequence[OpenSource], tables: Mapping[str, Table]
    ) -> None:
        self._configured = configured
        self._opened = {one.name: one for one in opened}
        self._tables = tables

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET", "/sources", self.show, "The sources: where to post, what proves a sender, what is fetched",
                {200: Answer("Those that the caller may see.", model=SourceList)}, Permission.READ,
                limited=Limited.BY_SOURCE,
            ),
            Operation(
                "GET", "/sources/{name}", self.show_one, "One source, with an example of what it takes",
                {200: Answer("The source.", model=SourcePage)}, Permission.READ,
                [Parameter("name", "Name of the source")], limited=Limited.BY_SOURCE,
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        is_seen, may_know = sees_source(request), is_administrator(request)
        sources = [self._shown(one, may_know=may_know) for one in self._configured if is_seen(one.name)]
        return json_answer(SourceList(sources=sources).model_dump_json().encode())

    async def show_one(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        refuse_beyond(request, sees_source(request)(name))
        found = next((one for one in self._configured if one.name == name), None)
        if found is None:
            known = ", ".join(one.name for one in self._configured if sees_source(request)(one.name))
            raise RequestError(404, "Not found", f"no source is called {name}; there are {known or 'none'}")
        shown = self._shown(found, may_know=is_administrator(request))
        example = await asyncio.to_thread(_example, self._tables[found.provider].folder)
        return json_answer(SourcePage(**shown.model_dump(), example=example).model_dump_json().encode())

    def _shown(self, one: SourceSettings, *, may_know: bool) -> SourceShown:
        opened, pull = self._opened.get(one.name), getattr(one, "pull", None)
        tokens = () if opened is None else opened.tokens
        return SourceShown(
            name=one.name,
            provider=one.provider,
            kind=one.kind,
            path=f"{INGEST}{one.name}" if tokens else None,
            proofs=[_proof(text) for text in map(said, self._tables[one.provider].mapping.auth)] if tokens else [],
            token=None if opened is None or not tokens else "generated" if opened.generated else "settings",
            tokens=len(tokens),
            unwrap=one.unwrap,
            silence=one.silence,
            pull=_pull(pull, may_know=may_know) if isinstance(pull, PullSettings) else None,
        )


def _example(folder: Path) -> dict[str, Any] | None:
    """The first event of a table's examples; ``None``: it is no JSON object, or a long one."""
    for file in sorted((folder / "examples").glob("*.yaml")):
        try:
            with file.open("rb") as opened:
                text = opened.read(_READ).decode("utf-8", "ignore")
            # The first example alone, as whole files take long to read; and none that is more than it looks (aliases).
            first, more, _ = text.partition("\n- ")
            examples = yaml.safe_load(first) if (more or len(text) < _READ) and "*" not in first else None
        except (OSError, yaml.YAMLError):
            continue
        match examples:
            case [{"raw": {**event} | [{**event}, *_]}, *_]:
                # As its provider would write it: times of YAML are texts there.
                made: dict[str, Any] = json.loads(json.dumps(event, default=str))
                return made
    return None


def _proof(said: str | None) -> str:
    return said or "a token that its sender signs with a private key"


def _pull(pull: PullSettings, *, may_know: bool) -> PullShown:
    return PullShown(
        url=pull.url if may_know else None,
        realms=list(pull.realms),
        interval=pull.interval,
        overlap=pull.overlap,
        statements=pull.statements,
        certificates=ends_of(pull),
    )
