"""The receiver of webhooks, in C (``receiver.c``): built here, and started in a process of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.processes import program
from tests.bench.result import CannotMeasure

_SOURCE = Path(__file__).with_name("receiver.c")


@dataclass(slots=True, frozen=True)
class Arrived:
    """What came to the receiver."""

    requests: int
    events: int
    #: Events that differ from each other. Those that were not answered with 200 are not counted.
    distinct: int
    #: Sinks that something came from.
    sinks: int
    #: When the first request was there, and the first one of the sink that came last (CLOCK_MONOTONIC, seconds).
    first: float
    first_of_last: float


class Receiver:
    """A running one."""

    def __init__(self, port: int) -> None:
        #: Of sink 0; that of sink N is `url_of` it.
        self.url = f"http://127.0.0.1:{port}/0"

    def url_of(self, sink: int) -> str:
        """Where a sink posts, so that it is told from others."""
        return self.url[:-1] + str(sink)

    def arrived(self) -> Arrived:
        """What came since the last `forget`."""
        return self._ask("GET")

    def forget(self) -> None:
        """Count anew."""
        self._ask("DELETE")

    def answer(self, status: int) -> None:
        """Answer with this status from now on."""
        self._ask("PUT", f"/{status}")

    def wait(self, wanted: Callable[[Arrived], bool], patience: float = 120.0) -> Arrived:
        """What came, as soon as it is what is waited for.

        Raises:
            CannotMeasure: it is not, after so many seconds.
        """
        until = time.monotonic() + patience
        while not wanted(found := self.arrived()):
            if time.monotonic() > until:
                raise CannotMeasure(f"not everything came to the receiver within {patience:g} s: {found}")
            time.sleep(0.02)
        return found

    def _ask(self, method: str, path: str = "/") -> Arrived:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(self.url).port, timeout=60)
        try:
            connection.request(method, path)
            return Arrived(**json.loads(connection.getresponse().read()))
        finally:
            connection.close()


@contextmanager
def open_receiver(folder: Path) -> Iterator[Receiver]:
    """A receiver while the context lasts, built in this folder.

    Raises:
        CannotMeasure: there is no C compiler, or it does not start.
    """
    built = folder / "receiver"
    done = subprocess.run(
        [program("cc", "gcc"), "-O2", "-Wall", "-o", str(built), str(_SOURCE)], capture_output=True, check=False
    )
    if done.returncode:
        raise CannotMeasure(f"{_SOURCE.name} was not built: {done.stderr.decode(errors='replace')}")
    with subprocess.Popen([built], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline()
            if not port:
                raise CannotMeasure("the receiver did not start")
            yield Receiver(int(port))
        finally:
            process.kill()
