"""What was sent to webhooks of Phase Two's API: looked through, and sent again."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

import orjson
from aiohttp import web
from pydantic import RootModel

from adapter.api.lookup import Lookup, first_entry
from adapter.api.operation import Answer, Operation, Parameter, caller, json_answer, told_to_caller
from adapter.api.phasetwo import BOUNDS, listed, not_found, one, phasetwo_operations, read_bounds, sees
from adapter.api.phasetwo_webhooks import WebhookPages
from adapter.api.slots import Slots
from adapter.delivery.loop import Delivery, reader_name
from adapter.errors import RequestError
from adapter.log.protocol import Attempt, Store
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry
from adapter.ownership import Ownership
from adapter.phasetwo.sends import Send, WebhookOfSend, kind_of, send, written
from adapter.phasetwo.webhooks import Webhook
from adapter.problem import SECURITY_HEADERS
from adapter.scope import Scope
from adapter.settings import Permission
from adapter.sink_management.stored import StoredSink

#: Attempts that are read at once, and those of one event that are counted.
_ROWS, _TRIES = 500, 1_000
#: Sends of one caller that are made again at the same time.
RESENDS = 4
_ID = Parameter("id", "Id of the webhook")
_SEND = Parameter("sid", "Id of the send")
_KIND = Parameter("type", "Kind of the event", {"type": "string", "enum": ["user", "admin"]})
_EVENT = Parameter("kid", "The provider's id of the event, or its uid")


class Sends(RootModel[list[Send]]):
    """Sends, the latest first."""


class Payload(RootModel[dict[str, object]]):
    """An event as webhooks get it, with an empty `uid`."""


class SendPages:
    """Answers for sends."""

    def __init__(
        self,
        log: Store,
        webhooks: WebhookPages,
        deliveries: Mapping[str, Ownership[Delivery]],
        lookup: Lookup,
        catalogue: Callable[[], Catalogue],
        questions: Slots,
    ) -> None:
        self._log = log
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._lookup = lookup
        self._catalogue = catalogue
        self._questions = questions
        self._resends = Slots("resends", each=RESENDS)

    def operations(self) -> list[Operation]:
        see, of_event = Permission.READ, [_KIND, _EVENT]
        return [
            *phasetwo_operations(
                "GET", "/webhooks/{id}/sends", self.show_all, "What was sent to a webhook, the latest first",
                {200: Answer("A page of sends.", model=Sends)}, see, [_ID, *BOUNDS],
            ),
            *phasetwo_operations(
                "GET", "/webhooks/{id}/sends/{sid}", self.show, "One send, with what was sent",
                {200: Answer("The send.", model=Send)}, see, [_ID, _SEND],
            ),
            *phasetwo_operations(
                "POST", "/webhooks/{id}/sends/{sid}/resend", self.resend, "Send an event to a webhook again",
                {202: Answer("It was sent, or takes its turn.", ())}, Permission.SINKS, [_ID, _SEND],
                errors=(409,),
            ),
            *phasetwo_operations(
                "GET", "/webhooks/payload/{type}/{kid}", self.payload, "An event, as webhooks get it",
                {200: Answer("The event.", model=Payload)}, see, of_event, errors=(409,),
            ),
            *phasetwo_operations(
                "GET", "/webhooks/sends/{type}/{kid}", self.show_of_event, "Sends of an event, to all webhooks",
                {200: Answer("Sends.", model=Sends)}, see, of_event, errors=(409,),
            ),
        ]  # fmt: skip

    async def show_all(self, request: web.Request, scope: Scope) -> web.Response:
        first, most = read_bounds(request)
        sink, webhook = await self._webhooks.there(request, scope)
        reader, is_seen, place = reader_name(sink.name), sees(scope, self._catalogue()), None
        known: set[int] = set()
        found: list[Send] = []
        with self._questions.taken(caller(request)):
            shown = await self._of_send(sink, webhook)
            while len(found) < most and (page := await self._log.attempts(reader, before=place, limit=_ROWS)):
                place = page[-1].began_at, page[-1].position
                latest: dict[int, Attempt] = {}
                for attempt in page:
                    if attempt.position not in known:
                        latest.setdefault(attempt.position, attempt)
                known.update(latest)
                for entry in await self._entries(list(latest)):
                    if len(found) < most and is_seen(entry):
                        if first:
                            first -= 1
                            continue
                        tries = len(await self._tries(reader, entry))
                        found.append(self._send(request, entry, latest[entry.position], tries, shown))
        return listed(found)

    async def show(self, request: web.Request, scope: Scope) -> web.Response:
        sink, webhook, entry, attempts = await self._there(request, scope)
        shown = await self._of_send(sink, webhook)
        return one(self._send(request, entry, attempts[0], len(attempts), shown, with_payload=True))

    async def resend(self, request: web.Request, scope: Scope) -> web.Response:
        """Sent at once, and answered when the receiver has: the send tells what came of it."""
        sink, _, entry, _ = await self._there(request, scope)
        owned = self._deliveries.get(sink.name)
        delivery = None if owned is None else owned.present
        if delivery is None:
            raise RequestError(409, "Elsewhere", "Another service delivers to it now, or none does; ask that one.")
        with self._resends.taken(caller(request)):
            try:
                if not delivery.is_flying(entry.position):
                    await delivery.resend(entry)
            except ValueError as error:
                raise RequestError(409, "Not now", f"{error}.") from None
        return web.Response(status=202, headers=SECURITY_HEADERS)

    async def payload(self, request: web.Request, scope: Scope) -> web.Response:
        entry = await self._event(request, scope)
        if entry is None:
            raise not_found("event")
        return json_answer(orjson.dumps({**orjson.loads(written(entry)), "uid": ""}))

    async def show_of_event(self, request: web.Request, scope: Scope) -> web.Response:
        entry = await self._event(request, scope)
        if entry is None:
            return listed([])
        found: list[Send] = []
        with self._questions.taken(caller(request)):
            for sink, webhook in self._webhooks.seen(request.match_info["realm"], scope):
                if attempts := await self._tries(reader_name(sink.name), entry):
                    shown = await self._of_send(sink, webhook)
                    found.append(self._send(request, entry, attempts[0], len(attempts), shown))
        return listed(sorted(found, key=lambda one: -one.sent_at))

    async def _event(self, request: web.Request, scope: Scope) -> Entry | None:
        """The event that the path names: the entry by which it was sent.

        Raises:
            RequestError: 400, of no kind that there is; 409, several events have this id.
        """
        kind = request.match_info["type"].lower()
        if kind not in ("user", "admin"):
            raise RequestError(400, "Bad type", f"type: {kind[:100]!r} is neither user nor admin")
        entry = await self._lookup.find(request.match_info["kid"], caller(request), scope)
        if entry is None or entry.type is None or kind_of(entry.type) != kind.upper():
            return None
        return await first_entry(self._log, entry)

    async def _there(self, request: web.Request, scope: Scope) -> tuple[StoredSink, Webhook, Entry, list[Attempt]]:
        """The send that the path names: webhook, entry, and tries, the latest first.

        Raises:
            RequestError: 404, there is none that the caller may see.
        """
        sink, webhook = await self._webhooks.there(request, scope)
        try:
            position = await self._log.latest(uuid.UUID(request.match_info["sid"]).bytes)
        except ValueError:
            position = None
        for entry in [] if not position else await self._log.fetch([position]):
            first = await first_entry(self._log, entry)
            if sees(scope, self._catalogue())(first) and (tries := await self._tries(reader_name(sink.name), first)):
                return sink, webhook, first, tries
        raise not_found("send")

    async def _entries(self, positions: list[int]) -> list[Entry]:
        """The entries that are there, in this order."""
        found: list[Entry] = []
        while positions and (some := await self._log.fetch(positions)):
            found += some
            positions = positions[positions.index(some[-1].position) + 1 :]
        return found

    async def _tries(self, reader: str, entry: Entry) -> list[Attempt]:
        found = await self._log.attempts(reader, position=entry.position, limit=_TRIES)
        return [one for one in found if one.has(entry.position)]

    async def _of_send(self, sink: StoredSink, webhook: Webhook) -> WebhookOfSend:
        shown = await self._webhooks.shown(sink, webhook)
        return WebhookOfSend(id=shown.id, enabled=shown.enabled, url=shown.url)

    def _send(
        self, request: web.Request, entry: Entry, latest: Attempt, tries: int, shown: WebhookOfSend,
        *, with_payload: bool = False,
    ) -> Send:  # fmt: skip
        reason = told_to_caller(request)(latest.reason)
        return send(entry, latest, tries, shown, reason, with_payload=with_payload)
