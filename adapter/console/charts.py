"""Pictures made on the service, as SVG: bars over time whose parts are links, and a line of shares.

Pure: from numbers and texts to markup. All text is escaped and made harmless. Colours are classes (`chart-success`, …)
that the style knows in light and dark. A picture has its own coordinates and is stretched to its place, so no text
stands in it: a page puts the labels beside it, and the same numbers as a table below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from adapter.formats.text import harmless

#: Units of a picture's height, and of the width that each bar has with the gap behind it.
HEIGHT, STEP, GAP = 100.0, 10.0, 1.5
#: The least height of a part that is there at all, so that it can be seen.
_LEAST = 1.0


class Part(NamedTuple):
    """A part of a bar."""

    #: Its class, of lower-case letters: `success`, `failure`, `unknown`.
    kind: str
    events: int
    #: Where it leads; ``None``: nowhere.
    href: str | None
    #: What is said of it; ``None``: its number and kind.
    told: str | None = None


class Bar(NamedTuple):
    """A stretch of time."""

    #: When it is, for people.
    name: str
    #: From the bottom up; ``None``: it was not counted.
    parts: Sequence[Part] | None


def bars(columns: Sequence[Bar], *, id: str, title: str, description: str) -> Markup:
    """Bars side by side, each part a link that tells its number. ``id``: of the picture in its page."""
    top = round_up(highest(columns))
    drawn = [_grid(len(columns))]
    for number, column in enumerate(columns):
        x, width = number * STEP + GAP / 2, STEP - GAP
        if column.parts is None:
            drawn.append(_rectangle("uncounted", x, 0.0, width, HEIGHT, f"{column.name}: not counted"))
            continue
        y = HEIGHT
        for part in column.parts:
            if not part.events:
                continue
            height = max(_LEAST, part.events / top * HEIGHT)
            y -= height
            told = f"{column.name}: {part.told or f'{part.events:,} {part.kind}'}"
            shape = _rectangle(part.kind, x, max(0.0, y), width, height, told)
            drawn.append(shape if part.href is None else _link(part.href, told, shape))
    return _picture("chart-bars", columns, drawn, id, title, description, role="group")


def line(shares: Sequence[float | None], *, id: str, title: str, description: str) -> Markup:
    """A line of shares from 0 to 1, at the same places as the bars of as many; a gap where there is none."""
    drawn: list[Markup] = []
    points: list[str] = []
    for number, share in enumerate([*shares, None]):
        if share is not None:
            points.append(f"{number * STEP + STEP / 2:.2f},{HEIGHT - min(1.0, max(0.0, share)) * HEIGHT:.2f}")
            continue
        if len(points) == 1:  # a point of its own would not be seen
            x, _, y = points[0].partition(",")
            points = [f"{float(x) - GAP:.2f},{y}", f"{float(x) + GAP:.2f},{y}"]
        if points:
            drawn.append(Markup('<polyline class="chart-line" points="{}"/>').format(" ".join(points)))
        points = []
    return _picture("chart-shares", shares, drawn, id, title, description, role="img")


def portion(part: float, whole: float) -> Markup:
    """How large a part of a whole is, as a bar beside a number that says it."""
    share = 0.0 if whole <= 0 else min(1.0, max(0.0, part / whole))
    return Markup(
        '<svg class="chart-portion" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false"><rect width="{:.2f}" height="10"/></svg>'
    ).format(share * 100)


def highest(columns: Sequence[Bar]) -> int:
    """The most events in one bar."""
    return max((sum(part.events for part in one.parts) for one in columns if one.parts), default=0)


def round_up(number: int) -> int:
    """The next number that reads well at the end of an axis: 1, 2 or 5 with zeros behind it; at least 1."""
    size = 1
    while True:
        for first in (1, 2, 5):
            if number <= first * size:
                return first * size
        size *= 10


def _rectangle(kind: str, x: float, y: float, width: float, height: float, told: str) -> Markup:
    return Markup(
        '<rect class="chart-{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"><title>{}</title></rect>'
    ).format(kind, x, y, width, height, harmless(told))


def _link(href: str, told: str, shape: Markup) -> Markup:
    # The table of the same numbers has these links for the keyboard: here they would be a hundred stops on the way.
    return Markup('<a href="{}" tabindex="-1" aria-label="{}">{}</a>').format(href, harmless(told), shape)


def _grid(count: int) -> Markup:
    lines = [
        Markup('<line class="chart-grid" x1="0" x2="{:.0f}" y1="{}" y2="{}"/>').format(count * STEP, y, y)
        for y in (0, 50, 100)
    ]
    return Markup("").join(lines)


def _picture(
    kind: str, places: Sequence[object], drawn: Sequence[Markup], id: str, title: str, description: str, *, role: str
) -> Markup:
    return Markup(
        '<svg class="chart {kind}" id="{id}" viewBox="0 0 {width:.0f} {height:.0f}" preserveAspectRatio="none" '
        'role="{role}" aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">{title}</title>'
        '<desc id="{id}-desc">{description}</desc>{drawn}</svg>'
    ).format(
        kind=kind,
        id=id,
        width=max(1, len(places)) * STEP,
        height=HEIGHT,
        role=role,
        title=escape(harmless(title)),
        description=escape(harmless(description)),
        drawn=Markup("").join(drawn),
    )
