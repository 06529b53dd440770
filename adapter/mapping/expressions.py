"""Values and conditions of the mapping language as Python source.

Everything from a file enters that source through ``repr`` or as a named constant, so a file can hold any text without
becoming code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from adapter.mapping import conversion
from adapter.mapping.any_element import any_element
from adapter.mapping.catalogue import UNSPECIFIED
from adapter.mapping.exact import parse_json
from adapter.mapping.families import Families
from adapter.mapping.keyvalue import parse_keyvalue
from adapter.mapping.language import ActorRule, Condition, Conversion, Lookup, Requirement
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Every, Key, Step, follow, follow_every, parse_path, parse_steps
from adapter.mapping.pattern import compile_pattern, template_holes
from adapter.mapping.trace import Trace, conversion_text, requirement_text, value_text
from adapter.mapping.untranslated import Translation

#: Conversions that take lists and objects, as JSON.
_DEEP = (Conversion.JSON, Conversion.LIST)


def compile_condition(
    mapping: MappingFile, condition: Condition | None, actor: ActorRule | None = None
) -> Callable[[dict[str, Any]], bool]:
    """A condition as a function of a raw object; ``actor``: the rule where it is not the table's own."""
    compiler = Expressions(mapping)
    code = Code(["def holds(r):", "    g = r.get"])
    code.add(f"return {compiler.condition(condition or Condition(), actor or mapping.actor)}")
    exec("\n".join(code.lines), compiler.names)  # noqa: S102 - see the module's text
    compiled: Callable[[dict[str, Any]], bool] = compiler.names["holds"]
    return compiled


def compile_value(mapping: MappingFile, value: Any) -> Callable[[dict[str, Any]], str | None]:
    """A value as a function of a raw object."""
    compiler = Expressions(mapping)
    code = Code(["def value(r):", "    g = r.get"])
    compiler.value(code, value, "v")
    code.add("return v")
    exec("\n".join(code.lines), compiler.names)  # noqa: S102 - see the module's text
    compiled: Callable[[dict[str, Any]], str | None] = compiler.names["value"]
    return compiled


@dataclass
class Code:
    """Lines of a function under construction, and what its variables already hold at this place: the ``get`` of an
    object by its keys, the text of a path."""

    lines: list[str]
    indent: int = 1
    objects: dict[tuple[Step, ...], str] = field(default_factory=dict)
    texts: dict[tuple[str, bool], str] = field(default_factory=dict)

    def branch(self) -> Code:
        """The inside of an ``if``: it knows what is known here, and what it finds out stays inside."""
        return Code(self.lines, self.indent + 1, dict(self.objects), dict(self.texts))

    def add(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)


class Expressions:
    """Values and conditions of one table as Python, and the names that its source speaks of. With a trace, the source
    tells it what it does; ``x_by`` is then what gave the variable ``x``."""

    def __init__(self, mapping: MappingFile, trace: Trace | None = None) -> None:
        absent = frozenset({*mapping.absent, ""})
        #: Constants and functions under the names by which the source knows them.
        self.names: dict[str, Any] = {
            "ABSENT": absent,
            "EMPTY": {},
            "text": conversion.text_of(absent),
            "json_text": conversion.json_text,
            "ip": conversion.ip,
            "follow": follow,
            "follow_every": follow_every,
        }
        #: Functions that were made, by what they were made of.
        self._functions: dict[bytes, Any] = {}
        #: Those of values, by the value's id; with the value, whose id it stays so.
        self._value_functions: dict[tuple[int, str], tuple[Any, Any]] = {}
        self.traced = trace is not None
        if trace is not None:
            self.names["trace"] = trace
        self._counter = 0

    def note(self, code: Code, line: str) -> None:
        """A line of traced source alone."""
        if self.traced:
            code.add(line)

    def value(self, code: Code, value: Any, var: str, *, deep: bool = False) -> None:
        """Lines that set ``var`` to the text of a value, or to ``None``. ``deep``: objects become JSON text."""
        if isinstance(value, str):
            known = code.texts.get((value, deep))
            if known is None:
                known = code.texts[value, deep] = self.fresh("t")
                self.raw(code, value, known)
                self.to_text(code, known, deep)
            code.add(f"{var} = {known}")
            self.note(code, f"{var}_by = {value!r}")
            self.note(code, f"if {var} is None: trace.absent.append({value!r})")
        elif isinstance(value, list):
            for number, one in enumerate(value):
                if number:
                    code.add(f"if {var} is None:")
                    # What is taken apart inside the branch may not be there outside it.
                    inner = code.branch()
                    self.value(inner, one, var, deep=deep)
                else:
                    self.value(code, one, var, deep=deep)
        else:
            self._lookup(code, value, var, deep)

    def _lookup(self, code: Code, lookup: Lookup, var: str, deep: bool) -> None:
        if lookup.value is not None:
            code.add(f"{var} = {self.names['text'](lookup.value)!r}")
            self.note(code, f"{var}_by = {value_text(lookup)!r}")
        elif lookup.template is not None:
            self._template(code, lookup.template, lookup.with_, var)
            self.note(code, f"{var}_by = {value_text(lookup)!r}")
        elif lookup.json_path is not None:
            code.add(f"{var} = None")
            self.names["inside"] = inside
            for path in lookup.path if isinstance(lookup.path, list) else [lookup.path or ""]:
                code.add(f"if {var} is None:")
                inner = code.branch()
                self.raw(inner, path, var)
                inner.add(f"{var} = inside({var}, {self.steps(lookup.json_path)})")
                self.to_text(inner, var, deep or lookup.as_ in _DEEP)
                self.note(inner, f"{var}_by = {path + conversion_text(lookup)!r}")
                self.note(inner, f"if {var} is None: trace.absent.append({path!r})")
        else:
            self.value(code, lookup.path, var, deep=deep or lookup.as_ in _DEEP)
            self.note(code, f"{var}_by += {conversion_text(lookup)!r}")
        if lookup.after is not None:
            prefix, length = lookup.after, len(lookup.after)
            code.add(
                f"{var} = {var}[{length}:] or None if {var} is not None and {var}.startswith({prefix!r}) else None"
            )
        if lookup.capture is not None:
            pattern = self.constant("PATTERN", compile_pattern(lookup.capture))
            code.add(f"{var} = None if {var} is None else capture({pattern}, {var})")
            self.names["capture"] = _capture
        if lookup.as_ is Conversion.LOWER or lookup.as_ is Conversion.UPPER:
            code.add(f"{var} = None if {var} is None else {var}.{lookup.as_.value}()")
        elif lookup.as_ is Conversion.IP:
            code.add(f"{var} = None if {var} is None else ip({var})")
            if self.traced:
                code.add(f"if {var} is not None: trace.addresses.append(({self.constant('LOOKUP', lookup)}, {var}))")
        elif isinstance(lookup.as_, Conversion) and lookup.as_ in conversion.OF_TEXT:
            function = self.constant("convert", conversion.OF_TEXT[lookup.as_])
            code.add(f"{var} = None if {var} is None else {function}({var})")
        elif lookup.times:
            function = self.constant("time", conversion.convert_time(lookup))
            code.add(f"{var} = None if {var} is None else text({function}({var}))")
        if lookup.table is not None:
            default = lookup.default
            # Of a reason that nothing gave, `adapter.mapping.rows` says which values were the cause.
            is_noted = default is not None and default != UNSPECIFIED
            made = Translation(dict(lookup.table), default or "", value_text(lookup.path)) if is_noted else None
            table = self.constant("TABLE", made or dict(lookup.table))
            families = Families(lookup.table)
            if families:
                # A value that is no key becomes that of its family; one of none stays as it is.
                family = self.constant("family", families.of)
                code.add(f"if {var} is not None and {var} not in {table}:")
                code.add(f"    {var} = {family}({var}) or {var}")
            lacks = f"' (its table lacks ' + repr({var}[:100]) + ')' if {var} is not None else ''"
            self.note(code, f"if {var} not in {table}: {var}_by = {_default_of(lookup)!r} + ({lacks})")
            if self.traced and lookup.default is not None:
                told = f"trace.untranslated.append(({self.constant('LOOKUP', lookup)}, {var}))"
                code.add(f"if {var} is not None and {var} not in {table}: {told}")
            code.add(f"{var} = {table}[{var}]" if is_noted else f"{var} = {table}.get({var}, {default!r})")
        elif lookup.default is not None:
            code.add(f"if {var} is None:")
            code.add(f"    {var} = {lookup.default!r}")
            self.note(code, f"    {var}_by = {_default_of(lookup)!r}")

    def _template(self, code: Code, template: str, named: Mapping[str, Any], var: str) -> None:
        parts, at = [], 0
        holes = []
        for hole in template_holes(template):
            start = template.index("{" + hole + "}", at)
            parts.append(repr(template[at:start]))
            name = self.fresh("h")
            self.value(code, named.get(hole, hole), name)
            holes.append(name)
            parts.append(name)
            at = start + len(hole) + 2
        parts.append(repr(template[at:]))
        there = " and ".join(f"{hole} is not None" for hole in holes) or "True"
        code.add(f"{var} = {' + '.join(parts)} if {there} else None")

    def raw(self, code: Code, path: str, var: str) -> None:
        """Lines that set ``var`` to what stands at a path, unconverted."""
        steps = parse_path(path)
        key = _plain_key(steps[-1])
        if key is None:
            code.add(f"{var} = follow(r, {self.constant('PATH', steps)})")
            return
        owner = self._object(code, steps[:-1])
        code.add(f"{var} = {owner}({key!r})")

    def _object(self, code: Code, steps: tuple[Step, ...]) -> str:
        """A variable that holds the ``get`` of the object at these steps (of an empty one if there is none)."""
        if not steps:
            return "g"
        known = code.objects.get(steps)
        if known is not None:
            return known
        key, name = _plain_key(steps[-1]), self.fresh("o")
        if key is None:
            # An element of a list, of which often several values are taken.
            code.add(f"{name} = follow(r, {self.constant('PATH', steps)})")
        else:
            code.add(f"{name} = {self._object(code, steps[:-1])}({key!r})")
        code.add(f"{name} = {name}.get if {name}.__class__ is dict else EMPTY.get")
        code.objects[steps] = name
        return name

    def to_text(self, code: Code, var: str, deep: bool) -> None:
        """Lines that make what ``var`` holds a text, or ``None``."""
        code.add(f"if {var} is not None and ({var}.__class__ is not str or {var} in ABSENT):")
        code.add(f"    {var} = text(json_text({var}))" if deep else f"    {var} = text({var})")

    def value_function(self, value: Any, *, told: str = "") -> Any:
        """A value as a function ``(raw, raw.get) -> text | None``. ``told``: what a trace says before what gave it."""

        known = self._value_functions.get((id(value), told))
        if known is not None:
            return known[1]

        def write(code: Code) -> None:
            self.value(code, value, "v")
            self.note(code, f"trace.given = {told!r} + v_by")
            code.add("return v")

        made = self.function("value", "r, g", (value, told), write)
        self._value_functions[id(value), told] = value, made
        return made

    def function(self, stem: str, parameters: str, made_of: object, write: Callable[[Code], None]) -> Any:
        """The function whose lines ``write`` adds; one for all that are made of the same: hundreds of a table's rows
        say the same, and compiling a function takes as long as reading a hundred events."""
        # As JSON, since `repr` of what pydantic made takes longer than all else of reading a table.
        key = stem.encode() + to_json(made_of)
        if key not in self._functions:
            name = self.fresh(stem)
            code = Code([f"def {name}({parameters}):"])
            write(code)
            exec("\n".join(code.lines), self.names)  # noqa: S102 - see the module's text
            self._functions[key] = self.names[name]
        return self._functions[key]

    # --- conditions --------------------------------------------------------------------------------------------

    def condition(self, condition: Condition, actor: ActorRule | None) -> str:
        """A Python expression over ``r`` and ``g``."""
        parts = [self._unless(self._present(path), f"{path} is absent") for path in condition.has or []]
        parts += [self._unless(self._absent(path), f"{path} is present") for path in condition.lacks or []]
        for path, wanted_value in condition.requirements.items():
            part = self._requirement(path, wanted_value)
            if self.traced:
                part = f"({part} or trace.differs({path!r}, {self.at(path)}, {requirement_text(wanted_value)!r}))"
            parts.append(part)
        if condition.actor is not None:
            wanted = (
                [one.value for one in condition.actor] if isinstance(condition.actor, list) else [condition.actor.value]
            )
            if actor is None:
                raise ValueError("a condition on `actor` needs the table's `actor`: who did it, and whom it is about")
            part = f"{self._actor(actor)}(r, g) in {tuple(wanted)!r}"
            parts.append(self._unless(part, f"the actor is not {' or '.join(wanted)}"))
        if condition.any_:
            part = "(" + " or ".join(f"({self.condition(one, actor)})" for one in condition.any_) + ")"
            parts.append(self._unless(part, "none of the conditions under any holds"))
        return " and ".join(parts) or "True"

    def _unless(self, part: str, told: str) -> str:
        """A part of a condition; a traced one says when it does not hold."""
        return f"({part} or trace.unmet({told!r}))" if self.traced else part

    def _present(self, path: str) -> str:
        if _has_every(path):
            return self._requirement(path, Requirement(present=True))
        return f"((v := {self.at(path)}) is not None and (v.__class__ is not str or v not in ABSENT))"

    def _absent(self, path: str) -> str:
        if _has_every(path):
            return self._requirement(path, Requirement(present=False))
        return f"((v := {self.at(path)}) is None or (v.__class__ is str and v in ABSENT))"

    def _requirement(self, path: str, wanted: Any) -> str:
        at = self.at(path)
        if _has_every(path):
            return f"{self.constant('any_element', any_element(wanted, self.names['text']))}({at})"
        if not isinstance(wanted, Requirement):
            return f"text({at}) in {self._texts(wanted)}"
        parts = []
        if wanted.present is not None:
            parts.append(self._present(path) if wanted.present else self._absent(path))
        if wanted.starts is not None:
            starts = (wanted.starts,) if isinstance(wanted.starts, str) else tuple(wanted.starts)
            parts.append(f"(text({at}) or '').startswith({starts!r})")
        if wanted.matches is not None:
            pattern = self.constant("PATTERN", compile_pattern(wanted.matches))
            parts.append(f"{pattern}.search(text({at}) or '') is not None")
        if wanted.contains is not None:
            words = [wanted.contains] if isinstance(wanted.contains, str) else wanted.contains
            self.names["contains"] = lambda value, words: (
                value is not None and any(word in value.lower() for word in words)
            )
            parts.append(f"contains(text({at}), {tuple(word.lower() for word in words)!r})")
        if wanted.not_ is not None:
            parts.append(f"text({at}) not in {self._texts(wanted.not_)}")
        return " and ".join(parts)

    def _texts(self, wanted: Any) -> str:
        values = wanted if isinstance(wanted, list) else [wanted]
        return self.constant("TEXTS", frozenset(self.names["text"](value) for value in values))

    def _actor(self, rule: ActorRule) -> str:
        who, whom = self.value_function(rule.id), self.value_function(rule.self_)
        technical = frozenset(rule.technical)

        def actor(raw: dict[str, Any], get: Any) -> str:
            acted = who(raw, get)
            if acted is None or acted == whom(raw, get):
                return "self"
            return "technical" if acted in technical else "human"

        return self.constant("actor", actor)

    def at(self, path: str) -> str:
        """A Python expression for what stands at a path of a condition."""
        if _has_every(path):
            return f"follow_every(r, {self.constant('PATH', parse_steps(path))})"
        keys = [_plain_key(step) for step in parse_path(path)]
        if None in keys:
            return f"follow(r, {self.steps(path)})"
        found = f"g({keys[0]!r})"
        for key in keys[1:]:
            found = f"(o.get({key!r}) if (o := {found}).__class__ is dict else None)"
        return found

    # --- names -------------------------------------------------------------------------------------------------

    def steps(self, path: str) -> str:
        """The name of a path's steps."""
        return self.constant("PATH", parse_path(path))

    def constant(self, stem: str, value: Any) -> str:
        """The name under which the source knows a value."""
        name = self.fresh(stem)
        self.names[name] = value
        return name

    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        self._counter += 1
        return f"{stem}_{self._counter}"


def _default_of(lookup: Lookup) -> str:
    return f"the default of {value_text(lookup.path if lookup.path is not None else lookup)}"


def _has_every(path: str) -> bool:
    return any(isinstance(step, Every) for step in parse_steps(path))


def _plain_key(step: Step) -> str | None:
    """The key of a step that only leads into objects; a number leads into lists, too."""
    return step.name if isinstance(step, Key) and not step.name.isdecimal() else None


def _capture(pattern: Any, text: str) -> str | None:
    found = pattern.search(text)
    if found is None:
        return None
    captured: str | None = found.group(1) if pattern.groups else found.group()
    return captured or None


def entries(value: Any) -> dict[str, Any]:
    """The entries of an object, or of a text that is JSON or holds key=value pairs; none of anything else."""
    if value.__class__ is str:
        if not value.startswith("{"):
            return dict(parse_keyvalue(value))
        value = inside(value, ())
    return value if value.__class__ is dict else {}


def inside(value: Any, steps: tuple[Step, ...]) -> Any:
    """What stands at a path inside a text that is JSON (or inside a value that already is)."""
    if value.__class__ is str:
        try:
            value = parse_json(value)
        except ValueError:
            return None
    return follow(value, steps)
