"""What was seen of one request of a sink, for people: it comes with the answer, and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of an answer's body that are kept.
EXCERPT = 300


@dataclass(slots=True, frozen=True)
class Tried:
    """One request. Durations are milliseconds; ``None``: it did not come to that, as on a connection that was open."""

    #: When it began, epoch milliseconds.
    began_at: int
    #: The answer's HTTP status; ``None``: no answer came.
    status: int | None
    #: To look up the receiver's name.
    resolve: int | None
    #: To connect, TLS included, and that of a proxy.
    connect: int | None
    #: From the beginning to the head of the answer.
    first_byte: int | None
    #: Altogether, until the answer was read as far as it is.
    total: int
    #: The beginning of the answer's body, as it came: `adapter.formats.text.harmless` shows it.
    excerpt: str = ""


def excerpt_of(body: bytes) -> str:
    """What is kept of an answer's body. What is no UTF-8 is replaced; half a character at its end is left out."""
    cut = body[:EXCERPT]
    text = cut.decode("utf-8", "replace")
    if len(body) >= EXCERPT:
        text = text.removesuffix("\ufffd")
    return text.replace("\0", "\ufffd").strip()
