"""The connections of callers: how many there may be, how long each may take, and what becomes of them at a stop.

aiohttp reads requests and answers them. What it has no bounds for is added here: the time and size of a request's
header, the number of connections, the time in which a caller takes none of his answer, and one time for all of them
together at a stop. How long a body may take is told where it is read.

Where another service goes on (`Ending.is_handing_over`), connections without a request are not closed at the stop but
kept for it: so no request is lost that a caller sends on one in that moment.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections import deque
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import structlog
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http_exceptions import LineTooLong

from adapter.breaking_off import reset_at_end
from adapter.listening import Ending
from adapter.memory import return_free_pages, return_small_blocks
from adapter.problem import Handler, problem

_log = structlog.get_logger("adapter.http")

#: Bytes of a request's header that arrives in several pieces.
HEADER_LIMIT = 32 * 1024

#: Bytes of one line of it: aiohttp's own limit.
LINE_LIMIT = 8190

#: Connections that may have half a header at the same time, and that may drop the rest of a refused body. In good
#: company both last a moment; each holds a header that may be long.
_UNFINISHED = 1000

#: Connections of which the rest of a body is dropped at the same time; the others wait for their turn.
_DROPPED_AT_ONCE = 32

#: Bytes that a connection buffers of a body nobody reads.
_READ_BUFFER = 64 * 1024

#: Seconds between two looks at all connections.
_LOOK_EVERY = 1.0

#: Seconds in which no connection to be closed for a new one is looked for again, where there was none.
_LOOK_AGAIN = 0.1

#: What a body's chunks may need beside the body itself, bytes; beyond, as much again as the body.
_CHUNKING = 64 * 1024

#: Connections after whose end their memory is given back.
_MANY = 250

#: Descriptors that are kept for files, the log's writer, and sinks, but never more than half of them.
_OTHER_DESCRIPTORS = 256

#: Seconds for which the rest of a body that was refused is read and dropped, so that the caller sees the answer.
_LINGER = 5.0

#: Seconds until it is looked again whether an answer is on its way.
_FLUSH = 0.005

#: Seconds for a cancelled request to come to its end at a stop.
_END = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be, and for how long; times are seconds."""

    count: int
    #: From the connection, or from the first byte on one that was used before, to the end of the header.
    header: float
    #: Without a request.
    keepalive: float
    #: While the caller takes nothing of an answer.
    answer: float


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Connection(web.RequestHandler):
    """One connection."""

    __slots__ = (
        "_body_bytes",
        "_dropped",
        "_has_paused",
        "_header_bytes",
        "_header_since",
        "_must_wait",
        "_stuck_since",
        "answers",
    )

    _manager: Connections | None

    def __init__(self, manager: Connections, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(manager, loop=loop, **options)
        #: Since when a header is awaited that is due, by the loop's clock; 0: none is.
        self._header_since = loop.time()
        #: Bytes of the header that is under way; more once it is complete, until the next one begins.
        self._header_bytes = 0
        #: Bytes that came of the body that is under way, its chunks' sizes and extensions included.
        self._body_bytes = 0
        #: Answers that have begun, in all.
        self.answers = 0
        #: The body whose rest is read and dropped after the answer.
        self._dropped: StreamReader | None = None
        #: Since when the caller takes nothing of its answer; 0: it does.
        self._stuck_since = 0.0
        #: Whether reading was ever paused, because a body was not taken as fast as it came.
        self._has_paused = False
        #: Whether nothing is read because others drop the rest of their bodies.
        self._must_wait = False

    @property
    def used(self) -> float:
        """Grows with each answer: the later, the larger, among all connections."""
        return self._next_keepalive_close_time

    @property
    def is_waiting(self) -> bool:
        """Whether there is no request in it, or half a header at most."""
        # At the very beginning nobody waits yet.
        return not self._request_count or (self._waiter is not None and not self._waiter.done())

    @property
    def is_receiving(self) -> bool:
        """Whether the body of its request is not complete."""
        request = self._current_request
        return request is not None and not request.content.is_eof()

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._body_bytes = 0
            if self._header_since:
                self._header_complete()
        elif self.is_waiting:
            self._header_grows(len(data))
        else:
            self._body_grows(len(data))

    def _body_grows(self, count: int) -> None:
        """More of a body has come, or of how it is cut into chunks: aiohttp bounds what is in them alone."""
        self._body_bytes += count
        if self._body_bytes <= _CHUNKING:
            return
        if self._messages:  # the last of those that are not handled yet
            _, body = self._messages[-1]
        elif self._current_request is not None:
            body = self._current_request.content
        else:
            return
        if self._body_bytes > _CHUNKING + 2 * body.total_bytes:
            self.refuse(400, "Bad request", "the chunks of the body are too small, or have too long extensions")

    def _header_grows(self, count: int) -> None:
        """Half a header has come."""
        if self._manager is None:
            return
        if not self._header_bytes:
            self._manager.half_header(self)
            self._header_since = self._header_since or self._loop.time()
        self._header_bytes += count
        if self._header_bytes > HEADER_LIMIT:
            self.refuse(431, "Header too large", f"the header of a request has at most {HEADER_LIMIT} bytes")

    def _header_complete(self) -> None:
        self._header_since = 0.0
        if self._header_bytes and self._manager is not None:
            self._header_bytes = 0
            self._manager.no_half_header(self)
            if self._manager.stopping:
                self.finish()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._manager is not None:
            self._manager.no_half_header(self)
            self._manager.not_dropping(self)
        super().connection_lost(exc)
        if self._dropped is not None and not self._dropped.is_eof():
            # Else it would wait for a rest that cannot come any more.
            self._dropped.feed_eof()

    def _process_keepalive(self) -> None:
        # A header that is due has a time of its own.
        if self._header_since:
            self._keepalive_handle = None
        else:
            super()._process_keepalive()

    def pause_reading(self) -> None:
        self._has_paused = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        # Called whenever a body is taken, and costs as much as reading a request; small bodies never cause a pause.
        if self._has_paused:
            super().resume_reading(resume_parser)

    def wait_to_drop(self) -> None:
        """Read nothing until it is the turn of this connection to drop the rest of its body."""
        self._must_wait = True
        self._pause_transport_reading()

    def drop(self) -> None:
        """It is its turn."""
        if self._must_wait:
            self._must_wait = False
            self._has_paused = True
            self.resume_reading()

    def _resume_transport_reading(self) -> None:
        if not self._must_wait:
            super()._resume_transport_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_since = self._loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stuck_since = 0.0

    def look(self, now: float, limits: ConnectionLimits) -> None:
        """Close it if it took too long. Connections without a request are closed by aiohttp itself."""
        if self._header_since and now - self._header_since >= limits.header and self.is_waiting:
            if self._header_bytes:
                self.refuse(408, "Header too slow", f"no header was complete after {limits.header:g} seconds")
            else:
                self.force_close()
        elif self._stuck_since and now - self._stuck_since >= limits.answer and self.transport is not None:
            if self._current_request is not None:
                reset_at_end(self._current_request)
            self.transport.abort()

    def refuse(self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer half a header, and close."""
        if self.transport is not None:
            self.transport.write(_raw(problem(status, title, detail, headers=headers)))
        self.force_close()

    def cut_off(self) -> None:
        """Close it at a stop, though its request is not answered. Where the answer has not begun, that is said."""
        request = self._current_request
        has_begun = request is None or request.writer.output_size > 0
        if self._task_handler is not None:
            self._task_handler.cancel()
        if self._header_bytes or not has_begun:
            self.refuse(503, "Stopping", "the service stops; send the request again", {"Retry-After": "1"})
        else:
            if request is not None:
                reset_at_end(request)
            self.force_close()

    def finish(self) -> None:
        """Close it as soon as the request that has begun in it is answered; at once if there is none."""
        if self._request_count > self.answers:
            if self._messages:
                _, body = self._messages[0]
            elif self._current_request is not None:
                body = self._current_request.content
            else:  # its handler is about to begin
                self._loop.call_soon(self.finish)
                return
            if body.is_eof():
                self.close()
            else:
                # A closed connection would not take the rest.
                body.on_eof(self.close)
        elif self._request_in_progress:  # its answer is on the way
            self.close()
        elif self.is_waiting and self._header_bytes:  # comes here again when the header is complete
            pass
        elif self._dropped is None and self._manager is not None and self._manager.ending.is_handing_over:
            self._hand_over(self._manager.ending)
        else:  # idle, or dropping the rest of a body
            self.force_close()

    def _hand_over(self, ending: Ending) -> None:
        """Leave its socket to the service that goes on, and close what this one has of it."""
        if self.transport is None or self.transport.is_closing():
            self.force_close()
        elif self.transport.get_write_buffer_size():  # the end of the answer before
            self._loop.call_later(_FLUSH, self.finish)
        else:
            # Only this process's descriptor is closed then, not the connection.
            descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
            ending.connections.append(socket.socket(fileno=descriptor))
            self.force_close()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        self.answers += 1
        resp.headers.setdefault(hdrs.SERVER, "")  # aiohttp would tell its own name
        if self._manager is not None and self._manager.stopping:
            resp.force_close()  # said in its header, so that the caller sends nothing more
        if request.version < HttpVersion11 and resp.content_length is None:
            resp.force_close()  # else such an answer, which ends where its connection does, would not end
        if not request.content.is_eof():
            # The caller need not send the rest of a body that nobody reads.
            resp.force_close()
            self._dropped = request.content
            if self._manager is not None:
                self._manager.dropping(self)
        return super().finish_response(request, resp, start_time)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or to an error that no handler caught."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionResetError("the caller has gone, or the answer has begun already")
        if isinstance(exc, LineTooLong):
            response = problem(
                431,
                "Header too large",
                f"a line of a request's header, such as its address, has at most {LINE_LIMIT} bytes",
            )
        elif status < 500:
            response = problem(status, "Bad request", "this is no HTTP request that can be read")
        else:
            _log.error("request_failed", exc_info=exc)
            response = problem(status, "Internal error", "The request failed inside the adapter; see its log.")
        response.force_close()
        return response


class Connections(web.Server):
    """All connections."""

    def __init__(
        self,
        server: web.Server,
        limits: ConnectionLimits,
        ending: Ending,
        shortcuts: Mapping[str, Handler],
        **options: Any,
    ) -> None:
        """Takes the requests to ``server``'s handler, or posts to one of the paths of ``shortcuts`` to that of the
        path; ``options`` are those of each connection."""
        others = server.request_handler

        def handle(request: Any) -> Awaitable[web.StreamResponse]:
            shortcut = shortcuts.get(request.raw_path) if request.method == "POST" else None
            return (shortcut or others)(request)

        super().__init__(
            handle,
            request_factory=server.request_factory,
            keepalive_timeout=limits.keepalive,
            lingering_time=_LINGER,
            read_bufsize=_READ_BUFFER,
            **options,
        )
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limits = limits
        self.ending = ending
        self._count = min(limits.count, descriptors - min(_OTHER_DESCRIPTORS, descriptors // 2))
        #: Those with half a header, the oldest first.
        self._half: dict[Connection, None] = {}
        #: Those that drop the rest of a body, the oldest first.
        self._dropping: dict[Connection, None] = {}
        #: All, in the order in which they are closed for new ones, and how often each was used when it got its place.
        self._order: deque[tuple[Connection, int]] = deque()
        #: Until when nobody is looked for, since all were being answered.
        self._busy_until = 0.0
        self._watch = asyncio.create_task(self._look())
        #: Whether no new requests are taken.
        self.stopping = False

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def __iter__(self) -> Iterator[Connection]:
        return (one for one in self.connections if isinstance(one, Connection))

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if self.stopping and isinstance(handler, Connection):
            self._loop.call_soon(handler.finish)  # not at once, as in `_close_new`
        elif len(self._connections) > self._count:
            self._make_room(handler)

    def half_header(self, connection: Connection) -> None:
        """Half a header has come on a connection. Where there are too many, the oldest gives way."""
        _add(self._half, connection)

    def no_half_header(self, connection: Connection) -> None:
        """It is complete, or the connection is gone."""
        self._half.pop(connection, None)

    def dropping(self, connection: Connection) -> None:
        """A connection begins to drop the rest of a body. Where there are too many, the oldest gives way."""
        if len(self._dropping) >= _DROPPED_AT_ONCE:
            connection.wait_to_drop()
        _add(self._dropping, connection)

    def not_dropping(self, connection: Connection) -> None:
        """The connection is gone."""
        if self._dropping.pop(connection, self) is None and not self._dropping:
            return_free_pages()
        for one in islice(self._dropping, _DROPPED_AT_ONCE):
            one.drop()

    def _make_room(self, newest: web.RequestHandler) -> None:
        """Close the connection that has been unused for longest, if it is not being answered; else the newest."""
        now = self._loop.time()
        if now >= self._busy_until:
            if not self._order:
                # Those without a request go before those whose body is under way.
                others = sorted(self, key=lambda one: (one.is_receiving, one.used))
                self._order.extend((one, one.answers) for one in others if one is not newest)
            # Who was used since comes to its turn again after all others.
            for _ in range(2 * len(self._order)):
                one, answers = self._order.popleft()
                if one.transport is None:
                    continue
                if one.answers == answers and (one.is_waiting or one.is_receiving):
                    one.force_close()
                    if isinstance(newest, Connection):
                        self._order.append((newest, newest.answers))
                    return
                self._order.append((one, one.answers))
            self._busy_until = now + _LOOK_AGAIN
        self._close_new(newest)

    def _close_new(self, connection: web.RequestHandler) -> None:
        # Not at once: its task, which begins after this, would find it lost and fail.
        self._loop.call_soon(connection.force_close)

    async def _look(self) -> None:
        most = last = 0
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self._look_at_all(self._loop.time())
            self._order.clear()
            count = len(self._connections)
            most = max(most, count)
            # Not while they still end, since then much of it is still held.
            if most - count > _MANY and count >= last:
                most = count
                return_small_blocks()
            last = count

    def _look_at_all(self, now: float) -> None:
        for connection in self:
            connection.look(now, self._limits)

    def pre_shutdown(self) -> None:
        self.stopping = True
        for connection in self:
            connection.finish()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let what has begun come to its end for ``timeout`` seconds, all of it together; then cut it off."""
        self._watch.cancel()
        if await self._ended(timeout):
            for connection in self:
                connection.cut_off()
            await self._ended(_END)
        self._connections.clear()

    async def _ended(self, timeout: float | None) -> int:
        """Wait for the connections to end; how many have not."""
        tasks = {one._task_handler for one in self if one._task_handler is not None}
        if not tasks:
            return 0
        _, pending = await asyncio.wait(tasks, timeout=timeout)
        return len(pending)


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    def __init__(
        self, app: web.Application, limits: ConnectionLimits, *, ending: Ending, shortcuts: Mapping[str, Handler]
    ) -> None:
        """``ending``: its patience is for all requests together; ``shortcuts``: handlers of posts by their paths, which
        go past the application's router: it costs a tenth of receiving an event."""
        # Bodies arrive as they were sent: signatures are made over these bytes, and unpacking has a limit of its own.
        super().__init__(app, access_log=None, auto_decompress=False, handle_signals=False)
        self._limits = limits
        self._ending = ending
        self._shortcuts = shortcuts
        self._inside: web.Server | None = None

    async def adopt(self, connections: Iterable[socket.socket]) -> None:
        """Go on with connections that another service has kept."""
        assert self.server is not None
        loop = asyncio.get_running_loop()
        for one in connections:
            try:
                await loop.connect_accepted_socket(self.server, one)
            except OSError:  # its caller has left
                one.close()

    async def connect_inside(self) -> socket.socket:
        """One end of a connection to the application that nobody else can make: its other end is answered until
        `cleanup` has ended all others, whatever bounds those have."""
        assert self._inside is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(self._inside, theirs)
        return ours

    async def cleanup(self) -> None:
        self._shutdown_timeout = self._ending.patience
        await super().cleanup()
        if self._inside is not None:
            await self._inside.shutdown(_END)

    async def _make_server(self) -> web.Server:
        self._inside = await super()._make_server()
        return Connections(self._inside, self._limits, self._ending, self._shortcuts, **self._kwargs)


def _add(unfinished: dict[Connection, None], connection: Connection) -> None:
    """Put a connection last, and close the first one where there are too many."""
    unfinished[connection] = None
    if len(unfinished) > _UNFINISHED:
        oldest = next(iter(unfinished))
        del unfinished[oldest]
        oldest.force_close()


def _raw(response: web.Response) -> bytes:
    """An answer as it is sent, without aiohttp's writer, which answers whole requests."""
    body = response.body
    assert isinstance(body, bytes)
    head = f"HTTP/1.1 {response.status} {response.reason}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    headers = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items() if name != "Content-Length")
    return f"{head}{headers}\r\n".encode() + body
