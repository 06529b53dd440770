"""Examples rewritten to what the table makes of them now, after a person has seen the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adapter.mapping.document import Document
from adapter.mapping.examples import Placed, differences, outcome_of, read_examples
from adapter.mapping.table import Table


@dataclass(frozen=True)
class Change:
    """An example whose expectation would change."""

    placed: Placed
    #: What the table makes of it now.
    found: list[dict[str, Any]]

    def lines(self) -> list[str]:
        """The differences, for people."""
        return list(differences(self.placed.example.expect, self.found))


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


def write(accepted: list[Change]) -> None:
    """Put what was accepted into the example files; everything else in them stays as it is, comments too."""
    by_file: dict[Path, list[Change]] = {}
    for change in accepted:
        by_file.setdefault(change.placed.file, []).append(change)
    for file, some in by_file.items():
        text = file.read_text(encoding="utf-8")
        # From the end, so that places before stay right.
        for change in sorted(some, key=lambda one: one.placed.number, reverse=True):
            start, end, indent = Document(file, text).span((change.placed.number, "expect"))
            text = text[:start] + _block(change.found, indent) + text[end:]
        file.write_text(text, encoding="utf-8")


def _block(found: list[dict[str, Any]], indent: int) -> str:
    dumped = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)
    lines = [" " * (indent + 2) + line if line else line for line in dumped.rstrip("\n").split("\n")]
    return "\n" + "\n".join(lines) + "\n"
