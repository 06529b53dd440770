"""What is proposed for samples: what stands where, how an event is known, and which types there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adapter.formats.text import counted
from adapter.mapping.catalogue import Detail, Form
from adapter.mapping.conversion import OF_TEXT, json_text, rfc3339
from adapter.mapping.expressions import compile_value
from adapter.mapping.language import Conversion, Redaction, value_paths
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import scalar_text
from adapter.mapping.refusals import UNDECIDED
from adapter.workbench.columns import (
    NONE,
    Chooser,
    Columns,
    are_mails,
    columns_of,
    is_address,
    is_list_of_objects,
    may_be_ids,
    may_be_name,
    may_be_types,
    rank_of,
    read_time,
    word_runs,
)
from adapter.workbench.likely import failing_values, says_failure
from adapter.workbench.samples import Samples

#: Paths that a remark names which may be a field, too; details that are taken; paths at which one thing may stand.
_CANDIDATES, _DETAILS, _PLACES = 3, 10, 4

_FIELDS = {
    "realm": "realmId",
    "client": "authDetails.clientId",
    "user": "authDetails.userId",
    "ip": "authDetails.ipAddress",
    "username": "authDetails.username",
    "mail": "authDetails.username",
    "session": "authDetails.sessionId",
}
#: Words in the name of what is worth reading, best first.
_WORTH = (
    "useragent", "agent", "method", "factor", "mfa", "device", "risk", "score", "policy", "role", "scope", "group",
    "connector", "provider", "target", "error", "reason", "message", "country", "requestid", "traceid", "correlationid",
)  # fmt: skip
#: Words in the name of what every line of a log has.
_NOISE = frozenset(
    ("level", "lvl", "severity", "caller", "func", "function", "file", "line", "thread", "pid", "hostname")
)
#: The conversion that may bring a value into the form of an agreed detail.
_FORMS = {Form.COUNTRY: Conversion.COUNTRY, Form.LIST: Conversion.LIST}
#: The beginning of a text of which the rest differs from event to event.
_BEGINNING = "^([A-Za-z][A-Za-z _-]*[A-Za-z])"
#: Times at which lines of logs begin, or that stand in brackets in them, and how they are written.
_IN_LINES = (
    (r"^\W*(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)", Conversion.RFC3339.value),
    (r"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]", "%d/%b/%Y:%H:%M:%S %z"),
)


class Proposal:
    """What is proposed, part by part."""

    def __init__(
        self, provider: str, samples: Samples, redactions: Sequence[Redaction], agreed: Mapping[str, Detail]
    ) -> None:
        """``samples``: without what is redacted; ``agreed``: details with one meaning for all providers, by name.

        Raises:
            ValueError: nothing in them looks like a type.
        """
        self._samples = samples
        self._redactions = redactions
        self._columns = columns_of(samples.events)
        self._chooser = Chooser(self._columns, len(samples.events))
        self._choose()
        #: The table, part by part, as values of its file.
        self.mapping: dict[str, Any] = {"provider": provider, "title": provider, "auth": ["bearer", "basic"]}
        body = self._body()
        if body:
            self.mapping["body"] = body
        if redactions:
            self.mapping["redact"] = [one.model_dump(by_alias=True, exclude_defaults=True) for one in redactions]
        fields = self._fields()
        details, self._left_out = _details(self._columns, self._taken(), len(samples.events), agreed)
        self.mapping |= {"type": self._type, "identity": self._identity(), "fields": fields | details}
        if self._failing:
            self.mapping["failed"] = {str(self._path("outcome")): self._failing}
        #: Of each event its native type.
        self.types = self._read_types()
        self.mapping["types"] = {one: {"type": UNDECIDED} for one in sorted({*filter(None, self.types)})}
        self.mapping["unknown"] = "quarantine"

    def _path(self, what: str) -> str | None:
        choice = self._chooser.taken.get(what)
        return None if choice is None else choice.path

    def _taken(self) -> set[str]:
        """The paths at which something stands that is no detail."""
        return {choice.path for choice in self._chooser.taken.values()} | value_paths(
            MappingFile.model_validate({**self.mapping, "type": self._type}).type
        )

    def _choose(self) -> None:
        """Find what stands where."""
        count, choose = len(self._samples.events), self._chooser.choose
        choose("time", lambda values: read_time(values) is not None)
        choose("ip", lambda values: all(map(is_address, values)))
        self._type = self._choose_type()
        if choose("id", lambda values: len(values) == count and may_be_ids(values)) is None:
            choose("number", lambda values: len(values) == count and may_be_ids(values))
        choose("user", lambda values: may_be_name(values) and not are_mails(values))
        if choose("username", may_be_name) is None:
            choose("mail", lambda values: may_be_name(values) and are_mails(values))
        for what in ("client", "session", "realm"):
            choose(what, may_be_name)
        choose("outcome", lambda values: bool(failing_values(values)))
        outcome = self._path("outcome")
        self._failing: list[Any] = [] if outcome is None else failing_values(self._columns[outcome])
        # What only some of the events have may say why they failed.
        choose("reason", lambda values: len(values) < count and not any(isinstance(one, bool) for one in values))

    def _choose_type(self) -> Any:
        """Where the native type stands: at one path, at another one in events of another form, or in the beginning of
        a text.

        Raises:
            ValueError: nowhere.
        """
        first = self._chooser.choose("type", may_be_types)
        paths = [] if first is None else [first]
        lacking = [event for event in self._samples.events if not columns_of([event]).keys() & {*paths}]
        while lacking and 0 < len(paths) < _PLACES:
            other = Chooser(columns_of(lacking), len(lacking)).choose("type", may_be_types)
            if other is None or rank_of("type", other) == NONE:
                break
            paths.append(other)
            lacking = [event for event in lacking if other not in columns_of([event])]
        if paths and 2 * len(lacking) < len(self._samples.events):
            return paths[0] if len(paths) == 1 else paths
        self._chooser.taken.pop("type", None)
        found = self._beginning_of_type() or self._chooser.choose("status", may_be_types)
        if found is None:
            raise ValueError(
                "nothing in the samples looks like a type: no key that most of them have, with words that come again; "
                "give some more samples, of more than one type"
            )
        return found

    def _beginning_of_type(self) -> dict[str, Any] | None:
        """A text whose beginning is the same for events of one type; ``None``: there is none."""
        for path, values in self._columns.items():
            if len(values) == len(self._samples.events) and all(isinstance(one, str) for one in values):
                found = [re.match(_BEGINNING, one) for one in values]
                told = [one[1] for one in found if one is not None and " " in one[1]]
                if len(told) == len(values) and len(set(told)) < len(told):
                    return {"path": path, "capture": _BEGINNING}
        return None

    def _body(self) -> list[Any]:
        body: list[Any] = []
        if self._samples.envelope is not None:
            body.append({"when": {"has": [self._samples.envelope]}, "events": self._samples.envelope})
        if self._samples.framing is not None:
            body.append(dict(self._samples.framing))
        return body

    def _identity(self) -> Any:
        for what in ("id", "number"):
            if (path := self._path(what)) is not None:
                return {"strong": path}
        time = self._path("time")
        if self._samples.framing is not None:
            # Two lines that say the same say the same event.
            return {"weak": ["@native", *([time] if time else []), "@line"]} if self._time() is not None else "none"
        weak = [path for what in ("time", "user", "client", "ip") if (path := self._path(what)) is not None]
        return {"weak": ["@native", *weak]} if time is not None else "none"

    def _time(self) -> dict[str, Any] | None:
        """Where the time stands: in a value of its own, or in the line."""
        path = self._path("time")
        if path is not None:
            return {"path": path, "as": read_time(self._columns[path])}
        lines = [str(one["@line"]) for one in self._samples.events if "@line" in one]
        for pattern, form in _IN_LINES if lines else ():
            found = [match and match[1] for match in (re.search(pattern, line) for line in lines)]
            if all(found) and (form != Conversion.RFC3339 or all(rfc3339(one) is not None for one in found)):
                return {"path": "@line", "capture": pattern, "as": form}
        return None

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        identifying = self._path("id") or self._path("number")
        if identifying is not None:
            fields["id"] = identifying
        time = self._time()
        if time is not None:
            fields["time"] = time
        for what, name in _FIELDS.items():
            path = self._path(what)
            if path is not None:
                fields[name] = {"path": path, "as": "ip"} if what == "ip" else path
        reason = self._path("reason")
        if reason is not None:
            fields["details.native_error"] = reason
        return fields

    def _read_types(self) -> list[str | None]:
        file = MappingFile.model_validate(self.mapping)
        read = compile_value(file, file.type)
        return [read(event) for event in self._samples.events]

    def reasons(self) -> tuple[str | None, list[str]]:
        """Where it stands why something failed, and what stands there."""
        path = self._path("reason")
        values = [] if path is None else [scalar_text(one) for one in self._columns[path]]
        return path, [*dict.fromkeys(one for one in values if one is not None)]

    def failed(self, number: int) -> bool:
        """Whether the event of this number is a failure, as far as it says."""
        event = columns_of([self._samples.events[number]])
        outcome, reason = self._path("outcome"), self._path("reason")
        if outcome is not None:
            return event.get(outcome, [None])[0] in self._failing
        return says_failure(self.types[number]) or (reason is not None and reason in event)

    def remarks(self) -> Iterator[str]:
        """What should be known of the proposal, a line each."""
        samples, columns = self._samples, self._columns
        count = len(samples.events)
        if samples.envelope is not None:
            yield f"{samples.envelope} holds the events, {count} of them: `body` says so"
        if samples.framing is not None:
            yield f"`body` says that the lines are {samples.framing['lines']}: {count} of them"
        if samples.others:
            yield (
                f"quarantined, as nothing of that form is found in them: {counted(samples.others, 'line')}; name those "
                "that surely hold no event under `ignore`, beside `lines`"
            )
        if self._redactions:
            named = ", ".join(
                f"{', '.join(one.keys)} in {one.in_}" if one.keys else one.in_ for one in self._redactions
            )
            yield f"`redact` takes out what its name or form calls secret, and the examples are without it: {named}"
        for path in sorted(path for path, values in columns.items() if any(map(is_list_of_objects, values))):
            yield f"{path} is a list of objects: if each of them is an event of its own, name it under `each`"
        taken = self._taken()
        for what, choice in self._chooser.taken.items():
            others = [path for path in choice.others if path not in taken][:_CANDIDATES]
            if others and what not in ("outcome", "reason"):
                yield f"{_FIELDS.get(what, what)} is {choice.path}; it may also be {', '.join(others)}"
        if self._failing:
            yield f"{self._path('outcome')} says what failed: see that `failed` names all values that do"
        if self._left_out:
            yield f"no details are {', '.join(self._left_out)}: add what is worth reading"
        identity = self.mapping["identity"]
        if isinstance(identity, dict) and "strong" in identity:
            yield f"events are deduplicated by {identity['strong']}: check that no two can ever have the same"


def _details(
    columns: Columns, taken: set[str], count: int, agreed: Mapping[str, Detail]
) -> tuple[dict[str, Any], list[str]]:
    """The details of a draft, and the paths that are none of them: what its name calls worth reading comes first, then
    what most events have; what is the same in all of many says nothing."""

    def rank(path: str) -> tuple[int, int, int]:
        runs, values = word_runs(path.rpartition(".")[2]), columns[path]
        worth = next((number for number, word in enumerate(_WORTH) if word in runs), len(_WORTH))
        same = len(values) == count > 3 and len({str(one) for one in values}) == 1
        return (len(_WORTH) + 1 if same and worth == len(_WORTH) else worth), -len(values), path.count(".")

    free = [path for path in columns if path not in taken]
    chosen = set(sorted((path for path in free if not _is_noise(path)), key=rank)[:_DETAILS])
    details: dict[str, Any] = {}
    for path in free:
        if path in chosen:
            name = path.replace("\\.", "_").replace(".", "_")
            if {"useragent", "ua"} & word_runs(path.rpartition(".")[2]):
                name = "user_agent"
            if f"details.{name}" in details:
                name = path.replace("\\.", "_").replace(".", "_")
            is_list = any(isinstance(one, list) for one in columns[path])
            lookup: Any = {"path": path, "as": "json"} if is_list else path
            if name in agreed and _misfits(agreed[name], columns[path]):
                form = _FORMS.get(agreed[name].form)
                if form is not None and not _misfits(agreed[name], columns[path], form):
                    lookup = {"path": path, "as": form.value}
                else:
                    name = f"native_{name}"
            details[f"details.{name}"] = lookup
    return details, [path for path in free if path not in chosen]


def _misfits(detail: Detail, values: Sequence[Any], form: Conversion | None = None) -> bool:
    """Whether one of the values is not of an agreed detail's form, after a conversion if there is one."""
    texts = [text for one in values if (text := json_text(one)) is not None]
    if form is not None:
        converted = [OF_TEXT[form](text) for text in texts]
        return any(one is None or detail.misfit(one) is not None for one in converted)
    return any(detail.misfit(one) is not None for one in texts)


def _is_noise(path: str) -> bool:
    return path.rpartition(".")[2].lower() in _NOISE
