"""Two versions of a table held side by side: what a change would do to an event, to the examples, and to the keys by
which events are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import starmap
from typing import Any

from adapter.mapping.body import NotReadable, UnknownMedia
from adapter.mapping.compile import Result
from adapter.mapping.document import NO_TEXTS, Texts
from adapter.mapping.language import Identity, Shape
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table
from adapter.workbench.examples import RECEIVED_AT, Example, differing, read_examples


class Verdict(StrEnum):
    """What reading an entry again comes to."""

    #: It had no event, and has one now.
    RECOVERED = "recovered"
    #: Its event reads differently now.
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"
    #: It has no event, and still cannot become one.
    QUARANTINED = "quarantined"
    #: It has an event, and would not become one now; it keeps it.
    KEPT = "kept"
    #: No entry yet: a further event of a record, which its row makes now.
    ADDED = "added"


@dataclass(frozen=True)
class Compared:
    """What a changed table does to one event, and where."""

    verdict: Verdict
    #: Place in the event: what it was, and what it would be.
    lines: dict[str, str]
    #: Whether it would be known by other keys, so that a copy of one that came before would be a new event.
    keys: bool


def compare(old: Result, new: Result) -> Compared:
    """The readings of one record by two tables."""
    lines: dict[str, str] = {}
    if old.event is not None and new.event is not None:
        lines = {place: f"{one!r} becomes {other!r}" for place, one, other in differing(old.event, new.event)}
        verdict = Verdict.CORRECTED if lines else Verdict.UNCHANGED
    elif old.event is None and new.event is None:
        verdict = Verdict.QUARANTINED
    else:
        verdict = Verdict.KEPT if new.event is None else Verdict.RECOVERED
        lines["type"] = f"{_became(old)} becomes {_became(new)}"
    keys = _lost_key(old, new)
    if keys:
        lines["known by"] = f"{known_by(old)} becomes {known_by(new)}"
    return Compared(verdict, lines, keys)


@dataclass(frozen=True)
class Difference:
    """What a changed table does to one example."""

    example: str
    #: Where, what it was, what it would be.
    lines: list[str]
    #: Whether the event would be known by other keys.
    keys: bool


def table_changes(old: Table, new: Table) -> list[Difference]:
    """The examples of the old table that the new one reads differently.

    Raises:
        MappingError: an example file does not fit.
    """
    found = []
    for placed in read_examples(old.folder):
        before, after = _results(old, placed.example), _results(new, placed.example)
        keys = _other_keys(before, after)
        lines = []
        if len(before) != len(after):
            lines.append(f"{len(before)} events become {len(after)}")
        else:
            for number, (one, other) in enumerate(zip(before, after, strict=True), 1):
                where = f"event {number}: " if len(before) > 1 else ""
                lines += [f"{where}{told}" for told in _changes(one, other)]
        if lines or keys:
            found.append(Difference(placed.example.name, lines, keys))
    return found


#: The events of a record, further ones by name, the first one under ``None``.
Results = dict[str | None, Result]


def _changes(before: Results, after: Results) -> Iterator[str]:
    for name, old in before.items():
        where = "" if name is None else f"also {name}: "
        if name in after:
            yield from (f"{where}{place}: {told}" for place, told in compare(old, after[name]).lines.items())
        else:
            yield f"{where}{_became(old)} becomes nothing"
    for name, new in after.items():
        if name not in before:
            yield f"also {name}: nothing becomes {_became(new)}"


def changed_identity(old: Table, new: Table, texts: Texts = NO_TEXTS) -> str | None:
    """How one can see that events would be known by other keys, for people; ``None`` if they would not. The examples of
    both tables decide, and the declarations where no example has a key. ``texts`` stand for the new one's files.

    Raises:
        MappingError: an example file does not fit.
    """
    keyed, changed = 0, []
    both = {(old.folder, False): NO_TEXTS, (new.folder, bool(texts)): texts}
    for (folder, _), own in both.items():
        for placed in read_examples(folder, texts=own):
            before = _results(old, placed.example)
            keyed += any(_keys(one[None]) for one in before)
            if _other_keys(before, _results(new, placed.example)):
                changed.append(repr(placed.example.name))
    if not keyed:
        others = merged_shapes(new.mapping)
        changed = [
            f"shape {name}"
            for name, shape in merged_shapes(old.mapping).items()
            if isinstance(shape.identity, Identity)
            and (name not in others or _known_by_what(shape) != _known_by_what(others[name]))
        ]
    changed = [*dict.fromkeys(changed)]
    if not changed:
        return None
    return ", ".join([*changed[:_TOLD], *([f"and {len(changed) - _TOLD} more"] if len(changed) > _TOLD else [])])


def _known_by_what(shape: Shape) -> tuple[Any, ...]:
    return shape.identity, shape.each, shape.fields.get("time")


#: Examples that are named; there may be hundreds.
_TOLD = 3


def _other_keys(before: list[Results], after: list[Results]) -> bool:
    """Whether a key by which an event was known is gone. One that joins it does no harm: the event is still known by
    the other."""
    if len(before) != len(after):
        return any(_keys(one[None]) for one in before)
    return any(starmap(_lost_keys, zip(before, after, strict=True)))


def _lost_keys(before: Results, after: Results) -> bool:
    """The same of one record. A further event that goes while another one comes has got another name."""
    if before.keys() - after.keys() and after.keys() - before.keys():
        return True
    return any(_lost_key(old, after[name]) for name, old in before.items() if name in after)


def _lost_key(old: Result, new: Result) -> bool:
    if _keys(old) and old.seconds != new.seconds:
        return True
    strong = old.strong is not None and old.strong != new.strong
    return strong or (old.weak is not None and old.weak != new.weak)


def known_by(result: Result) -> str:
    """The keys of an event, for people."""
    keys = [_shown_key(key) for key in (result.strong, result.weak) if key]
    found = " or ".join("/".join(value or "-" for value in key) for key in keys if key) or "nothing"
    if not result.seconds or not _keys(result):
        return found
    return f"{found}, at {datetime.fromtimestamp(result.seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _shown_key(key: list[str | None]) -> list[str | None]:
    """The values of a key; of a further event's the name last."""
    return [*key[3:], key[1]] if key[0] == "also" else key[1:]


def _became(result: Result) -> str:
    if result.event is not None:
        return str(result.event["type"])
    return "ignored" if result.problem is None else f"quarantined ({result.problem})"


def _keys(result: Result) -> bool:
    return result.strong is not None or result.weak is not None


def _results(table: Table, example: Example) -> list[Results]:
    """Of each record."""
    try:
        return [table.results(record, RECEIVED_AT) for record in table.split(example.body, example.media)]
    except (NotReadable, UnknownMedia) as error:
        return [{None: Result(None, None, None, None, 0, str(error))}]
