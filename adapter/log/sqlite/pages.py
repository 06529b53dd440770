"""The pages of a damaged database, read one by one: what stands in a whole page is found also where the way to it is
not whole, where the header is gone, or where SQLite opens nothing.

The format is SQLite's (https://www.sqlite.org/fileformat2.html), as far as a log uses it. A row is known by the kinds
of its columns; the tables of `adapter.log.sqlite.schema` are told apart by them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Value = int | str | bytes | None

_MAGIC = b"SQLite format 3\0"
_PAGE_SIZE = 4096
#: Kinds of pages: leaves of tables; leaves and inner pages of tables without a rowid, which both hold rows.
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 13, 10, 2
#: Longest row that is believed, bytes.
_ROW_LIMIT = 256 * 1024 * 1024

_FRAME = struct.Struct(">IIIIII")

#: By the kinds of their columns: N null, I integer, T text, B blob; a small letter may be null.
_TABLES = {
    "NBIIIttti": "entry",
    "NTB": "event",
    "NTBt": "raw",
    "NBT": "recent",
    "B": "dictionary",
    "NT": "source",
    "NTIITIII": "reader",
    "NTIITIIII": "reader",
    "NTIITIIIIiII": "reader",
    "NB": "removed",
    "NI": "gap",
    "II": "extent",
}
_WITHOUT_ROWID = {"BIII": "identity", "IIIiT": "held", "ITII": "blocked", "TT": "note", "TTI": "note"}


class FoundRow(NamedTuple):
    """A row of a page: its rowid, 0 where the table has none, and its columns."""

    rowid: int
    values: tuple[Value, ...]


class Unreadable(Exception):
    """A cell is not whole."""


class Pages:
    """The pages of a database and of its WAL, as of the last transaction that is whole."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError: the file cannot be opened.
        """
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        header = self._bytes(self._file, 0, 100)
        self._wal = -1
        wal_header = b""
        try:
            self._wal = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            wal_header = self._bytes(self._wal, 0, 32)
        except OSError:
            pass
        self.page_size, reserved = _PAGE_SIZE, 0
        told = int.from_bytes(header[16:18], "big") if header.startswith(_MAGIC) else 0
        if _is_page_size(told):
            self.page_size, reserved = told, header[20]
        elif _is_page_size(told := int.from_bytes(wal_header[8:12], "big")):
            self.page_size = told
        self._usable = self.page_size - reserved
        #: Of pages that stand in the WAL: where.
        self._places = self._read_wal(wal_header)
        size = os.fstat(self._file).st_size
        self.count = max(size // self.page_size, *self._places, 0)
        #: No log has more rows than this.
        self.most_rows = self.count * self.page_size // 20

    def close(self) -> None:
        """Close the files."""
        os.close(self._file)
        if self._wal >= 0:
            os.close(self._wal)

    def tables(self) -> Iterator[tuple[str, int, int]]:
        """Of each page that holds rows of a table: the table, its number, and the rowid of its first row."""
        free = self._free()
        for number in range(1, self.count + 1):
            page = self.page(number)
            if number in free or len(page) < self.page_size:
                continue
            for cell in self._cells(number, page):
                try:
                    rowid, kinds = self._kinds(page, cell)
                except (Unreadable, IndexError):
                    continue
                table = _table(kinds, page[_start(number)])
                if table is not None:
                    yield table, number, rowid
                    break

    def rows(self, number: int, table: str) -> Iterator[FoundRow]:
        """The rows of a table in a page, those that are whole."""
        page = self.page(number)
        for cell in self._cells(number, page):
            try:
                rowid, kinds = self._kinds(page, cell)
                if _table(kinds, page[_start(number)]) == table and rowid <= self.most_rows:
                    yield FoundRow(rowid, _values(self._payload(page, cell)))
            except (Unreadable, IndexError, UnicodeDecodeError):
                continue

    def page(self, number: int) -> bytes:
        """A page as it is now; shorter, or empty, where it cannot be read."""
        place = self._places.get(number)
        if place is not None:
            return self._bytes(self._wal, place, self.page_size)
        return self._bytes(self._file, (number - 1) * self.page_size, self.page_size)

    @staticmethod
    def _bytes(file: int, place: int, size: int) -> bytes:
        try:
            return os.pread(file, size, place)
        except OSError:
            return b""

    def _read_wal(self, header: bytes) -> dict[int, int]:
        """Where the pages stand that were committed last; frames count up to the last one that is whole."""
        if len(header) < 32 or header[:4] not in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"):
            return {}
        order = ">" if header[3] & 1 else "<"
        sums = _checksum(header[:24], (0, 0), order)
        if sums != struct.unpack(">II", header[24:32]):
            return {}
        committed: dict[int, int] = {}
        pending: dict[int, int] = {}
        place = 32
        while True:
            frame = self._bytes(self._wal, place, 24 + self.page_size)
            if len(frame) < 24 + self.page_size:
                return committed
            number, pages, salt_1, salt_2, sum_1, sum_2 = _FRAME.unpack(frame[:24])
            if struct.pack(">II", salt_1, salt_2) != header[16:24]:
                return committed
            sums = _checksum(frame[24:], _checksum(frame[:8], sums, order), order)
            if sums != (sum_1, sum_2):
                return committed
            pending[number] = place + 24
            if pages:
                committed |= pending
                pending = {}
            place += len(frame)

    def _free(self) -> set[int]:
        """The pages that are in no table any more, as far as that is known."""
        header = self.page(1)
        if not header.startswith(_MAGIC):
            return set()
        free: set[int] = set()
        trunk = int.from_bytes(header[32:36], "big")
        while 0 < trunk <= self.count and trunk not in free:
            free.add(trunk)
            page = self.page(trunk)
            count = min(int.from_bytes(page[4:8], "big"), self.page_size // 4 - 2)
            free.update(struct.unpack(f">{count}I", page[8 : 8 + 4 * count]) if len(page) == self.page_size else ())
            trunk = int.from_bytes(page[:4], "big")
        return free

    def _cells(self, number: int, page: bytes) -> Iterator[int]:
        """Where the rows of a page begin."""
        start = _start(number)
        if len(page) < self.page_size or page[start] not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
            return
        is_inner = page[start] == _INDEX_INNER
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        first = start + (12 if is_inner else 8)
        if first + 2 * count > self.page_size:
            return
        for cell in range(count):
            at = int.from_bytes(page[first + 2 * cell : first + 2 * cell + 2], "big")
            if first + 2 * count <= at < self._usable:
                yield at

    def _head(self, page: bytes, at: int) -> tuple[int, int, int, int]:
        """Of the row that begins there: its rowid, where its payload begins, how long that is, and how much of it is
        in this page."""
        kind = page[0] if page[0] in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER) else page[100]
        if kind == _INDEX_INNER:
            at += 4
        length, at = _varint(page, at)
        rowid = 0
        if kind == _TABLE_LEAF:
            rowid, at = _varint(page, at)
        usable = self._usable
        most = usable - 35 if kind == _TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        here = length
        if length > most:
            least = (usable - 12) * 32 // 255 - 23
            here = least + (length - least) % (usable - 4)
            if here > most:
                here = least
        if not 0 < length <= _ROW_LIMIT or at + here > usable:
            raise Unreadable
        return rowid, at, length, here

    def _kinds(self, page: bytes, at: int) -> tuple[int, str]:
        """The rowid of a row, and the kinds of its columns."""
        rowid, begin, length, here = self._head(page, at)
        return rowid, "".join([_kind(serial) for serial in _serials(page[begin : begin + here], length)[0]])

    def _payload(self, page: bytes, at: int) -> bytes:
        """All of a row, with the pages on which it goes on."""
        _, begin, length, here = self._head(page, at)
        found = bytearray(page[begin : begin + here])
        if length > here:
            following = int.from_bytes(page[begin + here : begin + here + 4], "big")
            while len(found) < length:
                more = self.page(following) if 0 < following <= self.count else b""
                if len(more) < self.page_size:
                    raise Unreadable
                found += more[4 : min(self._usable, 4 + length - len(found))]
                following = int.from_bytes(more[:4], "big")
        return bytes(found)


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 32768 and size & (size - 1) == 0


def _start(number: int) -> int:
    """Where a page begins: the first one with the header of the file."""
    return 100 if number == 1 else 0


def _table(kinds: str, page_kind: int) -> str | None:
    tables = _TABLES if page_kind == _TABLE_LEAF else _WITHOUT_ROWID
    for told, table in tables.items():
        if len(told) == len(kinds) and all(
            have == want.upper() or (have == "N" and want.islower()) for have, want in zip(kinds, told, strict=True)
        ):
            return table
    return None


def _kind(serial: int) -> str:
    if serial == 0:
        return "N"
    if serial <= 6 or serial in (8, 9):
        return "I"
    if serial >= 12:
        return "T" if serial & 1 else "B"
    raise Unreadable


def _serials(payload: bytes, length: int) -> tuple[list[int], int]:
    """The types of the columns, and where the first column begins."""
    header, at = _varint(payload, 0)
    if not at < header <= min(len(payload), 100):
        raise Unreadable
    serials = []
    size = header
    while at < header:
        serial, at = _varint(payload, at)
        serials.append(serial)
        size += _size(serial)
    if at != header or size != length:
        raise Unreadable
    return serials, header


def _size(serial: int) -> int:
    return (serial - 12) // 2 if serial >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[serial]


def _values(payload: bytes) -> tuple[Value, ...]:
    serials, at = _serials(payload, len(payload))
    values: list[Value] = []
    for serial in serials:
        size = _size(serial)
        part = payload[at : at + size]
        at += size
        if serial == 0:
            values.append(None)
        elif serial in (8, 9):
            values.append(serial - 8)
        elif serial <= 6:
            values.append(int.from_bytes(part, "big", signed=True))
        else:
            values.append(part.decode() if serial & 1 else part)
    return tuple(values)


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = page[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | page[at], at + 1


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for place in range(0, len(words), 2):
        first = (first + words[place] + second) & 0xFFFFFFFF
        second = (second + words[place + 1] + first) & 0xFFFFFFFF
    return first, second
