"""How much of what is quarantined the present table would read: asked after a table was changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from adapter.log.protocol import Store
from adapter.renormalization.rereading import Rereader

#: Groups of which one entry is read, and seconds in which all of them have to be.
GROUPS, TIMEOUT = 100, 5.0


class Readable(NamedTuple):
    """What is quarantined of some sources."""

    entries: int
    #: Entries of those groups whose last entry would be an event now.
    readable: int


async def count_readable(
    log: Store, rereader: Rereader, sources: Sequence[str], now: int, timeout: float = TIMEOUT
) -> Readable:
    """What is quarantined of these sources, and how much of it would become an event ``now``, epoch milliseconds: of
    each group by source, native type and problem one entry is read.

    Raises:
        TimeoutError: it took longer than ``timeout`` seconds.
    """
    if not sources:
        return Readable(0, 0)
    readable = 0
    async with asyncio.timeout(timeout):
        found = await log.quarantine(sources=[*sources], limit=GROUPS, timeout=timeout)
        for group in found.groups:
            (latest,) = await log.fetch([group.last]) or (None,)
            (stored,) = await log.read_stored(group.last - 1, until=group.last) or (None,)
            if latest is None or stored is None or stored.raw is None:
                continue  # removed meanwhile, or its native bytes are not kept
            again = await rereader.read_again(stored, latest, now)
            if again.revision is not None:
                readable += group.entries
    return Readable(found.entries, readable)
