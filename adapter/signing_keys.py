"""Where the key that signs tokens to receivers is kept: in the file that the settings name, or, made when it is needed
first, in the data folder, or, where several services share a log, in the log, so that each of them signs with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson

from adapter.errors import ConfigError, NoteChanged
from adapter.folder import TOKEN_KEY, read_private_key, write_private_key
from adapter.log.protocol import Note, Notes
from adapter.sinks.token_key import TokenKey, make_token_key, read_token_key

#: Under which name a shared log keeps it.
NOTE = "token-key"


class SigningKeys:
    """The key of this service, or of all services over one log."""

    def __init__(self, file: Path | None, folder: Path, shared: Notes | None, tell: Callable[[str], None]) -> None:
        """``file``: the one that the settings name; ``shared``: the log that keeps the key, in the place of the data
        folder; ``tell`` gets each part of the key that must not be shown."""
        self._file = file
        self._folder = folder
        self._shared = shared
        self._tell = tell
        self._key: TokenKey | None = None
        self._looking = asyncio.Lock()

    async def get(self) -> TokenKey:
        """The key, which is made if there is none.

        Raises:
            ConfigError: what is kept is no such key, or it cannot be kept.
            StoreError: the log does not answer.
        """
        async with self._looking:
            while self._key is None:
                kept, version = await self._read()
                if kept is not None:
                    self._take(kept)
                    break
                made = await asyncio.to_thread(make_token_key)
                try:
                    await self._keep(made, version + 1)
                except NoteChanged:
                    continue  # by another service that needs it, too
                self._take(made)
            assert self._key is not None
            return self._key

    async def present(self) -> TokenKey | None:
        """The key, if there is one.

        Raises:
            ConfigError: what is kept is no such key.
            StoreError: the log does not answer.
        """
        async with self._looking:
            if self._key is None:
                kept, _ = await self._read()
                if kept is not None:
                    self._take(kept)
            return self._key

    def _take(self, key: TokenKey) -> None:
        for secret in key.secrets():
            self._tell(secret)
        self._key = key

    async def _read(self) -> tuple[TokenKey | None, int]:
        """What is kept, and its version in the log."""
        if self._file is not None:
            return await asyncio.to_thread(_read_file, self._file), 0
        if self._shared is None:
            kept = await asyncio.to_thread(read_private_key, self._folder, TOKEN_KEY)
            where = f"{self._folder / TOKEN_KEY}"
            return (None if kept is None else _kept(orjson.dumps(kept), where)), 0
        note = await self._shared.noted(NOTE)
        if note is None:
            return None, 0
        return _kept(note.text.encode(), f"the note {NOTE!r} of the log"), note.version

    async def _keep(self, key: TokenKey, version: int) -> None:
        if self._shared is None:
            await asyncio.to_thread(write_private_key, self._folder, TOKEN_KEY, key.private)
        else:
            await self._shared.keep(Note(NOTE, orjson.dumps(key.private).decode(), version))


def _read_file(file: Path) -> TokenKey:
    try:
        return read_token_key(file.read_bytes(), f"signing.key_file: {file}")
    except OSError as error:
        raise ConfigError(f"signing.key_file: {file} cannot be read: {error.strerror}") from None


def _kept(given: bytes, where: str) -> TokenKey:
    try:
        return read_token_key(given, where)
    except ConfigError as error:
        raise ConfigError(f"{error}; restore it, or remove it to have another one made") from None
