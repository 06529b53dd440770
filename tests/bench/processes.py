"""Processes: what a whole tree of them uses, and functions that run in one of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import uvloop

from tests.bench.result import CannotMeasure

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_TICKS = os.sysconf("SC_CLK_TCK")
_KIB = 1024


@dataclass(slots=True, frozen=True)
class Run:
    """One measured run."""

    #: How much was done: events, requests.
    count: int
    seconds: float
    #: CPU seconds.
    cpu: float

    @property
    def rate(self) -> float:
        """So many a second."""
        return self.count / self.seconds

    @property
    def cpu_per_100_000(self) -> float:
        """CPU seconds that 100,000 cost."""
        return self.cpu / self.count * 100_000


class Stopwatch:
    """Time and CPU of this process, since it was made."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._begin = time.perf_counter()

    def stop(self, count: int) -> Run:
        seconds = time.perf_counter() - self._begin
        return Run(count, seconds, time.process_time() - self._cpu)


def run_apart(function: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
    """What a function gives that runs in a fresh process of its own; it and its arguments are pickled."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def run_beside(function: Callable[[int], Answer], count: int) -> list[Answer]:
    """What a function gives that runs in so many processes at the same time, each with its number, from 0."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(function, range(count)))


def run_loop(work: Coroutine[Any, Any, Answer]) -> Answer:
    """What a coroutine gives that runs on uvloop, as the service does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def program(name: str, package: str) -> str:
    """Where a program is.

    Raises:
        CannotMeasure: it is not installed; names the Debian package.
    """
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise CannotMeasure(f"{name} is not installed; on Debian: apt-get install {package}")
    return found


def tree(root: int) -> list[int]:
    """A process and all that come from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        if fields := _stat(stat):
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def cpu_seconds(root: int) -> float:
    """CPU time of a process and all that come from it, those that ended included."""
    ticks = 0
    for process in tree(root):
        if fields := _stat(Path(f"/proc/{process}/stat")):
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


@dataclass(slots=True, frozen=True)
class Memory:
    """What a tree of processes holds in memory, bytes."""

    #: Resident; what several share counts for each of them.
    rss: int
    #: Proportional: what several share is divided between them.
    pss: int


def memory(root: int) -> Memory:
    """Memory of a process and all that come from it, now."""
    found = {"Rss": 0, "Pss": 0}
    for process in tree(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # it ended
            continue
        for line in lines:
            name, _, value = line.partition(":")
            if name in found:
                found[name] += int(value.split()[0]) * _KIB
    return Memory(found["Rss"], found["Pss"])


def open_files_limit() -> None:
    """As many open files as this user may have: 64 connections on both sides are many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _stat(file: Path) -> list[str]:
    """Fields of a ``/proc/*/stat`` after the name, the state first; empty if the process ended."""
    try:
        return file.read_text().rpartition(")")[2].split()
    except OSError:
        return []
