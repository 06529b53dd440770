"""The keys of the log, followed by every service over it, and made and revoked by any of them.

All of them are one note, so a change is one transaction with the event that tells it, and a look at what others have
changed is one small question. When each was used last is another note, which is written at most once a minute.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import structlog

from adapter.errors import ConfigError, NoteChanged, RequestError, StoreError
from adapter.keys.stored import StoredKey, digest_of, read_keys, write_keys
from adapter.log.protocol import Note, Store
from adapter.model import Outcome
from adapter.principal import Principal
from adapter.settings import KeyGrant
from adapter.system_events import system_event
from adapter.tasks import in_background
from adapter.timestamps import write_timestamp

#: Under which names the log keeps them, and when each was used last.
NOTE, USED = "keys", "keys-used"
#: Most keys of a log.
MOST = 1000
#: Seconds between two looks at what other services have changed, and between two times that uses are stored.
LOOK, STORE_USED = 1.0, 60.0
#: What tokens begin with, so that those who look for leaked secrets know them.
TOKEN_PREFIX = "idpa_"
#: So often a change is tried again that somebody else's came before.
_TRIES = 5

_log = structlog.get_logger("adapter.keys")


class LiveKeys:
    """The keys of the log. Made by `open_keys`."""

    def __init__(self, log: Store, taken: Collection[str], *, now: Callable[[], int]) -> None:
        """``taken``: names that are others' already; ``now`` gives epoch milliseconds."""
        self._log = log
        self._taken = taken
        self._now = now
        self._version = 0
        self._by_digest: dict[bytes, StoredKey] = {}
        self._by_id: dict[str, StoredKey] = {}
        #: When each was used last, epoch milliseconds, by its id: as far as it is known here.
        self._used: dict[str, int] = {}
        self._used_stored: dict[str, int] = {}

    @property
    def all(self) -> list[StoredKey]:
        """Every key, also those that have expired, in the order in which they were made."""
        return list(self._by_digest.values())

    def principal(self, digest: bytes) -> Principal | None:
        """Who has the token with this digest; ``None``: nobody, or it has expired. It counts as used."""
        key = self._by_digest.get(digest)
        if key is None:
            return None
        now = self._now()
        if key.has_expired(now):
            return None
        self._used[key.id] = now
        return key.principal

    def by_id(self, id: str) -> Principal | None:
        """Who has the key with this id; ``None``: it is revoked, or has expired. It counts as used."""
        key = next((one for one in self._by_digest.values() if one.id == id), None)
        return None if key is None else self.principal(key.digest)

    def has(self, id: str) -> bool:
        """Whether the key with this id is neither revoked nor expired."""
        key = self._by_id.get(id)
        return key is not None and not key.has_expired(self._now())

    def used_at(self, key: StoredKey) -> int | None:
        """When a key was used last, epoch milliseconds: here to the moment, elsewhere to the minute."""
        return max((one for one in (self._used.get(key.id), self._used_stored.get(key.id)) if one), default=None)

    async def create(self, grant: KeyGrant, by: str, expires_at: int | None) -> tuple[StoredKey, str]:
        """Make a key, and the token of it, which nobody can be told again.

        Raises:
            RequestError: 409, there is one of its name, or there are too many.
            StoreError: the log does not answer.
        """
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        for _ in range(_TRIES):
            await self.look()
            if grant.name in self._taken or any(one.name == grant.name for one in self.all):
                detail = f"there is a key {grant.name!r}; revoke it, or take another name"
                raise RequestError(409, "There already", detail)
            if len(self._by_digest) >= MOST:
                raise RequestError(409, "Too many", f"there are {MOST} keys, which is the most; revoke one")
            now = self._now()
            key = StoredKey(f"key_{secrets.token_hex(10)}", grant, digest_of(token), now, by, expires_at)
            said = {"permissions": ", ".join(sorted(grant.permissions)), "limits": str(grant.scope)}
            if expires_at is not None and (written := write_timestamp(expires_at)) is not None:
                said["expires"] = written
            if await self._keep("CREATED", [*self.all, key], key, by, said):
                return key, token
        raise _busy()

    async def revoke(self, name: str, by: str) -> StoredKey:
        """Take a key away: from now on its token is nobody's; on other services within a second.

        Raises:
            RequestError: 404, the log has none of this name.
            StoreError: the log does not answer.
        """
        for _ in range(_TRIES):
            await self.look()
            key = next((one for one in self.all if one.name == name), None)
            if key is None:
                there = ", ".join(one.name for one in self.all) or "none yet"
                raise RequestError(404, "Not found", f"There is no key {name!r} in the log; there are: {there}")
            if await self._keep("REVOKED", [one for one in self.all if one is not key], key, by, {}):
                return key
        raise _busy()

    async def look(self) -> None:
        """Take up what other services have changed.

        Raises:
            ConfigError: the note is not what this version writes.
            StoreError: the log does not answer.
        """
        note = await self._log.noted(NOTE)
        if note is not None and note.version > self._version:
            self._take(note)

    async def run(self, *, is_shared: bool) -> None:
        """Look again and again at what other services change, if there may be any, and store what is used."""
        stored_at = self._now()
        while True:
            await asyncio.sleep(LOOK)
            try:
                if is_shared:
                    await self.look()
                if abs(self._now() - stored_at) >= STORE_USED * 1000:
                    stored_at = self._now()
                    await self.store_used()
            except (StoreError, ConfigError) as error:
                _log.warning("keys_not_followed", problem=str(error))
            except Exception:
                _log.exception("keys_not_followed")

    async def store_used(self) -> None:
        """Store when keys were used last, if that is another time than is stored.

        Raises:
            StoreError: the log does not answer.
        """
        for _ in range(_TRIES):
            note = await self._log.noted(USED)
            stored = {} if note is None else orjson.loads(note.text)
            known = {one.id: max(stored.get(one.id, 0), self._used.get(one.id, 0)) for one in self.all}
            self._used_stored = {id: at for id, at in known.items() if at}
            if self._used_stored == stored:
                return
            try:
                text = orjson.dumps(self._used_stored).decode()
                await self._log.keep(Note(USED, text, 1 if note is None else note.version + 1))
            except NoteChanged:
                continue
            return

    async def _keep(self, what: str, keys: list[StoredKey], key: StoredKey, by: str, said: dict[str, str]) -> bool:
        """Store these keys, and tell it; whether nobody was faster."""
        event = system_event(
            f"CONFIG-KEY-{what}", self._now(), {"key": key.name, **said}, outcome=Outcome.SUCCESS, username=by
        )
        note = Note(NOTE, write_keys(keys), self._version + 1)
        try:
            await self._log.append([event], note)
        except NoteChanged:
            return False
        self._take(note)
        _log.info(f"key_{what.lower()}", key=key.name, by=by, **said)
        return True

    def _take(self, note: Note) -> None:
        try:
            keys = read_keys(note.text)
        except ValueError as error:
            raise ConfigError(f"the note {NOTE!r} of the log is {error}") from None
        self._by_digest = {one.digest: one for one in keys}
        self._by_id = {one.id: one for one in keys}
        self._version = note.version


def _busy() -> RequestError:
    return RequestError(409, "Changed meanwhile", "the keys are changed by others all the time; try again")


@asynccontextmanager
async def open_keys(
    log: Store, taken: Collection[str], *, now: Callable[[], int], is_shared: bool
) -> AsyncIterator[LiveKeys]:
    """The keys of the log, followed while the context lasts.

    Raises:
        ConfigError: they are not what this version writes.
        StoreError: the log does not answer.
    """
    keys = LiveKeys(log, taken, now=now)
    await keys.look()
    await keys.store_used()  # what was stored, so far
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_store_at_the_end, keys)
        await stack.enter_async_context(in_background(keys.run(is_shared=is_shared), "keys"))
        yield keys


async def _store_at_the_end(keys: LiveKeys) -> None:
    try:
        await keys.store_used()
    except StoreError as error:
        _log.warning("key_uses_not_stored", problem=str(error))
