"""What a sender was seen to do on one path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Exchange:
    """One request, and what became of it. Times are seconds of a clock that only goes forward."""

    at: float
    #: Number of the connection.
    connection: int
    method: str
    headers: dict[str, str]
    #: What tells a message that is sent again from another one.
    message: str
    #: When the first bytes of the answer were written, and when the exchange was over for the sender.
    answered: float | None = None
    ended: float | None = None
    #: Whether the sender ended the connection, and not the receiver.
    is_left: bool = False
    #: Bytes of the answer that the sender took, those in the kernels' buffers included.
    taken: int = 0


@dataclass(slots=True)
class Seen:
    """What was seen on one path."""

    exchanges: list[Exchange] = field(default_factory=list)
    #: When there was a connection, whatever came of it, and when those ended that never got as far as a request.
    knocks: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    #: Lookups of the name that leads here.
    lookups: int = 0
    #: Requests where no sender may go because of this path.
    inner: list[str] = field(default_factory=list)
    #: Connections on which the path was asked for: those that are open, and the most at a time.
    open: set[int] = field(default_factory=set)
    most_open: int = 0
    #: When the sender may come again, if it was told.
    named: float | None = None

    @property
    def repeated(self) -> bool:
        """Whether a message came again."""
        return any(count > 1 for count in Counter(one.message for one in self.exchanges).values())

    def begin(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.open.add(exchange.connection)
        self.most_open = max(self.most_open, len(self.open))
