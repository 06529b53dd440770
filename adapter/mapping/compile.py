"""A mapping table becomes one plain function.

The table is turned into Python source once, when it is loaded: one function for each shape, with paths unrolled,
constants folded and nothing looked up that the table already decides. Everything from the file enters that source
through ``repr`` or as a named constant, so a file can hold any text without becoming code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from adapter.mapping import conversion
from adapter.mapping.catalogue import ACCESS, ERROR, UNSPECIFIED, Catalogue, CatalogueFile
from adapter.mapping.keyvalue import parse_keyvalue
from adapter.mapping.language import (
    ActorRule,
    Condition,
    Conversion,
    Identity,
    Lookup,
    PassThrough,
    Reading,
    Requirement,
    Row,
    Rows,
    Shape,
    Unknown,
)
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Key, Step, follow, parse_path
from adapter.mapping.pattern import compile_pattern, template_holes
from adapter.model import EventDict, Outcome


class Result(NamedTuple):
    """What a table made of one raw event. ``event`` is ``None`` if it is quarantined (then ``problem`` says why) or
    ignored (no ``problem``)."""

    #: The unified event, without ``uid`` (a placeholder) and ``source``.
    event: EventDict | None
    native_type: str | None
    #: Values of the strong and of the weak key, ``None`` where there is none.
    strong: list[str | None] | None
    weak: list[str | None] | None
    problem: str | None


#: What stands in a record of several events beside what was sent: its shape, chosen before it was divided, and a text
#: that stands for the content of the element that it is read for.
SHAPE = "@shape"
ELEMENT = "@element"

#: From raw event and arrival (epoch ms) to a plain tuple with the members of `Result`; pure and total.
Read = Callable[[dict[str, Any], int], tuple[Any, ...]]


class _Decision(NamedTuple):
    """What a row says, worked out as far as the table alone decides it."""

    #: ``None``: the native type is ignored.
    type: str | None
    outcome: str
    error: str | None
    #: A word, or a function of the raw event, or ``None`` (no failure, or by the error code).
    reason: Any
    details: dict[str, str] | None
    #: Sets the fields that differ for this row: ``more(raw, event, authDetails, details)``.
    more: Any
    resource: str | None
    operation: str | None
    #: The same as a failure, for the table's `failed` condition; ``None`` if that does not apply.
    twin: Any


IGNORED = _Decision(None, "unknown", None, None, None, None, None, None, None)


def compile_mapping(mapping: MappingFile, catalogue: Catalogue) -> tuple[Read, str]:
    """The table's function, and its source for the curious.

    Raises:
        ValueError: a row cannot be right (a failure with an unknown reason word, …); the text begins with the place.
    """
    return _Compiler(mapping, catalogue).compile()


def compile_condition(
    mapping: MappingFile, condition: Condition | None, actor: ActorRule | None = None
) -> Callable[[dict[str, Any]], bool]:
    """A condition as a function of a raw object; ``actor``: the rule where it is not the table's own."""
    compiler = _Compiler(mapping, Catalogue(CatalogueFile()))
    expression = compiler.condition(condition or Condition(), actor or mapping.actor)
    compiled: Callable[[dict[str, Any]], bool] = eval(f"lambda r: (lambda g: {expression})(r.get)", compiler.names)
    return compiled


def compile_value(mapping: MappingFile, value: Any) -> Callable[[dict[str, Any]], str | None]:
    """A value as a function of a raw object."""
    compiled = _Compiler(mapping, Catalogue(CatalogueFile())).value_function(value)
    return lambda raw: compiled(raw, raw.get)


@dataclass
class _Code:
    """Lines of a function under construction, and what its variables already hold at this place: the ``get`` of an
    object by its keys, the text of a path."""

    lines: list[str]
    indent: int = 1
    objects: dict[tuple[str, ...], str] = field(default_factory=dict)
    texts: dict[tuple[str, bool], str] = field(default_factory=dict)

    def branch(self) -> _Code:
        """The inside of an ``if``: it knows what is known here, and what it finds out stays inside."""
        return _Code(self.lines, self.indent + 1, dict(self.objects), dict(self.texts))

    def add(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)


class _Compiler:
    def __init__(self, mapping: MappingFile, catalogue: Catalogue) -> None:
        self.mapping = mapping
        self.catalogue = catalogue
        absent = frozenset({*mapping.absent, ""})
        self.names: dict[str, Any] = {
            "ABSENT": absent,
            "EMPTY": {},
            "text": conversion.text_of(absent),
            "json_text": conversion.json_text,
            "ip": conversion.ip,
            "follow": follow,
            "fail": self._failure,
            "native_problem": _native_problem,
        }
        self.functions: list[str] = []
        self.counter = 0

    def compile(self) -> tuple[Read, str]:
        main = _Code(["def read(r, now):"])
        main.add("g = r.get")
        shapes = merged_shapes(self.mapping)
        functions = {name: self._shape(name, shape) for name, shape in shapes.items()}
        divided = [name for name, shape in shapes.items() if shape.each is not None]
        if divided:
            main.add(f"s = g({SHAPE!r})")
        for name in divided:
            main.add(f"if s == {name!r}:")
            main.add(f"    return {functions[name]}(r, g, now)")
        for name, shape in shapes.items():
            if shape.when is None:
                main.add(f"return {functions[name]}(r, g, now)")
                break
            main.add(f"if {self.condition(shape.when, shape.actor)}:")
            main.add(f"    return {functions[name]}(r, g, now)")
        else:
            main.add(f"return None, None, None, None, {self._no_shape()!r}")
        source = "\n\n".join([*self.functions, "\n".join(main.lines)]) + "\n"
        names = dict(self.names)
        exec(compile(source, f"<table {self.mapping.provider}>", "exec"), names)  # noqa: S102 - see the module's text
        return names["read"], source

    # --- one shape ---------------------------------------------------------------------------------------------

    def _shape(self, name: str, shape: Shape) -> str:
        function = self._fresh("shape_" + re.sub(r"\W", "_", name))
        code = _Code([f"def {function}(r, g, now):"])
        assert shape.type is not None and shape.identity is not None
        if shape.each is not None and shape.identity != "none":
            place = (
                "identity"
                if name not in self.mapping.shapes or shape.identity is self.mapping.identity
                else f"shapes.{name}.identity"
            )
            _refuse_shared_keys(place, shape, shape.identity)
        if shape.beside:
            self.names["entries"] = _entries
            code.add("r = {**r" + "".join(f", **entries({self._at(path)})" for path in shape.beside) + "}")
            code.add("g = r.get")
        self._value(code, shape.type, "n")
        self._identity(code, shape)
        code.add("if n is None:")
        code.add("    return None, None, strong, weak, 'the native type is missing: ' + WHERE_TYPE")
        self.names["WHERE_TYPE"] = _places(self.mapping.type if shape.type is None else shape.type)

        rows = self._constant("ROWS", self._rows(name, shape))
        code.add(f"row = {rows}.get(n)")
        code.add("if row.__class__ is not DECISION:")
        self.names["DECISION"] = _Decision
        code.add("    if row is None:")
        self._unknown(code, name, shape)
        code.add("    else:")
        code.add("        row = row(r, g)")
        code.add("        if row is None:")
        code.add("            return None, n, strong, weak, 'no row of ' + repr(n[:100]) + ' fits: add one that does'")
        if shape.failed is not None:
            code.add(f"if row[8] is not None and {self.condition(shape.failed, shape.actor)}:")
            code.add("    row = row[8]")
        code.add("kind, outcome, error, reason, extra, more, resource, operation, _ = row")
        code.add("if kind is None:")
        code.add("    return None, n, strong, weak, None")
        if shape.inconclusive is not None:
            code.add(f"if outcome == 'success' and {self.condition(shape.inconclusive, shape.actor)}:")
            code.add("    outcome = 'unknown'")
        self._fields(code, shape)
        code.add("return e, n, strong, weak, None")
        self.functions.append("\n".join(code.lines))
        return function

    def _identity(self, code: _Code, shape: Shape) -> None:
        code.add("strong = weak = None")
        if shape.identity == "none" or shape.identity is None:
            return
        if shape.identity.strong is not None:
            self._value(code, shape.identity.strong, "v")
            code.add("if v is not None:")
            code.add("    strong = ['id', v]")
        if shape.identity.weak:
            parts = []
            for value in shape.identity.weak:
                if value == "@native":
                    parts.append("n")
                else:
                    part = self._fresh("w")
                    self._value(code, value, part)
                    parts.append(part)
            if any(part != "n" for part in parts):
                code.add("if " + " or ".join(f"{part} is not None" for part in parts if part != "n") + ":")
                code.add(f"    weak = ['fields', {', '.join(parts)}]")

    def _fields(self, code: _Code, shape: Shape) -> None:
        """Everything between the row and the finished event ``e``."""
        code.add("a = {}")
        code.add("d = {}")
        fields = shape.fields
        if "details" in fields:
            self._all_details(code, fields["details"])
        for name, value in fields.items():
            if name.startswith("authDetails."):
                self._value(code, value, "v")
                code.add("if v is not None:")
                code.add(f"    a[{name.removeprefix('authDetails.')!r}] = v")
            elif name.startswith("details."):
                self._value(code, value, "v", deep=True)
                code.add("if v is not None:")
                code.add(f"    d[{name.removeprefix('details.')!r}] = v")
        if "time" in fields:
            self._time(code, fields["time"])
        else:
            code.add("t = now")
        code.add("e = {'uid': None}")
        self._put(code, fields, "id")
        code.add("e['time'] = t")
        self._put(code, fields, "realmId")
        self._put(code, fields, "realmName")
        code.add("e['type'] = kind")
        if "error" in fields:
            self._value(code, fields["error"], "told")
            code.add("if told is not None or outcome == 'failure':")
            code.add("    outcome, reason = fail(r, e, d, kind, outcome, told, error, reason)")
        else:
            code.add("if outcome == 'failure':")
            code.add("    outcome, reason = fail(r, e, d, kind, outcome, None, error, reason)")
        code.add("e['authDetails'] = a")
        code.add("e['details'] = d")
        for name, fallback in (("resourceType", "resource"), ("operationType", "operation")):
            if name in fields:
                self._value(code, fields[name], "v")
                code.add("if v is None:")
                code.add(f"    v = {fallback}")
                code.add("if v is not None:")
                code.add(f"    e[{name!r}] = v")
            else:
                code.add(f"if {fallback} is not None:")
                code.add(f"    e[{name!r}] = {fallback}")
        self._put(code, fields, "resourcePath")
        self._put(code, fields, "representation", deep=True)
        code.add("e['outcome'] = outcome")
        code.add("if outcome == 'failure':")
        code.add("    e['reason'] = reason")
        code.add("if extra is not None:")
        code.add("    d.update(extra)")
        code.add("if more is not None:")
        code.add("    more(r, g, e, a, d, now)")

    def _put(self, code: _Code, fields: Mapping[str, Any], name: str, *, deep: bool = False) -> None:
        if name in fields:
            self._value(code, fields[name], "v", deep=deep)
            code.add("if v is not None:")
            code.add(f"    e[{name!r}] = v")

    def _all_details(self, code: _Code, value: Any) -> None:
        for one in value if isinstance(value, list) else [value]:
            path = one if isinstance(one, str) else one.path
            self._raw(code, path, "v")
            if not isinstance(one, str) and one.json_path is not None:
                code.add(f"v = inside(v, {self._steps(one.json_path)})")
                self.names["inside"] = _inside
            self.names["entries"] = _entries
            code.add("if v.__class__ is str:")
            code.add("    v = entries(v)")
            code.add("if v.__class__ is dict:")
            code.add("    for k, v in v.items():")
            code.add("        if v.__class__ is not str:")
            code.add("            v = json_text(v)")
            code.add("        if v is not None and v not in ABSENT and k:")
            code.add("            d[k] = v")

    def _time(self, code: _Code, value: Any) -> None:
        """``t``: the first candidate that can be read as a moment, else the arrival, with the problem noted."""
        code.add("t = told = None")
        for one in value if isinstance(value, list) else [value]:
            lookup = one if isinstance(one, Lookup) else Lookup(path=one, **{"as": Conversion.EPOCH})
            convert = lookup.as_ if lookup.as_ in conversion.TIMES else Conversion.EPOCH
            function = self._constant(convert.value, conversion.TIMES[convert])
            # A moment is converted from what was sent, number or text; only what is looked up further is text.
            plain = lookup.path is not None and lookup == Lookup(path=lookup.path, **{"as": lookup.as_})
            paths = lookup.path if isinstance(lookup.path, list) else [lookup.path]
            for path in paths if plain else [None]:
                code.add("if t is None:")
                inner = code.branch()
                if path is not None:
                    self._raw(inner, path, "v")
                else:
                    self._value(inner, lookup.model_copy(update={"as_": Conversion.TEXT}), "v")
                inner.add("if v is not None:")
                inner.add(f"    t = {function}(v)")
                inner.add("    told = v if t is None else None")
        code.add("if t is None:")
        code.add("    t = now")
        code.add(
            "    d['time_problem'] = 'absent' if told is None else 'not a plausible time: ' + (text(told) or '')[:64]"
        )

    def _unknown(self, code: _Code, name: str, shape: Shape) -> None:
        unknown: Unknown = shape.unknown or "quarantine"
        if unknown == "quarantine":
            code.add("        return None, n, strong, weak, 'no row for ' + repr(n[:100]) + ': add one to the table'")
        elif unknown == "ignore":
            code.add("        return None, n, strong, weak, None")
        else:
            function = self._constant("unknown", self._pass_through(unknown, shape))
            code.add(f"        row = {function}(n)")
            code.add("        if row is None:")
            code.add("            return None, n, strong, weak, native_problem(n)")

    def _pass_through(self, rule: PassThrough, shape: Shape) -> Callable[[str], _Decision | None]:
        pattern = None if rule.pattern is None else compile_pattern(rule.pattern)
        suffix = shape.error_suffix

        def decide(native: str) -> _Decision | None:
            if len(native) > 255 or not native.isprintable():
                return None
            if pattern is not None and pattern.fullmatch(native) is None:
                return None
            failed = suffix is not None and native.endswith(suffix)
            base = native[: -len(suffix)] if failed and suffix else native
            type = self.catalogue.canonical(rule.type.replace("{native}", base) + (ERROR if failed else ""))
            outcome = self.catalogue.outcome(type)
            known = self.catalogue.known(type)
            if outcome is not Outcome.FAILURE and known is None and rule.outcome is not None:
                outcome = rule.outcome
            return self._decision(type, outcome)

        return decide

    # --- rows --------------------------------------------------------------------------------------------------

    def _rows(self, shape_name: str, shape: Shape) -> dict[str, Any]:
        compiled: dict[str, Any] = {}
        for native, rows in shape.types.items():
            place = f"types.{native}" if native in self.mapping.types else f"shapes.{shape_name}.types.{native}"
            compiled[native] = self._row_choice(place, rows, shape, failing=False)
        suffix = shape.error_suffix
        if suffix is not None:
            for native, rows in shape.types.items():
                if native + suffix not in shape.types and not native.endswith(suffix):
                    compiled[native + suffix] = self._row_choice(f"types.{native}", rows, shape, failing=True)
        return compiled

    def _row_choice(self, place: str, rows: Rows, shape: Shape, *, failing: bool) -> Any:
        """A decision, or a function ``(raw, raw.get) -> decision | None`` where conditions decide."""
        several = rows if isinstance(rows, list) else [rows]
        if len(several) == 1 and several[0].when is None:
            return self._row(place, several[0], shape, failing=failing)
        function = self._fresh("rows")
        code = _Code([f"def {function}(r, g):"])
        for number, row in enumerate(several):
            decision = self._constant(
                "ROW", self._row(f"{place}.{number}" if isinstance(rows, list) else place, row, shape, failing=failing)
            )
            if row.when is None:
                code.add(f"return {decision}")
                break
            code.add(f"if {self.condition(row.when, shape.actor)}:")
            code.add(f"    return {decision}")
        else:
            code.add("return None")
        # Rows are constants of the table, so their functions are made before the source that uses them.
        exec("\n".join(code.lines), self.names)  # noqa: S102 - see the module's text
        return self.names[function]

    def _row(self, place: str, row: Row, shape: Shape, *, failing: bool) -> _Decision:
        if row.ignore or row.type is None:
            return IGNORED
        type = row.type if "." in row.type else ACCESS + row.type
        type = self.catalogue.canonical(type)
        if failing and type.startswith(ACCESS) and not type.endswith(ERROR):
            type += ERROR
        access = type.startswith(ACCESS)
        fails = (
            failing or type.endswith(ERROR) if access else failing or row.reason is not None or row.error is not None
        )
        outcome = Outcome.FAILURE if fails else row.outcome or self.catalogue.outcome(type)
        if access and (outcome is Outcome.FAILURE) != type.endswith(ERROR):
            raise ValueError(f"{place}: outcome {outcome} does not agree with the type {type}")
        if isinstance(row.reason, str) and row.reason not in self.catalogue.reasons:
            known = ", ".join(self.catalogue.reasons)
            raise ValueError(f"{place}: {row.reason!r} is not a reason; there are {known}")
        more = self._more(row, shape) if row.fields else None
        if row.reason is None and row.error is None and shape.reason is not None:
            row = row.model_copy(update={"reason": shape.reason})
        decision = self._decision(type, outcome, row, more)
        if shape.failed is not None and row.failable and outcome is not Outcome.FAILURE:
            twin_type = type + ERROR if access else type
            decision = decision._replace(twin=self._decision(twin_type, Outcome.FAILURE, row, more))
        return decision

    def _decision(self, type: str, outcome: Outcome, row: Row | None = None, more: Any = None) -> _Decision:
        resource = operation = None
        if type.startswith("admin.") and "-" in type:
            resource, _, operation = type.removeprefix("admin.").rpartition("-")
        reason: Any = None
        if row is not None and row.reason is not None:
            reason = row.reason if isinstance(row.reason, str) else self.value_function(row.reason)
        return _Decision(
            type=type,
            outcome=outcome.value,
            error=None if row is None else row.error,
            reason=reason,
            details=dict(row.details) if row is not None and row.details else None,
            more=more,
            resource=resource,
            operation=operation,
            twin=None,
        )

    def _more(self, row: Row, shape: Shape) -> Any:
        function = self._fresh("more")
        code = _Code([f"def {function}(r, g, e, a, d, now):"])
        for name, value in row.fields.items():
            if name == "details":
                self._all_details(code, value)
                continue
            if name == "time":
                self._time(code, value)
                code.add("e['time'] = t")
                continue
            target, key = "e", name
            if name.startswith("authDetails."):
                target, key = "a", name.removeprefix("authDetails.")
            elif name.startswith("details."):
                target, key = "d", name.removeprefix("details.")
            self._value(code, value, "v", deep=target == "d" or name == "representation")
            code.add("if v is None:")
            code.add(f"    {target}.pop({key!r}, None)")
            code.add("else:")
            code.add(f"    {target}[{key!r}] = v")
        exec("\n".join(code.lines), self.names)  # noqa: S102 - see the module's text
        return self.names[function]

    def _failure(
        self,
        raw: dict[str, Any],
        event: EventDict,
        details: dict[str, str],
        kind: str,
        outcome: str,
        told: str | None,
        error: str | None,
        reason: Any,
    ) -> tuple[str, str | None]:
        """Error and reason of an event that failed, or that carries an error code though its type does not fail."""
        if outcome != "failure" and kind.startswith(ACCESS):
            if told is not None:
                details.setdefault("error", told)
            return outcome, None
        if reason is not None and reason.__class__ is not str:
            reason = reason(raw, raw.get)
            if reason not in self.catalogue.reasons:
                reason = None
        code = told or error
        if reason is None:
            reason = UNSPECIFIED if code is None else self.catalogue.reason_of(code)
        event["error"] = code or self.catalogue.error_of(reason)
        return "failure", reason

    # --- values ------------------------------------------------------------------------------------------------

    def _value(self, code: _Code, value: Any, var: str, *, deep: bool = False) -> None:
        """Lines that set ``var`` to the text of a value, or to ``None``. ``deep``: objects become JSON text."""
        if isinstance(value, str):
            known = code.texts.get((value, deep))
            if known is None:
                known = code.texts[value, deep] = self._fresh("t")
                self._raw(code, value, known)
                self._to_text(code, known, deep)
            code.add(f"{var} = {known}")
        elif isinstance(value, list):
            for number, one in enumerate(value):
                if number:
                    code.add(f"if {var} is None:")
                    # What is taken apart inside the branch may not be there outside it.
                    inner = code.branch()
                    self._value(inner, one, var, deep=deep)
                else:
                    self._value(code, one, var, deep=deep)
        else:
            self._lookup(code, value, var, deep)

    def _lookup(self, code: _Code, lookup: Lookup, var: str, deep: bool) -> None:
        if lookup.value is not None:
            code.add(f"{var} = {self.names['text'](lookup.value)!r}")
        elif lookup.template is not None:
            self._template(code, lookup.template, var)
        elif lookup.json_path is not None:
            code.add(f"{var} = None")
            self.names["inside"] = _inside
            for path in lookup.path if isinstance(lookup.path, list) else [lookup.path or ""]:
                code.add(f"if {var} is None:")
                inner = code.branch()
                self._raw(inner, path, var)
                inner.add(f"{var} = inside({var}, {self._steps(lookup.json_path)})")
                self._to_text(inner, var, deep or lookup.as_ is Conversion.JSON)
        else:
            self._value(code, lookup.path, var, deep=deep or lookup.as_ is Conversion.JSON)
        if lookup.after is not None:
            prefix, length = lookup.after, len(lookup.after)
            code.add(
                f"{var} = {var}[{length}:] or None if {var} is not None and {var}.startswith({prefix!r}) else None"
            )
        if lookup.capture is not None:
            pattern = self._constant("PATTERN", compile_pattern(lookup.capture))
            code.add(f"{var} = None if {var} is None else capture({pattern}, {var})")
            self.names["capture"] = _capture
        if lookup.as_ is Conversion.LOWER or lookup.as_ is Conversion.UPPER:
            code.add(f"{var} = None if {var} is None else {var}.{lookup.as_.value}()")
        elif lookup.as_ is Conversion.IP:
            code.add(f"{var} = None if {var} is None else ip({var})")
        elif lookup.as_ in conversion.TIMES:
            function = self._constant(lookup.as_.value, conversion.TIMES[lookup.as_])
            code.add(f"{var} = None if {var} is None else text({function}({var}))")
        if lookup.table is not None:
            table = self._constant("TABLE", dict(lookup.table))
            code.add(f"{var} = {table}.get({var}, {lookup.default!r})")
        elif lookup.default is not None:
            code.add(f"if {var} is None:")
            code.add(f"    {var} = {lookup.default!r}")

    def _template(self, code: _Code, template: str, var: str) -> None:
        parts, at = [], 0
        holes = []
        for hole in template_holes(template):
            start = template.index("{" + hole + "}", at)
            parts.append(repr(template[at:start]))
            name = self._fresh("h")
            self._value(code, hole, name)
            holes.append(name)
            parts.append(name)
            at = start + len(hole) + 2
        parts.append(repr(template[at:]))
        there = " and ".join(f"{hole} is not None" for hole in holes) or "True"
        code.add(f"{var} = {' + '.join(parts)} if {there} else None")

    def _raw(self, code: _Code, path: str, var: str) -> None:
        """Lines that set ``var`` to what stands at a path, unconverted."""
        steps = parse_path(path)
        keys = _plain_keys(steps)
        if keys is None:
            code.add(f"{var} = follow(r, {self._steps(path)})")
            return
        if len(keys) == 1:
            code.add(f"{var} = g({keys[0]!r})")
            return
        owner = self._object(code, keys[:-1])
        code.add(f"{var} = {owner}({keys[-1]!r})")

    def _object(self, code: _Code, keys: tuple[str, ...]) -> str:
        """A variable that holds the ``get`` of the object at these keys (of an empty one if there is none)."""
        known = code.objects.get(keys)
        if known is not None:
            return known
        getter = "g" if len(keys) == 1 else self._object(code, keys[:-1])
        name = self._fresh("o")
        code.add(f"{name} = {getter}({keys[-1]!r})")
        code.add(f"{name} = {name}.get if {name}.__class__ is dict else EMPTY.get")
        code.objects[keys] = name
        return name

    def _to_text(self, code: _Code, var: str, deep: bool) -> None:
        code.add(f"if {var} is not None and ({var}.__class__ is not str or {var} in ABSENT):")
        code.add(f"    {var} = text(json_text({var}))" if deep else f"    {var} = text({var})")

    def value_function(self, value: Any) -> Any:
        function = self._fresh("value")
        code = _Code([f"def {function}(r, g):"])
        self._value(code, value, "v")
        code.add("return v")
        exec("\n".join(code.lines), self.names)  # noqa: S102 - see the module's text
        return self.names[function]

    # --- conditions --------------------------------------------------------------------------------------------

    def condition(self, condition: Condition, actor: ActorRule | None) -> str:
        """A Python expression over ``r`` and ``g``."""
        parts = [self._present(path) for path in condition.has or []]
        parts += [self._absent(path) for path in condition.lacks or []]
        for path, wanted_value in condition.requirements.items():
            parts.append(self._requirement(path, wanted_value))
        if condition.actor is not None:
            wanted = (
                [one.value for one in condition.actor] if isinstance(condition.actor, list) else [condition.actor.value]
            )
            if actor is None:
                raise ValueError("a condition on `actor` needs the table's `actor`: who did it, and whom it is about")
            parts.append(f"{self._actor(actor)}(r, g) in {tuple(wanted)!r}")
        if condition.any_:
            parts.append("(" + " or ".join(f"({self.condition(one, actor)})" for one in condition.any_) + ")")
        return " and ".join(parts) or "True"

    def _present(self, path: str) -> str:
        return f"((v := {self._at(path)}) is not None and (v.__class__ is not str or v not in ABSENT))"

    def _absent(self, path: str) -> str:
        return f"((v := {self._at(path)}) is None or (v.__class__ is str and v in ABSENT))"

    def _requirement(self, path: str, wanted: Any) -> str:
        at = self._at(path)
        if isinstance(wanted, Requirement):
            if wanted.present is not None:
                return self._present(path) if wanted.present else self._absent(path)
            if wanted.starts is not None:
                starts = (wanted.starts,) if isinstance(wanted.starts, str) else tuple(wanted.starts)
                return f"(text({at}) or '').startswith({starts!r})"
            if wanted.matches is not None:
                pattern = self._constant("PATTERN", compile_pattern(wanted.matches))
                return f"{pattern}.search(text({at}) or '') is not None"
            if wanted.contains is not None:
                words = [wanted.contains] if isinstance(wanted.contains, str) else wanted.contains
                self.names["contains"] = lambda value, words: (
                    value is not None and any(word in value.lower() for word in words)
                )
                return f"contains(text({at}), {tuple(word.lower() for word in words)!r})"
            return f"text({at}) not in {self._texts(wanted.not_)}"
        return f"text({at}) in {self._texts(wanted)}"

    def _texts(self, wanted: Any) -> str:
        values = wanted if isinstance(wanted, list) else [wanted]
        return self._constant("TEXTS", frozenset(self.names["text"](value) for value in values))

    def _actor(self, rule: ActorRule) -> str:
        who, whom = self.value_function(rule.id), self.value_function(rule.self_)
        technical = frozenset(rule.technical)

        def actor(raw: dict[str, Any], get: Any) -> str:
            acted = who(raw, get)
            if acted is None or acted == whom(raw, get):
                return "self"
            return "technical" if acted in technical else "human"

        return self._constant("actor", actor)

    def _at(self, path: str) -> str:
        keys = _plain_keys(parse_path(path))
        if keys is not None and len(keys) == 1:
            return f"g({keys[0]!r})"
        return f"follow(r, {self._steps(path)})"

    # --- names -------------------------------------------------------------------------------------------------

    def _steps(self, path: str) -> str:
        return self._constant("PATH", parse_path(path))

    def _constant(self, stem: str, value: Any) -> str:
        name = self._fresh(stem)
        self.names[name] = value
        return name

    def _fresh(self, stem: str) -> str:
        self.counter += 1
        return f"{stem}_{self.counter}"

    def _no_shape(self) -> str:
        return "no shape of the table fits; there are " + ", ".join(self.mapping.shapes)


def merged_shapes(mapping: MappingFile) -> dict[str, Shape]:
    """The table's shapes with what stands at the top of the file filled in."""
    return {name: _merge(mapping, shape) for name, shape in (mapping.shapes or {"event": Shape()}).items()}


def _merge(mapping: Reading, shape: Shape) -> Shape:
    return Shape(
        when=shape.when,
        beside=shape.beside,
        type=shape.type if shape.type is not None else mapping.type,
        error_suffix=shape.error_suffix if shape.error_suffix is not None else mapping.error_suffix,
        each=shape.each if shape.each is not None else mapping.each,
        fields={**mapping.fields, **shape.fields},
        identity=shape.identity if shape.identity is not None else mapping.identity,
        actor=shape.actor or mapping.actor,
        failed=shape.failed or mapping.failed,
        inconclusive=shape.inconclusive or mapping.inconclusive,
        reason=shape.reason if shape.reason is not None else mapping.reason,
        types={**mapping.types, **shape.types},
        unknown=shape.unknown if shape.unknown is not None else mapping.unknown,
    )


def _refuse_shared_keys(place: str, shape: Shape, identity: Identity) -> None:
    """Refuse keys that would be the same for every element of a record, so that all but the first were lost.

    Raises:
        ValueError: there is one; the text begins with the place.
    """
    assert shape.each is not None
    each = parse_path(shape.each)
    # What stands beside may come from the element.
    if any(parse_path(path)[: len(each)] == each for path in shape.beside):
        return

    def tells_apart(value: Any) -> bool:
        if isinstance(value, str):
            return value == ELEMENT or parse_path(value)[: len(each)] == each if value != "@native" else False
        if isinstance(value, list):
            return all(tells_apart(one) for one in value)
        if value.template is not None:
            return any(tells_apart(hole) for hole in template_holes(value.template))
        return value.value is None and tells_apart(value.path)

    right = f"a value below {shape.each}, or {ELEMENT}, which stands for all that the element holds"
    if identity.strong is not None and not tells_apart(identity.strong):
        raise ValueError(f"{place}.strong: is the same for all elements of {shape.each}; use a template with {right}")
    if identity.weak and not any(tells_apart(value) for value in identity.weak):
        raise ValueError(f"{place}.weak: is the same for all elements of {shape.each}; add {right}")


def _plain_keys(steps: tuple[Step, ...]) -> tuple[str, ...] | None:
    keys = tuple(step.name for step in steps if isinstance(step, Key) and not step.name.isdecimal())
    return keys if len(keys) == len(steps) else None


def _places(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " or ".join(_places(one) for one in value)
    if value is None:
        return "(nowhere)"
    return value.template or _places(value.path) if value.value is None else "(constant)"


def _native_problem(native: str) -> str:
    return f"the type {native[:100]!r} is not one that may pass through: add a row for it to the table"


def _capture(pattern: Any, text: str) -> str | None:
    found = pattern.search(text)
    if found is None:
        return None
    captured: str | None = found.group(1) if pattern.groups else found.group()
    return captured or None


def _entries(value: Any) -> dict[str, Any]:
    """The entries of an object, or of a text that is JSON or holds key=value pairs; none of anything else."""
    if value.__class__ is str:
        if not value.startswith("{"):
            return dict(parse_keyvalue(value))
        value = _inside(value, ())
    return value if value.__class__ is dict else {}


def _inside(value: Any, steps: tuple[Step, ...]) -> Any:
    """What stands at a path inside a text that is JSON (or inside a value that already is)."""
    if value.__class__ is str:
        try:
            value = orjson.loads(value)
        except ValueError:
            return None
    return follow(value, steps)
