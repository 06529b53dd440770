"""What the page Events asks: filters as they stand in its address, which are those of ``GET /events`` by name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo

from adapter.filter import NAMES, TIMES
from adapter.formats.text import harmless
from adapter.timestamps import read_timestamp, write_timestamp

PATH = "/ui/events"
#: What the form of the page sends beside filters: those that it does not show as fields, as they stand in an address,
#: since no field of a form takes any text there may be; and one more condition.
FILTERS = "filters"
FORM = (FILTERS, "field", "op", "value")
#: What stands in the address and is no filter.
CURSOR = "cursor"
#: Filters with an option of their own on the command line.
_OPTIONS = {"type", "outcome", "user", "client", "ip", "source", "from", "to"}
#: A time without a zone: the reader's is meant.
_LOCAL = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Pair = tuple[str, str]


class Clause(NamedTuple):
    """One value of one filter."""

    name: str
    value: str

    @property
    def field(self) -> str:
        return self.name.removeprefix("not_")

    @property
    def is_negated(self) -> bool:
        return self.name.startswith("not_")

    @property
    def opposite(self) -> Clause:
        """The same value, left out instead of asked for, or the other way round."""
        return Clause(self.field if self.is_negated else f"not_{self.field}", self.value)

    def __str__(self) -> str:
        return f"{self.field} is {'not ' if self.is_negated else ''}{self.value}"


@dataclass(frozen=True)
class Query:
    """The filters of a page, in order, and where it begins."""

    pairs: tuple[Pair, ...] = ()
    cursor: str | None = None

    @classmethod
    def read(cls, query: Iterable[Pair], zone: ZoneInfo) -> tuple[Query, bool]:
        """The filters of an address, and whether the form of the page made it, so that another address says the same
        in the API's words. Times without a zone are those of the reader's."""
        pairs: list[Pair] = []
        form: dict[str, str] = {}
        cursor, is_plain = None, True
        for name, value in query:
            if name == FILTERS:
                pairs += parse_qsl(value, keep_blank_values=True)
                is_plain = False
            elif name in FORM:
                form[name], is_plain = value.strip(), False
            elif name == CURSOR:
                cursor = value or None
            elif not value.strip():
                is_plain = False
            elif name in TIMES and (moment := _read_local(value.strip(), zone)) is not None:
                pairs.append((name, moment))
                is_plain = False
            elif (name, value) in pairs:
                is_plain = False
            else:
                pairs.append((name, value))
        if form.get("field") and form.get("value"):
            added = Clause(form["field"], form["value"])
            if form.get("op") == "not":
                added = added.opposite
            pairs = list(cls(tuple(pairs)).including(*added).pairs)
        return cls(tuple(pairs), cursor if is_plain else None), not is_plain

    @cached_property
    def text(self) -> str:
        """As it stands in an address, without where the page begins."""
        return urlencode(self.pairs, errors="replace")

    @property
    def params(self) -> dict[str, list[str]]:
        """As the API is asked."""
        found: dict[str, list[str]] = {}
        for name, value in self.pairs:
            found.setdefault(name, []).append(value)
        return found

    @property
    def clauses(self) -> list[Clause]:
        """All but those that have fields of their own: when it happened."""
        return [Clause(*pair) for pair in self.pairs if pair[0] not in ("from", "to")]

    def first(self, name: str) -> str:
        """The first value of a filter, or nothing."""
        return next((value for one, value in self.pairs if one == name), "")

    def including(self, name: str, value: str) -> Query:
        """With one more value, and without what leaves it out."""
        opposite = Clause(name, value).opposite
        kept = [pair for pair in self.pairs if pair != opposite]
        return Query((*kept, *([] if (name, value) in kept else [(name, value)])))

    def without(self, *pairs: Pair) -> Query:
        """Without some values."""
        return Query(tuple(pair for pair in self.pairs if pair not in pairs))

    def without_names(self, *names: str) -> Query:
        """Without some filters."""
        return Query(tuple(pair for pair in self.pairs if pair[0] not in names))

    def fixed(self, now: int) -> Query:
        """With times that are counted from now (epoch milliseconds) as the times that they are now, so that all pages
        are about the same stretch."""
        return Query(tuple((name, _fixed(value, now) if name in TIMES else value) for name, value in self.pairs))

    def command(self, command: str) -> str:
        """The command line that asks the same."""
        words = command.split()
        has_words = False
        for name, value in self.pairs:
            if name in _OPTIONS:
                words.append(f"--{name}={value}")
            elif name == "q" and not has_words:
                words.append(f"--words={value}")
                has_words = True
            else:
                words += ["--where", f"{name}={value}"]
        return " ".join(map(shlex.quote, words))

    def parts(self) -> list[tuple[str, Query]]:
        """Each of its conditions for people, with the query that does without it: values of one filter are one."""
        found: list[tuple[str, Query]] = []
        times = [name for name in TIMES if self.first(name)]
        if times:
            found.append((" and ".join(f"{name} {self.first(name)}" for name in times), self.without_names(*times)))
        for name in dict.fromkeys(name for name, _ in self.pairs if name not in TIMES):
            values = " or ".join(value for one, value in self.pairs if one == name)
            found.append((str(Clause(name, values)), self.without_names(name)))
        return found


def shown_words(text: str) -> str:
    """Words for the field in which they are edited: what is part of no word is a blank where it cannot be shown."""
    return "".join([one if harmless(one) == one else " " for one in text])


def shown_time(value: str, zone: ZoneInfo) -> str:
    """A time of an address as the reader would write it: in his zone, unless it is counted from now, or would mean
    another time there."""
    try:
        milliseconds = read_timestamp(value, None)
        there = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(zone)
    except (ValueError, OverflowError):
        return value
    text = there.strftime("%Y-%m-%d %H:%M:%S") + (f".{milliseconds % 1000:03d}" if milliseconds % 1000 else "")
    back = _read_local(text, zone)
    return text if back is not None and read_timestamp(back, None) == milliseconds else value


def choices(chosen: Sequence[Clause]) -> list[str]:
    """The filters that a condition can be added for, words aside."""
    return [name for name in NAMES if name != "q" or any(one.name == "q" for one in chosen)]


def _read_local(text: str, zone: ZoneInfo) -> str | None:
    """A time of the reader's clock as one with its zone; ``None``: it is none, or has a zone."""
    found = _LOCAL.fullmatch(text)
    if found is None:
        return None
    try:
        there = datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}").replace(tzinfo=zone)
        return write_timestamp((there - _EPOCH) // timedelta(milliseconds=1))
    except (ValueError, OverflowError):
        return None


def _fixed(value: str, now: int) -> str:
    try:
        return str(read_timestamp(value, now))
    except ValueError:
        return value
