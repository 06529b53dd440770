"""Which events a reader wants: the one set of filters of the feed, the export and the sinks.

`Filter.parse` reads them from query parameters, `Filter.from_settings` from a sink's settings; `Filter.matches`
decides for one event in memory; `adapter.search.query` turns the same object into SQL. A test holds the two together.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from adapter.errors import ConfigError, RequestError
from adapter.mapping.catalogue import Catalogue
from adapter.model import EventDict, Outcome

SYSTEM = "system."

#: What an event can be found by, each also with ``not_`` in front.
NAMES = (
    "type",
    "outcome",
    "reason",
    "reason_class",
    "provider",
    "source",
    "realm",
    "user",
    "actor",
    "target",
    "client",
    "ip",
    "session",
    "q",
)
#: Bounds in time: the first of a pair is included, the second is not.
TIMES = ("from", "to", "received_from", "received_to")
#: Every parameter that `Filter.parse` knows.
PARAMETERS = (*NAMES, *(f"not_{name}" for name in NAMES), *TIMES)


class Facets(NamedTuple):
    """What one event can be found by; what is unknown is ``None``."""

    #: When it happened and when it arrived, epoch milliseconds.
    time: int
    received_at: int
    #: Canonical name.
    type: str
    outcome: str
    reason: str | None
    reason_class: str | None
    provider: str
    source: str
    realm_id: str | None
    realm_name: str | None
    actor: str | None
    actor_names: tuple[str, ...]
    target: str | None
    target_names: tuple[str, ...]
    client: str | None
    #: 16 bytes; an IPv4 address stands in ``::ffff:0:0/96``.
    ip: bytes | None
    session: str | None
    event: EventDict

    @property
    def words(self) -> set[str]:
        """The words that ``q`` finds it by; computed when asked for."""
        return words(self.event)


def facets(event: EventDict, catalogue: Catalogue) -> Facets:
    """What a unified event can be found by."""
    who: dict[str, str] = event.get("authDetails") or {}
    details: dict[str, str] = event.get("details") or {}
    origin: dict[str, Any] = event["source"]
    type = catalogue.canonical(event["type"])
    reason: str | None = event.get("reason")
    address = who.get("ipAddress")
    actor, target = who.get("userId"), None
    actor_names = _names(who.get("username"))
    target_names: tuple[str, ...] = ()
    if type.startswith("admin."):
        target = _user_in_path(event.get("resourcePath")) or details.get("userId")
        target_names = _names(details.get("username"))
    elif type.startswith("access.IMPERSONATE"):
        # Keycloak names the impersonated where the actor stands; the impersonator has only a name.
        actor, target = None, actor
        actor_names, target_names = _names(details.get("impersonator")), actor_names
    elif type.startswith("access."):
        actor_names = _names(who.get("username"), details.get("username"))
        target = details.get("userId")  # whose account it was, where somebody else acted
    return Facets(
        event["time"],
        origin["receivedAt"],
        type,
        event["outcome"],
        reason,
        None if reason is None else catalogue.reason_class(reason),
        origin["provider"],
        origin["name"],
        event.get("realmId"),
        event.get("realmName"),
        actor,
        actor_names,
        target,
        target_names,
        who.get("clientId"),
        None if address is None else address_bytes(address[:100]),
        who.get("sessionId") or details.get("code_id"),
        event,
    )


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the event's ``name`` is (``negated``: is not) one of ``values``."""

    name: str
    negated: bool
    #: Checked, sorted, each once.
    values: tuple[str, ...]

    @property
    def parameter(self) -> str:
        return f"not_{self.name}" if self.negated else self.name


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold. Immutable; equal filters are equal values. ``Filter(catalogue)`` matches
    everything but ``system.*`` events."""

    catalogue: Catalogue = field(compare=False, repr=False)
    terms: tuple[Term, ...] = ()
    #: Epoch milliseconds; the ``from`` ones included, the ``to`` ones not.
    time_from: int | None = None
    time_to: int | None = None
    received_from: int | None = None
    received_to: int | None = None
    #: Whether the type alone does not decide.
    needs_event: bool = field(init=False, compare=False, repr=False)
    _tests: tuple[tuple[bool, Callable[[Facets], bool]], ...] = field(init=False, compare=False, repr=False)
    _types: dict[str, bool] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        tests = [(term.negated, term_test(term)) for term in self.terms if term.name != "type"]
        bounds = (self.time_from, self.time_to, self.received_from, self.received_to)
        object.__setattr__(self, "_tests", tuple(tests))
        object.__setattr__(self, "_types", {})
        object.__setattr__(self, "needs_event", bool(tests) or any(bound is not None for bound in bounds))

    @classmethod
    def parse(cls, parameters: Mapping[str, Sequence[str]], catalogue: Catalogue) -> Filter:
        """Read query parameters, each with its values in order.

        Raises:
            RequestError: 400, a parameter is unknown or a value is not allowed; names it and what is allowed.
        """
        try:
            return _read(parameters, catalogue)
        except _Refused as refused:
            known: dict[str, Any] = {} if refused.allowed is None else {"allowed": refused.allowed}
            raise RequestError(400, refused.title, refused.detail, parameter=refused.parameter, **known) from None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], catalogue: Catalogue, place: str = "filter") -> Filter:
        """Read a sink's filter: the names of the query parameters, each with one value or a list.

        ``place`` says where the settings stand, for the error's text.

        Raises:
            ConfigError: a key is unknown or a value is not allowed; names it and what is allowed.
        """
        try:
            return _read({name: _listed(name, value) for name, value in settings.items()}, catalogue)
        except _Refused as refused:
            raise ConfigError(f"{place}.{refused.parameter}: {refused.detail}") from None

    def matches(self, facets: Facets) -> bool:
        """Whether the reader wants this event."""
        if not self.may_match_type(facets.type):
            return False
        if self.time_from is not None and facets.time < self.time_from:
            return False
        if self.time_to is not None and facets.time >= self.time_to:
            return False
        if self.received_from is not None and facets.received_at < self.received_from:
            return False
        if self.received_to is not None and facets.received_at >= self.received_to:
            return False
        return all(test(facets) is not negated for negated, test in self._tests)

    def may_match_type(self, type: str) -> bool:
        """Whether an event of this type can match; decides unless `needs_event`. Cheap: remembered for each type."""
        known = self._types.get(type)
        if known is None:
            if len(self._types) >= 10_000:  # custom types are an open set
                self._types.clear()
            known = self._types[type] = self._wants_type(type)
        return known

    def canonical(self) -> str:
        """One text for equal filters, to notice a change and to read."""
        said: dict[str, object] = {term.parameter: term.values for term in self.terms}
        bounds = (self.time_from, self.time_to, self.received_from, self.received_to)
        said |= {name: bound for name, bound in zip(TIMES, bounds, strict=True) if bound is not None}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()

    def __str__(self) -> str:
        return self.canonical()

    def _wants_type(self, type: str) -> bool:
        canonical = self.catalogue.canonical(type)
        names = {type, canonical, *self.catalogue.aliases(canonical)}
        named = False
        for term in self.terms:
            if term.name == "type":
                if any(glob_matches(pattern, name) for pattern in term.values for name in names) is term.negated:
                    return False
                named = named or (not term.negated and any(pattern.startswith(SYSTEM) for pattern in term.values))
        return named or not canonical.startswith(SYSTEM)


def glob_matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is of the form ``pattern``, in which ``*`` stands for any characters. Linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return first == text
    *middle, last = rest
    if not text.startswith(first):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return place <= end and text.endswith(last)


# Addresses


@lru_cache(maxsize=8_192)
def address_bytes(text: str) -> bytes | None:
    """The 16 bytes of an address as a provider may write it (with a port, in brackets, with a zone), or ``None``."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        if ":" in text:
            return socket.inet_pton(socket.AF_INET6, text)
        return _MAPPED + socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return None


_MAPPED = bytes(10) + b"\xff\xff"


def address_range(text: str) -> tuple[bytes, bytes]:
    """The first and the last address, 16 bytes each, that an address or CIDR means.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    first, last = network[0].packed, network[-1].packed
    return (_MAPPED + first, _MAPPED + last) if network.version == 4 else (first, last)


# Words


class Word(NamedTuple):
    """One word of a question: the whole word, or the beginning of one."""

    text: str
    prefix: bool


_WORD = re.compile(r"[^\W_]+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d)?(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?")
#: Digits and letters taking turns: what a generator writes, not a person.
_RANDOM = re.compile(r"(?:\d+[a-z]+){3}|(?:[a-z]+\d+){3}")
#: Longer words are found by their beginning.
_LONGEST = 40
#: So much of each value is read for words, characters: a sender must not fill the index, or our memory, with one.
_READ = 1_000
#: A generated token is at least this long.
_RANDOM_FROM = 10


def split_words(text: str) -> list[str]:
    """The words of a text, in order: runs of letters and digits of any script, case folded."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return [word[:_LONGEST] for word in _WORD.findall(text.casefold())]


def words(event: EventDict) -> set[str]:
    """The words that an event is found by with ``q``: type, error, native type, client, names, resource path, and
    what people would type of the details; not ids, tokens and times, which have filters of their own."""
    who = event.get("authDetails") or {}
    found = set(_common_words(event["type"], event["source"]["nativeType"], event.get("error"), who.get("clientId")))
    name = who.get("username")
    if name is not None:
        found.update(_name_words(name[:_READ]))
    path = event.get("resourcePath")
    if path is not None:
        found.update(_typed_words(path[:_READ]))
    details = event.get("details")
    if details:
        for key, text in details.items():
            if key in _NAMING:
                if text != name:
                    found.update(_name_words(text[:_READ]))
            elif key not in _PROTOCOL and not key.endswith("_id"):
                found.update(_typed_words(text[:_READ]))
    return found


#: Details whose words count whatever they look like.
_NAMING = frozenset({"username", "email", "previous_email", "updated_email", "impersonator"})

#: Details that say how a protocol was spoken; nobody looks for them by a word.
_PROTOCOL = frozenset(
    {
        "auth_method",
        "auth_type",
        "client_auth_method",
        "grant_type",
        "refresh_token_type",
        "response_mode",
        "response_type",
        "token_type",
    }
)


@lru_cache(maxsize=4_096)
def _common_words(type: str, native_type: str, error: str | None, client: str | None) -> frozenset[str]:
    names = [*_name_words((error or "")[:_READ]), *_name_words((client or "")[:_READ])]
    return frozenset((*_typed_words(type), *_typed_words(native_type), *names))


@lru_cache(maxsize=8_192)
def _name_words(text: str) -> tuple[str, ...]:
    return tuple(split_words(_UUID.sub(" ", text)))


@lru_cache(maxsize=8_192)
def _typed_words(text: str) -> tuple[str, ...]:
    text = _MOMENT.sub(" ", _UUID.sub(" ", text))
    return tuple(word for word in split_words(text) if len(word) < _RANDOM_FROM or not _looks_generated(word))


def _looks_generated(word: str) -> bool:
    # Ten or thirteen digits that begin with 1 are a moment of this age, in seconds or milliseconds.
    if word.isdecimal():
        return len(word) > 15 or (len(word) in (10, 13) and word[0] == "1")
    return len(word) > 30 or _RANDOM.search(word) is not None


def query_words(text: str) -> tuple[Word, ...]:
    """The words that must all occur; ``*`` after one makes it a beginning. Empty if there is none."""
    found: dict[Word, None] = {}
    for piece in text.split():
        split = split_words(piece)
        for number, word in enumerate(split, 1):
            found[Word(word, prefix=number == len(split) and piece.endswith("*"))] = None
    return tuple(found)


# Reading and testing


class _Refused(Exception):
    def __init__(self, title: str, parameter: str, detail: str, allowed: object = None) -> None:
        self.title, self.parameter, self.detail, self.allowed = title, parameter, detail, allowed


def _read(parameters: Mapping[str, Sequence[str]], catalogue: Catalogue) -> Filter:
    terms: list[Term] = []
    bounds: dict[str, int] = {}
    for parameter, values in parameters.items():
        if parameter in TIMES:
            if len(values) != 1:
                raise _Refused("Bad parameter", parameter, f"{parameter} is given {len(values)} times; once is right")
            bounds[parameter] = _moment(parameter, values[0])
        elif parameter in PARAMETERS:
            name = parameter.removeprefix("not_")
            checked = {_checked(parameter, name, value, catalogue) for value in values}
            if checked:
                terms.append(Term(name, name != parameter, tuple(sorted(checked))))
        else:
            raise _Refused(
                "Unknown parameter",
                parameter,
                f"{parameter} is not known; known are {', '.join(PARAMETERS)}",
                PARAMETERS,
            )
    terms.sort(key=lambda term: term.parameter)
    return Filter(
        catalogue,
        tuple(terms),
        time_from=bounds.get("from"),
        time_to=bounds.get("to"),
        received_from=bounds.get("received_from"),
        received_to=bounds.get("received_to"),
    )


def _listed(name: str, value: object) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    listed: list[str] = []
    for one in values:
        if name in TIMES and isinstance(one, int) and not isinstance(one, bool):
            one = str(one)
        if not isinstance(one, str):
            raise _Refused("Bad parameter", name, f"{one!r} is not a text; a text or a list of texts is right")
        listed.append(one)
    return listed


def _checked(parameter: str, name: str, value: str, catalogue: Catalogue) -> str:
    """The value as it is compared, or a refusal that says what is allowed."""
    if not value.strip():
        raise _Refused("Bad parameter", parameter, f"{parameter} is empty; leave it out, or give it a value")
    match name:
        case "outcome":
            return _one_of(parameter, value, tuple(Outcome))
        case "reason":
            return _one_of(parameter, value, tuple(catalogue.reasons))
        case "reason_class":
            return _one_of(parameter, value, catalogue.reason_classes)
        case "ip":
            try:
                address_range(value.strip())
            except ValueError:
                right = "an address or a CIDR, such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
                raise _Refused("Bad parameter", parameter, f"{parameter}={value!r} is not {right}") from None
            return value.strip()
        case "q":
            if not query_words(value):
                raise _Refused("Bad parameter", parameter, f"{parameter}={value!r} holds no word: no letter, no digit")
            return value.strip()
        case _:
            return value


def _one_of(parameter: str, value: str, allowed: Iterable[str]) -> str:
    known = [str(one) for one in allowed]
    if value not in known:
        raise _Refused(
            "Bad parameter", parameter, f"{parameter}={value!r} is not one of {', '.join(sorted(known))}", known
        )
    return value


# A plus sign that was not escaped arrives as a blank.
_RFC3339 = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?(?P<zone>[Zz]|[+ -]\d\d:\d\d)",
    re.ASCII,
)


def _moment(parameter: str, value: str) -> int:
    """Epoch milliseconds; of a finer moment the next whole one, so that ``from`` and ``to`` stay exact."""
    if value.isascii() and value.isdecimal() and len(value) <= 15:
        return int(value)
    found = _RFC3339.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        zone = found["zone"].upper().replace("Z", "+00:00").replace(" ", "+")
        seconds = round(datetime.fromisoformat(f"{found['date']}T{found['clock']}{zone}").timestamp())
    except (ValueError, OverflowError):
        right = "a moment with its zone, such as 2026-05-01T08:30:00Z, or epoch milliseconds"
        raise _Refused("Bad parameter", parameter, f"{parameter}={value!r} is not {right}") from None
    fraction = (found["fraction"] or "").ljust(3, "0")
    return max(0, seconds * 1000 + int(fraction[:3]) + (fraction[3:].strip("0") != ""))


def term_test(term: Term) -> Callable[[Facets], bool]:
    """Tells whether facets have one of the term's values, its negation aside; not for ``type``, which
    `Filter.may_match_type` decides."""
    wanted = frozenset(term.values)
    match term.name:
        case "outcome":
            return lambda facets: facets.outcome in wanted
        case "reason":
            return lambda facets: facets.reason in wanted
        case "reason_class":
            return lambda facets: facets.reason_class in wanted
        case "provider":
            return lambda facets: facets.provider in wanted
        case "source":
            return lambda facets: facets.source in wanted
        case "realm":
            return lambda facets: facets.realm_id in wanted or facets.realm_name in wanted
        case "actor":
            return lambda facets: facets.actor in wanted or not wanted.isdisjoint(facets.actor_names)
        case "target":
            return lambda facets: facets.target in wanted or not wanted.isdisjoint(facets.target_names)
        case "user":
            actor = term_test(Term("actor", False, term.values))
            target = term_test(Term("target", False, term.values))
            return lambda facets: actor(facets) or target(facets)
        case "client":
            return lambda facets: facets.client in wanted
        case "session":
            return lambda facets: facets.session in wanted
        case "ip":
            ranges = [address_range(value) for value in term.values]
            return lambda facets: facets.ip is not None and any(low <= facets.ip <= high for low, high in ranges)
        case "q":
            questions = [query_words(value) for value in term.values]
            return lambda facets: any(_has_words(facets.words, question) for question in questions)
    raise AssertionError(term.name)


def _has_words(found: set[str], question: tuple[Word, ...]) -> bool:
    return all(any(word.startswith(text) for word in found) if prefix else text in found for text, prefix in question)


def _names(name: str | None, other: str | None = None) -> tuple[str, ...]:
    if name is None or name == other:
        return () if other is None else (other,)
    return (name,) if other is None else (name, other)


_USER_IN_PATH = re.compile(r"(?:^|/)users/([^/]+)")


def _user_in_path(path: str | None) -> str | None:
    found = None if path is None else _USER_IN_PATH.search(path)
    return None if found is None else found[1]
