"""The process that does a trial's work: ``python -m adapter.trials.process``.

It reads works from standard input and answers on standard output, one after the other, until its input ends. A work is
a length of 8 bytes and a pickle of seconds, a function of this package and its arguments. An answer is a byte that says
what it is, a length of 8 bytes, and so many bytes.

What it runs may be anybody's: patterns, tables, texts. Its memory is bounded by the system, its time by whoever started
it, and by an alarm should that one be gone.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import traceback
from pathlib import Path
from typing import BinaryIO

import orjson

from adapter.errors import RequestError
from adapter.subprocesses import begin, run

#: Address space of the process, bytes.
MEMORY = 192 * 1024 * 1024
#: It ends after a work that left it with so much memory, bytes: the interpreter gives little of it back.
LARGE = 96 * 1024 * 1024
#: Bytes of an answer.
ANSWER_SIZE = 16 * 1024 * 1024

#: Bytes of a traceback, whose end says most; a text of the caller's may stand in it.
TRACEBACK_SIZE = 64 * 1024

#: What an answer is: the bytes that the function gave; status, title, detail and members of a refusal, as JSON; the
#: traceback of an error that is ours.
DONE, REFUSED, FAILED = range(3)
#: Added where it is the last answer of this process.
LAST = 0x80
LENGTH = 8


def refusal(status: int, title: str, detail: str, **extra: object) -> bytes:
    """What is answered with `REFUSED`."""
    return orjson.dumps([status, title, detail, extra])


def main() -> None:
    """Do what is asked for until the input ends."""
    begin()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What a library prints must not stand among answers.
    with os.fdopen(0, "rb") as works, os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        while length := works.read(LENGTH):
            kind, answer = _answer(works.read(int.from_bytes(length)))
            large = _memory() > LARGE
            _write(answers, kind | LAST if large else kind, answer)
            if large:
                return


def _answer(work: bytes) -> tuple[int, bytes]:
    try:
        seconds, function, arguments = pickle.loads(work)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        answer: bytes = function(*arguments)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except RequestError as error:
        return REFUSED, refusal(error.status, error.title, error.detail, **error.extra)
    except MemoryError:
        return REFUSED, refusal(422, "Trial refused", f"it needs more than {MEMORY >> 20} MiB of memory")
    except Exception:
        return FAILED, traceback.format_exc().encode("utf-8", "backslashreplace")[-TRACEBACK_SIZE:]
    if len(answer) > ANSWER_SIZE:
        detail = f"the answer has {len(answer)} bytes; the limit is {ANSWER_SIZE}: send fewer events at a time"
        return REFUSED, refusal(422, "Answer too large", detail)
    return DONE, answer


def _memory() -> int:
    """Bytes that the process has of the machine's memory. What `resource` gives counts its parent's, too."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0  # a system that does not say
    return int(pages) * resource.getpagesize()


def _write(answers: BinaryIO, kind: int, answer: bytes) -> None:
    answers.write(bytes([kind]) + len(answer).to_bytes(LENGTH) + answer)
    answers.flush()


if __name__ == "__main__":
    run(main, "adapter.trials.process")
