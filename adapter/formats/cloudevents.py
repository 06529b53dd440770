"""CloudEvents 1.0 with the unified event as their data: as JSON, one a line, or with their attributes in HTTP headers.

- ``id`` is the message id: ``source`` and ``id`` together are one message, however often it is sent.
- ``source`` is who saw it happen: the configured source, below a URI of the operator's choice.
- ``type`` is the unified type, so that filters here and at the receiver are written alike.
- ``subject`` is who or what it is about, as a path below the realm (``users/ID``): of access and admin events
  alike. One that is longer than 256 characters is left out.
- ``time`` is the event's own time; ``dataschema`` is left out until it is said where the schema can be had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import orjson
from pydantic import Field

from adapter.formats.protocol import Format
from adapter.formats.settings import FormatSettings
from adapter.model import Entry, message_id
from adapter.timestamps import write_timestamp

_JSON = "application/json"
#: What no String of CloudEvents may hold (section 3.1): control characters and what Unicode calls noncharacters.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)
#: Characters of a type or subject: headers may not be as long as a foreign text can be.
_LONGEST = 256
#: What stands in a header as it is (HTTP binding, section 3.1.3.2): printable ASCII but the blank, ``"`` and ``%``.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Settings(FormatSettings):
    """``format = "cloudevents"``."""

    name: Literal["cloudevents"] = "cloudevents"
    mode: Literal["structured", "binary"] = Field(
        "structured",
        description="structured: all of it is JSON; binary: the unified event is the body, and the rest stands in "
        "headers ce-…: for a webhook without batch",
    )
    source: str = Field(
        "/sources",
        pattern=r"^[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+$",
        description="URI that source begins with, such as https://idp-events.example; the name of the event's source "
        "follows",
    )
    dataschema: str | None = Field(
        None,
        pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+$",
        description="URI at which receivers find schemas/event.schema.json; none: left out",
    )


class Structured:
    """One JSON object each."""

    media_type = "application/x-ndjson"
    record_media_type = "application/cloudevents+json"
    list_media_type = "application/cloudevents-batch+json"
    ending = "ndjson"
    header = footer = b""
    record_end = b"\n"
    one_line = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [self._write(entry, entry.event) for entry in entries if entry.event is not None]

    def _write(self, entry: Entry, event: bytes) -> bytes:
        attributes = _attributes(entry, event, self._settings)
        return b'%b,"datacontenttype":"%b","data":%b}' % (orjson.dumps(attributes)[:-1], _JSON.encode(), event)


class Binary:
    """The unified event as it is stored, and a header for each attribute."""

    media_type = "application/x-ndjson"
    record_media_type = list_media_type = _JSON
    ending = "ndjson"
    header = footer = b""
    record_end = b"\n"
    one_line = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        return [entry.event for entry in entries if entry.event is not None]

    def write_headers(self, entries: Sequence[Entry]) -> list[Mapping[str, str]]:
        return [
            {
                f"ce-{name}": quote(value, safe=_PLAIN)
                for name, value in _attributes(entry, entry.event, self._settings).items()
            }
            for entry in entries
            if entry.event is not None
        ]


def make_format(settings: Settings) -> Format:
    return Binary(settings) if settings.mode == "binary" else Structured(settings)


def _attributes(entry: Entry, event: bytes, settings: Settings) -> dict[str, str]:
    read: dict[str, Any] = orjson.loads(event)
    attributes = {
        "specversion": "1.0",
        "id": message_id(entry),
        "source": f"{settings.source.rstrip('/')}/{quote(read['source']['name'], safe='')}",
        "type": _FORBIDDEN.sub("\ufffd", read["type"][:_LONGEST]),
        "time": write_timestamp(read["time"]),
        "subject": _subject(read),
        "dataschema": settings.dataschema,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _subject(event: dict[str, Any]) -> str | None:
    path, user = event.get("resourcePath"), event.get("authDetails", {}).get("userId")
    subject = path or (f"users/{user}" if user else None)
    return None if subject is None or len(subject) > _LONGEST else _FORBIDDEN.sub("\ufffd", subject)
