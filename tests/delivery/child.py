"""A process of its own that delivers a log to a webhook until it is killed, or caught up: LOG, URL, EVENTS."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from adapter.delivery.loop import open_delivery
from adapter.delivery.select import Selection
from adapter.filter import Filter
from adapter.log.sqlite.log import open_sqlite_log
from adapter.outgoing.settings import OutgoingSettings
from adapter.sinks.settings import open_sink, read_sink_settings
from tests.delivery.parts import CATALOGUE, append, caught_up

WINDOW = 16


async def main(path: Path, url: str, events: int) -> None:
    settings = read_sink_settings(
        {"name": "soc", "kind": "webhook", "url": url, "window": WINDOW, "from": "beginning", "retry": [0.05] * 20}
    )
    outgoing = OutgoingSettings.model_validate({"allow": ["127.0.0.0/8"]})
    selection = Selection(Filter.from_settings({}, CATALOGUE))
    async with (
        open_sqlite_log(path, dictionary=b"") as log,
        open_sink(settings, outgoing) as sink,
        open_delivery(settings, sink, log, selection, probe=0.02) as delivery,
    ):
        while log.head < events:
            await append(log, 50, first=log.head + 1)
        await caught_up(delivery)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
