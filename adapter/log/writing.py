"""The service's side of the process that writes the log: starts it, hands it works, hears its answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import structlog

from adapter.child import command, environment
from adapter.counts import Commits
from adapter.errors import StoreUnavailable
from adapter.log.messages import Answer, Committed, Options, Packer, Refused, Unpacker, Work

#: Waits before the writer is started again, seconds: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
#: Room for frames on their way, bytes, if the system gives as much.
_ROOM = 1024 * 1024

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_writing(options: Options) -> AsyncIterator[Writing]:
    """The writer of a log while the context lasts.

    Raises:
        StoreError: it cannot open the log; says why.
    """
    writing = Writing(options)
    await writing.start()
    try:
        yield writing
    finally:
        await writing.close()


class Writing:
    """Works on their way to the writer, and answers on their way back; used on the event loop's thread."""

    def __init__(self, options: Options) -> None:
        #: Position of the last entry that is committed.
        self.head = 0
        #: How the commits went, for metrics.
        self.commits = Commits()
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._packer = Packer()
        self._process: asyncio.subprocess.Process | None = None
        self._line: _Line | None = None
        #: What was called since the loop's last round, and who waits for answers.
        self._frames = bytearray()
        self._calls: deque[asyncio.Future[Answer]] = deque()
        #: Set, and replaced, when the head moves; ``None`` while nobody waits.
        self._moved: asyncio.Event | None = None
        #: Why there is no line, while there is none.
        self._missing = "the log is not open yet"
        self._restarting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """Process id of the writer, while one runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the writer, and return when it has opened the log.

        Raises:
            StoreError: it cannot open it; says why.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
            arguments = command("adapter.log.writer")
            self._process = await asyncio.create_subprocess_exec(*arguments, stdin=theirs.fileno(), env=environment())
        _, line = await self._loop.create_unix_connection(lambda: _Line(self._heard, self._lost), sock=ours)
        frame = bytearray()
        self._packer.add(self._options, frame)
        line.transport.write(frame)
        try:
            opened = await line.opened
            for answer in opened.answers:
                if type(answer) is Refused:
                    raise answer.error()
        except BaseException:
            line.transport.close()
            await self._process.wait()
            raise
        self._show(opened.head)
        self._line = line

    def call(self, work: Work) -> asyncio.Future[Answer]:
        """Hand a work over; the answer comes when its transaction is over. To cancel it takes nothing back.

        Raises:
            StoreUnavailable: there is no writer now.
        """
        if self._line is None:
            raise StoreUnavailable(self._missing)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if not self._frames:
            # At the end of this round of the loop, so that all calls of the round go together.
            self._loop.call_soon(self._hand_over)
        self._packer.add(work, self._frames)
        self._calls.append(answer)
        return answer

    async def close(self) -> None:
        """End the writer when all calls made before are answered."""
        self._closed = True
        if self._restarting is not None:
            self._restarting.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
        self._end("the log is closed")
        if self._process is not None:
            await self._process.wait()

    def _hand_over(self) -> None:
        frames, self._frames = self._frames, bytearray()
        # On a line that closes already, all who wait are told when it has.
        if self._line is not None and not self._line.transport.is_closing():
            self._line.transport.write(frames)

    async def wait(self, after: int, timeout: float | None = None) -> int:
        """Return the head once it is greater than ``after``, or as it is when ``timeout`` seconds have passed."""
        try:
            async with asyncio.timeout(timeout):
                while self.head <= after:
                    if self._moved is None:
                        self._moved = asyncio.Event()
                    await self._moved.wait()
        except TimeoutError:
            pass
        return self.head

    def _show(self, head: int) -> None:
        """Let readers see what was committed."""
        if head != self.head:
            self.head = head
            if self._moved is not None:
                self._moved.set()
                self._moved = None

    def _heard(self, message: Committed) -> None:
        self.commits.add(message.entries, message.seconds)
        self._show(message.head)
        for answer in message.answers:
            call = self._calls.popleft()
            if call.done():
                continue  # cancelled
            if type(answer) is Refused:
                call.set_exception(answer.error())
            else:
                call.set_result(answer)

    def _lost(self) -> None:
        """The writer ended: what it was asked may be stored or not, and is to be asked again."""
        if self._line is None:
            return
        self._end("the process that writes the log ended; it is being started again")
        if not self._closed:
            self._restarting = self._loop.create_task(self._start_again())

    async def _start_again(self) -> None:
        wait = FIRST_WAIT
        while True:
            code = None if self._process is None else await self._process.wait()
            _log.error("log_writer_ended", code=code, again_in=wait)
            await asyncio.sleep(wait)
            try:
                return await self.start()
            except Exception as error:
                self._missing = str(error)
            wait = min(wait * 2, LONGEST_WAIT)

    def _end(self, why: str) -> None:
        line, self._line = self._line, None
        self._missing = why
        self._frames.clear()
        calls, self._calls = self._calls, deque()
        for call in calls:
            if not call.done():
                call.set_exception(StoreUnavailable(why))
        if line is not None:
            line.transport.close()


class _Line(asyncio.Protocol):
    """Our end of the socket."""

    transport: asyncio.Transport

    def __init__(self, heard: Callable[[Committed], None], lost: Callable[[], None]) -> None:
        #: The first message: how the log was opened.
        self.opened: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._unpacker = Unpacker(Committed)
        self._heard = heard
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.take(data):
            if self.opened.done():
                self._heard(message)
            else:
                self.opened.set_result(message)

    def connection_lost(self, error: Exception | None) -> None:
        if self.opened.done():
            self._lost()
        else:
            self.opened.set_exception(StoreUnavailable("the process that writes the log ended at once"))
