"""``idp-adapter events list --follow``: what comes, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import orjson
from aiohttp import ClientError

from adapter.commands.client import Client, NotRunning, Unavailable, open_client, read_answer, tell
from adapter.commands.options import At
from adapter.commands.reaching import told
from adapter.errors import AdapterError

#: Between two questions whether something came; and between two tries when there is no answer, at first and at most:
#: seconds.
ASKED, TRIED = 0.5, (0.2, 5.0)
#: Events of a page.
PAGE = 500

Query = list[tuple[str, str]]
Events = Sequence[dict[str, Any]]
Show = Callable[[Events], None]


async def follow(at: At, query: Query, latest: Callable[[Client], Awaitable[Events]], show: Show) -> NoReturn:
    """Show the ``latest`` events, and then each one that comes. When the service is gone it is asked until it is there
    again, from the place up to which everything was shown: nothing is missing, and nothing comes twice.

    Raises:
        AdapterError: the service refused, or none runs at the start.
        aiohttp.ClientError: there is no answer at the start.
    """
    async with open_client(at, running=True) as client:
        # The place first: what comes while the latest are asked for is in both, and known by its uid.
        place: str = (await _page(client, [], "end", 1))["next"]
        found = await latest(client)
        show(found)
        known = {event["uid"] for event in found}
    wait = TRIED[0]
    while True:
        try:
            async with open_client(at, running=True) as client:
                while True:
                    page = await _page(client, query, place, PAGE)
                    if wait != TRIED[0]:
                        tell(["the service answers again; nothing is missing"])
                        wait = TRIED[0]
                    show([event for event in page["events"] if event["uid"] not in known])
                    place = page["next"]
                    if not page["events"]:
                        await asyncio.sleep(ASKED)
        except (ClientError, TimeoutError, Unavailable, NotRunning) as error:
            if wait == TRIED[0]:
                why = str(error) if isinstance(error, AdapterError) else told(error)
                tell([f"{why}; asked again until there is an answer"])
            await asyncio.sleep(wait)
            wait = min(wait * 2, TRIED[1])


async def _page(client: Client, query: Query, place: str, limit: int) -> dict[str, Any]:
    rest = [("order", "log"), ("limit", str(limit)), ("cursor", place)]
    async with client.get("/events", [*query, *rest]) as response:
        page: dict[str, Any] = orjson.loads(await read_answer(response))
        return page
