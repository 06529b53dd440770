"""The service's side of trials: hands works to the process that does them, one at a time, and kills it when one takes
too long."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import structlog

from adapter.errors import RequestError
from adapter.subprocesses import command, environment
from adapter.trials.process import ANSWER_SIZE, DONE, LAST, LENGTH, MEMORY, REFUSED

#: Requests that may have a trial under way or wait for their turn.
PLACES = 8
#: The process ends when nothing was asked for so long, seconds: to start one takes half a second.
IDLE = 30.0
#: Seconds after its deadline at which the process ends by itself, should the service be gone.
_GRACE = 1.0

_log = structlog.get_logger("adapter.trials")


class TrialFailed(Exception):
    """A work raised an error that is ours; its traceback is in the log."""


class AnswerTooLarge(Exception):
    """The process announced more than an answer may have: whatever runs in it, the service does not take it in."""


class Trials:
    """Works on what callers brought, each of them a function of this package, run in a process beside the service.

    Nothing of a work takes a thread or the time of the event loop, and the end of the service waits for none.
    """

    def __init__(self, *, timeout: float) -> None:
        """``timeout``: seconds that one work may take."""
        self._timeout = timeout
        self._taken = 0
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        #: Killed, and perhaps not ended yet.
        self._killed: list[asyncio.subprocess.Process] = []
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """Process id of the process, while one runs."""
        return None if self._process is None else self._process.pid

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place among those that try something; to be taken before what they bring is read.

        Raises:
            RequestError: 503, all are taken.
        """
        if self._taken >= PLACES:
            detail = f"{PLACES} trials are under way or wait; try again later"
            raise RequestError(503, "Too many trials", detail, headers={"Retry-After": "5"})
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def run(self, work: Callable[..., bytes], *arguments: Any) -> bytes:
        """What a function of a module gives, called in the process when it is its turn. Function and arguments are
        pickled, its modules imported there.

        Raises:
            RequestError: as the function raised it; 422, it took too long or too much memory; 503, the service stops.
            TrialFailed: the function raised something else.
        """
        async with self._turn:
            # Not before its turn: of all that wait, one is held twice.
            call = pickle.dumps((self._timeout + _GRACE, work, arguments))
            if self._idle is not None:
                self._idle.cancel()
            try:
                async with asyncio.timeout(self._timeout):
                    kind, answer = await self._ask(call)
            except TimeoutError:
                detail = f"not done within {self._timeout:g} s; try less at a time, or simpler patterns"
                raise self._broken_off("Trial took too long", detail) from None
            except AnswerTooLarge:
                raise self._broken_off("Trial refused", "its process gave an answer that is too large") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                detail = f"its process ended; it may need more than {MEMORY >> 20} MiB of memory"
                raise self._broken_off("Trial refused", detail) from None
            except BaseException:
                self._end()
                raise
            if kind & LAST:
                self._end()
            else:
                self._idle = asyncio.get_running_loop().call_later(IDLE, self._end)
        if kind & ~LAST == DONE:
            return answer
        if kind & ~LAST == REFUSED:
            status, title, detail, extra = orjson.loads(answer)
            raise RequestError(status, title, detail, **extra)
        _log.error("trial_failed", work=work.__qualname__, exception=answer.decode())
        raise TrialFailed(work.__qualname__)

    async def close(self) -> None:
        """End the process at once, whatever it does; who waits for it is told that the service stops."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
        self._end()
        async with self._turn:  # nobody listens to them any more
            for process in self._killed:
                await process.communicate()

    async def _ask(self, call: bytes) -> tuple[int, bytes]:
        process = self._process
        if process is None or process.returncode is not None:
            process = await self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(len(call).to_bytes(LENGTH) + call)
        await process.stdin.drain()
        head = await process.stdout.readexactly(1 + LENGTH)
        size = int.from_bytes(head[1:])
        if size > ANSWER_SIZE:
            raise AnswerTooLarge
        return head[0], await process.stdout.readexactly(size)

    async def _start(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise _stopping()
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        arguments = command("adapter.trials.process")
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=pipe, stdout=pipe, stderr=nothing, env=environment()
        )
        self._process = process
        if self._closed:
            self._end()
        return process

    def _broken_off(self, title: str, detail: str) -> RequestError:
        """The process is to end, whatever it does, and its work is answered so."""
        self._end()
        return _stopping() if self._closed else RequestError(422, title, detail)

    def _end(self) -> None:
        process, self._process = self._process, None
        self._killed = [one for one in self._killed if one.returncode is None]
        if process is not None and process.returncode is None:
            self._killed.append(process)
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _stopping() -> RequestError:
    return RequestError(503, "Stopping", "the service stops; try again later", headers={"Retry-After": "5"})
