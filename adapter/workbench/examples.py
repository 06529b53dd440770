"""Examples of a table: raw events in, expected events out; data beside the table, run by every check.

An ``examples/*.yaml`` file is a list of examples. ``expect`` has one item for each event that ``raw`` holds, further
events of a record (``source.also``) behind its first one: the
unified event without ``uid``, ``source.receivedAt`` and ``source.mapping`` (which differ by arrival and version),
``{quarantined: {nativeType, problem}}``, ``{ignored: {nativeType}}``, or ``{ignored: {line}}`` of a line that the table
passes over. Without it nothing is expected yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from adapter.mapping.body import JSON, NotReadable, UnknownMedia
from adapter.mapping.document import NO_TEXTS, Document, Texts, is_there
from adapter.mapping.exact import write_json
from adapter.mapping.table import Table
from adapter.workbench.apply import apply

#: Arrival of every example, so that what is made of it never changes: 2026-01-01T00:00:00Z.
RECEIVED_AT = 1_767_225_600_000


class Example(BaseModel):
    """One raw event (or body of several), and what it must become."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    raw: Any = Field(description="The raw event; a text is taken as the exact body")
    media: str = JSON
    expect: list[dict[str, Any]] = Field([], description="What must become of it; empty: nothing yet")
    note: str | None = None
    unknown: list[str] = Field([], description="Values in it that a lookup's table lacks on purpose")

    @property
    def body(self) -> bytes:
        """The bytes as they are posted."""
        return body_of(self.raw)


def body_of(raw: Any) -> bytes:
    """The bytes in which ``raw`` is posted: a text is the exact body, anything else is written as JSON."""
    return raw.encode() if isinstance(raw, str) else write_json(raw)


class _File(RootModel[list[Example]]):
    """An example file."""


@dataclass(frozen=True)
class Placed:
    """An example, and where it stands."""

    example: Example
    file: Path
    line: int | None
    column: int | None
    #: Which of the file's examples, from 0.
    number: int


def read_examples(folder: Path, files: int | None = None, texts: Texts = NO_TEXTS) -> Iterator[Placed]:
    """The examples of a table's folder, files in order of their names; of so many ``files`` at most, taken evenly.
    ``texts`` stand for the files' own.

    Raises:
        MappingError: a file does not fit.
    """
    place = folder / "examples"
    unsaved = {file for file in texts if file.parent == place and file.suffix == ".yaml"}
    found = [file for file in sorted({*place.glob("*.yaml"), *unsaved}) if is_there(file, texts)]
    for file in found[:: 1 if files is None else max(1, -(-len(found) // files))]:
        document = Document.read(file, texts)
        document.value = document.value or []
        for number, example in enumerate(document.read_as(_File).root):
            line, column = document.position((number,))
            yield Placed(example, file, line, column, number)


def overlooked_examples(folder: Path) -> Iterator[Path]:
    """What lies in a table's folder as if it were examples, and is not read."""
    if (folder / "example").is_dir():
        yield folder / "example"
    for file in sorted((folder / "examples").glob("*")):
        if file.suffix.lower() in (".yml", ".yaml", ".json") and file.suffix != ".yaml":
            yield file


def outcome_of(table: Table, example: Example) -> list[dict[str, Any]]:
    """What the table makes of an example, in the form of ``expect``.

    Raises:
        ValueError: the table does not take the body at all.
    """
    try:
        return [expected_form(one) for one in apply(table, example.body, RECEIVED_AT, example.media)]
    except (NotReadable, UnknownMedia) as error:
        raise ValueError(str(error)) from error


def expected_form(event: dict[str, Any]) -> dict[str, Any]:
    """An applied event without what differs by arrival and version."""
    if "quarantined" in event or "ignored" in event:
        return event
    rest = {name: value for name, value in event.items() if name != "uid"}
    source = rest["source"]
    rest["source"] = {name: source[name] for name in ("name", "provider", "nativeType", "also") if name in source}
    return rest


#: Stands for what is not there, in `differing`.
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "absent"})()


def differing(before: Any, after: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two values differ: the place, and what stands there in the one and in the other."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            where = f"{place}.{name}" if place else name
            yield from differing(before.get(name, ABSENT), after.get(name, ABSENT), where)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differing(one, other, f"{place}[{number}]")
    elif before != after:
        yield place, before, after


def differences(expected: Any, found: Any) -> Iterator[str]:
    """How two values differ, a line each: where, what was expected, what was found."""
    for place, one, other in differing(expected, found):
        if other is ABSENT:
            yield f"{place}: expected {one!r}, is absent"
        elif one is ABSENT:
            yield f"{place}: expected to be absent, is {other!r}"
        else:
            yield f"{place}: expected {one!r}, is {other!r}"
