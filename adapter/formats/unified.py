"""The unified event as it is stored: JSON (``schemas/event.schema.json``), one event a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from adapter.formats.settings import FormatSettings
from adapter.model import Entry


class Settings(FormatSettings):
    """``format = "unified"``."""

    name: Literal["unified"] = "unified"


class Unified:
    """The stored bytes; orjson wrote them without line breaks."""

    media_type = "application/x-ndjson"
    record_media_type = list_media_type = "application/json"
    ending = "ndjson"
    header = footer = b""
    record_end = b"\n"
    one_line = True

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [entry.event for entry in entries if entry.event is not None]


def make_format(settings: Settings) -> Unified:
    return Unified()
