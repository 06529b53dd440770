"""The unified event as it is stored: JSON, one event a line."""

from __future__ import annotations

from collections.abc import Iterable

MEDIA_TYPE = "application/x-ndjson"

#: Text in front of the first event.
HEAD = b""


def lines(events: Iterable[bytes]) -> bytes:
    """The events, one a line; they are JSON without line breaks already."""
    return b"".join([part for event in events for part in (event, b"\n")])
