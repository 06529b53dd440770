"""Events as a table for spreadsheets (RFC 4180), with nothing in it that a spreadsheet would run.

The fields of the unified event are columns, its objects flattened (``authDetails.userId``); ``details`` stay one
column of JSON, since any event may bring new ones. ``timestamp`` is ``time`` for people.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

import orjson
from pydantic import Field

from adapter.formats.settings import FormatSettings
from adapter.formats.text import harmless
from adapter.model import Entry
from adapter.timestamps import write_timestamp

#: Where each column finds its value in the event.
_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("uid",),
    ("time",),
    ("timestamp",),
    ("type",),
    ("outcome",),
    ("reason",),
    ("error",),
    ("realmId",),
    ("realmName",),
    ("authDetails", "userId"),
    ("authDetails", "username"),
    ("authDetails", "clientId"),
    ("authDetails", "ipAddress"),
    ("authDetails", "sessionId"),
    ("authDetails", "realmId"),
    ("resourceType",),
    ("operationType",),
    ("resourcePath",),
    ("representation",),
    ("details",),
    ("source", "name"),
    ("source", "provider"),
    ("source", "nativeType"),
    ("source", "receivedAt"),
    ("source", "mapping"),
    ("source", "normalizedAt"),
    ("source", "revision"),
    ("id",),
    ("lookedUp",),
)

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}

#: Of each delimiter the others that readers may take in its place (a tab is written out), and in a cell one of them
#: with the beginning of a formula behind it.
_OTHERS = {one: "".join(sorted({",", ";"} - {one})) for one in _DELIMITERS.values()}
_SPLIT = {one: re.compile(rf'([{others}])(?=["\s]*[=+@＝＋－＠-])') for one, others in _OTHERS.items()}

#: A cell that begins with one of these is a formula to a spreadsheet; the wide forms too, in some locales.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Settings(FormatSettings):
    """``format = "csv"``."""

    name: Literal["csv"] = "csv"
    delimiter: Literal["comma", "semicolon", "tab"] = Field(
        "comma", description="What stands between cells: spreadsheets of some countries want a semicolon"
    )


class Csv:
    """Rows under one header. Every cell is quoted, since other separators than a comma are usual in some locales."""

    media_type = "text/csv; charset=utf-8; header=present"
    record_media_type = "text/csv; charset=utf-8; header=absent"
    list_media_type = None
    ending = "csv"
    footer = b""
    record_end = b"\r\n"
    one_line = True

    def __init__(self, settings: Settings) -> None:
        self._delimiter = _DELIMITERS[settings.delimiter]
        (header,) = _quoted([[".".join(column) for column in _COLUMNS]], self._delimiter)
        self.header = header + self.record_end

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        rows = [_cells(orjson.loads(entry.event), self._delimiter) for entry in entries if entry.event is not None]
        return _quoted(rows, self._delimiter)


def make_format(settings: Settings) -> Csv:
    return Csv(settings)


def _quoted(rows: Sequence[Sequence[str]], delimiter: str) -> list[bytes]:
    lines: list[str] = []
    # The writer calls `write` once for each row.
    file = SimpleNamespace(write=lines.append)
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="").writerows(rows)
    return [line.encode() for line in lines]


def _cells(event: dict[str, Any], delimiter: str) -> list[str]:
    event["timestamp"] = write_timestamp(event["time"])
    cells = []
    for column in _COLUMNS:
        value: Any = event
        for name in column:
            value = value.get(name) if isinstance(value, dict) else None
        cell = _cell(value)
        # Its quotes mean nothing to who takes another sign for the delimiter: what follows would be a cell of its own.
        if any(one in cell for one in _OTHERS[delimiter]):
            cell = _SPLIT[delimiter].sub(r"\1'", cell)
        cells.append(cell)
    return cells


def _cell(value: Any) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, int):
        return str(value)
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA):
        text = "'" + text
    return harmless(text)
