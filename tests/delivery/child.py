"""A process of its own that delivers a log to a webhook until it is killed, or caught up: LOG, URL, EVENTS, and by what
order is kept, if it is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from adapter.delivery.loop import open_delivery
from adapter.delivery.select import Selection
from adapter.delivery.tail import Tail
from adapter.filter import Filter
from adapter.log.sqlite.log import open_sqlite_log
from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.settings import open_sink, read_sink_settings
from tests.delivery.parts import CATALOGUE, caught_up, new_entry

WINDOW = 16
#: Users whose events they are.
USERS = 40


async def main(path: Path, url: str, events: int, order_by: str | None) -> None:
    settings = read_sink_settings(
        {"name": "soc", "kind": "webhook", "url": url, "window": WINDOW, "from": "beginning", "retry": [0.05] * 20,
         "order_by": order_by}
    )  # fmt: skip
    outgoing = OutgoingSettings.model_validate({"allow": ["127.0.0.0/8"]})
    selection = Selection(Filter.from_settings({}, CATALOGUE))
    async with (
        open_sqlite_log(path, dictionary=b"") as log,
        open_sink(settings, outgoing) as sink,
        open_delivery(settings, sink, log, selection, tail=Tail(log), probe=0.02) as delivery,
    ):
        while log.head < events:
            some = range(log.head + 1, log.head + 51)
            await log.append([new_entry(one, authDetails={"userId": f"u-{one % USERS}"}) for one in some])
        await caught_up(delivery)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), next(iter(sys.argv[4:]), None)))
