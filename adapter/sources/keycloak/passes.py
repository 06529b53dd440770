"""One pass over the stored events of a realm: all rows from a time on, page by page, and each millisecond whole.

The API has no cursor and no second key of its order: rows of one millisecond come in any order, and a page may end
between them. So what a pass gives are the rows of whole milliseconds, each out of one answer alone: equal rows are then
as many as the server has, which tells two events without ids from one that was read twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from adapter.sources.keycloak.server import NoEpoch, Page, Row

#: Asks for a page, with the parameters of the API.
Fetch = Callable[[dict[str, str | int]], Awaitable[Page]]


class Form:
    """How a server is asked, which its version decides."""

    def __init__(self) -> None:
        #: Whether it takes milliseconds: it is 26.2 or newer; ``None``: not known yet.
        self.takes_epoch: bool | None = None


async def whole_milliseconds(
    fetch: Fetch, since: int, size: int, form: Form
) -> AsyncGenerator[tuple[Sequence[Row], int]]:
    """The rows from ``since`` (epoch milliseconds) on, each millisecond whole, and the server's clock with each page:
    oldest first where the server takes milliseconds, else the newest page first, each page oldest first."""
    if form.takes_epoch is not False:
        try:
            async with aclosing(ascending(fetch, since, size)) as pages:
                async for found in pages:
                    form.takes_epoch = True
                    yield found
            return
        except NoEpoch:
            form.takes_epoch = False
    async for found in descending(fetch, since, size):
        yield found


async def ascending(fetch: Fetch, since: int, size: int) -> AsyncGenerator[tuple[Sequence[Row], int]]:
    """The rows from ``since`` (epoch milliseconds) on, oldest first, and the server's clock with each page; for servers
    since 26.2. Pages begin at a time, never at an offset: rows that expire meanwhile would shift those."""
    most = size
    coming = _started(fetch, since, most)
    try:
        while True:
            page = await coming
            rows, last = page.rows, page.rows[-1].time if page.rows else 0
            if len(rows) < most:
                yield rows, page.now
                return
            if rows[0].time == last:
                # One millisecond alone, and maybe not all of it.
                most *= 2
                coming = _started(fetch, since, most)
                continue
            since, most = last, size
            # The server makes the next page while this one is stored.
            coming = _started(fetch, since, most)
            yield [row for row in rows if row.time < last], page.now
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _started(fetch: Fetch, since: int, most: int) -> asyncio.Task[Page]:
    async def asked() -> Page:
        return await fetch({"dateFrom": since, "direction": "asc", "first": 0, "max": most})

    return asyncio.create_task(asked(), name="page of stored events")


async def descending(fetch: Fetch, since: int, size: int) -> AsyncIterator[tuple[Sequence[Row], int]]:
    """The same, newest pages first; for servers before 26.2, which know days alone, in a time zone of their own. A page
    begins at the offset of the millisecond in which the one before was cut: rows that are new shift it to rows that are
    known."""
    first, most, until = 0, size, None
    day = _day_before(since)
    while True:
        page = await fetch({"dateFrom": day, "first": first, "max": most})
        rows = page.rows
        last = rows[-1].time if len(rows) == most else since - 1
        found = [row for row in rows if max(last, since - 1) < row.time and (until is None or row.time <= until)]
        if last < since:
            yield found[::-1], page.now
            return
        if not found:
            most *= 2
            continue
        yield found[::-1], page.now
        first += next(at for at, row in enumerate(rows) if row.time == last)
        until, most = last, size


def halves(groups: list[list[Row]]) -> tuple[list[list[Row]], list[list[Row]]]:
    """The rows of some milliseconds, each sorted, in two parts; equal ones stay together, if there is a place between
    unequal ones."""
    if len(groups) > 1:
        middle = len(groups) // 2
        return groups[:middle], groups[middle:]
    (rows,) = groups
    middle = len(rows) // 2
    places = sorted(range(1, len(rows)), key=lambda at: abs(at - middle))
    at = next((at for at in places if rows[at] != rows[at - 1]), middle)
    return [rows[:at]], [rows[at:]]


def _day_before(milliseconds: int) -> str:
    """A day that has begun before a time wherever on Earth."""
    moment = datetime.fromtimestamp(max(milliseconds, 86_400_000) / 1000, UTC)
    return f"{moment - timedelta(days=1):%Y-%m-%d}"
