"""``python -m tests.receivers``: a hostile receiver of webhooks, and the score of the sender that is pointed at it."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path

from tests.receivers.judging import Bounds, State
from tests.receivers.receiver import open_receiver


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.receivers",
        description="A receiver of webhooks that misbehaves in another way on each path. Point a sender at its URLs, "
        "have it send some messages to each, and end this with Ctrl-C: it prints how the sender did. Exit code 1 if it "
        "failed anywhere.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, which the sender reaches")
    parser.add_argument("--inner", default="127.0.0.2", help="another address, to which no sender may be led")
    parser.add_argument("--port", type=int, default=9980, help="plain HTTP; TLS on the five after it; 0: any")
    parser.add_argument("--dns-host", help="address of the name server; default: that of --host")
    parser.add_argument("--dns-port", type=int, default=9953, help="its UDP port; 0: any")
    parser.add_argument("--folder", type=Path, help="where the certificates are put; default: a temporary folder")
    parser.add_argument("--seconds", type=float, help="end by itself after so long")
    parser.add_argument("--json", action="store_true", help="two lines of JSON: where it listens, and the score")
    told = {
        "deadline": "seconds after which a request must be over",
        "taken": "bytes of one answer that may be taken",
        "connections": "connections to one path at a time",
        "patience": "seconds within which a message must come again",
        "quiet": "seconds for which a sender must stay away that is told to",
        "grace": "seconds for what was under way when an answer was given",
    }
    for name, default in Bounds()._asdict().items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{told[name]}; default: {default}")
    return parser.parse_args()


async def _run(given: argparse.Namespace, folder: Path) -> int:
    bounds = Bounds(**{name: getattr(given, name) for name in Bounds._fields})
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with open_receiver(
        folder,
        host=given.host,
        inner_host=given.inner,
        port=given.port,
        dns_host=given.dns_host,
        dns_port=given.dns_port,
        bounds=bounds,
    ) as receiver:
        print(json.dumps(receiver.as_json()) if given.json else receiver.told(), flush=True)
        try:
            async with asyncio.timeout(given.seconds):
                await ended.wait()
        except TimeoutError:
            pass
        score = receiver.score(bounds)
    print(json.dumps(score.as_json()) if given.json else score.as_table(), flush=True)
    return 1 if score.count(State.FAILED) else 0


def main() -> int:
    given = _arguments()
    try:
        if given.folder is not None:
            given.folder.mkdir(parents=True, exist_ok=True)
            return asyncio.run(_run(given, given.folder))
        with tempfile.TemporaryDirectory() as folder:
            return asyncio.run(_run(given, Path(folder)))
    except OSError as error:
        print(f"cannot listen: {error.strerror or error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
