"""A table that extends another: what its file does not say is taken from there, row by row, field by field and
redaction by redaction. What it says is null is not taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapter.finding_codes import Code
from adapter.mapping.complaints import Place, Problem, nearest
from adapter.mapping.document import Document, Texts, is_there
from adapter.mapping.language import check_name


def extended(document: Document, folders: Sequence[Path], texts: Texts) -> list[Document]:
    """The documents that a table's document rests on, nearest first; its value is completed from them.

    The table that is extended is looked for in the folders in order; a file that extends its own name finds the one
    that it hides. ``texts`` stand for the files' own.

    Raises:
        MappingError: there is no such table, they extend each other in a circle, or null takes away what is not there.
    """
    bases: list[Document] = []
    below = document
    while isinstance(below.value, dict) and below.value.get("extends") is not None:
        name = str(below.value["extends"])
        try:
            check_name(name)
        except ValueError as error:
            raise below.error(Problem(("extends",), str(error), Code.WRONG_VALUE)) from None
        seen = {one.file.resolve() for one in (document, *bases)}
        files = [folder / name / "mapping.yaml" for folder in folders]
        there = [file for file in files if is_there(file, texts)]
        file = next((one for one in there if one.resolve() not in seen), None)
        if file is None:
            problem = f"{name!r} extends itself in a circle" if there else f"there is no table {name!r} to extend"
            raise below.error(Problem(("extends",), problem, Code.UNKNOWN_TABLE))
        below = Document.read(file, texts)
        bases.append(below)
    # From the lowest one up, so that what one takes away stays away.
    lowest = bases[-1] if bases else document
    value = lowest.value
    for above in [*reversed(bases[:-1]), document] if bases else []:
        value = _over(above, above.value, value, ())
    document.value = value
    return bases


def _over(document: Document, own: Any, base: Any, place: Place) -> Any:
    """What a document says at a place, over what the table says there that it extends."""
    if not isinstance(own, dict) or not isinstance(base, dict):
        return own
    merged = _without_null({**base, **own})
    for part in ("types", "fields", "aliases", "definitions"):
        if _are(dict, own, base, part):
            merged[part] = _without_null({**base[part], **own[part]})
    if _are(dict, own, base, "shapes"):
        there = base["shapes"]
        shapes = {
            name: _over(document, shape, there.get(name), (*place, "shapes", name))
            for name, shape in own["shapes"].items()
        }
        # The first shape that fits counts, so a new one stands before those it refines.
        others = {name: one for name, one in there.items() if name not in shapes}
        merged["shapes"] = _without_null({**shapes, **others})
    for part in ("types", "fields", "aliases", "shapes"):
        if _are(dict, own, base, part):
            for name, value in own[part].items():
                if value is None and name not in base[part]:
                    near = nearest(name, list(base[part]))
                    hint = "" if near is None else f"; did you mean {near}?"
                    raise document.error(Problem((*place, part, name), _IDLE + hint, Code.IDLE_NULL))
    if _are(list, own, base, "redact"):
        said, there = map(_parts, (own["redact"], base["redact"]))
        for number, one in enumerate(own["redact"]):
            if is_void(one) and one["in"] not in there:
                raise document.error(Problem((*place, "redact", number), _IDLE, Code.IDLE_NULL))
        kept = [one for one in base["redact"] if _parts([one]).isdisjoint(said)]
        merged["redact"] = [*(one for one in own["redact"] if not is_void(one)), *kept]
    return merged


#: Of a null that takes nothing away: its name is mistyped.
_IDLE = "null takes away what the table that is extended has, and it has no such thing"


def is_void(redaction: Any) -> bool:
    """Whether a redaction stands for none: its keys are null."""
    return bool(_parts([redaction])) and "keys" in redaction and redaction["keys"] is None


def _parts(redactions: list[Any]) -> set[str]:
    """The parts that some redactions name."""
    return {one["in"] for one in redactions if isinstance(one, dict) and isinstance(one.get("in"), str)}


def _without_null(value: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in value.items() if one is not None}


def _are(kind: type, own: dict[str, Any], base: dict[str, Any], part: str) -> bool:
    """Whether both have this part in its form; one that has another is refused when the table is read."""
    return isinstance(own.get(part), kind) and isinstance(base.get(part), kind)
