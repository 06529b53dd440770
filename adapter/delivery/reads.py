"""How the sinks of one service share reading the log."""

from __future__ import annotations

import asyncio

#: Sinks that read at the same moment.
AT_ONCE = 4
#: While entries come all the time, those of this long are read together, at most, seconds.
GATHER = 0.01
#: The same for each entry that is read at a time, and for each sink: one that comes alone waits no longer for others.
EACH = 0.001


class Reads(asyncio.Semaphore):
    """What they take turns by: a thousand that open at once would read at the same moment."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
        #: How many there are.
        self.sinks = 0

    def join(self) -> None:
        """There is one sink more."""
        self.sinks += 1

    def leave(self) -> None:
        """There is one sink less."""
        self.sinks -= 1

    def gather(self, brought: int) -> float:
        """For how long what comes is gathered, seconds, where the last read brought so many entries. Reading costs the
        more the more sinks do it, and the less the more entries a read brings."""
        return min(GATHER, EACH * max(brought, self.sinks))
