"""A first mapping file proposed from samples: what stands where, what must not be stored, and the types seen. Deciding
what each type means is left to a person: the draft's rows name no type of the catalogue, so ``check`` rejects it until
all are decided."""

from __future__ import annotations

import copy
import ipaddress
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter.errors import MappingError
from adapter.formats.text import counted
from adapter.known_secrets import REDACTED
from adapter.mapping.body import deeper_than
from adapter.mapping.conversion import epoch, ip, rfc3339
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.language import Conversion, Redaction, check_name
from adapter.mapping.paths import escaped_key, follow, parse_path, scalar_text
from adapter.mapping.redact import Redactor
from adapter.mapping.refusals import UNDECIDED
from adapter.mapping.scalars import dump
from adapter.mapping.table import table_file
from adapter.resources import mappings_path, schemas_path
from adapter.workbench.secret import proposed_redactions

#: Levels in a sample; an event that is deeper would be quarantined anyway.
_MAX_DEPTH = 64

#: Ranks of names: below this the whole name is one of the words, and from the other on no word is in it.
_PART, _NONE = 100, 1000

#: Examples of one type, each with another form; and paths that a remark names which may be a field, too.
_FORMS, _CANDIDATES = 4, 3

#: Words in the name of a key that speak for a field, best first.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "type": ("eventtype", "eventname", "eventkey", "eventcode", "type", "event", "action", "kind", "code", "name"),
    "time": ("timestamp", "eventtime", "occurred", "published", "createdat", "created", "time", "date", "when", "at"),
    "id": ("eventid", "eventuid", "uuid", "guid", "id"),
    "number": ("eventno", "recordno", "sequencenumber", "sequence", "seqno", "seq", "number", "no"),
    "user": (
        "userid",
        "user.id",
        "who.id",
        "actorid",
        "actor.id",
        "subject.id",
        "subject",
        "sub",
        "principal",
        "user",
        "actor",
        "account",
        "who",
        "uid",
    ),
    "username": ("username", "login", "email", "mail", "user.name", "preferredusername", "alternateid"),
    "client": ("clientid", "client.id", "appid", "applicationid", "client", "application", "app", "service"),
    "ip": ("ipaddress", "clientip", "remoteip", "sourceip", "ip", "address"),
    "session": ("sessionid", "session.id", "sid", "session"),
    "realm": ("realmid", "tenantid", "tenant", "realm", "organization", "org", "domain"),
}

#: Words under which people and clients stand: an id below one of them is not the event's.
_OWNERS = frozenset(word for what in ("user", "client", "session", "realm") for word in _WORDS[what]) | {
    "person", "employee", "customer", "device",
}  # fmt: skip

#: Words under which stands whom, or what, something was done to.
_OBJECTS = frozenset({"target", "targets", "object", "resource", "affected", "entity"})

_FIELDS = {
    "realm": "realmId",
    "client": "authDetails.clientId",
    "user": "authDetails.userId",
    "ip": "authDetails.ipAddress",
    "username": "authDetails.username",
    "session": "authDetails.sessionId",
}


@dataclass(frozen=True)
class Samples:
    """The raw events that a draft is made from."""

    events: list[dict[str, Any]]
    #: Path of the list in which they stood, if the samples were envelopes around them.
    envelope: str | None


@dataclass(frozen=True)
class Draft:
    """A table proposed: two texts, and the files that they are for."""

    file: Path
    mapping: str
    examples_file: Path
    examples: str
    #: What should be known of it, a line each.
    remarks: tuple[str, ...]


def read_samples(body: bytes, file: Path | str) -> Samples:
    """The events of a JSON list, of one JSON object, or of a line of JSON each, be they the events or envelopes around
    lists of them; ``file``: what to call them.

    Raises:
        MappingError: they are neither; says where.
    """
    try:
        parsed = parse_json(body)
        values = list(enumerate(parsed, 1)) if isinstance(parsed, list) else [(1, parsed)]
        lines = False
    except NotJson:
        values, lines = [], True
        for number, line in enumerate(body.splitlines(), 1):
            try:
                values += [(number, parse_json(line))] if line.strip() else []
            except NotJson as error:
                problem = f"neither JSON as a whole nor a line of JSON: {error}"
                raise MappingError(problem, file=file, line=number) from None
    for number, value in values:
        unfit = _unfit(value)
        if unfit is not None:
            where = "" if lines else f"sample {number} "
            raise MappingError(where + unfit, file=file, line=number if lines else None)
    samples = [value for _, value in values]
    envelope = _envelope(samples)
    if envelope is None:
        return Samples(samples, None)
    steps = parse_path(envelope)
    return Samples([event for sample in samples for event in follow(sample, steps)], envelope)


def _envelope(samples: Sequence[Mapping[str, Any]]) -> str | None:
    """Where in all the samples a list of events stands: the only list of objects in each, whose elements say when they
    happened, and of which type if what is around them does."""
    inside = [[path for path, value in _leaves(sample, "") if _is_list_of_objects(value)] for sample in samples]
    if not inside or len(inside[0]) != 1 or any(paths != inside[0] for paths in inside):
        return None
    [path] = inside[0]
    steps = parse_path(path)
    around = _columns(samples)
    for element in (element for sample in samples for element in follow(sample, steps)):
        own = _columns([element])
        if not any(_time(values[0]) is not None for values in own.values()):
            return None
        if _names_type(around) and not _names_type(own):
            return None
    return path


def _names_type(columns: Mapping[str, list[Any]]) -> bool:
    """Whether the name of a key is a word for the type."""
    ranks = [_rank("type", path) for path, values in columns.items() if not isinstance(values[0], list)]
    return any(rank is not None and rank < _PART for rank in ranks)


def _unfit(value: Any) -> str | None:
    """Why a value is no sample."""
    if not isinstance(value, dict):
        return "is no JSON object; give one for each event"
    return f"is nested deeper than {_MAX_DEPTH} levels" if deeper_than(value, _MAX_DEPTH) else None


def refuse_name(provider: str) -> None:
    """Refuse a name that a new table may not have.

    Raises:
        ValueError: no provider can be called so, or one is that comes with the adapter.
    """
    check_name(provider)
    if table_file(provider, [mappings_path()]) is not None:
        raise ValueError(
            f"{provider!r} comes with the adapter, and a table of this name would hide it; to change some of its rows, "
            f"give yours another name and say in it `extends: {provider}`"
        )


def draft(provider: str, samples: Samples, folder: Path) -> Draft:
    """A table for events like the samples, as it would stand in its folder. What their names call secret is in none of
    its texts: it would be redacted, and is.

    Raises:
        ValueError: there are no samples, or nothing in them looks like a type.
    """
    if not samples.events:
        raise ValueError("there are no samples; give one JSON object a line, or a list of them")
    file = folder / "mapping.yaml"
    redactions = proposed_redactions(samples.events)
    events = copy.deepcopy(samples.events)
    redactor = Redactor(redactions)
    for event in events:
        redactor.redact(event)
    type_path, mapping, remarks = _mapping(provider, Samples(events, samples.envelope), redactions, file)
    path = parse_path(type_path)
    examples = _examples(events, lambda event: scalar_text(follow(event, path)))
    return Draft(file, mapping, folder / "examples" / "samples.yaml", examples, tuple(remarks))


def _mapping(
    provider: str, samples: Samples, redactions: Sequence[Redaction], file: Path
) -> tuple[str, str, list[str]]:
    """The path of the type, the text of the file, and what should be known of it."""
    columns = _columns(samples.events)
    lists = {path for path, values in columns.items() if any(isinstance(value, list) for value in values)}
    count = len(samples.events)
    found: dict[str, str] = {}
    #: What fits as well, best first.
    candidates: dict[str, list[str]] = {}

    def choose(what: str, fits: Callable[[list[Any]], bool]) -> str | None:
        taken = set(found.values())
        ranked = [
            # Of names that speak alike, the one that most samples have.
            (rank, -len(values), len(path), path)
            for path, values in columns.items()
            if path not in taken and path not in lists and (rank := _rank(what, path)) is not None and fits(values)
        ]
        if not ranked:
            return None
        (_, _, _, best), *others = sorted(ranked)
        found[what] = best
        candidates[what] = [path for rank, _, _, path in others if what != "type" or rank < _NONE]
        return best

    time = choose("time", lambda values: all(_time(value) is not None for value in values))
    choose("ip", lambda values: all(_is_address(value) for value in values))
    choose("type", lambda values: len(values) == count and _may_be_types(values))
    if "type" not in found:
        raise ValueError(
            "nothing in the samples looks like a type: no key that all of them have, with words that come again; "
            "give some more samples, of more than one type"
        )
    identifying = None
    for what in ("id", "number"):
        if identifying is None:
            identifying = choose(what, lambda values: len(values) == count and _may_be_ids(values))
    for what in ("user", "username", "client", "session", "realm"):
        choose(what, lambda values: all(scalar_text(value) is not None for value in values))

    fields: dict[str, Any] = {}
    if identifying is not None:
        fields["id"] = identifying
    if time is not None:
        fields["time"] = {"path": time, "as": _time(columns[time][0])}
    for what, name in _FIELDS.items():
        if what in found:
            path = found[what]
            fields[name] = {"path": path, "as": "ip"} if what == "ip" else path
    taken = set(found.values())
    for path in columns:
        if path not in taken:
            name = "details." + path.replace("\\.", "_").replace(".", "_")
            fields[name] = {"path": path, "as": "json"} if path in lists else path

    identity: Any = {"strong": identifying}
    if identifying is None:
        weak = [found[what] for what in ("time", "user", "client", "ip") if what in found]
        identity = {"weak": ["@native", *weak]} if time is not None else "none"
    types = sorted({str(value) for value in columns[found["type"]]})
    mapping: dict[str, Any] = {"provider": provider, "title": provider, "auth": ["bearer", "basic"]}
    if samples.envelope is not None:
        mapping["body"] = [{"when": {"has": [samples.envelope]}, "events": samples.envelope}]
    if redactions:
        mapping["redact"] = [one.model_dump(by_alias=True, exclude_defaults=True) for one in redactions]
    mapping |= {
        "type": found["type"],
        "identity": identity,
        "fields": fields,
        "types": {native: {"type": UNDECIDED} for native in types},
        "unknown": "quarantine",
    }
    remarks = []
    if samples.envelope is not None:
        remarks.append(f"{samples.envelope} holds the events, {count} of them: `body` says so")
    if redactions:
        named = ", ".join(f"{', '.join(one.keys)} in {one.in_}" if one.keys else one.in_ for one in redactions)
        remarks.append(f"`redact` takes out what its name calls secret, and the examples are without it: {named}")
    for path in sorted(path for path in lists if any(map(_is_list_of_objects, columns[path]))):
        remarks.append(f"{path} is a list of objects: if each of them is an event of its own, name it under `each`")
    for what, others in candidates.items():
        if others := [path for path in others if path not in taken][:_CANDIDATES]:
            remarks.append(f"{_FIELDS.get(what, what)} is {found[what]}; it may also be {', '.join(others)}")
    if identifying is not None:
        remarks.append(f"events are deduplicated by {identifying}: check that no two can ever have the same")
    head = [
        f"yaml-language-server: $schema={schemas_path() / 'mapping.schema.json'}",
        f"A draft from {counted(count, 'event')}. Decide for each native type what it means (types:",
        f"docs/event-types.md), see that the fields are right, and run: idp-adapter mapping check {file}",
        *(line for remark in remarks for line in textwrap.wrap(f"- {remark}", 110, subsequent_indent="  ")),
    ]
    dumped = dump(mapping)
    return found["type"], "".join(f"# {line}\n" for line in head) + dumped, remarks


def _examples(events: Sequence[Mapping[str, Any]], type_of: Callable[[Mapping[str, Any]], str | None]) -> str:
    """An example file with the first event of each type and form; ``mapping accept`` fills in what is expected."""
    first: dict[str, dict[frozenset[str], Mapping[str, Any]]] = {}
    for event in events:
        forms = first.setdefault(type_of(event) or "unknown", {})
        if len(forms) < _FORMS:
            forms.setdefault(frozenset(_columns([event])), event)
    examples = [
        {"name": native if number == 1 else f"{native} {number}", "raw": dict(event), "expect": []}
        for native, forms in first.items()
        for number, event in enumerate(forms.values(), 1)
    ]
    return dump(examples)


def _columns(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Path: the values that stand there over all samples."""
    columns: dict[str, list[Any]] = {}
    for sample in samples:
        for path, value in _leaves(sample, ""):
            columns.setdefault(path, []).append(value)
    return columns


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            step = escaped_key(str(key))
            if step:
                yield from _leaves(inner, f"{path}.{step}" if path else step)
    elif value not in (None, "", [], REDACTED):
        yield path, value


def _rank(what: str, path: str) -> int | None:
    """How well a path's name speaks for a field; smaller is better."""
    plain = path.lower().replace("_", "").replace("-", "")
    *above, last = plain.split(".")
    if what in ("id", "number") and not _OWNERS.isdisjoint((*above, last, last.removesuffix("id"))):
        return None
    # Who did it, before whom it was done to.
    later = _PART // 2 if what in ("user", "username") and not _OBJECTS.isdisjoint(above) else 0
    for rank, word in enumerate(_WORDS[what]):
        if plain == word or last == word or plain.endswith("." + word):
            return rank + later
    for rank, word in enumerate(_WORDS[what]):
        # Two letters are in many a word; what counts up is called so, and nothing more: a phone has a number, too.
        if what != "number" and (last.endswith(word) if len(word) < 3 else word in last):
            return _PART + rank
    # Timestamps and addresses speak for themselves, whatever their name; and what comes again in every event may well
    # be its type, unless its name speaks for something else.
    others = (word for other in _FIELDS for word in _WORDS[other])
    return _NONE if what in ("time", "ip") or (what == "type" and last not in others) else None


def _time(value: Any) -> str | None:
    """The conversion that reads a value as a timestamp."""
    if rfc3339(value) is not None:
        return Conversion.RFC3339.value
    return Conversion.EPOCH.value if not isinstance(value, bool) and epoch(value) is not None else None


def _may_be_types(values: list[Any]) -> bool:
    """A type comes again, an id never does; in a handful of samples that cannot be told."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
        return False
    return len(set(values)) < len(values) or len(values) <= 3


def _may_be_ids(values: list[Any]) -> bool:
    """No two are the same, and all are texts or whole numbers."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
        return False
    return len(set(map(str, values))) == len(values)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _is_address(value: Any) -> bool:
    try:
        ipaddress.ip_address(ip(value) if isinstance(value, str) else "")
    except ValueError:
        return False
    return True
