"""What entries hold, as the transaction sees it that appends: those that are stored, and those that are about to be."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from typing import Protocol

import orjson

from adapter.log.compression import Compression
from adapter.log.pieces import opened
from adapter.log.protocol import NewEntry
from adapter.log.runs import split

#: Runs that are kept unpacked: copies that come again come in order.
_KEPT_RUNS = 16

_EVENT_RUN = "SELECT position, lengths, content, NULL FROM event WHERE position <= ? ORDER BY position DESC LIMIT 1"
_RAW_RUN = "SELECT position, lengths, content, media FROM raw WHERE position <= ? ORDER BY position DESC LIMIT 1"
_LATEST = "SELECT coalesce(max(position), ?1) FROM revision WHERE first = ?1"


class Large(Protocol):
    """The contents of a large request, by which of its entries they belong to."""

    def event(self, place: int) -> bytes:
        """An event."""

    def raw(self, place: int) -> bytes:
        """Native bytes."""


class TransactionContents:
    """The contents of the entries of one transaction, and of all that were stored before."""

    def __init__(
        self, connection: sqlite3.Connection, compression: Compression, head: int, large: Large | None = None
    ) -> None:
        """``head``: position before the first entry that is about to be stored. Of a ``large`` request it has the
        contents."""
        self._connection = connection
        self._compression = compression
        self._head = head
        #: The entries that are about to be stored, behind ``head``; of a large request, which of its entries each is.
        self.new: list[NewEntry] = []
        self.places: list[int] = []
        self._large = large
        self._runs: OrderedDict[tuple[str, int], list[bytes]] = OrderedDict()

    def event(self, position: int) -> bytes | None:
        """The event as it is read now; ``None`` while quarantined, or if it is not kept any more."""
        if position > self._head:
            entry = self.new[position - self._head - 1]
            if entry.event is None or self._large is None:
                return entry.event
            return self._large.event(self.places[position - self._head - 1])
        (latest,) = self._connection.execute(_LATEST, (position,)).fetchone()
        if latest > self._head:
            return None
        return self._piece(_EVENT_RUN, latest) or None

    def raw(self, position: int) -> bytes | None:
        """What the provider sent for it; ``None`` if that is not kept."""
        if position > self._head:
            if self._large is None:
                return self.new[position - self._head - 1].raw
            return self._large.raw(self.places[position - self._head - 1])
        raw = self._piece(_RAW_RUN, position)
        # Of a removed entry an empty place may be left in its run.
        return raw if raw or self._is_left(position) else None

    def _is_left(self, position: int) -> bool:
        return self._connection.execute("SELECT 1 FROM entry WHERE position = ?", (position,)).fetchone() is not None

    def _piece(self, run: str, position: int) -> bytes | None:
        found = self._connection.execute(run, (position,)).fetchone()
        if found is None:
            return None
        first, lengths, content, media = found
        pieces = self._runs.get((run, first))
        if pieces is None:
            pieces = split(self._compression.decompress_one(content), orjson.loads(lengths))
            if media is not None:
                pieces = [opened(piece, media).content for piece in pieces]
            self._runs[run, first] = pieces
            if len(self._runs) > _KEPT_RUNS:
                self._runs.popitem(last=False)
        return pieces[position - first] if position - first < len(pieces) else None
