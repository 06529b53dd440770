"""Overview: what happens, what fails, who still reports, and whether all of it arrives."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from aiohttp import web
from yarl import URL

from adapter.console.charts import Bar, Part, bars, highest, line, portion, round_up
from adapter.console.frame import Route, Section
from adapter.console.visit import Params, Refused, Visit
from adapter.errors import RequestError
from adapter.settings import Permission
from adapter.timestamps import FORMS, read_timestamp

_PATH = "/ui/"
_TOP = "/ui/overview/top"
_MINUTE, _HOUR, _DAY = 60_000, 3_600_000, 86_400_000
#: 9999-01-01, epoch milliseconds: later times cannot be written in every zone.
_LATEST = 253_370_764_800_000
#: What can be chosen with a click: how long it is, by which steps it begins and ends, and into what it is cut. The
#: search keeps counts of whole hours; minutes are counted from their events.
RANGES: Mapping[str, tuple[int, int, str]] = {
    "1h": (_HOUR, _MINUTE, "minute"),
    "24h": (_DAY, _HOUR, "hour"),
    "7d": (7 * _DAY, _HOUR, "3h"),
    "30d": (30 * _DAY, _HOUR, "12h"),
}
_DEFAULT = "24h"
#: Into what any other range is cut: the first of these of which it has no more than `_MOST`.
_BUCKETS = (
    (_MINUTE, "minute"), (5 * _MINUTE, "5m"), (15 * _MINUTE, "15m"), (_HOUR, "hour"), (3 * _HOUR, "3h"),
    (6 * _HOUR, "6h"), (12 * _HOUR, "12h"), (_DAY, "day"), (7 * _DAY, "week"), (28 * _DAY, "28d"),
)  # fmt: skip
_MOST = 72
#: From the bottom of a bar up: what fails stands where it can be compared.
OUTCOMES = ("failure", "success", "unknown")
#: Values that a list of the most frequent ones shows, and labels below a picture.
_LISTED, _LABELS = 8, 5
#: What is counted from events, not from kept counts, is counted for so long at first, milliseconds.
_RECENT = _DAY
#: What the lists of the most frequent values are of: by what is counted, which filter finds one, and what it is called.
TOPS = {"user": ("actor", "users"), "ip": ("ip", "addresses")}


class Span(NamedTuple):
    """A range of time."""

    #: One of `RANGES`; ``None``: another one.
    name: str | None
    #: Epoch milliseconds; the end is not within.
    begin: int
    end: int
    bucket: str

    @property
    def params(self) -> dict[str, int]:
        """As filters."""
        return {"from": self.begin, "to": self.end}


class Asked(NamedTuple):
    """An answer of the API, or why there is none."""

    value: Any
    #: In the API's words; ``None``: there is one.
    refused: str | None = None


class Count(NamedTuple):
    """One value of a list."""

    #: ``None``: events that have none.
    value: str | None
    events: int
    href: str | None


class SinkRow(NamedTuple):
    """How it stands with a sink. ``counts``: by the conservation law, where the visitor may see them."""

    name: str
    kind: str
    state: str
    colour: str
    lag: int
    behind: float
    dead: int
    counts: Mapping[str, int | None] | None

    @property
    def adds_up(self) -> bool | None:
        """Whether all that it was to get is somewhere; ``None``: not known here."""
        if self.counts is None or None in self.counts.values():
            return None
        rest = {name: count or 0 for name, count in self.counts.items()}
        return rest.pop("matched") == sum(rest.values())


async def show(visit: Visit) -> web.Response:
    """The page."""
    now = time.time_ns() // 1_000_000
    try:
        span, wrong = read_span(visit.request.query, visit.zone, now), None
    except ValueError as error:
        span, wrong = read_span({}, visit.zone, now), str(error)
    by_outcome: Params = {"by": "outcome", "bucket": span.bucket, "tz": visit.zone.key, **span.params}
    by_reason: Params = {"by": "reason", "outcome": "failure", "limit": _LISTED, **span.params}
    counted, reasons, status, quarantined, sinks = await asyncio.gather(
        _asked(visit.get("/events/counts", by_outcome)),
        _asked(visit.get("/events/counts", by_reason)),
        _asked(visit.get("/status")),
        _asked(visit.get("/quarantine", {"limit": 1})),
        _asked(visit.get("/sinks")) if visit.may(Permission.SINKS) else _nothing(_lacking(visit, Permission.SINKS)),
    )
    visit.command(
        f"idp-adapter events count --by outcome --bucket {span.bucket} --tz {shlex.quote(visit.zone.key)} "
        f"--from {span.begin} --to {span.end}"
    )
    return visit.page(
        "overview.html",
        span=span,
        ranges=list(RANGES),
        wrong=wrong,
        given={name: visit.request.query.get(name, "") for name in ("from", "to")},
        timeline=None if counted.value is None else timeline(counted.value, span, visit.zone, visit.site.prefix),
        counted=counted,
        reasons=reasons,
        reason_rows=_counts(reasons, "reason", visit, span),
        portion=portion,
        status=status,
        providers=providers((status.value or {}).get("sources", ())),
        sinks=sinks,
        sink_rows=sink_rows((status.value or {}).get("sinks", ()), (sinks.value or {}).get("sinks", ())),
        quarantined=quarantined,
        tops=TOPS,
        is_limited=visit.principal.scope.is_limited,
        is_empty=_is_empty(counted.value, status.value),
    )


async def top(visit: Visit) -> web.Response:
    """The most frequent users, or addresses, of failures. They are counted from events: of a long range, at first those
    of its last day alone."""
    now = time.time_ns() // 1_000_000
    query = visit.request.query
    by = query.get("by", "user")
    by = by if by in TOPS else "user"
    try:
        span = read_span(query, visit.zone, now)
    except ValueError as error:
        raise RequestError(400, "Bad parameter", str(error)) from None
    whole = query.get("all") == "1" or span.end - span.begin <= _RECENT
    part = span if whole else span._replace(begin=span.end - _RECENT)
    asked: Params = {"by": by, "outcome": "failure", "limit": _LISTED, **part.params}
    counted = await _asked(visit.get("/events/counts", asked))
    visit.command(
        f"idp-adapter events count --by {by} --outcome failure --limit {_LISTED} --from {part.begin} --to {part.end}"
    )
    return visit.page(
        "overview_top.html",
        by=by,
        what=TOPS[by][1],
        counted=counted,
        rows=_counts(counted, by, visit, part),
        portion=portion,
        span=part,
        rest=None if whole else span,
    )


def read_span(query: Mapping[str, str], zone: ZoneInfo, now: int) -> Span:
    """The range that a page is asked for: `range`, or `from` and `to`. ``now``: epoch milliseconds.

    Raises:
        ValueError: it is none; the text says what is right.
    """
    begin, end = query.get("from", "").strip(), query.get("to", "").strip()
    if not begin and not end:
        name = query.get("range", _DEFAULT)
        name = name if name in RANGES else _DEFAULT
        length, step, bucket = RANGES[name]
        until = (now // step + 1) * step
        return Span(name, until - length, until, bucket)
    first = _moment("from", begin or "1d", zone, now)
    last = _moment("to", end, zone, now) if end else now + 1
    if first >= last:
        raise ValueError("from lies behind to; the earlier one comes first")
    if last > _LATEST:
        raise ValueError("to lies behind the end of the calendar")
    buckets = [name for size, name in _BUCKETS if (last - first) / size <= _MOST]
    if not buckets:
        raise ValueError(f"the range is too long for one picture; {_MOST * 28} days at most")
    return Span(None, first, last, buckets[0])


def _moment(name: str, text: str, zone: tzinfo, now: int) -> int:
    """A time as the API takes it, or as a form has it: in the reader's zone.

    Raises:
        ValueError: it is none.
    """
    try:
        naive = datetime.fromisoformat(text) if "T" in text else None
    except ValueError:
        naive = None
    try:
        if naive is not None and naive.tzinfo is None:
            return int(naive.replace(tzinfo=zone).timestamp() * 1000)
        return read_timestamp(text, now)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}={text[:50]!r} is not right; it must be {FORMS}") from None


class Timeline(NamedTuple):
    """What the picture of a range shows."""

    picture: Any
    rate_picture: Any
    #: Of the highest bar, rounded up: the end of the axis.
    highest: int
    #: Below the pictures, at equal distances.
    labels: Sequence[str]
    #: The same as rows: when, where to, and the parts.
    rows: Sequence[tuple[int, str, Bar]]
    #: All that were counted; and of each outcome, with what leads to them.
    total: int
    href: str
    outcomes: Sequence[Part]
    #: Failures among those whose outcome is known, from 0 to 1; ``None``: there are none.
    rate: float | None
    #: Numbers for the picture that is brushed: epoch seconds, then each of `OUTCOMES`.
    data: str


def timeline(counted: Mapping[str, Any], span: Span, zone: tzinfo, prefix: str) -> Timeline:
    """The pictures of an answer of ``/events/counts`` by outcome. ``prefix``: what stands before the path of a page."""
    starts: Sequence[int] = counted["starts"]
    series = {one["value"]: one for one in counted["counts"]}
    edges = [*starts, counted["end"]]
    columns, rows = [], []
    for number, start in enumerate(starts):
        bounds = {"from": max(start, span.begin), "to": min(edges[number + 1], span.end)}
        found = [(kind, series[kind]["series"][number] if kind in series else 0) for kind in OUTCOMES]
        is_counted = counted["totals"][number] is not None
        column = Bar(
            _written(start, zone, span.bucket),
            [Part(kind, count, _events(prefix, bounds, outcome=kind)) for kind, count in found] if is_counted else None,
        )
        columns.append(column)
        rows.append((start, _events(prefix, bounds), column))
    outcomes = [
        Part(kind, series[kind]["count"] if kind in series else 0, _events(prefix, span.params, outcome=kind))
        for kind in OUTCOMES
    ]
    said = {part.kind: part.events for part in outcomes}
    when = f"from {_written(span.begin, zone, '')} to {_written(span.end, zone, '')}, {zone}"
    bucket = span.bucket if span.bucket[0].isdigit() else f"1 {span.bucket}"
    return Timeline(
        bars(
            columns,
            id="chart-outcomes",
            title="Events over time, by outcome",
            description=f"{counted['total']:,} events {when}: {said['failure']:,} failure, {said['success']:,} "
            f"success, {said['unknown']:,} unknown; a bar is {bucket}. The table below has the same numbers.",
        ),
        line(
            [_rate({part.kind: part.events for part in one.parts or ()}) for one in columns],
            id="chart-rate",
            title="Failure rate over time",
            description=f"The share of failures among events whose outcome is known, {when}.",
        ),
        round_up(highest(columns)),
        _labels(columns),
        rows,
        counted["total"],
        _events(prefix, span.params),
        outcomes,
        _rate(said),
        json.dumps([
            [start // 1000 for start in starts],
            *([one["series"][n] for n in range(len(starts))] if (one := series.get(kind)) else [0] * len(starts)
              for kind in OUTCOMES),
        ]),
    )  # fmt: skip


def _labels(columns: Sequence[Bar]) -> list[str]:
    """The names of some of them, at equal distances, the first and the last one included."""
    steps = min(_LABELS, len(columns)) - 1
    return [columns[number * (len(columns) - 1) // max(1, steps)].name for number in range(steps + 1)]


def _rate(counts: Mapping[str, int]) -> float | None:
    known = counts.get("failure", 0) + counts.get("success", 0)
    return counts.get("failure", 0) / known if known else None


class ProviderRow(NamedTuple):
    """A provider, and its sources from which something came."""

    name: str
    last_at: int
    sources: Sequence[Mapping[str, Any]]


def providers(sources: Sequence[Mapping[str, Any]]) -> tuple[list[ProviderRow], list[str]]:
    """Of the sources of ``/status``: providers that were heard from, the latest first; and sources that never were."""
    heard: dict[str, list[Mapping[str, Any]]] = {}
    for source in sources:
        if source["lastAt"] is not None:
            heard.setdefault(source["provider"], []).append(source)
    rows = [ProviderRow(name, max(one["lastAt"] for one in its), its) for name, its in heard.items()]
    rows.sort(key=lambda row: (-row.last_at, row.name))
    return rows, sorted(one["name"] for one in sources if one["lastAt"] is None)


_COLOURS = {"running": "good", "down": "bad", "stopped": "bad", "paused": "warn", "off": "warn"}
#: The members of the law, as the API calls them.
LAW = ("matched", "delivered", "inFlight", "held", "dead", "skipped")


def sink_rows(told: Sequence[Mapping[str, Any]], counted: Sequence[Mapping[str, Any]]) -> list[SinkRow]:
    """Sinks of ``/status``, those that need somebody first, with the counts that ``/sinks`` has of them."""
    counts = {one["name"]: one["counts"] for one in counted}
    rows = [
        SinkRow(
            one["name"], one["kind"], one["state"], _COLOURS.get(one["state"], "plain"), one["lag"], one["behind"],
            one["dead"],
            None if (its := counts.get(one["name"])) is None else {name: its[name] for name in LAW},
        )
        for one in told
    ]  # fmt: skip
    order = ("bad", "warn", "plain", "good")
    return sorted(rows, key=lambda row: (order.index(row.colour), -row.lag, row.name))


def _counts(asked: Asked, by: str, visit: Visit, span: Span) -> list[Count]:
    filter = TOPS[by][0] if by in TOPS else by
    return [
        Count(
            one["value"],
            one["count"],
            None
            if one["value"] is None
            else _events(visit.site.prefix, span.params, outcome="failure", **{filter: one["value"]}),
        )
        for one in (asked.value or {}).get("counts", ())
    ]


def _events(prefix: str, bounds: Mapping[str, int], **filters: str) -> str:
    """The address of the page of the events behind a number."""
    return str(URL(f"{prefix}/ui/events").extend_query({**filters, **{name: str(at) for name, at in bounds.items()}}))


def _written(at: int, zone: tzinfo, bucket: str) -> str:
    """A time as its bucket needs it."""
    there = datetime.fromtimestamp(at / 1000, zone)
    if bucket in ("day", "week", "28d"):
        return there.strftime("%Y-%m-%d")
    return there.strftime("%Y-%m-%d %H:%M" if not bucket else "%m-%d %H:%M")


async def _asked(question: Awaitable[Any]) -> Asked:
    """An answer, or why there is none: the rest of the page is shown all the same."""
    try:
        return Asked(await question)
    except Refused as error:
        if error.status == 401:
            raise  # the session is over
        return Asked(None, error.detail or error.title)


async def _nothing(why: str) -> Asked:
    return Asked(None, why)


def _is_empty(counted: Mapping[str, Any] | None, status: Mapping[str, Any] | None) -> bool:
    """Whether nothing ever came, as far as the visitor may know."""
    if counted is None or status is None or counted["total"]:
        return False
    return all(one["lastAt"] is None for one in status["sources"])


def _lacking(visit: Visit, permission: Permission) -> str:
    return f"{visit.name} lacks the permission {permission.value!r}."


SECTION = Section(
    _PATH,
    "Overview",
    Permission.READ,
    "g o",
    (Route("GET", _PATH, show), Route("GET", _TOP, top)),
    styles=("overview.css",),
    scripts=("overview.js",),
    vendor=("uplot.min.css", "uplot.min.js"),
)
