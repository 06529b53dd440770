"""How a raw event lies in a run: its bytes, behind what it came in.

An envelope stands on a line of its own before the bytes, and the media type under which they lie says so. So whatever
carries runs carries it too, and events that come in nothing, as most do, lie as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapter.log.protocol import NewEntry, Raw
from adapter.model import ENVELOPE_SIZE

#: Ends the media type of bytes that lie behind an envelope.
_ENVELOPED = ";enveloped"
#: In logs of before, the time at which an event was forwarded, epoch milliseconds, followed its media type.
_TIME = ";time="


def piece_of(raw: bytes, media: str, envelope: bytes) -> tuple[bytes, str]:
    """A raw event as it lies in a run, and the media type under which it does."""
    return (b"%b\n%b" % (envelope, raw), media + _ENVELOPED) if envelope else (raw, media)


def piece_like(media: str, raw: bytes, envelope: bytes) -> bytes:
    """A raw event as it lies in a run of this media type."""
    return b"%b\n%b" % (envelope, raw) if media.endswith(_ENVELOPED) else raw


def pieces_of(entries: Sequence[NewEntry]) -> tuple[list[bytes], list[str]]:
    """The same of new entries."""
    raws, media = [entry.raw for entry in entries], [entry.media for entry in entries]
    envelopes = [entry.envelope for entry in entries]
    if any(envelopes):
        for number, envelope in enumerate(envelopes):
            raws[number], media[number] = piece_of(raws[number], media[number], envelope)
    return raws, media


def opened(piece: bytes, media: str, size: int | None = None) -> Raw:
    """The raw event that lies so; with ``size`` no more than so many bytes of its beginning."""
    if ";" in media:
        if media.endswith(_ENVELOPED):
            envelope, _, piece = piece.partition(b"\n")
            return Raw(piece[:size], media.removesuffix(_ENVELOPED), envelope)
        plain, _, told = media.partition(_TIME)
        if told.isascii() and told.isdigit() and len(told) < 20:
            return Raw(piece[:size], plain, b'[{"time":%d}]' % int(told))
    return Raw(piece[:size], media)


def length_of(media: str, size: int) -> int:
    """Bytes of a piece in which so many of the raw event lie."""
    return size + ENVELOPE_SIZE + 1 if media.endswith(_ENVELOPED) else size
