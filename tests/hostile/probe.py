"""``python -m tests.hostile.probe``: asks a service how it is, from a process of its own, so that the work of an attack
does not count as the service's.

Its first line of standard input is a `Question` as JSON. Each further line is the name of the phase that begins; it
answers with one line, the `Phase` that ended with it. The end of input ends it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.client import Address, NoAnswer, ask, request

#: Seconds between two probes.
INTERVAL = 0.05
#: Seconds after which a probe is given up; it counts as having taken so long.
PATIENCE = 20.0

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Question:
    """What is asked of which service."""

    host: str
    port: int
    #: Root of its processes.
    pid: int
    #: Asked by GET.
    health: str
    #: Where the good neighbour posts, and with which headers.
    path: str
    headers: dict[str, str]
    #: Its body; ``@NUMBER@`` in it becomes twelve digits that never came before.
    template: str
    #: First of these numbers.
    first: int
    #: Finds in an answer what identifies the stored event.
    receipt: str


@dataclass
class Phase:
    """What was seen while one phase lasted."""

    #: Seconds that each probe took.
    health: list[float] = field(default_factory=list)
    neighbour: list[float] = field(default_factory=list)
    #: Statuses of the answers, as text; 0: there was none.
    health_answers: dict[str, int] = field(default_factory=dict)
    neighbour_answers: dict[str, int] = field(default_factory=dict)
    #: What the answers to the neighbour identify.
    receipts: list[str] = field(default_factory=list)
    #: Resident memory of all processes, bytes: the most, and the last.
    peak: int = 0
    memory: int = 0
    #: Seconds by which the probe itself, which only waits, was woken too late: what the machine adds to all times.
    late: list[float] = field(default_factory=list)


def processes(root: int) -> Iterator[Path]:
    """A process and all that come from it, as their folders in /proc."""
    waiting = [root]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        yield folder
        with suppress(OSError):  # it ended
            for task in (folder / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())


def resident(root: int) -> int:
    """Bytes of memory that a process and all that come from it hold."""
    total = 0
    for folder in processes(root):
        with suppress(OSError):
            total += int((folder / "statm").read_text().split()[1]) * _PAGE
    return total


def cpu(root: int) -> float:
    """CPU seconds that a process and all that come from it used, but for what ended."""
    total = 0
    for folder in processes(root):
        with suppress(OSError):
            total += sum(int((task / "schedstat").read_text().split()[0]) for task in (folder / "task").iterdir())
    return total / 1e9


class Probe:
    """Probes one service."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._address = Address(question.host, question.port)
        self._receipt = re.compile(question.receipt.encode())
        self._number = question.first
        self._pending: set[asyncio.Task[None]] = set()
        self._phase = Phase()

    async def run(self) -> None:
        """Probe until it is cancelled."""
        due = time.monotonic()
        while True:
            self._begin(self._health(self._phase))
            self._begin(self._neighbour(self._phase))
            self._phase.memory = resident(self._question.pid)
            self._phase.peak = max(self._phase.peak, self._phase.memory)
            due = max(due + INTERVAL, time.monotonic() - 1.0)
            await asyncio.sleep(due - time.monotonic())
            self._phase.late.append(max(0.0, time.monotonic() - due))

    async def next_phase(self) -> Phase:
        """Begin a phase; the one that ended, once all of its probes are answered or given up."""
        ended, self._phase = self._phase, Phase()
        while waiting := [task for task in self._pending if task.get_name() == str(id(ended))]:
            await asyncio.wait(waiting)
        return ended

    def _begin(self, probing: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(probing, name=str(id(self._phase)))  # type: ignore[arg-type]
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _health(self, phase: Phase) -> None:
        status, seconds, _ = await self._ask(request("GET", self._question.health, {"Connection": "close"}))
        phase.health.append(seconds)
        _count(phase.health_answers, status)

    async def _neighbour(self, phase: Phase) -> None:
        self._number += 1
        body = self._question.template.replace("@NUMBER@", f"{self._number:012d}").encode()
        headers = {**self._question.headers, "Connection": "close"}
        status, seconds, told = await self._ask(request("POST", self._question.path, headers, body))
        phase.neighbour.append(seconds)
        _count(phase.neighbour_answers, status)
        if 200 <= status < 300:
            phase.receipts += [found.decode() for found in self._receipt.findall(told)]

    async def _ask(self, data: bytes) -> tuple[int, float, bytes]:
        begin = time.monotonic()
        try:
            answer = await ask(self._address, data, PATIENCE)
        except NoAnswer:
            return 0, time.monotonic() - begin, b""
        return answer.status, time.monotonic() - begin, answer.body


def _count(counts: dict[str, int], status: int) -> None:
    counts[str(status)] = counts.get(str(status), 0) + 1


async def main() -> None:
    """Probe as standard input says."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    probe = Probe(Question(**json.loads(await reader.readline())))
    running = asyncio.create_task(probe.run())
    while await reader.readline():
        print(json.dumps(dataclasses.asdict(await probe.next_phase())), flush=True)
        if running.done():
            running.result()
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main())
