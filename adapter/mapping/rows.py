"""What the rows of a table say, worked out as far as the table alone decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from threading import RLock
from typing import Any, NamedTuple

from adapter.mapping.catalogue import ACCESS, ERROR, UNSPECIFIED, Catalogue
from adapter.mapping.expressions import Code, Expressions
from adapter.mapping.families import Families, is_family
from adapter.mapping.fields import write_details, write_time
from adapter.mapping.language import AlsoRow, Lookup, PassThrough, Reason, Row, Rows, RowWords, Shape
from adapter.mapping.pattern import compile_pattern
from adapter.mapping.trace import ROW, TYPE, USUAL_ERROR, suffix_text, value_text
from adapter.mapping.untranslated import note as note_untranslated
from adapter.model import Outcome


class Decision(NamedTuple):
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


class Several(NamedTuple):
    """What a row says that makes more than one event of a record."""

    first: Decision
    #: Of each other event, by its name: what its row says, or a function ``(raw, raw.get) -> decision | None``.
    also: dict[str, Any]


IGNORED = Decision(None, "unknown", None, None, None, None, None, None, None)


def type_of_row(row: RowWords, catalogue: Catalogue) -> str:
    """The unified type that a row names."""
    named = row.type or ""
    return catalogue.canonical(named if "." in named else ACCESS + named)


def outcome_of_row(row: RowWords, catalogue: Catalogue) -> Outcome:
    """The outcome of a row's events where no status says otherwise."""
    return _outcome(row, catalogue)[0]


def _outcome(row: RowWords, catalogue: Catalogue) -> tuple[Outcome, str]:
    """The outcome, and what gives it."""
    type = type_of_row(row, catalogue)
    fails = type.endswith(ERROR) if type.startswith(ACCESS) else row.reason is not None or row.error is not None
    if fails:
        return Outcome.FAILURE, ROW
    return (catalogue.outcome(type), TYPE) if row.outcome is None else (row.outcome, ROW)


def _looked_up(reason: Reason) -> list[Lookup]:
    """A reason as a value, in which a text would be a path."""
    return [
        Lookup(value=one) if isinstance(one, str) else one for one in (reason if isinstance(reason, list) else [reason])
    ]


def _knows(table: Mapping[str, str]) -> Callable[[str], bool]:
    """Whether a table translates a value."""
    families = Families(table)
    return lambda value: value in table or (bool(families) and families.of(value) is not None)


class _WhenAsked(dict[str, Any]):
    """What is made of a native type, or of a family, when it is asked for first; ``None`` where there is nothing, which
    is not kept. A table may have a thousand rows, of which most never see an event."""

    def __init__(self, make: Callable[[str], Any], turn: AbstractContextManager[object]) -> None:
        super().__init__()
        self._make = make
        self._turn = turn

    def __missing__(self, key: str) -> Any:
        with self._turn:
            if key in self:
                return self[key]
            made = self._make(key)
            if made is not None:
                self[key] = made
            return made


class Decisions:
    """Makes decisions of one table's rows."""

    def __init__(self, catalogue: Catalogue, expressions: Expressions) -> None:
        self._catalogue = catalogue
        self._expressions = expressions
        #: Of the functions that decide about rows with `also`: the names of all further events that these may make.
        self.further: dict[Any, tuple[str, ...]] = {}
        #: Of the function of a reason: the paths that it looks at, the values there, and which of these are translated.
        self._causes: dict[Any, list[tuple[str, Any, Callable[[str], bool]]]] = {}
        #: Held while something is made: all of it has its names in one place.
        self._making = RLock()
        self._write_failure()

    def of(self, shape: Shape) -> dict[str, Any]:
        """Native type: its decision, or a function ``(raw, raw.get) -> decision | None`` where conditions decide. Such
        a function may give `Several`, too. ``None`` for a type that no row names."""
        types, suffix = shape.types, shape.error_suffix

        def make(native: str) -> Any:
            if is_family(native):
                return None
            if native in types:
                return self._row_choice(native, types[native], shape, failing=False)
            if suffix is None or not native.endswith(suffix):
                return None
            base = native.removesuffix(suffix)
            if base not in types or is_family(base) or base.endswith(suffix):
                return None
            return self._row_choice(base, types[base], shape, failing=True)

        return _WhenAsked(make, self._making)

    def of_families(self, shape: Shape) -> Callable[[str], Any] | None:
        """The same for a native type that no row names, by its family; it gives ``None`` where there is no family.
        ``None``: the shape has no families."""
        families, suffix = Families(shape.types), shape.error_suffix
        if not families:
            return None
        done, failed = (
            _WhenAsked(partial(self._of_family, shape, failing=failing), self._making) for failing in (False, True)
        )

        def decide(native: str) -> Any:
            family = families.of(native)
            if family is None:
                return None
            return failed[family] if suffix is not None and native.endswith(suffix) else done[family]

        return decide

    def _of_family(self, shape: Shape, family: str, *, failing: bool) -> Any:
        return self._row_choice(family, shape.types[family], shape, failing=failing)

    def _row_choice(self, native: str, rows: Rows, shape: Shape, *, failing: bool) -> Any:
        """A decision, or a function ``(raw, raw.get) -> decision | None`` where conditions decide."""
        place = f"types.{native}"
        if not isinstance(rows, list):
            return self._choice([(place, rows)], shape, failing=failing)
        return self._choice([(f"{place}.{number}", row) for number, row in enumerate(rows)], shape, failing=failing)

    def _choice(self, rows: Sequence[tuple[str, Row | AlsoRow]], shape: Shape, *, failing: bool) -> Any:
        """The same for rows with their names."""
        names = dict.fromkeys(one.name for _, row in rows if isinstance(row, Row) for one in row.also)
        if len(rows) == 1 and rows[0][1].when is None and not names and not self._expressions.traced:
            return self._row(rows[0][1], shape, failing=failing)
        function = self._expressions.fresh("rows")
        code = Code([f"def {function}(r, g):"])
        for name, row in rows:
            decision = self._expressions.constant("ROW", self._decided(name, row, shape, failing=failing))
            taken = Code(code.lines, 1 if row.when is None else 2)
            if row.when is not None:
                code.add(f"if {self._expressions.condition(row.when, shape.actor)}:")
            self._note(taken, row, name, shape.error_suffix if failing else None)
            taken.add(f"return {decision}")
            if row.when is None:
                break
            self._expressions.note(code, f"trace.tried(trace.rows, {name!r}, {row.note!r}, taken=False)")
        else:
            code.add("return None")
        # Rows are constants of the table, so their functions are made before the source that uses them.
        exec("\n".join(code.lines), self._expressions.names)  # noqa: S102 - see `expressions`
        choice = self._expressions.names[function]
        if names:
            self.further[choice] = tuple(names)
        return choice

    def _decided(self, name: str, row: Row | AlsoRow, shape: Shape, *, failing: bool) -> Decision | Several:
        first = self._row(row, shape, failing=failing)
        if isinstance(row, AlsoRow) or not row.also:
            return first
        return Several(
            first,
            {one.name: self._choice([(f"{name}.also.{one.name}", one)], shape, failing=failing) for one in row.also},
        )

    def _note(self, code: Code, row: RowWords, name: str, suffix: str | None) -> None:
        """That a row was taken, for events of its type or (with a suffix) for their failures."""
        note = self._expressions.note
        note(code, f"trace.tried(trace.rows, {name!r}, {row.note!r}, taken=True)")
        if row.type is not None:
            note(code, f"trace.fields.update(type={ROW!r}, outcome={_outcome(row, self._catalogue)[1]!r})")
            if suffix is not None:
                note(code, f"trace.failure({suffix_text(suffix)!r})")

    def _row(self, row: RowWords, shape: Shape, *, failing: bool) -> Decision:
        if row.type is None:
            return IGNORED
        type, outcome = type_of_row(row, self._catalogue), outcome_of_row(row, self._catalogue)
        access = type.startswith(ACCESS)
        if failing:
            outcome = Outcome.FAILURE
            if access and not type.endswith(ERROR):
                type += ERROR
        more = self._more(row) if row.fields else None
        reason = self._reason(row, shape)
        decision = self._decision(type, outcome, row, more, reason)
        if shape.failed is not None and row.failable and outcome is not Outcome.FAILURE:
            twin_type = type + ERROR if access else type
            decision = decision._replace(twin=self._decision(twin_type, Outcome.FAILURE, row, more, reason))
        return decision

    def _reason(self, row: RowWords, shape: Shape) -> Any:
        """A word, or a function that looks for one; of the table where the row gives none."""
        if isinstance(row.reason, str):
            return row.reason
        if row.reason is not None:
            return self._looked_for(row.reason, f"{ROW}: ")
        if row.error is not None or shape.reason is None:
            return None
        return self._looked_for(shape.reason, "")

    def _looked_for(self, reason: Reason, told: str) -> Any:
        lookups = _looked_up(reason)
        function = self._expressions.value_function(lookups, told=told)
        if function not in self._causes:
            plain = {"table": None, "default": None}
            self._causes[function] = [
                (
                    value_text(one.path),
                    self._expressions.value_function(one.model_copy(update=plain)),
                    _knows(one.table),
                )
                for one in lookups
                if one.path is not None and one.table is not None
            ]
        return function

    def _note_cause(self, raw: dict[str, Any], reason: Any, told: str | None) -> None:
        """A failure's reason is unspecified: note what the raw event says of it all the same. ``reason``: the function
        that looked for one; ``told``: the error of the raw event."""
        if reason is None:
            if told is not None:
                note_untranslated("error", told)
        elif reason.__class__ is not str:
            for path, value_of, knows in self._causes[reason]:
                value = value_of(raw, raw.get)
                if value is not None and not knows(value):
                    note_untranslated(path, value)

    def _decision(
        self, type: str, outcome: Outcome, row: RowWords | None = None, more: Any = None, reason: Any = None
    ) -> Decision:
        resource = operation = None
        if type.startswith("admin.") and "-" in type:
            resource, _, operation = type.removeprefix("admin.").rpartition("-")
        return Decision(
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

    def pass_through(self, rule: PassThrough, shape: Shape) -> Callable[[str], Decision | None]:
        """The decision about a native type that no row names; ``None`` if it may not pass."""
        pattern = None if rule.pattern is None else compile_pattern(rule.pattern)
        suffix = shape.error_suffix

        def decide(native: str) -> Decision | None:
            if len(native) > 255 or not native.isprintable():
                return None
            if pattern is not None and pattern.fullmatch(native) is None:
                return None
            failed = suffix is not None and native.endswith(suffix)
            base = native[: -len(suffix)] if failed and suffix else native
            type = self._catalogue.canonical(rule.type.replace("{native}", base) + (ERROR if failed else ""))
            outcome = self._catalogue.outcome(type)
            known = self._catalogue.known(type)
            if outcome is not Outcome.FAILURE and known is None and rule.outcome is not None:
                outcome = rule.outcome
            return self._decision(type, outcome)

        return decide

    def _more(self, row: RowWords) -> Any:
        def write(code: Code) -> None:
            for name, value in row.fields.items():
                self._field(code, name, value)

        return self._expressions.function("more", "r, g, e, a, d, now", row.fields, write)

    def _field(self, code: Code, name: str, value: Any) -> None:
        """Lines that set one field of a finished event to what the row says."""
        if name == "details":
            write_details(self._expressions, code, value)
            return
        if name == "time":
            write_time(self._expressions, code, value)
            code.add("if t is not None:")
            code.add("    e['time'] = t")
            self._expressions.note(code, "    trace.fields['time'] = t_by")
            return
        target, key = "e", name
        if name.startswith("authDetails."):
            target, key = "a", name.removeprefix("authDetails.")
        elif name.startswith("details."):
            target, key = "d", name.removeprefix("details.")
        self._expressions.value(code, value, "v", deep=target == "d" or name == "representation")
        code.add("if v is None:")
        code.add(f"    {target}.pop({key!r}, None)")
        code.add("else:")
        code.add(f"    {target}[{key!r}] = v")
        self._expressions.note(code, f"    trace.fields[{name!r}] = v_by")

    def _write_failure(self) -> None:
        """``fail``: error and reason of an event that failed, or that carries an error code (``told``) though its type
        does not fail; returns outcome and reason."""
        note, names = self._expressions.note, self._expressions.names
        names.update(REASONS=frozenset(self._catalogue.reasons), reason_of=self._catalogue.reason_of)
        names.update(error_of=self._catalogue.error_of, note_cause=self._note_cause)
        code = Code(["def fail(r, e, d, kind, outcome, told, error, reason):"])
        note(code, "told_by = trace.given")
        code.add(f"if outcome != 'failure' and kind.startswith({ACCESS!r}):")
        code.add("    if told is not None:")
        code.add("        d.setdefault('error', told)")
        note(code, "        trace.fields.setdefault('details.error', told_by)")
        code.add("    return outcome, None")
        note(code, "if outcome != 'failure': trace.fields['outcome'] = told_by")
        note(code, f"reason_by = {ROW!r}")
        code.add("given = reason")
        code.add("if reason is not None and reason.__class__ is not str:")
        code.add("    reason = reason(r, r.get)")
        note(code, "    reason_by = trace.given")
        code.add("    if reason not in REASONS:")
        code.add("        reason = None")
        code.add("code = told or error")
        note(code, f"error_by = told_by if told else {ROW!r}")
        code.add("if reason is None:")
        code.add(f"    reason = {UNSPECIFIED!r} if code is None else reason_of(code)")
        note(code, f"    reason_by = 'nothing says why' if reason == {UNSPECIFIED!r} else 'the error'")
        code.add(f"if reason == {UNSPECIFIED!r}:")
        code.add("    note_cause(r, given, told)")
        code.add("if not code:")
        code.add("    code = error_of(reason)")
        note(code, f"    error_by = {USUAL_ERROR!r}")
        code.add("e['error'] = code")
        note(code, "trace.fields.update(error=error_by, reason=reason_by)")
        code.add("return 'failure', reason")
        exec("\n".join(code.lines), names)  # noqa: S102 - see `expressions`
