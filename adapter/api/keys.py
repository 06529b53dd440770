"""Keys over HTTP: list them, make one, and take one away at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import Answer, Body, Operation, Parameter, json_answer, principal_of_caller, request_body
from adapter.errors import RequestError
from adapter.keys.live import LiveKeys
from adapter.keys.stored import StoredKey
from adapter.quantities import interval_of, seconds_of
from adapter.scope import Scope
from adapter.settings import KeyGrant, KeySettings, Permission
from adapter.timestamps import FIXED, read_timestamp

#: Bytes of what is said of a key: it may be limited to many realms.
SIZE = 256 * 1024

_NAME = Parameter("name", "Name of the key", {"type": "string", "examples": ["soc"]})
_DURATION = re.compile(r"[0-9.]+ ?[A-Za-z]+")

#: What the permissions that the settings say let a key do.
Granted = Callable[[frozenset[Permission]], frozenset[Permission]]


class AskedKey(KeyGrant):
    """What a new key is to let its holder do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "soc", "permissions": ["read", "export"], "realms": ["acme"], "expires": "90d"}]
        }
    )

    expires: Annotated[str, Field(max_length=64)] | Annotated[int, Field(ge=0, le=10**15)] | None = Field(
        None, description=f"When it is refused from: in how long (`8h`, `90d`, `1y`), or {FIXED}. None: never"
    )


class KeyShown(BaseModel):
    """One key, without its token."""

    model_config = ConfigDict(use_enum_values=True)

    name: str
    managed: str = Field(
        description="`api`: kept in the log; `settings`: it stands in adapter.toml, and is ended there"
    )
    id: str | None = Field(description="Its own, of one that is kept in the log")
    permissions: list[Permission]
    realms: list[str] | None = Field(description="Those that it is limited to; null: it is not, like the next two")
    sources: list[str] | None
    providers: list[str] | None
    createdAt: int | None = Field(description="Epoch milliseconds, like all times here")
    createdBy: str | None
    expiresAt: int | None
    expired: bool = Field(description="Whether it is refused since then")
    lastUsedAt: int | None = Field(
        description="To the minute, where another service took it; null: never, or it is one of the settings"
    )


class KeyList(BaseModel):
    """All keys."""

    keys: list[KeyShown]
    warnings: list[str]


class MadeKey(KeyShown):
    """A key that was made."""

    token: str = Field(description="Its bearer token: it is shown this once")


class KeyPages:
    """Shows, makes and revokes keys."""

    def __init__(
        self, keys: LiveKeys, configured: Sequence[KeySettings], granted: Granted, *, now: Callable[[], int]
    ) -> None:
        """``configured``: those of the settings; ``now`` gives epoch milliseconds."""
        self._keys = keys
        self._configured = configured
        self._granted = granted
        self._now = now

    def operations(self) -> list[Operation]:
        may = Permission.KEYS
        return [
            Operation("GET", "/keys", self.show_all, "All keys", {200: Answer("The keys.", model=KeyList)}, may),
            Operation(
                "POST", "/keys", self.create, "Make a key; its token is shown this once",
                {201: Answer("It is made.", model=MadeKey)}, may, (), Body(model=AskedKey), errors=(409,),
            ),
            Operation(
                "DELETE", "/keys/{name}", self.revoke, "Revoke a key: its token is refused from now on",
                {200: Answer("The key as it was.", model=KeyShown)}, may, [_NAME], errors=(409,),
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request) -> web.Response:
        await self._keys.look()
        stored = self._keys.all
        named = {one.name for one in self._configured}
        warnings = [
            f"the key {one.name!r} has the name of one of adapter.toml, so who did something cannot be told; revoke it"
            for one in stored
            if one.name in named
        ]
        shown = [*(self._of_settings(one) for one in self._configured), *(self._stored(one) for one in stored)]
        return json_answer(KeyList(keys=shown, warnings=warnings).model_dump_json().encode())

    async def create(self, request: web.Request) -> web.Response:
        asked = read_asked(AskedKey, read_object(await request_body(request, SIZE)), strict=False)
        expires_at = read_expiry(asked.expires, self._now())
        creator = principal_of_caller(request)
        if beyond := sorted(asked.permissions - creator.permissions):
            raise RequestError(
                403, "Forbidden",
                f"A key lets its holder do no more than who makes it may; this token lacks {', '.join(beyond)}.",
            )  # fmt: skip
        own = next((one.expires_at for one in self._keys.all if one.id == creator.key_id), None)
        if own is not None and (expires_at is None or expires_at > own):
            raise RequestError(403, "Forbidden", "expires: a key lasts no longer than the one that makes it.")
        key, token = await self._keys.create(asked, creator.name, expires_at)
        made = MadeKey(**self._stored(key).model_dump(), token=token)
        return json_answer(made.model_dump_json().encode(), status=201)

    async def revoke(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if any(one.name == name for one in self._configured) and all(one.name != name for one in self._keys.all):
            detail = f"the key {name!r} stands in adapter.toml; take it out there, and reload"
            raise RequestError(409, "Of the settings", detail)
        key = await self._keys.revoke(name, principal_of_caller(request).name)
        return json_answer(self._stored(key).model_dump_json().encode())

    def _stored(self, key: StoredKey) -> KeyShown:
        return KeyShown(
            name=key.name, managed="api", id=key.id, permissions=sorted(key.grant.permissions),
            **_limits(key.grant.scope),
            createdAt=key.created_at, createdBy=key.created_by,
            expiresAt=key.expires_at, expired=key.has_expired(self._now()), lastUsedAt=self._keys.used_at(key),
        )  # fmt: skip

    def _of_settings(self, key: KeySettings) -> KeyShown:
        return KeyShown(
            name=key.name, managed="settings", id=None, permissions=sorted(self._granted(key.permissions)),
            **_limits(key.scope),
            createdAt=None, createdBy=None, expiresAt=None, expired=False, lastUsedAt=None,
        )  # fmt: skip


def read_expiry(said: str | int | None, now: int) -> int | None:
    """When a key ends, epoch milliseconds; ``None``: never. ``now``: epoch milliseconds.

    Raises:
        RequestError: 400, it is no time to come; says what is right.
    """
    if said is None:
        return None
    try:
        if isinstance(said, int):
            ends_at = said
        elif _DURATION.fullmatch(said):
            ends_at = now + _milliseconds(said)
        else:
            ends_at = read_timestamp(said, None)
    except ValueError:
        detail = f"expires: {said!r} is neither in how long (8h, 90d, 1y) nor {FIXED}"
        raise RequestError(400, "Bad parameter", detail, parameter="expires") from None
    if ends_at <= now:
        detail = f"expires: {said!r} is over already; a key needs a time to come"
        raise RequestError(400, "Bad parameter", detail, parameter="expires")
    return ends_at


def _milliseconds(text: str) -> int:
    return 1000 * (seconds_of(text) if text[-1:] in "hdwy" else int(interval_of(text)))


def _limits(scope: Scope) -> dict[str, Any]:
    told = scope.told()
    return {name: told.get(name) for name in ("realms", "sources", "providers")}
