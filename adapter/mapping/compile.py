"""A mapping table becomes one plain function.

The table is turned into Python source once, when it is loaded: one function for each shape, with paths unrolled,
constants folded and nothing looked up that the table already decides (`adapter.mapping.expressions` says why a file
can hold any text without becoming code).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from adapter.mapping.catalogue import Catalogue
from adapter.mapping.expressions import Code, Expressions, entries
from adapter.mapping.fields import write_arrival, write_details, write_field, write_time
from adapter.mapping.language import Identity, Shape, Unknown
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.rows import Decision, Decisions, Several
from adapter.mapping.shapes import SHAPE, key_parts, merged_shapes
from adapter.mapping.trace import ARRIVAL, ROW_DETAILS, RULE, TYPE, Trace, condition_text, suffix_text
from adapter.model import EventDict, leading_seconds


class Result(NamedTuple):
    """What a table made of one raw event. ``event`` is ``None`` if it is quarantined (then ``problem`` says why) or
    ignored (no ``problem``)."""

    #: The unified event, without ``uid`` (a placeholder) and ``source``.
    event: EventDict | None
    native_type: str | None
    #: Values of the strong and of the weak key, ``None`` where there is none.
    strong: list[str | None] | None
    weak: list[str | None] | None
    #: What its keys begin with: its own time, epoch seconds; 0 where it has none, or the table says that it varies.
    seconds: int
    problem: str | None


#: From raw event and arrival (epoch ms) to a plain tuple with the members of `Result`; pure and total. Of a table with
#: `also`, the name of one of a record's further events may follow: then to that one.
Read = Callable[..., tuple[Any, ...]]

#: From a native type to the names of further events that its rows may make of a record.
Further = Callable[[str], tuple[str, ...]]


class Compiled(NamedTuple):
    """A table as code."""

    read: Read
    #: For the curious.
    source: str
    #: ``None``: each row makes one event.
    further: Further | None


def compile_mapping(mapping: MappingFile, catalogue: Catalogue, trace: Trace | None = None) -> Compiled:
    """The function of a table that nothing refuses. With a trace, the same function tells it what it does."""
    return _Compiler(mapping, catalogue, trace).compile()


#: What the problem of an event without a row begins with.
NO_ROW = "no row for "

#: The keys of an event, as a compiled table returns them; the members of a `Decision`, as it takes them apart.
_KEYS = "strong, weak, seconds"
_MEMBERS = "kind, outcome, error, reason, extra, more, resource, operation, twin"


class _Compiler:
    def __init__(self, mapping: MappingFile, catalogue: Catalogue, trace: Trace | None) -> None:
        self._mapping = mapping
        self._expressions = Expressions(mapping, trace)
        self._note = self._expressions.note
        self._decisions = Decisions(catalogue, self._expressions)
        #: The source of each shape's function, by its name.
        self._functions: dict[str, str] = {}
        self._shapes = merged_shapes(mapping)
        #: The parameter for the name of a further event, where rows have `also`; a table without pays nothing for it.
        self._part = ", part" if any(map(_makes_several, self._shapes.values())) else ""
        #: Of the shapes whose rows have `also`: what decides about a native type, and about one of a family.
        self._deciding: list[tuple[dict[str, Any], Callable[[str], Any] | None]] = []
        self._expressions.names["native_problem"] = _native_problem

    def compile(self) -> Compiled:
        main = Code([f"def read(r, now{self._part and ', part=None'}):"])
        self._note(main, "trace.begin()")
        main.add("g = r.get")
        shapes = self._shapes
        functions = {name: self._shape(name, shape) for name, shape in shapes.items()}
        divided = [name for name, shape in shapes.items() if shape.each is not None]
        if divided:
            main.add(f"s = g({SHAPE!r})")
        for name in divided:
            main.add(f"if s == {name!r}:")
            self._note(main, f"    trace.tried(trace.shapes, {name!r}, taken=True)")
            main.add(f"    return {functions[name]}(r, g, now{self._part})")
        for name, shape in shapes.items():
            if shape.when is None:
                self._note(main, f"trace.tried(trace.shapes, {name!r}, taken=True)")
                main.add(f"return {functions[name]}(r, g, now{self._part})")
                break
            main.add(f"if {self._expressions.condition(shape.when, shape.actor)}:")
            self._note(main, f"    trace.tried(trace.shapes, {name!r}, taken=True)")
            main.add(f"    return {functions[name]}(r, g, now{self._part})")
            self._note(main, f"trace.tried(trace.shapes, {name!r}, taken=False)")
        else:
            main.add(f"return None, None, None, None, 0, {self._no_shape()!r}")
        names = dict(self._expressions.names)
        file = f"<table {self._mapping.provider}>"
        for name, lines in self._functions.items():
            names[name] = _when_called(name, lines, names, file)
        reading = "\n".join(main.lines)
        exec(compile(reading, file, "exec"), names)  # noqa: S102 - see `expressions`
        source = "\n\n".join([*self._functions.values(), reading]) + "\n"
        return Compiled(names["read"], source, self._further() if self._part else None)

    def _further(self) -> Further:
        names = self._decisions.further

        def further(native: str) -> tuple[str, ...]:
            found: tuple[str, ...] = ()
            for rows, families in self._deciding:
                choice = rows[native]
                if choice is None and families is not None:
                    choice = families(native)
                if choice is not None and choice.__class__ is not Decision and choice in names:
                    found += names[choice]
            return found if len(found) < 2 else tuple(dict.fromkeys(found))

        return further

    def _shape(self, name: str, shape: Shape) -> str:
        function = self._expressions.fresh("shape_" + re.sub(r"\W", "_", name))
        code = Code([f"def {function}(r, g, now{self._part}):"])
        assert shape.type is not None and shape.identity is not None
        if shape.beside:
            self._expressions.names["entries"] = entries
            code.add("r = {**r" + "".join(f", **entries({self._expressions.at(path)})" for path in shape.beside) + "}")
            code.add("g = r.get")
        self._expressions.value(code, shape.type, "n")
        if "time" in shape.fields:
            write_time(self._expressions, code, shape.fields["time"])
        self._identity(code, shape)
        code.add("if n is None:")
        missing = "the native type is missing: " + _places(shape.type)
        code.add(f"    return None, None, {_KEYS}, {missing!r}")
        decisions, families = self._decisions.of(shape), self._decisions.of_families(shape)
        rows = self._expressions.constant("ROWS", decisions)
        if _makes_several(shape):
            self._deciding.append((decisions, families))
        code.add(f"row = {rows}[n]")
        code.add("if row.__class__ is not DECISION:")
        self._expressions.names["DECISION"] = Decision
        if families is not None:
            code.add("    if row is None:")
            code.add(f"        row = {self._expressions.constant('family', families)}(n)")
        code.add("    if row is None:")
        self._unknown(code, name, shape)
        code.add("    elif row.__class__ is not DECISION:")
        code.add("        row = row(r, g)")
        code.add("        if row is None:")
        code.add(f"            return None, n, {_KEYS}, 'no row of ' + repr(n[:100]) + ' fits: add one that does'")
        if self._part:
            self._choose_part(code)
        code.add(f"{_MEMBERS} = row")
        if shape.failed is not None:
            code.add(f"if twin is not None and {self._expressions.condition(shape.failed, shape.actor)}:")
            code.add(f"    {_MEMBERS} = twin")
            self._note(code, f"    trace.failure({'failed: ' + condition_text(shape.failed)!r})")
        code.add("if kind is None:")
        code.add(f"    return None, n, {_KEYS}, None")
        if shape.inconclusive is not None:
            code.add(f"if outcome == 'success' and {self._expressions.condition(shape.inconclusive, shape.actor)}:")
            code.add("    outcome = 'unknown'")
            told = f"inconclusive: {condition_text(shape.inconclusive)}"
            self._note(code, f"    trace.fields['outcome'] = {told!r}")
        self._fields(code, shape)
        code.add(f"return e, n, {_KEYS}, None")
        self._functions[function] = "\n".join(code.lines)
        return function

    def _choose_part(self, code: Code) -> None:
        """Lines after the row: of several events of a record the one that is asked for."""
        self._expressions.names["SEVERAL"] = Several
        none = f"return None, n, {_KEYS}, 'its row makes no event of the name ' + repr(part)"
        code.add("        if row.__class__ is SEVERAL:")
        code.add("            if part is None:")
        code.add("                row = row.first")
        code.add("            else:")
        code.add("                row = row.also.get(part)")
        code.add("                if row is not None and row.__class__ is not DECISION:")
        code.add("                    row = row(r, g)")
        code.add("                if row is None:")
        code.add(f"                    {none}")
        code.add("                part = None")
        code.add("if part is not None:")
        code.add(f"    {none}")

    def _identity(self, code: Code, shape: Shape) -> None:
        code.add("strong = weak = None")
        if "time" in shape.fields and not (isinstance(shape.identity, Identity) and shape.identity.time == "varies"):
            self._expressions.names["leading_seconds"] = leading_seconds
            code.add("seconds = leading_seconds(t)")
        else:
            code.add("seconds = 0")
        if shape.identity == "none" or shape.identity is None:
            return
        if shape.identity.strong is not None:
            self._key_value(code, shape.identity.strong, "v")
            code.add("if v is not None:")
            code.add("    strong = ['id', v]")
        if shape.identity.weak:
            parts: list[str] = []
            needed: list[str] = []
            for value in shape.identity.weak:
                if value == "@native":
                    parts.append("n")
                    continue
                part = self._expressions.fresh("w")
                if value in key_parts(shape):
                    self._key_value(code, value, part)
                    needed.append(part)
                else:
                    self._expressions.value(code, value, part)
                parts.append(part)
            if needed:
                code.add("if " + " or ".join(f"{part} is not None" for part in needed) + ":")
                code.add(f"    weak = ['fields', {', '.join(parts)}]")

    def _key_value(self, code: Code, value: Any, var: str) -> None:
        """A value without which there is no key."""
        self._note(code, "trace.absent = []")
        self._expressions.value(code, value, var)
        self._note(code, f"if {var} is None: trace.keyless += trace.absent")

    def _fields(self, code: Code, shape: Shape) -> None:
        """Everything between the row and the finished event ``e``."""
        code.add("a = {}")
        code.add("d = {}")
        fields = shape.fields
        if "details" in fields:
            write_details(self._expressions, code, fields["details"])
        for name, value in fields.items():
            if name.startswith("authDetails."):
                self._expressions.value(code, value, "v")
                code.add("if v is not None:")
                code.add(f"    a[{name.removeprefix('authDetails.')!r}] = v")
                self._note(code, f"    trace.fields[{name!r}] = v_by")
            elif name.startswith("details."):
                self._expressions.value(code, value, "v", deep=True)
                code.add("if v is not None:")
                code.add(f"    d[{name.removeprefix('details.')!r}] = v")
                self._note(code, f"    trace.fields[{name!r}] = v_by")
        if "time" in fields:
            write_arrival(self._expressions, code)
        else:
            code.add("t = now")
            self._note(code, f"t_by = {ARRIVAL!r}")
        code.add("e = {'uid': None}")
        write_field(self._expressions, code, fields, "id")
        code.add("e['time'] = t")
        self._note(code, "trace.fields['time'] = t_by")
        write_field(self._expressions, code, fields, "realmId")
        write_field(self._expressions, code, fields, "realmName")
        code.add("e['type'] = kind")
        if "error" in fields:
            self._expressions.value(code, fields["error"], "told")
            self._note(code, "trace.given = told_by")
            code.add("if told is not None or outcome == 'failure':")
            code.add("    outcome, reason = fail(r, e, d, kind, outcome, told, error, reason)")
        else:
            code.add("if outcome == 'failure':")
            code.add("    outcome, reason = fail(r, e, d, kind, outcome, None, error, reason)")
        code.add("e['authDetails'] = a")
        code.add("e['details'] = d")
        for name, fallback in (("resourceType", "resource"), ("operationType", "operation")):
            if name in fields:
                self._expressions.value(code, fields[name], "v")
                code.add("if v is None:")
                code.add(f"    v = {fallback}")
                self._note(code, f"    v_by = {TYPE!r}")
                code.add("if v is not None:")
                code.add(f"    e[{name!r}] = v")
                self._note(code, f"    trace.fields[{name!r}] = v_by")
            else:
                code.add(f"if {fallback} is not None:")
                code.add(f"    e[{name!r}] = {fallback}")
                self._note(code, f"    trace.fields[{name!r}] = {TYPE!r}")
        write_field(self._expressions, code, fields, "resourcePath")
        write_field(self._expressions, code, fields, "representation", deep=True)
        code.add("e['outcome'] = outcome")
        code.add("if outcome == 'failure':")
        code.add("    e['reason'] = reason")
        code.add("if extra is not None:")
        code.add("    d.update(extra)")
        self._note(code, f"    trace.fields.update({{'details.' + k: {ROW_DETAILS!r} for k in extra}})")
        code.add("if more is not None:")
        code.add("    more(r, g, e, a, d, now)")

    def _unknown(self, code: Code, name: str, shape: Shape) -> None:
        unknown: Unknown = shape.unknown or "quarantine"
        self._note(code, f"        trace.tried(trace.rows, {f'unknown: {unknown}'!r}, taken=True)")
        if unknown == "quarantine":
            code.add(f"        return None, n, {_KEYS}, {NO_ROW!r} + repr(n[:100]) + ': add one to the table'")
        elif unknown == "ignore":
            code.add(f"        return None, n, {_KEYS}, None")
        else:
            function = self._expressions.constant("unknown", self._decisions.pass_through(unknown, shape))
            code.add(f"        row = {function}(n)")
            code.add("        if row is None:")
            code.add(f"            return None, n, {_KEYS}, native_problem(n)")
            self._note(code, f"        trace.fields.update(type={RULE!r}, outcome={RULE!r})")
            if shape.error_suffix is not None:
                self._note(code, f"        if n.endswith({shape.error_suffix!r}):")
                self._note(code, f"            trace.failure({suffix_text(shape.error_suffix)!r})")

    def _no_shape(self) -> str:
        return "no shape of the table fits; there are " + ", ".join(self._mapping.shapes)


def _when_called(name: str, source: str, names: dict[str, Any], file: str) -> Callable[..., Any]:
    """Stands for a function among the names until it is called first; it is compiled then. Most shapes of most tables
    never see an event, and to compile all takes half the time of reading the tables."""

    def first(*arguments: Any) -> Any:
        exec(compile(source, file, "exec"), names)  # noqa: S102 - see `expressions`
        return names[name](*arguments)

    return first


def _makes_several(shape: Shape) -> bool:
    return any(row.also for rows in shape.types.values() for row in (rows if isinstance(rows, list) else [rows]))


def _places(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " or ".join(_places(one) for one in value)
    return value.template or _places(value.path) if value.value is None else "(constant)"


def _native_problem(native: str) -> str:
    return f"the type {native[:100]!r} is not one that may pass through: add a row for it to the table"
