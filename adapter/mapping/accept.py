"""Examples rewritten to what the table makes of them now, after a person has seen the difference."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from adapter.mapping.document import Document
from adapter.mapping.examples import Placed, differing, outcome_of, read_examples
from adapter.mapping.table import Table


@dataclass(frozen=True)
class Change:
    """An example whose expectation would change."""

    placed: Placed
    #: What the table makes of it now.
    found: list[dict[str, Any]]

    def lines(self) -> list[str]:
        """The differences, for people; where there are more or fewer events than before, what they are now."""
        expected = self.placed.example.expect
        several = len(self.found) > 1
        lines = []
        for number, event in enumerate(self.found, 1):
            where = f"event {number}: " if several else ""
            if len(expected) == len(self.found):
                changes = differing(expected[number - 1], event)
                lines += [f"{where}{place}: {one!r} becomes {other!r}" for place, one, other in changes]
            else:
                lines += [f"{where}{place}: {value!r}" for place, value in _leaves(event)]
        return lines or ["nothing is left of it"]


def changes(table: Table) -> Iterator[Change]:
    """The examples of a table that it does not reproduce.

    Raises:
        MappingError: an example file does not fit.
        ValueError: the table does not take an example's body at all.
    """
    for placed in read_examples(table.folder):
        found = outcome_of(table, placed.example)
        if found != placed.example.expect:
            yield Change(placed, found)


def digest(shown: Sequence[Change]) -> str:
    """A name for exactly these changes, so that a yes is to what was shown and to nothing else."""
    told = [(str(one.placed.file), one.placed.number, one.placed.example.expect, one.found) for one in shown]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()[:16]


def write(accepted: Sequence[Change]) -> None:
    """Put what was accepted into the example files; everything else in them stays as it is, comments too.

    Raises:
        OSError: a file cannot be written.
    """
    by_file: dict[Path, list[Change]] = {}
    for change in accepted:
        by_file.setdefault(change.placed.file, []).append(change)
    for file, some in by_file.items():
        text = file.read_text(encoding="utf-8")
        # From the end, so that places before stay right.
        for change in sorted(some, key=lambda one: one.placed.number, reverse=True):
            start, end, indent = Document(file, text).span((change.placed.number, "expect"))
            text = text[:start] + _block(change.found, indent) + text[end:]
        # Whole or not at all, whatever happens meanwhile.
        written = file.with_name(f"{file.name}.new")
        written.write_text(text, encoding="utf-8")
        shutil.copymode(file, written)
        written.replace(file)


def _leaves(event: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{place}{name}.")
        else:
            yield place + name, value


def _block(found: list[dict[str, Any]], indent: int) -> str:
    dumped = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    lines = [" " * (indent + 2) + line if line else line for line in dumped.rstrip("\n").split("\n")]
    return "\n" + "\n".join(lines) + "\n"
