"""What a sink is: something that takes messages and answers for each of them.

``tests/sinks/conformance.py`` defines what an implementation must do; every kind runs it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True)
class Message:
    """One event on its way out."""

    #: The same for the same event each time it is sent; holds no dot, as Standard Webhooks asks.
    id: str
    position: int
    uid: uuid.UUID
    type: str
    #: The unified event, JSON.
    event: bytes


@dataclass(slots=True, frozen=True)
class Delivered:
    """The receiver has it."""


@dataclass(slots=True, frozen=True)
class Later:
    """Not now; try again. ``after`` is the receiver's own wish in seconds, if it said one.

    ``receiver_down`` is true when the answer speaks of the receiver rather than of this message (refused, timed out,
    429, 5xx, refused credentials): then the breaker opens and no message spends a try.
    """

    reason: str
    after: float | None = None
    receiver_down: bool = False


@dataclass(slots=True, frozen=True)
class Never:
    """This message will never be taken."""

    reason: str


@dataclass(slots=True, frozen=True)
class Stop:
    """The receiver is gone for good (410): stop this sink and tell people. Nothing is lost; the cursor stands."""

    reason: str


Answer = Delivered | Later | Never | Stop


class Sink(Protocol):
    """One configured receiver. Opened as an async context manager, closed when the service stops."""

    #: How many `send` calls may be in flight at once; 1 for a sink that must keep order.
    window: int
    #: The most messages it takes in one `send`; 1 for a plain webhook, thousands for a file.
    batch: int

    async def send(self, messages: Sequence[Message]) -> Sequence[Answer]:
        """Hand over at most ``batch`` messages; one answer each, in order.

        `Delivered` is answered only when the receiver has the message for good (a 2xx, an fsync). Never raises for
        what a receiver does; an exception is our bug, and the loop treats it as `Later`.
        """
