"""Load, made by wrk: a generator in C that costs little beside what it measures."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.events import ID_MARK, TIME_MARK, marked_login
from tests.bench.processes import program
from tests.bench.result import CannotMeasure

_HERE = Path(__file__).parent
#: Time of the first login, epoch milliseconds.
_BEGIN = 1_780_000_000_000


@dataclass(slots=True, frozen=True)
class Load:
    """What was posted, and how long it took."""

    #: Requests answered with 202.
    accepted: int
    seconds: float


def post_singles(url: str, token: str, folder: Path, *, connections: int, seconds: int, seed: int) -> Load:
    """Post single logins, all of them new, for so many seconds; ``seed`` is another one for each call.

    Raises:
        CannotMeasure: wrk is not there, or a request was not answered with 202.
    """
    template = folder / "login.json"
    template.write_bytes(marked_login())
    command = [program("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_HERE / "single.lua")]
    begin = str(_BEGIN + seed * 10_000_000)
    arguments = [token, str(template), ID_MARK, TIME_MARK, str(seed), begin]
    done = subprocess.run([*command, url, "--", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"wrk failed: {done.stderr.strip()}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["refused"] or found["broken"]:
        raise CannotMeasure(
            f"{url}: of {found['requests']} requests {found['refused']} were refused and "
            f"{found['broken']} broke off; all should have been answered with 202"
        )
    return Load(found["requests"], found["microseconds"] / 1e6)


def post_bodies(url: str, token: str, file: Path, *, connections: int) -> Load:
    """Post each line of the file once; the time runs from the first request to the last answer.

    Raises:
        CannotMeasure: wrk is not there, or a body was not answered with 202.
    """
    with file.open("rb") as lines:
        count = sum(1 for _ in lines)
    command = [
        program("wrk", "wrk"),
        "-t1",
        f"-c{min(connections, count)}",
        "-d1h",
        "--timeout=60s",
        "-s",
        str(_HERE / "bodies.lua"),
    ]
    with subprocess.Popen(
        [*command, url, "--", token, str(file), str(count)], stdout=subprocess.PIPE, text=True
    ) as wrk:
        assert wrk.stdout is not None
        begin = end = accepted = None
        for line in wrk.stdout:
            word, _, rest = line.partition(" ")
            if word.strip() == "begin":
                begin = time.perf_counter()
            elif word == "end":
                end, accepted = time.perf_counter(), int(rest)
    if begin is None or end is None or accepted is None:
        raise CannotMeasure(f"{url}: wrk ended before all {count} bodies were answered")
    if accepted != count:
        raise CannotMeasure(f"{url}: {count - accepted} of {count} bodies were not answered with 202")
    return Load(accepted, end - begin)
