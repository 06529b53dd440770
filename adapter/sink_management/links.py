"""Links for a receiver's own people: whoever has one may look after one sink, for a time, without a key of the service.

A link is a note of the log, so it holds for every service over it, and a change of it is told by an event in the same
transaction. Of its token the log has a digest alone. A browser exchanges the token for a session, which is derived from
it and does not lead back: who gets hold of a cookie does not have the link.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from adapter.browser import derived
from adapter.errors import NoteChanged, RequestError, unknown_sink
from adapter.formats.text import harmless
from adapter.log.protocol import NewEntry, Note, Store
from adapter.model import Outcome
from adapter.sink_management.live import LiveSinks
from adapter.sink_management.stored import link_notes
from adapter.system_events import system_event

#: Seconds for which a link lasts where nothing else is said, and the most.
LASTS, LONGEST = 7 * 86_400.0, 90 * 86_400.0
#: Links of one sink that are valid at the same time.
MOST = 20
#: Characters of what a link is called.
LABEL = 100

#: Names of sinks, and ids of links.
_SINK, _ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII), re.compile(r"[0-9a-f]{12}", re.ASCII)

_log = structlog.get_logger("adapter.sinks")


@dataclass(frozen=True, slots=True)
class Link:
    """One link. Times are epoch milliseconds."""

    id: str
    sink: str
    #: The sink's own id: one that is made anew with the same name is another.
    sink_id: str
    #: For whom it is, as who made it said.
    label: str
    created_at: int
    created_by: str
    until: int
    #: SHA-256 of the token's secret, and of the session that browsers get for it; hexadecimal.
    token_digest: str
    session_digest: str

    @property
    def by(self) -> str:
        """Who acts by it, as events name him."""
        return f"link {self.id}"


def session_of(secret: str) -> str:
    """What a browser keeps in the place of a token's secret."""
    return derived(secret, "session of a link")


def form_token(session: str) -> str:
    """What the forms of a session carry: who cannot read its pages does not know it."""
    return derived(session, "forms of a link")


class SinkLinks:
    """Makes, lists, ends and knows links."""

    def __init__(self, log: Store, live: LiveSinks, *, now: Callable[[], int]) -> None:
        """``now`` gives epoch milliseconds."""
        self._log = log
        self._live = live
        self._now = now

    async def make(self, sink: str, by: str, *, seconds: float, label: str = "") -> tuple[Link, str]:
        """A link to a sink, and its token, which is known to nobody but the caller.

        Raises:
            RequestError: 404, there is no such sink; 409, nobody receives from it over a network, or it has too many.
            StoreError: the log does not answer.
        """
        id = await self._id_of(sink)
        kind = dict(self._live.kinds()).get(sink)
        if id is None or kind is None:
            raise unknown_sink(sink, self._live.names())
        if not self._live.is_received(sink):
            detail = f"the sink {sink!r} is a {kind} of the service's own machine, and no receiver has people there"
            raise RequestError(409, "No receiver", detail)
        if len(await self.of(sink)) >= MOST:
            raise RequestError(409, "Too many", f"the sink {sink!r} has {MOST} links, which is the most; revoke one")
        now, secret = self._now(), secrets.token_urlsafe(32)
        link = Link(
            secrets.token_hex(6), sink, id, label, now, by, now + round(seconds * 1000),
            _digest(secret), _digest(session_of(secret)),
        )  # fmt: skip
        text = orjson.dumps({name: getattr(link, name) for name in _KEPT}).decode()
        await self._log.append([self._event("CREATED", link, by)], Note(_name(sink, link.id), text, 1))
        _log.info("sink_link_created", sink=sink, link=link.id, until=link.until, by=by)
        return link, f"{link.id}.{secret}"

    async def of(self, sink: str) -> list[Link]:
        """The links of a sink that are valid, the latest last. Those that are over are forgotten; those of another
        address rest, since another service over the log may have other settings, by which they are valid.

        Raises:
            RequestError: 404, there is no such sink.
            StoreError: the log does not answer.
        """
        id, found = await self._id_of(sink), []
        if id is None:
            raise unknown_sink(sink, self._live.names())
        for note in await self._log.notes(link_notes(sink)):
            link = _read(note)
            if link is None or self._is_over(link):
                with suppress(NoteChanged):  # by somebody else
                    await self._log.drop(note.name, note.version)
            elif link.sink_id == id:
                found.append(link)
        return sorted(found, key=lambda one: (one.created_at, one.id))

    async def revoke(self, sink: str, id: str, by: str) -> Link:
        """End a link; it as it was.

        Raises:
            RequestError: 404, there is none.
            StoreError: the log does not answer.
        """
        while True:
            is_name = _SINK.fullmatch(sink) and _ID.fullmatch(id)
            note = await self._log.noted(_name(sink, id)) if is_name else None
            link = None if note is None else _read(note)
            if note is None or link is None:
                detail = f"There is no link {id!r} to this sink; GET /sinks/{sink}/links lists those there are."
                raise RequestError(404, "Not found", detail)
            ended = Note(note.name, "", note.version + 1)
            try:
                await self._log.append([self._event("REVOKED", link, by)], ended)
            except NoteChanged:
                continue
            _log.info("sink_link_revoked", sink=sink, link=id, by=by)
            with suppress(NoteChanged):
                await self._log.drop(ended.name, ended.version)
            return link

    async def by_token(self, sink: str, token: str) -> Link | None:
        """The link to a sink whose token this is; ``None``: there is none, or it is over.

        Raises:
            StoreError: the log does not answer.
        """
        return await self._known(sink, token, "token_digest")

    async def by_session(self, sink: str, session: str) -> Link | None:
        """The link to a sink of a browser's cookie, which is the link's id and what `session_of` gives. Likewise."""
        return await self._known(sink, session, "session_digest")

    async def note_use(self, link: Link, use: str, **details: str) -> None:
        """Tell as an event what somebody does by a link: before it is done, so that nothing is done untold.

        Raises:
            StoreError: the log does not answer.
        """
        said = {"sink": link.sink, "link": link.id, "label": link.label, "use": use, **details}
        event = system_event("SINK-LINK-USED", self._now(), said, outcome=Outcome.SUCCESS, username=link.by)
        await self._log.append([event])

    async def _known(self, sink: str, presented: str, digest: str) -> Link | None:
        id, dot, secret = presented.partition(".")
        if not dot or not (id.isascii() and id.isalnum()) or len(presented) > 200 or not _SINK.fullmatch(sink):
            return None
        note = await self._log.noted(_name(sink, id))
        link = None if note is None else _read(note)
        if link is None or not hmac.compare_digest(getattr(link, digest), _digest(secret)):
            return None
        return None if self._is_over(link) or await self._id_of(sink) != link.sink_id else link

    def _is_over(self, link: Link) -> bool:
        return self._now() >= link.until

    async def _id_of(self, sink: str) -> str | None:
        """The id of the sink that has this name now, as the log says; of one of the settings, by where it posts to."""
        if not _SINK.fullmatch(sink):
            return None
        if (configured := self._live.configured.get(sink)) is not None:
            return f"set_{_digest(str(getattr(configured, 'url', '')))[:20]}"
        await self._live.take(sink)
        stored = self._live.stored.get(sink)
        # Like one of the settings: whoever receives at another address is somebody else.
        return None if stored is None else f"{stored.id} {_digest(str(stored.given.get('url', '')))[:20]}"

    def _event(self, what: str, link: Link, by: str) -> NewEntry:
        details = {"sink": link.sink, "link": link.id, "label": link.label, "until": str(link.until)}
        return system_event(
            f"CONFIG-SINK-LINK-{what}", self._now(), details, outcome=Outcome.SUCCESS, username=by
        )  # fmt: skip


_KEPT = ("id", "sink", "sink_id", "label", "created_at", "created_by", "until", "token_digest", "session_digest")


def _read(note: Note) -> Link | None:
    """The link of a note; ``None``: it was revoked."""
    if not note.text:
        return None
    kept: dict[str, Any] = orjson.loads(note.text)
    return Link(*(kept[name] for name in _KEPT))


def read_label(text: str) -> str:
    """What a link is called, as it is kept.

    Raises:
        RequestError: 400, it is too long.
    """
    if len(text) > LABEL:
        detail = f"label: may have {LABEL} characters; it says for whom the link is"
        raise RequestError(400, "Bad parameter", detail, parameter="label")
    return harmless(text.strip())


def _name(sink: str, id: str) -> str:
    return link_notes(sink) + id


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
