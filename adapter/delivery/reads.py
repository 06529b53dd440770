"""How often, and how many at a time, sinks read the log."""

from __future__ import annotations

import asyncio

#: Sinks that read at the same moment.
AT_ONCE = 4
#: While entries come all the time, those of this long are read together, at most, seconds.
GATHER = 0.01
#: The same for each entry that is read at a time: one that comes alone waits no longer for others.
EACH = 0.001


class Reads(asyncio.Semaphore):
    """What they take turns by: a thousand that are far behind would read at the same moment."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)


def gather(brought: int) -> float:
    """For how long what comes is gathered, seconds, where the last read brought so many entries: reading costs the less
    the more entries a read brings."""
    return min(GATHER, EACH * max(brought, 1))
