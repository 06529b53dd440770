"""Keeps the filler running: tells it how far the log is, and hears how far it got."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import structlog

from adapter.log.protocol import Log
from adapter.search.filler import PEOPLE, PRUNE, PRUNED
from adapter.subprocesses import command, environment
from adapter.tasks import in_background

_log = structlog.get_logger(__name__)

#: How long entries may gather before they are filled in while nobody asks, seconds: larger batches cost less each.
GATHERING = 0.5
#: As many entries are filled in at once, asked for or not.
ENOUGH = 5_000
#: Waits before the filler is started again, seconds: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0
#: How long a filler may take to end when its input does, seconds: then it is killed, and a batch is filled in again.
ENDING = 0.2
#: How long is waited for the search to be pruned, seconds.
PRUNING = 60.0
#: How often a long filling reports, seconds.
REPORTING = 5.0


class Filling:
    """The search's way from behind the log to its head."""

    def __init__(
        self,
        url: str,
        log: Log,
        log_url: str,
        *,
        with_people: bool = True,
        gathering: float = GATHERING,
        remove: Callable[[], None] = lambda: None,
    ) -> None:
        """``with_people``: whether the search keeps accounts; ``gathering``: how long entries may gather while nobody
        asks here, seconds; ``remove`` takes away what is left of a search that is damaged."""
        self._url = url
        self._log = log
        self._log_url = log_url
        self._with_people = with_people
        self._gathering = gathering
        self._remove = remove
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        #: Those who wait for the search to be pruned.
        self._pruning: list[asyncio.Future[bool]] = []
        self._asked = asyncio.Event()
        self._answered = asyncio.Event()
        #: Filled up to here; 0 until the filler has opened the search.
        self.position = 0
        #: Counts the searches: raised when one is thrown away.
        self.generation = 0
        #: Why the last one was thrown away, if one was.
        self.rebuilt: str | None = None

    @property
    def process_id(self) -> int | None:
        """Process id of the filler, while one runs."""
        return None if self._process is None else self._process.pid

    async def wait(self, position: int) -> None:
        """Return when the search is filled up to ``position``."""
        if self.position >= position:
            return
        reached = asyncio.get_running_loop().create_future()
        self._waiting.append((position, reached))
        self._asked.set()
        try:
            await reached
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not reached]

    async def prune(self) -> bool:
        """Have the filler remove what was removed from the log; whether it has done so within some time. It goes on in
        any case."""
        process = self._process
        if process is None or process.stdin is None:
            return False
        pruned: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pruning.append(pruned)
        try:
            async with asyncio.timeout(PRUNING):
                process.stdin.write(PRUNE)
                await process.stdin.drain()
                return await pruned
        except (OSError, RuntimeError, TimeoutError):
            return False

    def throw_away(self, generation: int, reason: str) -> None:
        """Have the search built again, unless that of ``generation`` is gone already."""
        if generation != self.generation:
            return
        self.generation += 1
        self.position = 0
        self.rebuilt = reason
        self._remove()
        _log.warning("search_rebuild", reason=reason, head=self._log.head)
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def begin_again(self) -> None:
        """Have the filler look where the search ends: it has gone back."""
        self.position = 0
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def run(self) -> None:
        """Start the filler, and again whenever it ends, until cancelled."""
        wait = FIRST_WAIT
        while True:
            begun, rebuilt = self.position, self.generation
            code: int | None
            try:
                code = await self._run_filler()
            except OSError as error:
                code = error.errno
            except Exception:
                # A fault of ours must not end the search.
                _log.exception("search_filler_lost")
                code = None
            self.position = min(self.position, self._log.head)
            if self.generation == rebuilt:
                _log.error("search_filler_ended", code=code, position=self.position, again_in=wait)
            if self.position > begun:
                wait = FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _run_filler(self) -> int:
        """Run one filler to its end; its exit code."""
        async with _open_filler(self._url, self._log_url, self._with_people) as process:
            self._process = process
            telling = asyncio.create_task(self._tell(process))
            try:
                await self._listen(process)
            finally:
                telling.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await telling
                self._process = None
                self._end_pruning(False)
            return await process.wait()

    def _end_pruning(self, done: bool) -> None:
        pruning, self._pruning = self._pruning, []
        for one in pruning:
            if not one.done():
                one.set_result(done)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        generation = self.generation
        reported, far_behind = time.monotonic(), False
        async for line in process.stdout:
            if generation != self.generation:
                continue  # the last words of one that works on a removed file
            if line.startswith(PRUNED.encode()):
                self._end_pruning(True)
                continue
            if line.startswith(b"!"):
                self.throw_away(generation, line[1:].decode().strip())
                continue
            self.position = int(line)
            self._answered.set()
            for position, reached in self._waiting:
                if position <= self.position and not reached.done():
                    reached.set_result(None)
            if time.monotonic() - reported >= REPORTING and self._log.head - self.position > ENOUGH:
                _log.info("search_filling", position=self.position, head=self._log.head)
                reported, far_behind = time.monotonic(), True
            elif far_behind and self.position >= self._log.head:
                _log.info("search_filled", position=self.position)
                far_behind = False

    async def _tell(self, process: asyncio.subprocess.Process) -> None:
        """Tell the filler the log's head, one at a time, and let entries gather in between."""
        assert process.stdin is not None
        while True:
            head = await self._log.wait(self.position)
            try:
                process.stdin.write(b"%d\n" % head)
                await process.stdin.drain()
            except (OSError, RuntimeError):  # uvloop says so when the pipe is closed
                return  # it ended, as whoever listens to it hears
            await self._answered_to(head)
            if not self._waiting and self._log.head - self.position < ENOUGH:
                self._asked.clear()
                with contextlib.suppress(TimeoutError):
                    # asyncio.wait_for may lose the cancellation that ends this task (Python 3.11).
                    async with asyncio.timeout(self._gathering):
                        await self._asked.wait()

    async def _answered_to(self, head: int) -> None:
        while self.position < head:
            self._answered.clear()
            await self._answered.wait()


@contextlib.asynccontextmanager
async def _open_filler(url: str, log_url: str, with_people: bool) -> AsyncIterator[asyncio.subprocess.Process]:
    """A running filler; it is ended by the end of its input, or killed if that takes too long."""
    process = await asyncio.create_subprocess_exec(
        *command("adapter.search.filler"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    try:
        process.stdin.write(f"{url}\n{log_url}\n{PEOPLE if with_people else ''}\n".encode())
        yield process
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(ENDING):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def open_filling(filling: Filling) -> AsyncIterator[Filling]:
    """A filling that runs while the context lasts."""
    async with in_background(filling.run(), "search filling"):
        yield filling
