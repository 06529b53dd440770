"""``idp-adapter mapping try``: what a table makes of samples while it is written, again with each change of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter.errors import AdapterError
from adapter.formats.text import counted, shortened
from adapter.mapping.table import Table
from adapter.tables.watch import Mark, look
from adapter.workbench.apply import apply_records, records_of
from adapter.workbench.check import check_table
from adapter.workbench.examples import ABSENT, differing

#: Seconds between two looks at the files.
LOOK_EVERY = 0.2
#: Findings that are shown at a time.
FINDINGS = 20


@dataclass(slots=True)
class Trying:
    """Tries a table on samples, again and again: the first time all events are told, then what is different."""

    #: Reads the table as its files are now.
    load: Callable[[], Table]
    samples: Path
    media: str | None
    #: What became of the samples the last time.
    _events: list[dict[str, Any]] | None = field(default=None, init=False)

    def tell(self) -> Iterator[str]:
        """What the table makes of the samples now, and what a check finds, as lines for people."""
        try:
            table = self.load()
            records = records_of(table, self.samples.read_bytes(), self.media)
            # Arrival is always the same: only what a change of a file makes different is to be told.
            events = list(apply_records(table, records, 0))
            findings = check_table(table, strict=False)
        except (AdapterError, ValueError, OSError) as error:
            yield from str(error).split("\n")
            return
        before, self._events = self._events, events
        if before is None:
            yield from _all(events)
        else:
            yield from _changes(before, events)
        for finding in findings[:FINDINGS]:
            yield str(finding)
        if len(findings) > FINDINGS:
            yield f"and {counted(len(findings) - FINDINGS, 'finding')} more: idp-adapter mapping check"
        wrong = sum(finding.error for finding in findings)
        yield (
            f"{table.name}: {counted(len(events), 'event')}, {_without(events)} quarantined or ignored; check: "
            f"{counted(wrong, 'error')}, {counted(len(findings) - wrong, 'warning')}"
        )


def changes_of(folders: list[Path], files: list[Path]) -> Iterator[None]:
    """Comes once at the beginning, and each time a table, an example or one of these files is another than before and
    has stayed so for one look."""
    known: object = None
    last = _marks(folders, files)
    while True:
        if last != known:
            known = last
            yield
        time.sleep(LOOK_EVERY)
        now = _marks(folders, files)
        while now != last:  # an editor writes it just now
            last = now
            time.sleep(LOOK_EVERY / 2)
            now = _marks(folders, files)


_State = tuple[int, int] | None


def _marks(folders: list[Path], files: list[Path]) -> tuple[Mapping[str, frozenset[Mark]], list[_State]]:
    states: list[_State] = []
    for file in files:
        try:
            state = file.stat()
            states.append((state.st_mtime_ns, state.st_size))
        except OSError:
            states.append(None)
    return look(folders), states


def _all(events: list[dict[str, Any]]) -> Iterator[str]:
    for number, event in enumerate(events, 1):
        yield f"event {number}: {_headline(event)}"


def _changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[str]:
    if len(before) != len(after):
        yield f"{counted(len(before), 'event')} become {len(after)}"
        yield from _all(after)
        return
    changed = 0
    for number, (one, other) in enumerate(zip(before, after, strict=True), 1):
        lines = [
            f"  {place}: {_value(old)} becomes {_value(new)}"
            for place, old, new in differing(one, other)
            if place != "source.mapping" and not (place == "uid" and "type" not in one)
        ]
        if lines:
            changed += 1
            yield f"event {number}: {_headline(other)}"
            yield from lines
    if not changed:
        yield "no event is different"


def _value(value: Any) -> str:
    return "absent" if value is ABSENT else shortened(repr(value))


def _headline(event: dict[str, Any]) -> str:
    """An event in a line."""
    if "quarantined" in event:
        told = event["quarantined"]
        return f"quarantined: {told['nativeType'] or 'no native type'}: {told['problem']}"
    if "ignored" in event:
        return f"ignored: {next(iter(event['ignored'].values()))}"
    who = event["authDetails"]
    outcome = event["outcome"] if event["outcome"] != "failure" else f"failure: {event['reason']}"
    parts = [
        event["source"]["nativeType"], "->", event["type"], outcome,
        who.get("username") or who.get("userId"), who.get("clientId"), who.get("ipAddress"),
    ]  # fmt: skip
    return " ".join(part for part in parts if part)


def _without(events: list[dict[str, Any]]) -> int:
    return sum("type" not in event for event in events)
