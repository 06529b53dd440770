"""A first mapping file proposed from samples: what stands where, and the types seen. Deciding what each type means is
left to a person: the draft's rows name no type of the catalogue, so ``check`` rejects it until all are decided."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from adapter.errors import MappingError
from adapter.mapping.body import deeper_than
from adapter.mapping.check import UNDECIDED
from adapter.mapping.conversion import epoch, ip, rfc3339
from adapter.mapping.language import Conversion
from adapter.mapping.paths import follow, parse_path, scalar_text

#: Levels in a sample; an event that is deeper would be quarantined anyway.
_MAX_DEPTH = 64

#: Words in the name of a key that speak for a field, best first.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "type": ("eventtype", "eventname", "eventkey", "eventcode", "type", "event", "action", "kind", "code", "name"),
    "time": ("timestamp", "eventtime", "occurred", "published", "createdat", "created", "time", "date", "when", "at"),
    "id": ("eventid", "eventuid", "uuid", "guid", "id"),
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

_FIELDS = {
    "realm": "realmId",
    "client": "authDetails.clientId",
    "user": "authDetails.userId",
    "ip": "authDetails.ipAddress",
    "username": "authDetails.username",
    "session": "authDetails.sessionId",
}


@dataclass(frozen=True)
class Draft:
    """A table proposed: two texts, and the files that they are for."""

    file: Path
    mapping: str
    examples_file: Path
    examples: str


def read_samples(body: bytes, file: Path | str) -> list[dict[str, Any]]:
    """The raw events that a draft is made from: those of a JSON list, one JSON object, or a line of JSON each;
    ``file``: what to call them.

    Raises:
        MappingError: they are neither; says where.
    """
    try:
        parsed = orjson.loads(body)
        values = list(enumerate(parsed, 1)) if isinstance(parsed, list) else [(1, parsed)]
        lines = False
    except orjson.JSONDecodeError:
        values, lines = [], True
        for number, line in enumerate(body.splitlines(), 1):
            try:
                values += [(number, orjson.loads(line))] if line.strip() else []
            except orjson.JSONDecodeError as error:
                problem = f"neither JSON as a whole nor a line of JSON: {error}"
                raise MappingError(problem, file=file, line=number) from None
    for number, value in values:
        unfit = _unfit(value)
        if unfit is not None:
            where = "" if lines else f"sample {number} "
            raise MappingError(where + unfit, file=file, line=number if lines else None)
    return [value for _, value in values]


def _unfit(value: Any) -> str | None:
    """Why a value is no sample."""
    if not isinstance(value, dict):
        return "is no JSON object; give one for each event"
    return f"is nested deeper than {_MAX_DEPTH} levels" if deeper_than(value, _MAX_DEPTH) else None


def draft(provider: str, samples: Sequence[Mapping[str, Any]], folder: Path) -> Draft:
    """A table for events like the samples, as it would stand in its folder.

    Raises:
        ValueError: there are no samples, or nothing in them looks like a type.
    """
    if not samples:
        raise ValueError("there are no samples; give one JSON object a line, or a list of them")
    file = folder / "mapping.yaml"
    type_path, mapping = _mapping(provider, samples, file)
    path = parse_path(type_path)
    examples = _examples(samples, lambda sample: scalar_text(follow(sample, path)))
    return Draft(file, mapping, folder / "examples" / "samples.yaml", examples)


def _mapping(provider: str, samples: Sequence[Mapping[str, Any]], file: Path) -> tuple[str, str]:
    """The path of the type, and the text of the file."""
    columns = _columns(samples)
    lists = {path for path, values in columns.items() if any(isinstance(value, list) for value in values)}
    count = len(samples)
    found: dict[str, str] = {}

    def choose(what: str, fits: Callable[[list[Any]], bool]) -> str | None:
        taken = set(found.values())
        ranked = [
            # Of names that speak alike, the one that most samples have.
            (rank, -len(values), len(path), path)
            for path, values in columns.items()
            if path not in taken and path not in lists and (rank := _rank(what, path)) is not None and fits(values)
        ]
        best = min(ranked, default=None)
        if best is not None:
            found[what] = best[-1]
        return None if best is None else best[-1]

    time = choose("time", lambda values: all(_time(value) is not None for value in values))
    choose("ip", lambda values: all(_is_address(value) for value in values))
    choose("type", lambda values: len(values) == count and _may_be_types(values))
    if "type" not in found:
        raise ValueError(
            "nothing in the samples looks like a type: no key that all of them have, with words that come again; "
            "give some more samples, of more than one type"
        )
    choose("id", lambda values: len(set(map(str, values))) == len(values) == count)
    for what in ("user", "username", "client", "session", "realm"):
        choose(what, lambda values: all(scalar_text(value) is not None for value in values))

    fields: dict[str, Any] = {}
    if "id" in found:
        fields["id"] = found["id"]
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

    identity: Any = {"strong": found["id"]} if "id" in found else None
    if identity is None:
        weak = [found[what] for what in ("time", "user", "client", "ip") if what in found]
        identity = {"weak": ["@native", *weak]} if time is not None else "none"
    types = Counter(str(value) for value in columns[found["type"]])
    mapping = {
        "provider": provider,
        "title": provider,
        "auth": ["bearer", "basic"],
        "type": found["type"],
        "identity": identity,
        "fields": fields,
        "types": {native: {"type": UNDECIDED} for native in sorted(types)},
        "unknown": "quarantine",
    }
    head = (
        f"# A draft from {count} samples. Decide for each native type what it means (types: docs/event-types.md), see\n"
        f"# that the fields are right, and run: idp-adapter mapping check {file}\n"
    )
    dumped = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return found["type"], head + dumped


def _examples(samples: Sequence[Mapping[str, Any]], type_of: Callable[[Mapping[str, Any]], str | None]) -> str:
    """An example file with the first sample of each type; ``mapping accept`` fills in what is expected."""
    first: dict[str, Mapping[str, Any]] = {}
    for sample in samples:
        first.setdefault(type_of(sample) or "", sample)
    examples = [{"name": native or "unknown", "raw": dict(sample), "expect": []} for native, sample in first.items()]
    return yaml.safe_dump(examples, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


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
            step = str(key).replace("\\", "\\\\").replace(".", "\\.").replace("[", "\\[")
            if step:
                yield from _leaves(inner, f"{path}.{step}" if path else step)
    elif value not in (None, "", []):
        yield path, value


def _rank(what: str, path: str) -> int | None:
    """How well a path's name speaks for a field; smaller is better."""
    plain = path.lower().replace("_", "").replace("-", "")
    last = plain.rpartition(".")[2]
    for rank, word in enumerate(_WORDS[what]):
        if plain == word or last == word or plain.endswith("." + word):
            return rank
    for rank, word in enumerate(_WORDS[what]):
        if word in last:
            return 100 + rank
    # Moments and addresses speak for themselves, whatever their name; and what comes again in every event may well be
    # its type, unless its name speaks for something else.
    others = (word for other in _FIELDS for word in _WORDS[other])
    return 1000 if what in ("time", "ip") or (what == "type" and last not in others) else None


def _time(value: Any) -> str | None:
    """The conversion that reads a value as a moment."""
    if rfc3339(value) is not None:
        return Conversion.RFC3339.value
    return Conversion.EPOCH.value if not isinstance(value, bool) and epoch(value) is not None else None


def _may_be_types(values: list[Any]) -> bool:
    """A type comes again, an id never does; in a handful of samples that cannot be told."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
        return False
    return len(set(values)) < len(values) or len(values) <= 3


def _is_address(value: Any) -> bool:
    try:
        ipaddress.ip_address(ip(value) if isinstance(value, str) else "")
    except ValueError:
        return False
    return True
