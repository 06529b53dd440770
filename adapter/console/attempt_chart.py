"""Bars of how long the parts of requests took, and of how many there were by hour: lengths for templates to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

#: Units of a drawing's width, and of the height of bars by hour.
WIDTH, HEIGHT = 240, 60
_HOUR = 3_600_000
#: The parts of a request in their order, and what each is called.
PARTS = (
    ("resolve", "look-up of the name"),
    ("connect", "connect, TLS included"),
    ("wait", "wait for the first byte"),
    ("body", "rest of the answer"),
)


class Part(NamedTuple):
    """One part of a bar. ``x`` and ``width`` in units of the drawing."""

    name: str
    x: float
    width: float


class Bar(NamedTuple):
    """The bar of one request, and the same in words."""

    parts: Sequence[Part]
    text: str


class Hour(NamedTuple):
    """The bar of one hour: parts from the bottom up, as their outcome, ``y`` and height."""

    at: int
    x: float
    width: float
    parts: Sequence[tuple[str, float, float]]
    attempts: int
    failed: int


def longest_of(durations: Sequence[Mapping[str, int | None]]) -> int:
    """Milliseconds of the longest of some requests: what fills a bar's width."""
    return max((one["total"] or one["firstByte"] or 0 for one in durations), default=0)


def bar_of(durations: Mapping[str, int | None], longest: int) -> Bar:
    """The bar of a request. ``durations``: of its parts, milliseconds, as the API shows them: the first byte and the
    whole are counted from the beginning; ``None``: it did not come to that, as on an open connection."""
    resolve, connect = durations["resolve"] or 0, durations["connect"] or 0
    total = max(durations["total"] or 0, durations["firstByte"] or 0, resolve + connect)
    # A request that got no answer has waited until its end.
    first = total if durations["firstByte"] is None else max(durations["firstByte"], resolve + connect)
    spans = {"resolve": resolve, "connect": connect, "wait": first - resolve - connect, "body": total - first}
    scale, x, parts = WIDTH / max(1, longest), 0.0, []
    for name, _ in PARTS:
        if spans[name] > 0:
            width = spans[name] * scale
            parts.append(Part(name, round(x, 2), round(max(width, 1.0), 2)))
            x += width
    said = [f"{word} {spans[name]} ms" for name, word in PARTS if spans[name] > 0]
    whole = "no time is known" if durations["total"] is None and not said else f"{total} ms in all"
    return Bar(parts, ", ".join([whole, *said]))


def hours_of(hours: Sequence[Mapping[str, Any]], begin: int, end: int) -> list[Hour]:
    """Bars of the attempts of each hour of a time, epoch milliseconds; all of them fill the width."""
    first = begin // _HOUR
    count = max(1, (end - 1) // _HOUR - first + 1)
    most = max((one["attempts"] for one in hours), default=0) or 1
    width, found = WIDTH / count, []
    for one in hours:
        taken = one["outcomes"].get("delivered", 0)
        failed, parts, y = one["attempts"] - taken, [], float(HEIGHT)
        for kind, value in (("delivered", taken), ("failed", failed)):
            if value:
                height = max(1.0, value / most * HEIGHT)
                y -= height
                parts.append((kind, round(max(0.0, y), 2), round(height, 2)))
        x = (one["at"] // _HOUR - first) * width
        found.append(Hour(one["at"], round(x, 2), round(width * 0.8, 2), parts, one["attempts"], failed))
    return found
