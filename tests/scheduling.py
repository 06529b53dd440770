"""Which process runs which tests, and when, where tests run in several (pytest-xdist): so that none of them waits for
another, or for a download, while there is something to do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from tests.keycloak.distribution import is_fetched

TOP = Path(__file__).parent.parent
#: Seconds that scopes took, of those that took longest; written by ``pytest --write-durations``.
DURATIONS = Path(__file__).with_name("durations.json")
#: What took less is not worth a line of it.
_SHORT = 3

_SERVER = re.compile(r"tests/keycloak/.*[\[-](\d+\.\d+\.\d+)[\]-]")
_KEYCLOAK = "tests/keycloak"
#: Whose tests hold clocks.
_TIMED = "tests/hostile"
_ALL_TIMED = (f"{_TIMED}/", "tests/receivers/")
#: By how much all other tests give way to these (`nice`).
_NICENESS = 10


def scope(nodeid: str) -> str:
    """What a test runs in one process with: the tests of its file, or all those that need one Keycloak, which starts
    once, or all that hold clocks, one after another."""
    if nodeid.startswith(_ALL_TIMED):
        return _TIMED
    found = _SERVER.match(nodeid)
    return f"{_KEYCLOAK} {found[1]}" if found else nodeid.split("::", 1)[0]


def give_way(nodeid: str) -> None:
    """Let what this process runs from a test on, and all that it starts, wait for tests that hold clocks. A process
    cannot take that back, so those are run by one that has run no others."""
    if not nodeid.startswith(_ALL_TIMED):
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def read_durations(file: Path = DURATIONS) -> dict[str, int]:
    """Seconds by scope."""
    read: dict[str, int] = json.loads(file.read_text())
    return read


def next_scope(tests: Mapping[str, int], durations: Mapping[str, int], *, is_fetching: bool) -> str:
    """Of some scopes, with how many tests they have, the one to begin: what takes longest, so that all processes end at
    about the same time; of those that nobody has measured the one with the most tests. What needs a Keycloak waits
    while it is being fetched, as long as there is something else; what holds clocks is first (`give_way`)."""
    ready = [name for name in tests if not (is_fetching and name.startswith(_KEYCLOAK))]
    return max(ready or tests, key=lambda name: (name == _TIMED, durations.get(name, 0), tests[name]))


class Durations:
    """Sums what each scope takes, for `DURATIONS`."""

    def __init__(self, file: Path = DURATIONS) -> None:
        self._file = file
        self._taken: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = scope(report.nodeid)
        self._taken[name] = self._taken.get(name, 0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Write them; scopes that did not run keep what they have, if they are still there."""
        kept = {name: one for name, one in read_durations(self._file).items() if (TOP / name.split()[0]).exists()}
        both = {**kept, **{name: round(one) for name, one in self._taken.items()}}
        lines = [
            f"  {json.dumps(name)}: {one}"
            for name, one in sorted(both.items(), key=lambda item: (-item[1], item[0]))
            if one >= _SHORT
        ]
        self._file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """Runs scopes in the order of `next_scope`, while what is not there of Keycloak is fetched. The order of
    pytest-xdist, by the number of tests, has the longest ones last."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self._durations = read_durations()
        self._fetching: subprocess.Popen[bytes] | None = None

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        # Whoever was given what is done already would have nothing to run, and wait for ever.
        left = {name: unit for name, unit in self.assigned_work[node].items() if not all(unit.values())}
        self.assigned_work[node] = left
        crashed: str | None = super().remove_node(node)
        return crashed

    def schedule(self) -> None:
        if self.collection is None:
            self._fetch()
        super().schedule()

    def _assign_work_unit(self, node: WorkerController) -> None:
        is_fetching = self._fetching is not None and self._fetching.poll() is None
        tests = {name: len(unit) for name, unit in self.workqueue.items()}
        self.workqueue.move_to_end(next_scope(tests, self._durations, is_fetching=is_fetching), last=False)
        super()._assign_work_unit(node)

    def _fetch(self) -> None:
        """Begin to fetch what is not there. Tests that need what could not be had try again, and say what is wrong."""
        collected = next(iter(self.registered_collections.values()))
        if not is_fetched() and any(one.startswith(_KEYCLOAK) for one in collected):
            words = ["nice", f"-n{_NICENESS}", sys.executable, "-m", "tests.keycloak.distribution"]
            fetching = subprocess.Popen(
                words, cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self._fetching = fetching
            self.config.add_cleanup(partial(_end, fetching))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
