"""The sessions of browsers: keys of the log of a kind of their own, which last for hours and let their holders do
what whoever signed in may.

A session has a parent: a token of the settings, a key of the log, or a role at an issuer. Whoever asks for its rights
asks for those of the parent at that moment (`adapter.access.Access`). Beside sessions stand sign-in links, which become
a session once. All of them are one note, so that a change is one transaction with the event that tells it, and of their
tokens the log has digests alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog

from adapter.errors import ConfigError, NoteChanged, RequestError, StoreError
from adapter.keys.stored import digest_of
from adapter.keys.stored_sessions import Parent, Session, read_sessions, write_sessions
from adapter.log.protocol import Note, Store
from adapter.model import Outcome
from adapter.system_events import system_event
from adapter.tasks import in_background

#: Under which name the log keeps them.
NOTE = "sessions"
#: Seconds that a session lasts, and a link that has not been opened.
LASTS, LINK_LASTS = 8 * 3600, 15 * 60
#: Most sessions and links of a log, and of one parent; the oldest give way.
MOST, MOST_OF_PARENT = 1000, 100
#: Seconds between two looks at what other services have changed.
LOOK = 1.0
#: What tokens of sessions and of links begin with.
SESSION_PREFIX, LINK_PREFIX = "idps_", "idpl_"
#: So often a change is tried again that somebody else's came before.
_TRIES = 10

_log = structlog.get_logger("adapter.keys")


class Sessions:
    """Makes, ends and knows sessions. Made by `open_sessions`."""

    def __init__(self, log: Store, *, now: Callable[[], int], is_shared: bool) -> None:
        """``now`` gives epoch milliseconds."""
        self._log = log
        self._now = now
        self._is_shared = is_shared
        self._version = 0
        self._by_digest: dict[bytes, Session] = {}
        self._by_id: dict[str, Session] = {}
        #: Held by a look for tokens that are not known, and how many of those have begun.
        self._looking = asyncio.Lock()
        self._looks = 0
        #: Held by a change.
        self._changing = asyncio.Lock()

    @property
    def all(self) -> list[Session]:
        """The sessions that are not over, the oldest first; no links."""
        now = self._now()
        return [one for one in self._by_digest.values() if not one.is_link and not one.has_expired(now)]

    def find(self, token: str) -> Session | None:
        """The session, or the link, with this token; ``None``: there is none, or it is over."""
        found = self._by_digest.get(digest_of(token))
        return None if found is None or found.has_expired(self._now()) else found

    def has(self, id: str) -> bool:
        """Whether the session with this id was not ended, and is not over."""
        found = self._by_id.get(id)
        return found is not None and not found.has_expired(self._now())

    async def learn(self, token: str) -> None:
        """Take up what other services have changed, if this may be the token of a session that one of them has made.

        Raises:
            StoreError: the log does not answer.
        """
        if not self._is_shared or digest_of(token) in self._by_digest:
            return
        # However many come with tokens of nobody: one look at a time, which is good for all who came before it began.
        wanted = self._looks + 1
        async with self._looking:
            if self._looks < wanted:
                self._looks += 1
                await self.look()

    async def open(
        self,
        parent: Parent,
        name: str,
        by: str,
        seal: Callable[[str], str] | None = None,
        *,
        address: str | None = None,
    ) -> tuple[Session, str]:
        """A new session, and its token; ``seal`` gives what is kept sealed for the token; ``address``: from where
        somebody signed in, if that is known.

        Raises:
            RequestError: 409, others change them all the time.
            StoreError: the log does not answer.
        """
        session, token = self._make(parent, name, by, is_link=False)
        if seal is not None:
            session = replace(session, asked_at=session.created_at, sealed=seal(token))
        await self._change("SIGNED-IN", session, lambda there: [*there, session], address=address)
        return session, token

    async def make_link(self, parent: Parent, name: str) -> tuple[Session, str]:
        """A new link that becomes a session once, and its token. Raises like `open`."""
        link, token = self._make(parent, name, "link", is_link=True)
        await self._change(None, link, lambda there: [*there, link])
        return link, token

    async def use_link(
        self, link: Session, parent: Parent, *, address: str | None = None
    ) -> tuple[Session, str] | None:
        """The session that a link becomes, and its token; ``None``: somebody else was faster. ``address``, and what it
        raises: like `open`."""
        session, token = self._make(parent, link.name, "link", is_link=False)

        def changed(there: list[Session]) -> list[Session] | None:
            if all(one.id != link.id for one in there):
                return None
            return [*(one for one in there if one.id != link.id), session]

        return (session, token) if await self._change("SIGNED-IN", session, changed, address=address) else None

    async def renew(self, session: Session, parent: Parent, sealed: str) -> None:
        """Keep what the issuer says now of a session's parent. Raises like `open`."""
        renewed = replace(session, parent=parent, sealed=sealed, asked_at=self._now())
        await self._change(
            None, renewed, lambda there: [renewed if one.id == renewed.id else one for one in there]
        )  # fmt: skip

    def age(self, session: Session) -> float:
        """Seconds since the issuer was asked of a session's parent."""
        return (self._now() - session.asked_at) / 1000

    async def end(self, id: str, by: str) -> Session | None:
        """End a session: from now on its token is nobody's; on other services within a second. It as it was; ``None``:
        there is none. Raises like `open`."""
        await self.look()
        found = self._by_id.get(id)
        if found is None:
            return None
        await self._change("SIGNED-OUT", found, lambda there: [one for one in there if one.id != id], by=by)
        return found

    async def look(self) -> None:
        """Take up what other services have changed.

        Raises:
            ConfigError: the note is not what this version writes.
            StoreError: the log does not answer.
        """
        note = await self._log.noted(NOTE)
        if note is not None and note.version > self._version:
            self._take(_read(note.text), note.version)

    async def run(self) -> None:
        """Look again and again at what other services change."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
            except (StoreError, ConfigError) as error:
                _log.warning("sessions_not_followed", problem=str(error))
            except Exception:
                _log.exception("sessions_not_followed")

    def _make(self, parent: Parent, name: str, by: str, *, is_link: bool) -> tuple[Session, str]:
        token = (LINK_PREFIX if is_link else SESSION_PREFIX) + secrets.token_urlsafe(32)
        now, lasts = self._now(), LINK_LASTS if is_link else LASTS
        id, proof = f"ses_{secrets.token_hex(10)}", parent.proof(token)
        return Session(id, digest_of(token), parent, proof, name, now, now + lasts * 1000, by, is_link), token

    async def _change(
        self,
        what: str | None,
        session: Session,
        changed: Callable[[list[Session]], list[Session] | None],
        *,
        by: str | None = None,
        address: str | None = None,
    ) -> bool:
        """Keep what ``changed`` makes of those that there are, and tell it; whether it made something."""
        # Of many at the same time one would win each round, and most would win none.
        async with self._changing:
            return await self._change_alone(what, session, changed, by, address)

    async def _change_alone(
        self,
        what: str | None,
        session: Session,
        changed: Callable[[list[Session]], list[Session] | None],
        by: str | None,
        address: str | None,
    ) -> bool:
        for _ in range(_TRIES):
            await self.look()
            now = self._now()
            wanted = changed([one for one in self._by_digest.values() if not one.has_expired(now)])
            if wanted is None:
                return False
            wanted = _bounded(wanted, session)
            note = Note(NOTE, write_sessions(wanted), self._version + 1)
            details = {"session": session.id, "by": session.by}
            who = {"username": by or session.name} | ({} if address is None else {"ipAddress": address})
            events = [] if what is None else [
                system_event(f"CONSOLE-{what}", now, details, outcome=Outcome.SUCCESS, who=who)
            ]  # fmt: skip
            try:
                await self._log.append(events, note) if events else await self._log.keep(note)
            except NoteChanged:
                continue
            self._take(wanted, note.version)
            return True
        raise RequestError(409, "Changed meanwhile", "the sessions are changed by others all the time; try again")

    def _take(self, sessions: Iterable[Session], version: int) -> None:
        self._by_digest = {one.digest: one for one in sessions}
        self._by_id = {one.id: one for one in self._by_digest.values()}
        self._version = version


def _read(text: str) -> list[Session]:
    """
    Raises:
        ConfigError: it is not what this version writes.
    """
    try:
        return read_sessions(text)
    except ValueError as error:
        raise ConfigError(f"the note {NOTE!r} of the log is {error}") from None


def _bounded(sessions: list[Session], newest: Session) -> list[Session]:
    """Those that stay: the oldest of who has too many, and of all, give way."""
    of_parent = [one.id for one in sessions if one.parent.key == newest.parent.key]
    gone = set(of_parent[:-MOST_OF_PARENT])
    return [one for one in sessions if one.id not in gone][-MOST:]


@asynccontextmanager
async def open_sessions(log: Store, *, now: Callable[[], int], is_shared: bool) -> AsyncIterator[Sessions]:
    """The sessions of the log, followed while the context lasts.

    Raises:
        ConfigError: they are not what this version writes.
        StoreError: the log does not answer.
    """
    sessions = Sessions(log, now=now, is_shared=is_shared)
    await sessions.look()
    if not is_shared:
        yield sessions
        return
    async with in_background(sessions.run(), "sessions"):
        yield sessions
