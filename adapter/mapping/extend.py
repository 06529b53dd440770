"""A table that extends another: what its file does not say is taken from there, row by row and field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapter.mapping.document import Document
from adapter.mapping.language import check_name


def extended(document: Document, folders: Sequence[Path], texts: Mapping[Path, str]) -> list[Document]:
    """The documents that a table's document rests on, nearest first; its value is completed from them.

    The table that is extended is looked for in the folders in order; a file that extends its own name finds the one
    that it hides. ``texts`` stand for the files' own.

    Raises:
        MappingError: there is no such table, or they extend each other in a circle.
    """
    bases: list[Document] = []
    below = document
    while isinstance(below.value, dict) and below.value.get("extends") is not None:
        name = str(below.value["extends"])
        try:
            check_name(name)
        except ValueError as error:
            raise below.error(str(error), ("extends",)) from None
        seen = {one.file.resolve() for one in (document, *bases)}
        files = [folder / name / "mapping.yaml" for folder in folders]
        there = [file for file in files if file.is_file()]
        file = next((one for one in there if one.resolve() not in seen), None)
        if file is None:
            problem = f"{name!r} extends itself in a circle" if there else f"there is no table {name!r} to extend"
            raise below.error(problem, ("extends",))
        text = texts.get(file)
        below = Document.read(file) if text is None else Document(file, text)
        bases.append(below)
    value = document.value
    for base in bases:
        value = _over(value, base.value)
    document.value = value
    return bases


def _over(own: Any, base: Any) -> Any:
    """A table's value over that of the one it extends."""
    if not isinstance(own, dict) or not isinstance(base, dict):
        return own
    merged = {**base, **own}
    for part in ("types", "fields", "aliases", "definitions"):
        if _are_objects(own, base, part):
            merged[part] = {**base[part], **own[part]}
    if _are_objects(own, base, "shapes"):
        shapes = {name: _over(shape, base["shapes"].get(name)) for name, shape in own["shapes"].items()}
        # The first shape that fits counts, so a new one stands before those it refines.
        merged["shapes"] = {**shapes, **{name: one for name, one in base["shapes"].items() if name not in shapes}}
    return merged


def _are_objects(own: dict[str, Any], base: dict[str, Any], part: str) -> bool:
    """Whether both have this part; one that is no object is refused when the table is read."""
    return isinstance(own.get(part), dict) and isinstance(base.get(part), dict)
