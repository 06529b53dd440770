"""What raw examples plainly say and no event of theirs does: fields that a table may have overlooked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from adapter.known_secrets import REDACTED
from adapter.mapping.language import value_paths
from adapter.mapping.paths import escaped_key, scalar_text
from adapter.mapping.table import Table
from adapter.workbench.examples import RECEIVED_AT, Placed
from adapter.workbench.shown import paths, records_of


def unread(table: Table, placed: Sequence[Placed]) -> dict[str, int]:
    """Path: in how many raw events something stands there whose text, in whatever case, is nowhere in the unified
    event; the most frequent first. Paths that the table names are read, whatever came of them; an element of a list is
    ``[]``."""
    named = {path for _, (path, _) in paths(table.mapping)}
    counted: Counter[str] = Counter()
    for one in placed:
        for record in records_of(table, one):
            results = table.results(record, RECEIVED_AT)
            native = results[None].native_type
            if record.value is None or results[None].event is None:
                continue
            made = [one.event for one in results.values()]
            said = "\n".join([str(native), *(text for _, text in _leaves(made, ""))]).lower()
            counted.update(
                {path for path, text in _leaves(record.value, "") if path not in named and text.lower() not in said}
            )
    # What another form calls otherwise is read under the key that it stands for.
    elsewhere = {path for some in table.mapping.aliases.values() for path in value_paths(some)}
    return {
        path: number
        for path, number in sorted(counted.items(), key=lambda one: (-one[1], one[0]))
        if not any(path == other or path.startswith(f"{other}.") for other in elsewhere)
    }


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The texts of a value, and where they stand; without truth values, which say nothing without their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.startswith("@"):
                yield from _leaves(inner, f"{path}.{escaped_key(key)}" if path else escaped_key(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{path}[]")
    elif not isinstance(value, bool):
        text = scalar_text(value)
        if text and text != REDACTED:
            yield path, text
