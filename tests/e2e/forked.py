"""``idp-adapter serve`` as a process that is forked off one which has everything imported and the tables read: what a
service does before it opens its data, a second or two of work, is done once, and not for each service."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing import connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.reduction import DupFd
from typing import Any, BinaryIO

import adapter.__main__ as program

#: An exit code is read once, of all processes when another one starts.
_asking = threading.Lock()


class Forked:
    """A service's process, with the words of `subprocess.Popen`."""

    def __init__(self, words: Sequence[str], variables: Mapping[str, str], out: BinaryIO, err: BinaryIO) -> None:
        """``words``: of the command line, behind the program's name; ``variables``: all of its environment."""
        self._process = ForkServerProcess(target=_Start(words, variables, out, err))
        with _asking:
            _preload()
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, or the number of the signal that ended it, negative; ``None``: it runs."""
        with _asking:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended.

        Raises:
            TimeoutError: it goes on.
        """
        connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise TimeoutError(f"{self.pid} has not ended after {timeout} seconds")
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        with _asking:
            self._process.kill()


class _Start:
    """What the new process does; it gets there by a pipe."""

    def __init__(self, words: Sequence[str], variables: Mapping[str, str], out: BinaryIO, err: BinaryIO) -> None:
        self._words, self._variables = [*words], {**variables}
        self._files: Any = (out, err)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": [DupFd(file.fileno()) for file in self._files]}

    def __call__(self) -> None:
        given = [os.open(os.devnull, os.O_RDONLY), *(file.detach() for file in self._files)]
        for number, descriptor in enumerate(given):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
        os.environ.clear()
        os.environ.update(self._variables)
        time.tzset()
        sys.argv = [str(program.__file__), *self._words]
        program.main()


@cache
def _preload() -> None:
    context = ForkServerContext()
    context.set_forkserver_preload(["tests.e2e.preloaded"])
