"""What a sink is: something that takes entries of the log and answers for each of them.

``tests/sinks/conformance.py`` defines what an implementation must do; every kind runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from adapter.model import Entry
from adapter.sinks.tried import Tried

#: The longest wait that a receiver can ask for, seconds.
RETRY_AFTER = 3600.0


@dataclass(slots=True, frozen=True)
class Delivered:
    """The receiver has it."""

    #: What was seen of the request; answers are equal whatever that was.
    tried: Tried | None = field(default=None, compare=False)


@dataclass(slots=True, frozen=True)
class Later:
    """Not now; try again. ``after`` is the receiver's own wish in seconds, if it said one, at most `RETRY_AFTER`: then
    nothing at all is sent to it for so long.

    ``receiver_down`` is true when the answer speaks of the receiver rather than of this message (refused, timed out,
    429, 5xx, refused credentials): then the breaker may open, and no message spends a try on it. A message that gets
    such an answer while others pass spends its tries like any other, unless the answer ``spares`` it: no message can
    be the cause of that (no connection, an address that may not be reached, too many requests).
    """

    reason: str
    after: float | None = None
    receiver_down: bool = False
    spares: bool = False
    tried: Tried | None = field(default=None, compare=False)


@dataclass(slots=True, frozen=True)
class Never:
    """This message will never be taken."""

    reason: str
    tried: Tried | None = field(default=None, compare=False)


@dataclass(slots=True, frozen=True)
class Skip:
    """The receiver asked not to get this message. It counts as skipped."""

    reason: str
    tried: Tried | None = field(default=None, compare=False)


@dataclass(slots=True, frozen=True)
class Stop:
    """The receiver wants nothing more (410): stop this sink and tell people, until somebody resumes it. Nothing is
    lost; the cursor stands. ``delivered``: it has this message all the same."""

    reason: str
    delivered: bool = False
    tried: Tried | None = field(default=None, compare=False)


Answer = Delivered | Later | Never | Skip | Stop

#: The answer of every message that arrived.
DELIVERED = Delivered()


@dataclass(slots=True, frozen=True)
class Batch:
    """How much a sink wants in one `send`. What still waits when the service stops, is sent after its next start."""

    #: The most entries; 1 for a plain webhook, thousands for a file.
    entries: int = 1
    #: The most bytes of events as they are stored, one entry aside: an event that is larger comes alone.
    bytes: int = 8 * 1024 * 1024
    #: How long less than a full batch may wait for more, seconds. 0: it is sent at once.
    wait: float = 0.0
    #: All entries of one `send` are answered alike: then it may get several of one key where the sink keeps order.
    alike: bool = False


class Promise(StrEnum):
    """What `Delivered` says of an event: how safe it is with the receiver."""

    #: On the receiver's disk (fsync, a commit): a crash there does not lose it.
    DURABLE = "durable"
    #: The receiver answered that it has taken it (2xx); what it does with it then is its own.
    ACKNOWLEDGED = "acknowledged"
    #: Handed to the network, which gives no answer: a connection that breaks loses what is on its way.
    SENT = "sent"


class Sink(Protocol):
    """One configured receiver. Opened by the ``open_sink`` of its kind, closed when the service stops."""

    @property
    def window(self) -> int:
        """How many `send` calls may be in flight at once; 1 for a sink that must keep order."""

    @property
    def batch(self) -> Batch:
        """What one `send` gets."""

    @property
    def promise(self) -> Promise:
        """What its `Delivered` says."""

    async def send(self, entries: Sequence[Entry]) -> Sequence[Answer]:
        """Hand over at most a ``batch``, all with an event; one answer each, in order.

        `Delivered` is answered only when ``promise`` is kept for the event. Never raises for what a receiver does; an
        exception is our bug, and the loop treats it as `Later`, as it does an answer that is none.
        """
