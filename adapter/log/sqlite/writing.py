"""The service's side of the process that writes the log: starts it, hands it works, hears its answers.

What was handed over and is not answered is bounded in bytes (`Budget`) and in time: a work that is not answered within
the time for a commit fails with `StoreUnanswered`, and until an answer comes no more are taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import msgspec
import structlog

from adapter.counts import Commits
from adapter.errors import StoreDamaged, StoreError, StoreMismatch, StoreUnanswered, StoreUnavailable
from adapter.log.budget import Budget
from adapter.log.protocol import NewEntry
from adapter.log.sqlite.damage import Damage
from adapter.log.sqlite.files import Files, Identity
from adapter.log.sqlite.messages import (
    Answer,
    Append,
    AppendParts,
    BrokenLine,
    Committed,
    DropParts,
    Options,
    Packer,
    Part,
    Refused,
    Told,
    Unpacker,
    Work,
    weigh,
    weigh_entries,
)
from adapter.subprocesses import command, environment

#: Waits before the writer is started again, seconds: the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
#: How long a writer may take to end when its line is closed, seconds; then it is killed, which loses nothing.
END_TIMEOUT = 5.0
#: How often is looked whether answers are late, seconds.
WATCH = 0.25

#: Room for frames on their way, bytes, if the system gives as much.
_ROOM = 1024 * 1024
#: Bytes of works that are handed over and not answered: of those up to `LIGHT`, and of the others. So nobody who posts
#: an event or two waits for those who post large bodies.
LIGHT = 64 * 1024
LIGHT_BUDGET, HEAVY_BUDGET = 8 * 1024 * 1024, 32 * 1024 * 1024
#: A longer request is handed over in parts, of about `PART` each, as the writer takes them: neither process then holds
#: it twice, and the event loop goes on in between.
WHOLE, PART = 4 * 1024 * 1024, 1024 * 1024

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def open_writing(options: Options, damage: Damage, commit_timeout: float) -> AsyncIterator[Writing]:
    """The writer of a log while the context lasts. ``commit_timeout``: seconds within which it has to answer.

    Raises:
        StoreError: it cannot open the log; says why.
    """
    writing = Writing(options, damage, commit_timeout)
    await writing.start()
    try:
        yield writing
    finally:
        await writing.close()


#: A work that was handed over: its answer; since when, seconds of the loop's clock; what it took of which budget. A
#: plain tuple, since there is one for every request.
_Call = tuple[asyncio.Future[Answer], float, int, Budget]


class Writing:
    """Works on their way to the writer, and answers on their way back; used on the event loop's thread."""

    def __init__(self, options: Options, damage: Damage, commit_timeout: float) -> None:
        #: Position of the last entry that is committed.
        self.head = 0
        #: How the commits went, for metrics.
        self.commits = Commits()
        self._options = options
        self._damage = damage
        self._timeout = commit_timeout
        self._loop = asyncio.get_running_loop()
        self._packer = Packer()
        self._process: asyncio.subprocess.Process | None = None
        self._line: _Line | None = None
        #: What was called since the loop's last round, and who waits for answers, in order.
        self._frames = bytearray()
        self._calls: deque[_Call] = deque()
        self._light, self._heavy = Budget(LIGHT_BUDGET), Budget(HEAVY_BUDGET)
        #: Held by the request whose parts are handed over; and the tasks that do it.
        self._parting = asyncio.Lock()
        self._partings: set[asyncio.Task[None]] = set()
        #: Set, and replaced, when the head moves; ``None`` while nobody waits.
        self._moved: asyncio.Event | None = None
        #: Why nothing is taken now.
        self._closed_for: str | None = "the log is not open yet"
        self._restarting: asyncio.Task[None] | None = None
        self._closed = False
        #: When an answer came last, and when was looked last; seconds of the loop's clock.
        self._heard_at = self._watched_at = self._loop.time()
        self._watch: asyncio.TimerHandle | None = None

    @property
    def process_id(self) -> int | None:
        """Process id of the writer, while one runs."""
        return None if self._process is None else self._process.pid

    @property
    def files(self) -> Identity | None:
        """The files that the writer has open, as they were when it was first started."""
        return self._options.identity

    @property
    def silence(self) -> float:
        """For how long an answer has been missing, seconds; 0 where none is."""
        if not self._calls:
            return 0.0
        return self._loop.time() - max(self._calls[0][1], self._heard_at)

    async def start(self) -> None:
        """Start the writer, and return when it has opened the log.

        Raises:
            StoreError: it cannot open it; says why.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
            arguments = command("adapter.log.sqlite.writer")
            self._process = await asyncio.create_subprocess_exec(*arguments, stdin=theirs.fileno(), env=environment())
        _, line = await self._loop.create_unix_connection(lambda: _Line(self._heard, self._lost), sock=ours)
        try:
            frame = bytearray()
            self._packer.add(self._options, frame)
            line.transport.write(frame)
            opened = await line.opened
            for answer in opened.answers:
                if type(answer) is Refused:
                    raise answer.error()
        except BaseException:
            line.transport.close()
            await self._end_process()
            raise
        if self._options.identity is None:
            # A writer that is started again must find the same files: it would make a log where none is.
            identity = Files(Path(self._options.path)).identity
            self._options = msgspec.structs.replace(self._options, identity=identity)
        self._show(opened.head)
        self._line = line
        self._closed_for = None

    def call(self, work: Work) -> Awaitable[Answer]:
        """Hand a work over; the answer comes with the end of its transaction. To cancel it takes nothing back that was
        handed over.

        Raises, at once or when the answer is awaited:
            StoreUnanswered: no answer came within the time for a commit, or the writer ended.
            StoreDamaged: the log is damaged.
            StoreUnavailable: it was not handed over: there is no writer now, it is late, or too much waits for it.
            StoreError: the writer refused it.
        """
        if self._closed_for is not None or self._damage.problem is not None:
            self._refuse()
        weight = weigh(work)
        budget = self._light if weight <= LIGHT else self._heavy
        if weight > WHOLE or not budget.take(weight):
            return self._call_later(work, weight, budget)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._hand(work, answer, weight, budget)
        return answer

    async def _call_later(self, work: Work, weight: int, budget: Budget) -> Answer:
        """The same for a work that is large, or has to wait."""
        self._refuse()  # it may begin later than it was called
        if not budget.take(weight):
            await self._wait(budget, weight)
        answer: asyncio.Future[Answer] = self._loop.create_future()
        if weight <= WHOLE or type(work) is not Append:
            self._hand(work, answer, weight, budget)
            return await answer
        task = self._loop.create_task(self._hand_parts(work, answer, weight, budget))
        self._partings.add(task)
        task.add_done_callback(self._partings.discard)
        # Its time begins with the first part.
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise self._unanswered() from None

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

    async def close(self) -> None:
        """End the writer when all calls made before are answered, or their time is over."""
        self._closed = True
        if self._restarting is not None:
            self._restarting.cancel()
        if self._partings:
            await asyncio.wait(self._partings, timeout=self._timeout)
        if self._calls:
            await asyncio.wait([answer for answer, *_ in self._calls], timeout=self._timeout)
        self._end("the log is closed")
        await self._end_process()

    # Handing over

    def _refuse(self) -> None:
        """
        Raises:
            StoreUnavailable: nothing is taken now.
        """
        self._damage.refuse()
        if self._closed_for is not None:
            raise StoreUnavailable(self._closed_for)

    async def _wait(self, budget: Budget, weight: int) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await budget.wait(weight)
        except TimeoutError:
            raise StoreUnavailable("too much waits for the disk") from None
        try:
            self._refuse()
        except BaseException:
            budget.give(weight)
            raise

    def _hand(self, work: Told, answer: asyncio.Future[Answer], weight: int, budget: Budget) -> None:
        """A work goes with all that are handed over in this round of the loop.

        Raises:
            StoreError: it cannot be handed over; what it took of the budget is given back.
        """
        frames, calls = self._frames, self._calls
        is_first = not frames
        handed = len(calls)
        try:
            calls.append((answer, self._loop.time(), weight, budget))
            self._packer.add(work, frames)
        except BaseException:
            if len(calls) > handed:
                calls.pop()
            budget.give(weight)
            raise
        if is_first:
            self._loop.call_soon(self._hand_over)
        if self._watch is None:
            self._watched_at = self._loop.time()
            self._watch = self._loop.call_later(WATCH, self._look)

    def _hand_over(self) -> None:
        frames, self._frames = self._frames, bytearray()
        if frames and self._line is not None:
            self._line.write(frames)

    async def _hand_parts(self, request: Append, answer: asyncio.Future[Answer], weight: int, budget: Budget) -> None:
        """A large request goes in parts, each when the one before is gone; others' works go in between. Only when it is
        answered the next large one follows: of those who post an event or two none waits for more than one of them."""
        try:
            async with self._parting:
                await self._hand_each(request.entries, answer, weight, budget)
                self._hand(AppendParts(request.note), answer, weight, budget)
                del request  # whoever waits for the answer has it freed then
                await asyncio.wait([answer])
        except (Exception, MemoryError) as error:
            if not answer.done():
                answer.set_exception(error if isinstance(error, StoreError) else StoreUnavailable(str(error)))

    async def _hand_each(
        self, entries: list[NewEntry], answer: asyncio.Future[Answer], weight: int, budget: Budget
    ) -> None:
        """
        Raises:
            StoreUnavailable: the writer ended, or was too late; what was taken of the budget is given back.
        """
        line = self._line
        try:
            for part in _parts(entries):
                if line is None or line.transport.is_closing() or answer.done():
                    raise StoreUnavailable("the process that writes the log ended, or was too late")
                frame = bytearray()
                self._packer.add(Part(part), frame)
                line.write(frame)
                await line.drained()
            if self._line is not line:
                raise StoreUnavailable("the process that writes the log ended")
        except BaseException:
            budget.give(weight)
            if line is not None and self._line is line:
                self._tell(DropParts())
            raise

    def _tell(self, told: Told) -> None:
        """Say something that is not answered."""
        assert self._line is not None
        frame = bytearray()
        self._packer.add(told, frame)
        self._line.write(frame)

    # Answers

    def _show(self, head: int) -> None:
        """Let readers see what was committed."""
        if head != self.head:
            self.head = head
            if self._moved is not None:
                self._moved.set()
                self._moved = None

    def _heard(self, message: Committed) -> None:
        self._heard_at = self._loop.time()
        if self._closed_for is not None and self._line is not None:
            self._closed_for = None
            _log.info("log_writer_answers")
        if self._damage.problem is None:
            self.commits.add(message.entries, message.seconds)
            self._show(message.head)
        for answer in message.answers:
            if not self._calls:
                raise BrokenLine("an answer to nothing")
            waiting, _, weight, budget = self._calls[0]
            if type(answer) is Refused:
                if answer.kind == StoreDamaged.__name__:
                    self._damage.meet(answer.problem)
                if not waiting.done():  # cancelled, or too late
                    waiting.set_exception(answer.error())
            elif not waiting.done():
                if self._damage.problem is not None:
                    waiting.set_exception(StoreDamaged(self._damage.problem))
                else:
                    waiting.set_result(answer)
            self._calls.popleft()  # not before it is answered, whatever fails
            budget.give(weight)

    def _look(self) -> None:
        """See whether answers are late."""
        self._watch = None
        if not self._calls:
            return
        now = self._loop.time()
        waited, self._watched_at = now - self._watched_at, now
        self._watch = self._loop.call_later(WATCH, self._look)
        if waited > 4 * WATCH:
            return  # it is us who did not run: answers may have come, and are heard first
        for answer, since, _, _ in self._calls:
            if now - since < self._timeout:
                break
            if self._closed_for is None:
                self._closed_for = f"the process that writes the log has not answered for {self._timeout:g} s"
                _log.error("log_writer_late", seconds=self._timeout)
            if not answer.done():
                answer.set_exception(self._unanswered())

    def _unanswered(self) -> StoreUnanswered:
        return StoreUnanswered(f"the process that writes the log did not answer within {self._timeout:g} s")

    # The end of the writer, or of the line to it

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
            code = await self._end_process()
            _log.error("log_writer_ended", code=code, again_in=wait)
            await asyncio.sleep(wait)
            try:
                await self.start()
                break
            except (StoreDamaged, StoreMismatch) as error:
                # It was our log a moment ago.
                self._damage.meet(str(error))
                break
            except Exception as error:
                self._closed_for = str(error)
            wait = min(wait * 2, LONGEST_WAIT)

    async def _end_process(self) -> int | None:
        """The exit code of the writer, whose line is closed."""
        if self._process is None:
            return None
        try:
            async with asyncio.timeout(END_TIMEOUT):
                return await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    def _end(self, why: str) -> None:
        line, self._line = self._line, None
        self._closed_for = why
        self._frames.clear()
        calls, self._calls = self._calls, deque()
        for answer, _, weight, budget in calls:
            budget.give(weight)
            if not answer.done():
                answer.set_exception(StoreUnanswered(why))
        if line is not None:
            line.transport.close()


def _parts(entries: list[NewEntry]) -> Iterator[list[NewEntry]]:
    """The entries in their order, about `PART` bytes together, or one that is longer."""
    part: list[NewEntry] = []
    size = 0
    for entry in entries:
        weight = weigh_entries((entry,))
        if part and size + weight > PART:
            yield part
            part, size = [], 0
        part.append(entry)
        size += weight
    yield part


class _Line(asyncio.Protocol):
    """Our end of the socket. When anything goes wrong on it, it is closed: a frame that is not whole, or an answer that
    is lost, would put all later ones in the wrong place."""

    transport: asyncio.Transport

    def __init__(self, heard: Callable[[Committed], None], lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        #: The first message: how the log was opened.
        self.opened: asyncio.Future[Committed] = self._loop.create_future()
        self._unpacker = Unpacker(Committed)
        self._heard = heard
        self._lost = lost
        #: Done when frames may be written again; ``None`` while they may.
        self._paused: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_ROOM)

    def write(self, frames: bytearray) -> None:
        """Send whole frames; on a line that closes already, whoever waits is told when it has."""
        if self.transport.is_closing():
            return
        try:
            self.transport.write(frames)
        except (Exception, MemoryError) as error:
            self._break(error)

    async def drained(self) -> None:
        """Return when more may be written, or the line is closed."""
        if self._paused is not None:
            await asyncio.shield(self._paused)

    def pause_writing(self) -> None:
        self._paused = self._loop.create_future()

    def resume_writing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and not paused.done():
            paused.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._unpacker.take(data):
                if self.opened.done():
                    self._heard(message)
                else:
                    self.opened.set_result(message)
        except (Exception, MemoryError) as error:
            self._break(error)

    def connection_lost(self, error: Exception | None) -> None:
        self.resume_writing()
        if self.opened.done():
            self._lost()
        else:
            self.opened.set_exception(StoreUnavailable("the process that writes the log ended at once"))

    def _break(self, error: BaseException) -> None:
        _log.error("log_line_broken", problem=f"{type(error).__name__}: {error}")
        self.transport.abort()
