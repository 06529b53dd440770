"""Two versions of a table held side by side: what a change would do to the examples, and to the keys of events."""

from __future__ import annotations

from dataclasses import dataclass

from adapter.mapping.body import NotReadable, UnknownMedia
from adapter.mapping.compile import Result
from adapter.mapping.examples import RECEIVED_AT, Example, differences, read_examples
from adapter.mapping.table import Table


@dataclass(frozen=True)
class Difference:
    """What a changed table does to one example."""

    example: str
    #: Where, what it was, what it would be.
    lines: list[str]
    #: Whether the event would be known by other keys, so that a copy of one that came before would be a new event.
    keys: bool


def table_changes(old: Table, new: Table) -> list[Difference]:
    """The examples of the old table that the new one reads differently.

    Raises:
        MappingError: an example file does not fit.
    """
    found = []
    for placed in read_examples(old.folder):
        before, after = _results(old, placed.example), _results(new, placed.example)
        lines = list(differences([one._asdict() for one in before], [one._asdict() for one in after]))
        keys = [(one.strong, one.weak) for one in before] != [(one.strong, one.weak) for one in after]
        if lines or keys:
            found.append(Difference(placed.example.name, lines, keys))
    return found


def _results(table: Table, example: Example) -> list[Result]:
    try:
        return [table.result(record, RECEIVED_AT) for record in table.split(example.body, example.media)]
    except (NotReadable, UnknownMedia) as error:
        return [Result(None, None, None, None, str(error))]
