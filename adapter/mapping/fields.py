"""Lines that fill the fields of a unified event: ``e`` is the event, ``d`` its details, ``t`` its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.mapping import conversion
from adapter.mapping.expressions import Code, Expressions, entries, inside
from adapter.mapping.language import Conversion, Lookup
from adapter.mapping.trace import ARRIVAL, value_text


def write_field(
    expressions: Expressions, code: Code, fields: Mapping[str, Any], name: str, *, deep: bool = False
) -> None:
    """A field of the event itself, where the table says where it stands."""
    if name in fields:
        expressions.value(code, fields[name], "v", deep=deep)
        code.add("if v is not None:")
        code.add(f"    e[{name!r}] = v")
        expressions.note(code, f"    trace.fields[{name!r}] = v_by")


def write_details(expressions: Expressions, code: Code, value: Any) -> None:
    """All entries of an object, or of a text that is JSON or pairs."""
    for one in value if isinstance(value, list) else [value]:
        path = one if isinstance(one, str) else one.path
        expressions.raw(code, path, "v")
        if not isinstance(one, str) and one.json_path is not None:
            code.add(f"v = inside(v, {expressions.steps(one.json_path)})")
            expressions.names["inside"] = inside
        expressions.names["entries"] = entries
        code.add("if v.__class__ is str:")
        code.add("    v = entries(v)")
        code.add("if v.__class__ is dict:")
        code.add("    for k, v in v.items():")
        code.add("        if v.__class__ is not str:")
        code.add("            v = json_text(v)")
        code.add("        if v is not None and v not in ABSENT and k:")
        code.add("            d[k] = v")
        expressions.note(code, f"            trace.fields['details.' + k] = {value_text(one) + '.'!r} + k")


def write_time(expressions: Expressions, code: Code, value: Any) -> None:
    """``t``: the first candidate that can be read as a timestamp, else ``None``; ``told``: what could not be read."""
    code.add("t = told = None")
    for one in value if isinstance(value, list) else [value]:
        lookup = one if isinstance(one, Lookup) else Lookup(path=one, **{"as": Conversion.EPOCH})
        timed = lookup if lookup.times else lookup.model_copy(update={"as_": Conversion.EPOCH})
        function = expressions.constant("time", conversion.convert_time(timed))
        arguments = "v, now" if timed.needs_arrival else "v"
        # A timestamp is converted from what was sent, number or text; only what is looked up further is text.
        further = lookup.model_dump(exclude={"path", "as_", "zone"}, exclude_defaults=True)
        plain = lookup.path is not None and not further
        paths = lookup.path if isinstance(lookup.path, list) else [lookup.path]
        for path in paths if plain else [None]:
            code.add("if t is None:")
            inner = code.branch()
            if path is not None:
                expressions.raw(inner, path, "v")
            else:
                expressions.value(inner, lookup.model_copy(update={"as_": Conversion.TEXT, "zone": None}), "v")
            inner.add("if v is not None:")
            inner.add(f"    t = {function}({arguments})")
            given = lookup if path is None else lookup.model_copy(update={"path": path})
            expressions.note(inner, f"    t_by = {value_text(given if isinstance(one, Lookup) else path)!r}")
            inner.add("    told = v if t is None else None")


def write_arrival(expressions: Expressions, code: Code) -> None:
    """An event without a time of its own has that of its arrival, with the problem noted."""
    code.add("if t is None:")
    code.add("    t = now")
    expressions.note(code, f"    t_by = {ARRIVAL!r}")
    code.add("    d['time_problem'] = 'absent' if told is None else 'not a plausible time: ' + (text(told) or '')[:64]")
