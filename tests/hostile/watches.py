"""Three watches over a service while it is attacked: it answers others in time, its memory is bounded and comes back,
and nothing that it acknowledged is lost.

They know nothing of the service but what a `Subject` says.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.hostile.client import Address, Answer, NoAnswer, ask
from tests.hostile.probe import Phase, Question, resident
from tests.hostile.table import MB, Row

#: What is asked by everybody, and who posts beside an attack.
HEALTH = "/healthz"
NEIGHBOUR = "neighbour"

_TOP = Path(__file__).parent.parent.parent


class Memory(Protocol):
    """What a service stored, as its readers see it."""

    async def missing(self, acknowledged: set[str]) -> set[str]:
        """Those acknowledged that cannot be found."""

    async def head(self) -> int:
        """How many are stored."""


@dataclass(frozen=True)
class Limits:
    """What must hold; ``margin`` widens the times, for machines that are busy with something else."""

    #: Seconds, 99th percentile.
    latency: float = 0.25
    #: Bytes, all processes.
    memory: int = 512 * MB
    #: Bytes that may stay afterwards.
    kept: int = 50 * MB
    margin: float = 1.0
    #: Seconds that an idle run takes, an attack at least, and memory at most to come back.
    idle: float = 2.0
    least: float = 2.0
    settle: float = 30.0


@dataclass
class Subject:
    """A service that runs, and all that it acknowledged since it was first started."""

    address: Address
    question: Question
    stored: Memory
    limits: Limits
    probe: asyncio.subprocess.Process
    acknowledged: set[str] = field(default_factory=set)
    #: Acknowledged as new; and whether requests may have been stored without an answer that says so.
    new: int = 0
    unsure: bool = False


@asynccontextmanager
async def probing(question: Question) -> AsyncIterator[asyncio.subprocess.Process]:
    """A probe of a service, in a process of its own."""
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.hostile.probe",
        cwd=_TOP,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    assert probe.stdin is not None
    try:
        probe.stdin.write(json.dumps(dataclasses.asdict(question)).encode() + b"\n")
        await probe.stdin.drain()
        yield probe
    finally:
        with suppress(ProcessLookupError):
            probe.kill()
        await probe.communicate()


class Watch:
    """What one attack saw of the service."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.answers: Counter[int] = Counter()
        #: What an attack wants to complain of, besides the watches.
        self.complaints: list[str] = []

    async def send(self, data: bytes, patience: float = 60.0) -> Answer:
        """Send a request and count its answer; status 0 if there was none."""
        try:
            answer = await ask(self.subject.address, data, patience)
        except NoAnswer as error:
            answer = Answer(0, {}, str(error).encode(), patience)
        self.count(answer)
        return answer

    def count(self, answer: Answer) -> None:
        """Count an answer, and remember what it acknowledges."""
        self.answers[answer.status] += 1
        if 200 <= answer.status < 300:
            self._acknowledged(answer.body)
        elif answer.status in (0, 503):
            self.subject.unsure = True

    def _acknowledged(self, body: bytes) -> None:
        try:
            told = json.loads(body)
            self.subject.new += told["accepted"] + told["quarantined"]
            self.subject.acknowledged.update(uid for uid in told["uids"] if uid is not None)
        except (ValueError, KeyError, TypeError):
            self.subject.unsure = True

    def expect(self, holds: bool, complaint: str) -> None:
        """Complain at the end, beside the watches, if something does not hold."""
        if not holds:
            self.complaints.append(complaint)


@asynccontextmanager
async def watching(
    subject: Subject,
    report: Callable[[Row], None],
    group: str,
    attack: str,
    bound: str,
    *,
    neighbour: Iterable[int] = (202,),
    memory: bool = True,
    responsive: Iterable[str] = (HEALTH, NEIGHBOUR),
) -> AsyncIterator[Watch]:
    """Watch the service while the context lasts; ``report`` gets the row of the table.

    ``neighbour``: the answers that the good neighbour may get meanwhile. ``memory``: whether memory is bounded in this
    attack; ``responsive``: whose times are (not the neighbour's, for instance, while the writer stands still).

    Raises:
        AssertionError: a bound was broken; names each.
    """
    limits = subject.limits
    watch = Watch(subject)
    await _phase(subject)
    await asyncio.sleep(limits.idle)
    before = resident(subject.question.pid)
    idle = await _phase(subject)
    begin = time.monotonic()
    yield watch
    await asyncio.sleep(max(0.0, limits.least - (time.monotonic() - begin)))
    during = await _phase(subject)
    after = await _settled(subject.question.pid, before + limits.kept, limits)
    aftermath = await _phase(subject)
    lost = await subject.stored.missing(subject.acknowledged)
    head = await subject.stored.head()
    # The probes that run on meanwhile are counted before and after.
    running = await _phase(subject)
    row = Row(
        group,
        attack,
        bound,
        dict(watch.answers),
        p99(during.health),
        p99(idle.health),
        p99(during.neighbour),
        p99(idle.neighbour),
        p99(during.late),
        before,
        max(during.peak, aftermath.peak),
        after,
        len(lost),
    )
    report(row)
    wrong = list(watch.complaints)
    for name, at, of in (
        (HEALTH, row.health, row.idle_health),
        (NEIGHBOUR, row.neighbour, row.idle_neighbour),
    ):
        # Where the host of a virtual machine takes its processors, everybody waits.
        allowed = (of + limits.latency + row.late) * limits.margin
        if name in responsive and at > allowed:
            wrong.append(f"{name}: {at * 1000:.0f} ms (p99), allowed {allowed * 1000:.0f}, idle {of * 1000:.0f}")
    alive = {200} if HEALTH in responsive else {0, 200}
    wrong += [
        f"{name} answered {answers}"
        for name, answers, right in (
            (HEALTH, during.health_answers, alive),
            (NEIGHBOUR, during.neighbour_answers, {*neighbour}),
            (f"{HEALTH} afterwards", aftermath.health_answers, {200}),
            (f"{NEIGHBOUR} afterwards", aftermath.neighbour_answers, {202, *neighbour}),
        )
        if not {int(status) for status in answers} <= right
    ]
    if memory and row.peak > limits.memory:
        wrong.append(f"memory: {row.peak / MB:.0f} MB at most, allowed {limits.memory / MB:.0f}")
    if memory and after > before + limits.kept:
        wrong.append(f"memory: {before / MB:.0f} MB before, {after / MB:.0f} MB afterwards")
    if lost:
        wrong.append(f"lost: {len(lost)} acknowledged events, such as {sorted(lost)[:3]}")
    # What the probes stored while the head was asked for is in neither or both.
    slack = len(running.receipts)
    if head < subject.new - slack or (head > subject.new + slack and not subject.unsure):
        wrong.append(f"stored: {head}, acknowledged as new: {subject.new}")
    assert not wrong, f"{group}: {attack}\n  " + "\n  ".join(wrong) + f"\n  answers: {dict(watch.answers)}"


def p99(seconds: list[float]) -> float:
    """The 99th percentile (nearest rank); 0 of nothing."""
    return sorted(seconds)[-1 - len(seconds) // 100] if seconds else 0.0


async def _phase(subject: Subject) -> Phase:
    """End the probe's phase; what was seen in it. What was acknowledged in it is remembered."""
    assert subject.probe.stdin is not None and subject.probe.stdout is not None
    subject.probe.stdin.write(b"next\n")
    await subject.probe.stdin.drain()
    line = await subject.probe.stdout.readline()
    assert line, f"the probe ended: {subject.probe.returncode}"
    phase = Phase(**json.loads(line))
    subject.acknowledged.update(phase.receipts)
    subject.new += len(phase.receipts)
    subject.unsure |= any(status in ("0", "503") for status in phase.neighbour_answers)
    return phase


async def _settled(pid: int, wanted: int, limits: Limits) -> int:
    """Resident memory once it is no more than wanted, or after as long as that may take."""
    until = time.monotonic() + limits.settle
    while True:
        now = resident(pid)
        if now <= wanted or time.monotonic() > until:
            return now
        await asyncio.sleep(0.1)
