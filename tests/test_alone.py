"""Tests that hold clocks run alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.alone import running

#: Seconds; a wait for what comes takes far less, and one for what must not come takes `MOMENT`.
DEADLINE, MOMENT = 30.0, 0.2


class One(threading.Thread):
    """A test that runs until it is told to end."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        super().__init__(daemon=True)
        self.runs, self.may_end = threading.Event(), threading.Event()
        self._folder, self._alone = folder, alone
        self.start()

    def run(self) -> None:
        with running(self._folder, alone=self._alone):
            self.runs.set()
            self.may_end.wait(DEADLINE)

    def end(self) -> None:
        self.may_end.set()
        self.join(DEADLINE)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[bool], One]]:
    begun: list[One] = []

    def begin(alone: bool) -> One:
        begun.append(One(tmp_path, alone=alone))
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def test_others_run_beside_each_other(begin: Callable[[bool], One]) -> None:
    assert all(begin(False).runs.wait(DEADLINE) for _ in range(3))


def test_one_that_is_to_be_alone_waits_for_those_that_run_and_keeps_more_from_beginning(
    begin: Callable[[bool], One],
) -> None:
    others = [begin(False), begin(False)]
    assert all(other.runs.wait(DEADLINE) for other in others)
    alone = begin(True)
    assert not alone.runs.wait(MOMENT)
    later = begin(False)
    others[0].end()
    assert not alone.runs.wait(MOMENT)
    assert not later.runs.is_set()
    others[1].end()
    assert alone.runs.wait(DEADLINE)
    assert not later.runs.wait(MOMENT)
    alone.end()
    assert later.runs.wait(DEADLINE)
