"""Examples rewritten to what the table makes of them now, after a person has seen the difference."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter.errors import MappingError
from adapter.mapping.document import NO_TEXTS, Document, Texts
from adapter.mapping.exact import write_json
from adapter.mapping.scalars import dump
from adapter.mapping.table import Table
from adapter.workbench.examples import Placed, differing, outcome_of, read_examples


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


def changes(table: Table, texts: Texts = NO_TEXTS) -> Iterator[Change]:
    """The examples of a table that it does not reproduce; ``texts`` stand for those of their files.

    Raises:
        MappingError: an example file does not fit.
        ValueError: the table does not take an example's body at all.
    """
    for placed in read_examples(table.folder, texts=texts):
        found = outcome_of(table, placed.example)
        if found != placed.example.expect:
            yield Change(placed, found)


def digest(shown: Sequence[Change]) -> str:
    """A name for exactly these changes, so that a yes is to what was shown and to nothing else."""
    told = [(str(one.placed.file), one.placed.number, one.placed.example.expect, one.found) for one in shown]
    return hashlib.sha256(write_json(told)).hexdigest()[:16]


def write(accepted: Sequence[Change]) -> None:
    """Put what was accepted into the example files; everything else in them stays as it is, comments too.

    Raises:
        MappingError: a file is written in a way that leaves no room for it; none is changed.
        OSError: a file cannot be written.
    """
    for file, text in rewritten(accepted).items():
        # Whole or not at all, whatever happens meanwhile.
        written = file.with_name(f"{file.name}.new")
        written.write_text(text, encoding="utf-8", newline="")
        shutil.copymode(file, written)
        written.replace(file)


def rewritten(accepted: Sequence[Change], texts: Texts = NO_TEXTS) -> dict[Path, str]:
    """The texts of the example files with what was accepted; ``texts`` stand for those that they have.

    Raises:
        MappingError: a file is written in a way that leaves no room for it.
    """
    by_file: dict[Path, list[Change]] = {}
    for change in accepted:
        by_file.setdefault(change.placed.file, []).append(change)
    return {file: _rewritten(file, some, texts.get(file)) for file, some in by_file.items()}


def _rewritten(file: Path, accepted: Sequence[Change], text: str | None) -> str:
    """A file's text with what was accepted.

    Raises:
        MappingError: it would say something else, too.
    """
    if text is None:
        with file.open(encoding="utf-8", newline="") as opened:
            text = opened.read()
    breaks = "\r\n" if text.count("\r\n") == text.count("\n") else "\n"
    text = text.replace(breaks, "\n")
    wanted = Document(file, text).value
    try:
        # From the end, so that places before stay right.
        for change in sorted(accepted, key=lambda one: one.placed.number, reverse=True):
            number = change.placed.number
            wanted[number] = {**wanted[number], "expect": change.found}
            text = _with_expect(Document(file, text), number, change.found)
        same = repr(Document(file, text).value) == repr(wanted)
    except MappingError:
        same = False
    if not same:
        names = ", ".join(repr(one.placed.example.name) for one in accepted)
        problem = f"cannot be rewritten as it stands; give each of these an `expect: []` on a line of its own: {names}"
        raise MappingError(problem, file=file)
    return text.replace("\n", breaks)


def _with_expect(document: Document, number: int, found: list[dict[str, Any]]) -> str:
    """The text of a file with what an example expects, in the style in which the example is written."""
    text = document.text
    spot = document.spot((number,), "expect")
    if spot.flow:
        told = dump(found, flow=True).rstrip("\n")
        return f"{text[: spot.start]}{spot.key}{told}{text[spot.end :]}"
    lines = [" " * (spot.indent + 2) + line if line else line for line in dump(found).rstrip("\n").split("\n")]
    return "\n".join([text[: spot.start] + spot.key, *lines, text[spot.end :]])


def _leaves(event: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{place}{name}.")
        else:
            yield place + name, value
