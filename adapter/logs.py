"""The service's own log: one line of JSON, or for people on a terminal, on standard error."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable
from math import inf
from typing import Any, Literal, TextIO

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from adapter.formats.text import harmless

#: Different lines that are remembered, to know when one comes again.
_LINES = 100

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]


def configure_logs(level: Level, format: Format) -> None:
    """Send everything that this program and its libraries log to standard error, harmless to read. ``auto`` is for
    people on a terminal and JSON elsewhere."""
    people = format == "console" or (format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if people:
        last += [
            _harmless,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_write_traceback),
        ]
    else:
        last += [structlog.processors.format_exc_info, _harmless, structlog.processors.JSONRenderer(_json)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    server = logging.getLogger("aiohttp.server")
    server.filters = [_tell_little_of_what_is_not_http]
    # A line for each request of a source that polls.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            Repetitions(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class Repetitions:
    """Keeps back lines that say within ``wait`` seconds what was said already, such as one for each request that a full
    disk refuses; the next one that is let through says as ``times`` how many it stands for. ``clock`` gives seconds."""

    def __init__(self, wait: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._wait = wait
        self._clock = clock
        #: By what was said: since when, and how often it was kept back.
        self._said: dict[tuple[str | None, str], tuple[float, int]] = {}

    def __call__(self, logger: WrappedLogger, method: str, entry: EventDict) -> EventDict:
        """
        Raises:
            structlog.DropEvent: the line is kept back.
        """
        if "exc_info" in entry:
            return entry
        now, line = self._clock(), (getattr(logger, "name", None), f"{method} {entry}")
        since, kept_back = self._said.get(line, (-inf, 0))
        if now < since + self._wait:
            self._said[line] = (since, kept_back + 1)
            raise structlog.DropEvent
        if len(self._said) >= _LINES:
            self._said.clear()
        self._said[line] = (now, 0)
        return {**entry, "times": kept_back + 1} if kept_back else entry


def _tell_little_of_what_is_not_http(record: logging.LogRecord) -> bool:
    """A request that is not HTTP is its sender's fault, and its text, which aiohttp shows, may hold a token."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    record.msg, record.args, record.exc_info = f"request is not HTTP ({type(error).__name__})", (), None
    record.levelno, record.levelname = logging.INFO, "INFO"
    return logging.getLogger().isEnabledFor(logging.INFO)


def _harmless(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Foreign text may stand in every value; a traceback alone keeps its lines."""
    return {
        name: value
        if name == "exc_info" or value is None
        else "\n".join(map(harmless, str(value).split("\n")))
        if name == "exception"
        else _plain(value)
        for name, value in entry.items()
    }


def _write_traceback(file: TextIO, error: ExcInfo) -> None:
    """A traceback for people, without the values of variables, since tokens may be among them. An error's text may have
    lines of somebody else: behind a bar none of them looks like a line of the log."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    file.write("".join(f"\n  | {harmless(line)}" for line in text.getvalue().strip("\n").split("\n")))


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {harmless(str(name)): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    return harmless(str(value))


def _json(entry: Any, **_: Any) -> str:
    return orjson.dumps(entry, default=str).decode()
