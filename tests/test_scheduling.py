"""Which of the tests' processes runs what, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scheduling import TOP, Durations, next_scope, read_durations, scope

TESTS = {"tests/test_long.py": 2, "tests/keycloak 26.6.4": 9, "tests/test_few.py": 3, "tests/test_many.py": 400}
TAKES = {"tests/keycloak 26.6.4": 300, "tests/test_long.py": 90}


def order(*, is_fetching: bool) -> list[str]:
    left, found = dict(TESTS), []
    while left:
        found.append(next_scope(left, TAKES, is_fetching=is_fetching))
        del left[found[-1]]
    return found


def test_what_takes_longest_is_first_and_what_nobody_measured_last() -> None:
    assert order(is_fetching=False) == [*TAKES, "tests/test_many.py", "tests/test_few.py"]


def test_what_holds_clocks_is_first() -> None:
    assert next_scope({"tests/hostile": 30, **TESTS}, TAKES, is_fetching=False) == "tests/hostile"


def test_whatever_holds_no_clock_gives_way() -> None:
    code = (
        "import os; from tests.scheduling import give_way\n"
        "for test in ('tests/receivers/test_score.py::test_one', 'tests/test_few.py::test_one'):\n"
        "    give_way(test); give_way(test); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    own = os.getpriority(os.PRIO_PROCESS, 0)
    said = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(own), str(max(own, 10))]


def test_what_needs_keycloak_waits_for_it_while_there_is_something_else() -> None:
    keycloak, long = TAKES
    assert order(is_fetching=True) == [long, "tests/test_many.py", "tests/test_few.py", keycloak]


@pytest.mark.parametrize(
    ("test", "runs_with"),
    [
        ("tests/log/test_runs.py::test_one[a::b]", "tests/log/test_runs.py"),
        ("tests/keycloak/test_pull.py::test_one[26.6.4]", "tests/keycloak 26.6.4"),
        ("tests/keycloak/test_faults.py::test_two[26.6.4-+5m]", "tests/keycloak 26.6.4"),
        ("tests/keycloak/test_compose.py::test_one", "tests/keycloak/test_compose.py"),
        ("tests/hostile/test_bodies.py::test_one", "tests/hostile"),
        ("tests/receivers/test_score.py::test_one", "tests/hostile"),
    ],
)
def test_those_of_a_file_of_one_keycloak_or_with_clocks_run_together(test: str, runs_with: str) -> None:
    assert scope(test) == runs_with


def test_what_scopes_take_is_written_longest_first_and_what_did_not_run_stays(tmp_path: Path) -> None:
    file = tmp_path / "durations.json"
    file.write_text('{"tests/test_hints.py": 7, "tests/test_gone.py": 9, "tests/test_folder.py": 50}')
    durations = Durations(file)
    for name, seconds in (("folder", 2.5), ("folder", 9.0), ("filter", 40.0), ("logs", 0.5)):
        taken = pytest.TestReport(
            f"tests/test_{name}.py::test_one", ("", 0, ""), {}, "passed", None, "call", duration=seconds
        )
        durations.pytest_runtest_logreport(taken)
    durations.pytest_sessionfinish()
    assert list(read_durations(file).items()) == [
        ("tests/test_filter.py", 40),
        ("tests/test_folder.py", 12),
        ("tests/test_hints.py", 7),
    ]
