"""How far a source is with each stream (the user events or the admin events of a realm), as a note in the log."""

from __future__ import annotations

from msgspec import MsgspecError, Struct, field
from msgspec.json import Decoder, encode

from adapter.errors import StoreMismatch


class Progress(Struct, omit_defaults=True):
    """How far one stream is; times are epoch milliseconds."""

    #: Nothing before is read; ``None``: it was never polled.
    begin: int | None = None
    #: What was committed later than a transaction takes before this time was read; ``None``: nothing was.
    until: int | None = None
    #: Time of the newest row of the last whole pass. While the server has it, it has removed nothing newer.
    newest: int | None = None
    #: When the last whole pass began.
    polled: int | None = None
    #: The last gap: from and until when the server may have stored events that were never read.
    gap: tuple[int, int] | None = None
    #: How many gaps there were.
    gaps: int = 0


class Place(Struct):
    """How far all are, by realm and kind."""

    streams: dict[str, dict[str, Progress]] = field(default_factory=dict)
    #: When the source was first polled, by our clock, epoch milliseconds.
    started: int | None = None
    version: int = 1

    def of(self, realm: str, kind: str) -> Progress:
        """How far a stream is; kept with the others from now on."""
        return self.streams.setdefault(realm, {}).setdefault(kind, Progress())

    def written(self) -> str:
        """As the note has it."""
        return encode(self).decode()


def read_place(text: str | None) -> Place:
    """The place of a note.

    Raises:
        StoreMismatch: it is not ours.
    """
    if text is None:
        return Place()
    try:
        place = _decode(text)
    except MsgspecError as error:
        raise StoreMismatch(f"the place of the source cannot be read: {error}") from None
    if place.version != 1:
        raise StoreMismatch(f"the place of the source is of a newer version ({place.version})")
    return place


_decode = Decoder(Place).decode


def find_gap(
    progress: Progress, *, has_newest: bool, now: int, expiration: int | None, overlap: int
) -> tuple[int, int] | None:
    """From and until when events may have been stored and removed again, since the last whole pass.

    ``has_newest``: whether this pass found a row at the time of the newest one of the pass before; ``expiration``:
    after how many milliseconds the server removes rows (0: never; ``None``: unknown); ``overlap``: what was read again.
    """
    if progress.polled is None or has_newest:
        return None
    removed_until = now - expiration if expiration else 0
    if expiration and (progress.newest is None or progress.newest < removed_until + overlap):
        # It had to go, by a clock that may not be ours. So nothing is missing if all that had to go was read before.
        return (progress.polled, removed_until) if progress.polled < removed_until else None
    if progress.newest is None or (expiration is None and now - progress.polled <= overlap):
        return None
    # Somebody has deleted events, or for how long they are kept is not known.
    return progress.polled, now
