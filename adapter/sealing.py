"""Secrets at rest: what is kept in the log is encrypted with a key that does not lie there.

AES-256-GCM, with a nonce of its own for each secret. A secret is bound to its place, the name of the note and where
in it it stands, so that one that was moved elsewhere does not open. Each says with which key it was sealed, and a note
says which key counts; both by a fingerprint that tells nothing of the key. So a key that was lost, or is another one on
another adapter, is found before anything is sealed with it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from adapter.errors import AdapterError, ConfigError, NoteChanged
from adapter.log.protocol import Note, Notes

#: Under which name the log keeps which key counts, and under which file name the data folder has the generated one.
NOTE, FILE = "secret-key", "secret-key"
#: Bytes of a key, and of a nonce.
KEY_SIZE, NONCE_SIZE = 32, 12
#: The member by which what is sealed is known in JSON: no name of a setting, header or filter holds a blank.
SEALED = "sealed secret"
#: How to make a key, for people.
MAKE = "openssl rand -base64 32"

_log = structlog.get_logger("adapter.sealing")


class SealingError(AdapterError):
    """A secret cannot be sealed or opened with the keys there are; says what would be right."""


def read_key(text: str) -> bytes:
    """The key in the base64 of 32 bytes.

    Raises:
        ValueError: it is none; the text does not repeat it.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key is the base64 of {KEY_SIZE} random bytes; make one: {MAKE}")
    return key


def fingerprint(key: bytes) -> str:
    """By which a key is known, and from which nothing of it follows."""
    return hmac.digest(key, b"idp-adapter fingerprint of a key", "sha256")[:8].hex()


class Sealing:
    """Seals and opens secrets. Made by `open_sealing`."""

    def __init__(self, notes: Notes, key: bytes | None, former: bytes | None, missing: str) -> None:
        """``missing``: what to do where there is no key, for people."""
        self._notes = notes
        self._keys = {fingerprint(one): one for one in (former, key) if one is not None}
        self._own = None if key is None else fingerprint(key)
        self._missing = missing
        #: The key that counts, by its fingerprint; ``None``: nothing was sealed yet.
        self._counts: str | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing can be sealed now, for people."""
        if self._own is None:
            return self._missing
        if self._counts in (None, self._own):
            return None
        return (
            "the secrets in the log are sealed with another key than the one that is given here"
            f" (fingerprint {self._counts}, here {self._own}): give the one they are sealed with as [data] secret_key,"
            " or, to change it, as [data] old_secret_key beside the new one"
        )

    def seal(self, place: str, tree: Any) -> Any:
        """A tree of what JSON has, and of `SecretStr`, as JSON, in which these are sealed. ``place``: name of the note
        that it goes into, as all of it.

        Raises:
            SealingError: there is something to be sealed, and no key that counts.
        """
        return self._sealed(place, "", tree, self.problem)

    def open(self, place: str, tree: Any) -> Any:
        """The tree as it was before `seal`.

        Raises:
            SealingError: one of its secrets was sealed with a key that is not there, or for another place.
        """
        return self._opened(place, "", tree)

    async def prepare(self) -> None:
        """See that the key of this service is the one that counts: before anything is sealed for the first time.

        Raises:
            SealingError: another one counts, or there is none.
            StoreError: the log does not answer.
        """
        await self.refresh()
        if self._counts is None and self._own is not None:
            with suppress(NoteChanged):  # by another service that seals
                await self._notes.keep(Note(NOTE, self._own, 1))
            await self.refresh()
        if self.problem is not None:
            raise SealingError(self.problem)

    async def refresh(self) -> None:
        """See which key counts now, and make this service's key the one that does, where that loses nothing: what is
        sealed with the former key is sealed anew, and where nothing is sealed with the key that counts, none is needed
        to open it.

        Raises:
            StoreError: the log does not answer.
        """
        while True:
            note = await self._notes.noted(NOTE)
            self._counts = None if note is None else note.text
            if note is None or self._own is None or note.text == self._own:
                return
            if note.text in self._keys:
                await self._seal_anew(note.text)
            elif await self._is_used(note.text):
                return
            try:
                await self._notes.keep(Note(NOTE, self._own, note.version + 1))
                _log.info("secret_key_changed", key=self._own, former=note.text)
            except NoteChanged:
                continue

    async def _is_used(self, key: str) -> bool:
        """Whether anything is sealed with a key."""
        return any(f'"{key}:' in note.text for note in await self._notes.notes(""))

    async def _seal_anew(self, former: str) -> None:
        """Seal with the own key what is sealed with a former one. What is broken off is gone on with: each secret says
        with which key it was sealed."""
        for note in await self._notes.notes(""):
            while note is not None and f'"{former}:' in note.text:
                try:
                    tree = self._sealed(note.name, "", self._opened(note.name, "", orjson.loads(note.text)), None)
                except SealingError as error:
                    _log.error("secret_not_sealed_anew", note=note.name, problem=str(error))
                    break
                try:
                    await self._notes.keep(Note(note.name, orjson.dumps(tree).decode(), note.version + 1))
                    break
                except NoteChanged:
                    again = await self._notes.noted(note.name)
                    if again is None:
                        break
                    note = again

    def _sealed(self, place: str, path: str, tree: Any, problem: str | None) -> Any:
        match tree:
            case SecretStr():
                if problem is not None or self._own is None:
                    raise SealingError(problem or self._missing)
                nonce = secrets.token_bytes(NONCE_SIZE)
                plain, bound = tree.get_secret_value().encode(), _bound(place, path)
                sealed = nonce + AESGCM(self._keys[self._own]).encrypt(nonce, plain, bound)
                return {SEALED: f"{self._own}:{base64.b64encode(sealed).decode()}"}
            case Mapping():
                return {name: self._sealed(place, f"{path}/{name}", one, problem) for name, one in tree.items()}
            case list() | tuple():
                return [self._sealed(place, f"{path}/{number}", one, problem) for number, one in enumerate(tree)]
        return tree

    def _opened(self, place: str, path: str, tree: Any) -> Any:
        match tree:
            case Mapping() if set(tree) == {SEALED}:
                return SecretStr(self._plain(place, path, str(tree[SEALED])))
            case Mapping():
                return {name: self._opened(place, f"{path}/{name}", one) for name, one in tree.items()}
            case list() | tuple():
                return [self._opened(place, f"{path}/{number}", one) for number, one in enumerate(tree)]
        return tree

    def _plain(self, place: str, path: str, sealed: str) -> str:
        key, _, content = sealed.partition(":")
        if key not in self._keys:
            raise SealingError(
                f"{path[1:] or place} is sealed with a key that is not here (fingerprint {key}): give it as [data]"
                " secret_key; if it is lost, delete what it sealed, and make that anew"
            )
        try:
            data = base64.b64decode(content)
            return AESGCM(self._keys[key]).decrypt(data[:NONCE_SIZE], data[NONCE_SIZE:], _bound(place, path)).decode()
        except (InvalidTag, ValueError):
            raise SealingError(f"{path[1:] or place} was changed in the log, or sealed for another place") from None


async def open_sealing(notes: Notes, folder: Path, key: str | None, former: str | None, *, is_shared: bool) -> Sealing:
    """What seals the secrets in these notes. ``key``: the base64 of the key of the settings, ``former`` that of the one
    before it (else the generated one, if there is one). Without a key one is made into the data folder, unless the log
    is shared, as another adapter could not open what is sealed with it.

    Raises:
        ConfigError: the file of the generated key cannot be read or written.
        StoreError: the log does not answer.
    """
    file = folder / FILE
    generated = _read(file)
    own = None if key is None else read_key(key)
    old = generated if former is None else read_key(former)
    missing = (
        f"no secret can be kept, as there is no key to seal it with: set [data] secret_key, the same for every adapter"
        f" over this log; make one: {MAKE}"
    )
    if own is None and not is_shared:
        note = await notes.noted(NOTE)
        own = generated
        if own is None and (note is None or not any(f'"{note.text}:' in one.text for one in await notes.notes(""))):
            own = _make(file)
        missing = (
            f"the key that secrets are sealed with is lost: {file} is not there. Put it back, or set it as [data]"
            " secret_key; if it is gone for good, delete what it sealed (sinks), start again, and make that anew"
        )
    sealing = Sealing(notes, own, old, missing)
    await sealing.refresh()
    if sealing.problem is not None and (not is_shared or own is not None):
        _log.error("secrets_not_readable", problem=sealing.problem)
    return sealing


def _bound(place: str, path: str) -> bytes:
    return f"{place}\0{path}".encode()


def _read(file: Path) -> bytes | None:
    try:
        text = file.read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    try:
        return read_key(text)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _make(file: Path) -> bytes:
    """Make a key, for its owner's eyes only, on disk before anything is sealed with it."""
    key = secrets.token_bytes(KEY_SIZE)
    new = file.with_name(f"{file.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(base64.b64encode(key) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    return key
