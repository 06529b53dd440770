"""What a format is: how events are written for somebody else.

A format knows neither who reads it nor how it is sent. ``tests/formats/conformance.py`` defines what it must do; every
format runs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from adapter.model import Entry


class Format(Protocol):
    """One format, made with its settings. A document of it is its header, each record with `record_end` behind it, and
    its footer."""

    @property
    def media_type(self) -> str:
        """Of a document of any number of records."""

    @property
    def record_media_type(self) -> str:
        """Of one record by itself."""

    @property
    def list_media_type(self) -> str | None:
        """Of a JSON list of records; ``None`` where a record is no JSON value."""

    @property
    def ending(self) -> str:
        """What the name of a file of it ends with, without the dot."""

    @property
    def header(self) -> bytes:
        """What a document begins with, before the first record; mostly nothing."""

    @property
    def footer(self) -> bytes:
        """What a document ends with; mostly nothing."""

    @property
    def record_end(self) -> bytes:
        """What stands behind each record of a document, the last one included."""

    @property
    def one_line(self) -> bool:
        """Whether no record has a line feed in it, whatever its event holds."""

    def write(self, entries: Sequence[Entry]) -> list[bytes]:
        """One record for each entry, in order; entries without an event are left out.

        Total: any event of the unified model (`adapter.event`) becomes a record, and no text in it can end its field or
        its record.
        """


@runtime_checkable
class HeadedFormat(Format, Protocol):
    """A format that says a part of each event in headers of HTTP, so that each needs a request of its own."""

    def write_headers(self, entries: Sequence[Entry]) -> list[Mapping[str, str]]:
        """The headers of each record that `write` gives, besides its media type: names in lower case, values of
        printable ASCII. Total, as `write` is."""


def is_whole(format: Format) -> bool:
    """Whether one record by itself is a whole document."""
    return not format.header and not format.footer


def is_appendable(format: Format) -> bool:
    """Whether a document stays one while records are appended to it, and a torn last record can be told by its missing
    line feed."""
    return (
        format.one_line
        and not format.footer
        and format.record_end.endswith(b"\n")
        and not isinstance(format, HeadedFormat)
    )
