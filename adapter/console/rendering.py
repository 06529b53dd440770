"""The console's templates: what they can say, and how what they show is made harmless."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape
from yarl import URL

from adapter.console.pages import make_environment
from adapter.console.static_files import path_of
from adapter.formats.text import harmless

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DASH = Markup("–")
UTC_ZONE = ZoneInfo("UTC")

#: The zone in which times are shown, and what stands before the path of each page.
_zone: ContextVar[ZoneInfo] = ContextVar("zone", default=UTC_ZONE)
_prefix: ContextVar[str] = ContextVar("prefix", default="")
#: What forms carry.
_csrf: ContextVar[str] = ContextVar("csrf", default="")


def moment(milliseconds: int | None) -> Markup:
    """A time to the second in the reader's zone, with the zone's name; a dash for none."""
    if milliseconds is None:
        return _DASH
    zone = _zone.get()
    try:
        there = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(zone)
    except (OverflowError, ValueError, TypeError):
        return _DASH
    in_utc = there.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{} <span class="zone">{}</span></time>').format(
        in_utc, f"{zone.key}, {in_utc}", there.strftime("%Y-%m-%d %H:%M:%S"), there.strftime("%Z")
    )


def number(value: float | None) -> Markup:
    """A number with thin spaces between thousands, which screen readers and copying take for one number."""
    if value is None:
        return _DASH
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    return Markup("{}").format(text.replace(",", "\u202f"))


def duration(seconds: float | None) -> Markup:
    """A length of time in its two largest units: ``3 d 4 h``, ``12 min``, ``340 ms``."""
    if seconds is None:
        return _DASH
    if seconds < 0:
        seconds = 0
    if seconds < 1:
        return Markup(f"{round(seconds * 1000)} ms")
    if seconds < 10:
        return Markup(f"{seconds:.1f} s")
    left, parts = int(seconds), []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return Markup(" ".join(parts[:2]))


def lines(text: str | None) -> Markup:
    """A text of several lines, each made harmless, for a ``pre``."""
    if text is None:
        return _DASH
    return Markup("\n").join(escape(harmless(line)) for line in text.replace("\r\n", "\n").split("\n"))


def verbatim(text: str | None) -> Markup:
    """A text as it is, for a field in which it is edited."""
    # A browser drops the first line end of a textarea.
    return Markup("\n") + escape(text or "")


def pretty(value: Any) -> Markup:
    """JSON with an element a line, for a ``pre``."""
    return lines(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def url(path: str, **query: Any) -> str:
    """The address of a page: ``query`` holds texts, numbers or lists of them; ``None`` and empty ones are left out. A
    name that is a word of Python ends in an underscore: ``from_``."""
    pairs = []
    for name, value in query.items():
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        pairs += [(name.removesuffix("_"), str(one)) for one in values if one is not None and one != ""]
    address = URL(f"{_prefix.get()}{path}")
    return str(address.extend_query(pairs) if pairs else address)


def asset(name: str) -> str:
    """The address of a file in `static` or `vendor`."""
    return _prefix.get() + path_of(name)


environment = make_environment()
environment.filters.update(moment=moment, number=number, duration=duration, lines=lines, verbatim=verbatim, json=pretty)
environment.globals.update(url=url, asset=asset, csrf_token=_csrf.get, unique=count(1).__next__)
environment.globals["parts"] = environment.get_template("parts.html").module


@contextmanager
def shown_in(zone: ZoneInfo, prefix: str, csrf: str = "") -> Iterator[None]:
    """What is rendered in the context shows times in a zone, addresses behind a prefix, and forms with their token."""
    tokens = _zone.set(zone), _prefix.set(prefix), _csrf.set(csrf)
    try:
        yield
    finally:
        _zone.reset(tokens[0])
        _prefix.reset(tokens[1])
        _csrf.reset(tokens[2])


def render(template: str, values: Mapping[str, Any], *, zone: ZoneInfo, prefix: str, csrf: str = "") -> str:
    """The text of a template."""
    with shown_in(zone, prefix, csrf):
        return environment.get_template(template).render(values)
