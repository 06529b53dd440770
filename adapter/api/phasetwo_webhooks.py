"""Webhooks of Phase Two's API: made, shown, changed and deleted. Each is a sink of the log."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import hdrs, web
from pydantic import BaseModel, Field, RootModel

from adapter.api.bodies import read_asked, read_object
from adapter.api.operation import (
    Answer,
    Body,
    Operation,
    Parameter,
    caller,
    is_administrator,
    json_answer,
    request_body,
)
from adapter.api.phasetwo import BOUNDS, listed, not_found, one, phasetwo_operations, read_bounds
from adapter.api.slots import Slots
from adapter.delivery.standing import Decided, read
from adapter.errors import RequestError
from adapter.log.protocol import Store
from adapter.model import Outcome
from adapter.phasetwo.webhooks import (
    GivenWebhook,
    ShownWebhook,
    Webhook,
    changed,
    id_of,
    make_name,
    make_webhook,
    secret_of,
    settings_of,
    shown_webhook,
    sink_name,
    webhook_of,
)
from adapter.problem import SECURITY_HEADERS
from adapter.scope import Scope
from adapter.settings import Permission
from adapter.sink_management.live import LiveSinks
from adapter.sink_management.managing import SinkManagement, tag
from adapter.sink_management.stored import StoredSink
from adapter.system_events import system_event

#: Bytes of a representation, and webhooks of one realm: what all sinks may be together is for all realms.
SIZE, MOST = 65_536, 500
#: Those of one caller that are made at the same time.
MAKING = 4
#: So often a change is tried again that somebody else's came before.
_TRIES = 5
_ID = Parameter("id", "Id of the webhook")
_SEARCH = Parameter("search", "Only those whose address has this in it")
_PREFER = Parameter("Prefer", "return=representation: the webhook is answered, too", place="header")
_MADE = {
    "Location": "The webhook's path",
    "Warning": "Only where enabled was left out: that it is disabled",
    "Preference-Applied": "Only with the header Prefer",
}
_DISABLED = '199 - "enabled was left out, so the webhook is disabled; PUT it with enabled: true"'


class Webhooks(RootModel[list[ShownWebhook]]):
    """A page of them, the oldest first."""


class Count(RootModel[int]):
    """How many there are."""


class Credential(BaseModel):
    """CredentialRepresentation."""

    type: str = Field(description="`secret`")
    value: str


class WebhookPages:
    """Answers for webhooks."""

    def __init__(
        self,
        log: Store,
        live: LiveSinks,
        management: SinkManagement,
        issuer_of: Callable[[str], str | None],
        *,
        created_as_text: bool,
        now: Callable[[], int],
        deleted: Callable[[str], Awaitable[object]],
    ) -> None:
        """``issuer_of``: what stands as ``iss`` in the tokens of a realm, if that is known; ``created_as_text``:
        `createdAt` is a text; ``now`` gives epoch milliseconds; ``deleted`` ends what is under way for a sink that is
        gone."""
        self._log = log
        self._live = live
        self._management = management
        self._issuer_of = issuer_of
        self._created_as_text = created_as_text
        self._now = now
        self._deleted = deleted
        #: Those that are made at the same time are not among those that are counted.
        self._making = Slots("webhooks in the making", each=MAKING)

    def operations(self) -> list[Operation]:
        see, manage, given = Permission.READ, Permission.SINKS, Body(model=GivenWebhook)
        shown = Answer("The webhook.", model=ShownWebhook)
        return [
            *phasetwo_operations(
                "GET", "/webhooks", self.show_all, "Webhooks of a realm, as Phase Two's API gives them",
                {200: Answer("A page of them.", model=Webhooks)}, see, [*BOUNDS, _SEARCH],
            ),
            *phasetwo_operations(
                "GET", "/webhooks/count", self.count, "How many webhooks a realm has",
                {200: Answer("A bare number.", model=Count)}, see, [_SEARCH],
            ),
            *phasetwo_operations(
                "POST", "/webhooks", self.create, "Make a webhook; one without enabled is disabled",
                {201: Answer("It is made; its address is in Location. Its representation only with Prefer.",
                             model=ShownWebhook, headers=_MADE)},
                manage, [_PREFER], given, errors=(409,),
            ),
            *phasetwo_operations("GET", "/webhooks/{id}", self.show, "One webhook", {200: shown}, see, [_ID]),
            *phasetwo_operations(
                "PUT", "/webhooks/{id}", self.put, "Change a webhook; what is left out stays",
                {204: Answer("It is changed.", ())}, manage, [_ID], given, errors=(409,),
            ),
            *phasetwo_operations(
                "DELETE", "/webhooks/{id}", self.delete, "Delete a webhook, with what is held for it",
                {204: Answer("It is gone.", ())}, manage, [_ID], errors=(409,),
            ),
            *phasetwo_operations(
                "GET", "/webhooks/{id}/secret", self.show_secret, "The secret that was given for a webhook here",
                {200: Answer("The secret.", model=Credential)}, manage, [_ID], errors=(409,),
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request, scope: Scope) -> web.Response:
        first, most = read_bounds(request)
        return listed([await self.shown(*found) for found in self._found(request, scope)[first : first + most]])

    async def count(self, request: web.Request, scope: Scope) -> web.Response:
        return json_answer(str(len(self._found(request, scope))).encode())

    async def show(self, request: web.Request, scope: Scope) -> web.Response:
        return one(await self.shown(*await self.there(request, scope)))

    async def create(self, request: web.Request, scope: Scope) -> web.Response:
        given = await _read(request)
        realm = request.match_info["realm"]
        webhook = changed(make_webhook(realm, scope), given)
        settings = settings_of(webhook, given, None, self._issuer_of)
        name = make_name()
        with self._making.taken(caller(request)):
            if len(self.of_realm(realm)) >= MOST:
                raise RequestError(409, "Too many", f"this realm has {MOST} webhooks, which is the most; delete one")
            made = await self._management.put(
                name, settings, caller(request), may_know=is_administrator(request), only_new=True,
                is_paused=not given.enabled, beside=webhook.beside(),
            )  # fmt: skip
        headers = {**SECURITY_HEADERS, hdrs.LOCATION: f"{request.rel_url.raw_path.rstrip('/')}/{id_of(name)}"}
        if given.enabled is None:
            headers["Warning"] = _DISABLED
        if not _wants_representation(request):
            return web.Response(status=201, headers=headers)
        answer = one(await self.shown(made.sink, webhook))
        answer.set_status(201)
        answer.headers.update({**headers, "Preference-Applied": "return=representation"})
        return answer

    async def put(self, request: web.Request, scope: Scope) -> web.Response:
        given = await _read(request)
        by = caller(request)
        for _ in range(_TRIES):
            sink, before = await self.there(request, scope)
            if sink.problem is not None:
                raise RequestError(409, "Not readable", sink.problem)
            webhook = changed(before, given)
            settings = settings_of(webhook, given, (before, sink.given), self._issuer_of)
            put = partial(
                self._management.put, sink.name, settings, by, may_know=is_administrator(request), match=tag(sink),
                beside=webhook.beside(),
            )  # fmt: skip
            try:
                if given.enabled is False:
                    # Nothing is sent by the new settings; and what is refused changes nothing.
                    await put(dry_run=True)
                    await self._management.stand(sink.name, by, is_paused=True)
                await put()
            except RequestError as error:
                if error.status == 412:  # it was changed meanwhile
                    continue
                raise
            if given.enabled is True:
                await self._management.stand(sink.name, by, is_paused=False)
            return _nothing()
        raise RequestError(409, "Changed meanwhile", "the webhook is changed by others all the time; try again")

    async def delete(self, request: web.Request, scope: Scope) -> web.Response:
        sink, _ = await self.there(request, scope)
        await self._management.delete(sink.name, caller(request), force=True)
        await self._deleted(sink.name)
        return _nothing()

    async def show_secret(self, request: web.Request, scope: Scope) -> web.Response:
        sink, webhook = await self.there(request, scope)
        if sink.problem is not None:
            raise RequestError(409, "Not readable", sink.problem)
        secret = secret_of(sink, webhook)
        if secret is None:
            detail = "This webhook has no secret that was given through this API."
            raise RequestError(404, "Not found", detail)
        # Nobody is told a secret without a trace.
        details = {"sink": sink.name, "realm": webhook.realm}
        told = system_event(
            "AUDIT-SINK-SECRET-READ", self._now(), details, outcome=Outcome.SUCCESS, username=caller(request)
        )
        await self._log.append([told])
        return one(Credential(type="secret", value=secret))

    async def there(self, request: web.Request, scope: Scope) -> tuple[StoredSink, Webhook]:
        """The webhook that the path names, and its sink.

        Raises:
            RequestError: 404, there is none in this realm, or none that the caller may see.
            StoreError: the log does not answer.
        """
        name = sink_name(request.match_info["id"])
        if re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) and name not in self._live.configured:
            await self._live.take(name)
            sink = self._live.stored.get(name)
            webhook = None if sink is None else webhook_of(sink)
            if sink is not None and webhook is not None and _is_seen(webhook, request.match_info["realm"], scope):
                return sink, webhook
        raise not_found("webhook")

    def seen(self, realm: str, scope: Scope) -> list[tuple[StoredSink, Webhook]]:
        """The webhooks of a realm that a scope holds, the oldest first."""
        return [found for found in self.of_realm(realm) if _is_seen(found[1], realm, scope)]

    def of_realm(self, realm: str) -> list[tuple[StoredSink, Webhook]]:
        """All webhooks of a realm, whoever made them, the oldest first."""
        stored = [sink for name, sink in self._live.stored.items() if name not in self._live.configured]
        found = [(sink, webhook) for sink in stored if (webhook := webhook_of(sink)) is not None]
        of_it = [(sink, webhook) for sink, webhook in found if webhook.realm == realm]
        return sorted(of_it, key=lambda one: (one[0].created_at, one[0].name))

    async def shown(self, sink: StoredSink, webhook: Webhook) -> ShownWebhook:
        """The representation of a webhook."""
        standing = await read(self._log, sink.name)
        is_running = standing.state is Decided.RUNNING
        return shown_webhook(sink, webhook, is_running=is_running, created_as_text=self._created_as_text)

    def _found(self, request: web.Request, scope: Scope) -> Sequence[tuple[StoredSink, Webhook]]:
        search = request.query.get("search", "").casefold()
        found = self.seen(request.match_info["realm"], scope)
        return [one for one in found if search in str(one[0].given.get("url", "")).casefold()]


def _is_seen(webhook: Webhook, realm: str, scope: Scope) -> bool:
    return webhook.realm == realm and webhook.is_within(scope)


async def _read(request: web.Request) -> GivenWebhook:
    return read_asked(GivenWebhook, read_object(await request_body(request, SIZE)), strict=False)


def _wants_representation(request: web.Request) -> bool:
    said = ",".join(request.headers.getall("Prefer", ())).split(",")
    return any(one.partition(";")[0].strip().lower() == "return=representation" for one in said)


def _nothing() -> web.Response:
    return web.Response(status=204, headers=SECURITY_HEADERS)
