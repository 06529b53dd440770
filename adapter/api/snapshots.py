"""The cursors of exports: up to where, and when, the log was looked at.

Callers carry them, and a manifest or a report that is made by one says when it was asked for and that it has all there
was. So each is signed, with a key that the log keeps: of all services over it any takes what another one gave, and
nobody can make up a log that ended earlier.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import struct
from typing import NamedTuple

from adapter.errors import NoteChanged
from adapter.log.protocol import Note, Notes

#: Under which name the log keeps the key.
NOTE = "export-key"
_PLACE = struct.Struct(">QQ")
#: Bytes of the key, and of a signature.
_KEY, _SIGNATURE = 32, 16


class Snapshot(NamedTuple):
    """The log up to an entry, at a time from which times ago are counted (epoch milliseconds)."""

    position: int
    asked_at: int


class Snapshots:
    """Writes and reads them."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._key: bytes | None = None

    async def write(self, snapshot: Snapshot) -> str:
        """As callers carry it.

        Raises:
            StoreError: the log does not answer.
        """
        packed = _PLACE.pack(*snapshot)
        return base64.urlsafe_b64encode(packed + await self._signature(packed)).rstrip(b"=").decode()

    async def read(self, text: str) -> Snapshot:
        """What `write` was given.

        Raises:
            ValueError: no service over this log wrote it.
            StoreError: the log does not answer.
        """
        try:
            data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            snapshot = Snapshot(*_PLACE.unpack(data[: _PLACE.size]))
        except (UnicodeEncodeError, binascii.Error, struct.error):
            raise ValueError("is no cursor of an export") from None
        if not hmac.compare_digest(data[_PLACE.size :], await self._signature(data[: _PLACE.size])):
            raise ValueError("is no cursor of an export of this log")
        return snapshot

    async def _signature(self, packed: bytes) -> bytes:
        while self._key is None:
            note = await self._notes.noted(NOTE)
            if note is None:
                try:
                    note = Note(NOTE, secrets.token_hex(_KEY), 1)
                    await self._notes.keep(note)
                except NoteChanged:
                    continue  # by another service
            self._key = bytes.fromhex(note.text)
        return hmac.digest(self._key, packed, "sha256")[:_SIGNATURE]
