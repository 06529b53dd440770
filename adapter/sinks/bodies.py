"""What is posted: one event or a batch of them, in a format, perhaps compressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import ConfigDict, Field

from adapter.formats.protocol import Format, HeadedFormat
from adapter.model import NAMESPACE, Entry, message_id, uid_text, uuid5_bytes
from adapter.section import Section

#: A body larger than this is compressed on a thread, bytes: it would hold up other sinks.
_LARGE = 64 * 1024


class BatchSettings(Section):
    """Several events in one post."""

    model_config = ConfigDict(populate_by_name=True)

    entries: int = Field(100, ge=1, le=1000, description="The most events in one post")
    wait: float = Field(1.0, ge=0, le=3600, description="Seconds that less than that may wait for more; 0: none")
    bytes: int = Field(
        1_000_000,
        ge=1024,
        description="The most bytes of events as they are stored, one event aside; what a format adds comes on top",
    )
    as_: Literal["json", "ndjson"] = Field(
        "json", alias="as", description="json: a list; ndjson: one event a line. So is a batch of one event"
    )


class Bodies:
    """Makes the bodies of one receiver."""

    def __init__(self, format: Format, *, batch: Literal["json", "ndjson"] | None, compress: bool) -> None:
        """``batch``: how several events stand in one body; ``None``: one event alone.

        Raises:
            ValueError: the format cannot be sent so; says what would be right.
        """
        self._headed = format if isinstance(format, HeadedFormat) else None
        if batch is not None and self._headed is not None:
            raise ValueError(
                "batch: this format says a part of each event in headers, so each goes alone; leave batch out, or take "
                'mode = "structured"'
            )
        if batch == "json" and format.list_media_type is None:
            raise ValueError('batch: this format is no JSON; as = "ndjson" makes a line of each event')
        if batch == "ndjson" and not format.one_line:
            raise ValueError('batch: this format has line breaks in an event; as = "json" makes a list')
        self._format = format
        self._batch = batch
        self._compress = compress
        media: dict[str | None, str | None] = {
            None: format.record_media_type,
            "json": format.list_media_type,
            "ndjson": format.media_type,
        }
        #: What goes with each of them.
        self.headers = {"Content-Type": media[batch] or ""}
        if compress:
            self.headers["Content-Encoding"] = "gzip"

    @property
    def are_batches(self) -> bool:
        """Whether several entries may stand in one body."""
        return self._batch is not None

    async def make(self, entries: Sequence[Entry]) -> tuple[str, Mapping[str, str], bytes]:
        """The message id, headers and body of a post of these entries, all with an event: one of them, or a batch. The
        same entries give the same bytes each time."""
        form = self._format
        records = form.write(entries)
        headers: Mapping[str, str] = {}
        if self._batch == "json":
            body = b"[%b]" % b",".join(records)
        elif self._batch == "ndjson":
            body = form.header + form.record_end.join([*records, b""]) + form.footer
        else:
            (body,) = records
            if self._headed is not None:
                (headers,) = self._headed.write_headers(entries)
        if self._compress:
            body = await asyncio.to_thread(_gzip, body) if len(body) > _LARGE else _gzip(body)
        return batch_id(entries), headers, body


def batch_id(entries: Sequence[Entry]) -> str:
    """The message id of one post: the event's own, or, of several, one made of theirs. So a post that is made again
    with the same events has the same id; events that come again in another batch are known by the ids in the body."""
    if len(entries) == 1:
        return message_id(entries[0])
    return uid_text(uuid5_bytes(NAMESPACE.bytes, "\n".join(map(message_id, entries)).encode()))


def _gzip(body: bytes) -> bytes:
    # The header that this writes has no time in it, so the same body is the same bytes.
    packer = zlib.compressobj(wbits=31)
    return packer.compress(body) + packer.flush()
