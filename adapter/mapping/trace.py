"""What a compiled table notes on its way. The generator that writes a table's function writes a traced one, too: the
same lines, and beside them those that tell a `Trace` which shape, row and value were taken, and why others were not."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from adapter.mapping.language import Condition, Lookup, Requirement
from adapter.mapping.scalars import dump

#: What gives a field where no path does.
ROW = "the row"
RULE = "the rule for unknown types"
ROW_DETAILS = "the row's details"
TYPE = "the type"
ARRIVAL = "the arrival"
USUAL_ERROR = "the usual code of its reason"


class Attempt(NamedTuple):
    """A shape or a row that was tried."""

    name: str
    #: The part of its condition that did not hold; ``None``: it was taken.
    failed: str | None
    note: str | None = None


class Trace:
    """How one raw event was read. Its methods are called by the source of a traced table, and return what goes on
    unchanged."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget the event before."""
        self.shapes: list[Attempt] = []
        self.rows: list[Attempt] = []
        #: Field of the unified event: what gave it.
        self.fields: dict[str, str] = {}
        #: Why the event has no key, as far as known: the paths at which the values of its keys found nothing.
        self.keyless: list[str] = []
        #: The paths at which the last value found nothing.
        self.absent: list[str] = []
        #: What lookups of addresses gave.
        self.addresses: list[tuple[Lookup, str]] = []
        #: What lookups with a default found that their tables lack.
        self.untranslated: list[tuple[Lookup, str]] = []
        #: What gave the last value of a function.
        self.given = ""
        self._unmet: str | None = None

    def unmet(self, told: str) -> Literal[False]:
        """A part of a condition does not hold."""
        self._unmet = told
        return False

    def differs(self, path: str, found: Any, wanted: str) -> Literal[False]:
        """What stands at a path is not what a condition wants."""
        return self.unmet(f"{path} is {'absent' if found in (None, []) else repr(found)}, wanted {wanted}")

    def tried(self, attempts: list[Attempt], name: str, note: str | None = None, *, taken: bool) -> None:
        """A shape or a row was tried, after its condition."""
        attempts.append(Attempt(name, None if taken else self._unmet, note))

    def failure(self, by: str) -> None:
        """The event is the failure of its type."""
        self.fields["type"] += f", as a failure ({by})"
        self.fields["outcome"] = by


def suffix_text(suffix: str) -> str:
    """The suffix that makes failures of native types."""
    return f"error_suffix {suffix!r}"


def condition_text(condition: Condition) -> str:
    """A condition as its author wrote it."""
    told = condition.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dump(told, flow=True).strip().removeprefix("{").removesuffix("}")


def value_text(value: Any) -> str:
    """A value of the language, as its author wrote it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " or ".join(value_text(one) for one in value)
    if value.value is not None:
        return f"the constant {value.value!r}"
    return str(value.template) if value.template is not None else value_text(value.path) + conversion_text(value)


def conversion_text(value: Any) -> str:
    """What a lookup does with what its path gives, as it stands behind the path."""
    extra = value.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"path", "table", "default"})
    words = [f"{word} {text!r}" for word, text in extra.items()] + (["by its table"] if value.table else [])
    return f" ({', '.join(words)})" if words else ""


def requirement_text(wanted: Any) -> str:
    """What a condition wants at a path."""
    if not isinstance(wanted, Requirement):
        return repr(wanted)
    words = wanted.model_dump(by_alias=True, exclude_none=True)
    return " and ".join(f"{word} {text!r}" for word, text in words.items())
