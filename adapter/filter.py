"""Which events a reader wants: the one set of filters of the feed, the export and the sinks.

`Filter.parse` reads them from query parameters, `Filter.from_settings` from a sink's settings; `Filter.matches`
decides for one event in memory; the engines of the search turn the same object into SQL. A suite of tests holds them
together.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson
import re2

from adapter.errors import ConfigError, RequestError
from adapter.globs import glob_matches
from adapter.mapping.catalogue import ACCESS, ERROR, Catalogue
from adapter.mapping.country import country_code
from adapter.mapping.pattern import compile_pattern
from adapter.model import Outcome
from adapter.search_fields import (
    FOUND_DETAILS,
    MAPPED,
    RESOURCE_LENGTH,
    SYSTEM,
    SearchFields,
    detail_token,
    folded,
    resource_text,
    split_words,
    with_folded,
)
from adapter.timestamps import FIXED, FORMS, read_timestamp

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
    "id",
    "resource",
    *FOUND_DETAILS,
    "q",
)
#: Those that say what a reader may see.
SCOPES = ("realm", "source", "provider")
#: Of a scope's term, which no reader can give: SOURCE/REALM of an event, or /REALM where the source does not matter. A
#: source has no slash in its name.
OF_SCOPE = "origin"
#: Those that the full text answers.
WORDED = ("q", *FOUND_DETAILS)
#: Bounds in time: the first of a pair is included, the second is not.
TIMES = ("from", "to", "received_from", "received_to")
#: What one question may have over all its filters: values, types and resources with a ``*`` or as patterns, and words
#: of ``q``; and the characters of a value. Each of them costs something for each type, part of the log or event that is
#: looked at.
VALUES_LIMIT, GLOBS_LIMIT, WORDS_LIMIT, LENGTH_LIMIT = 1_000, 20, 64, 1_000
#: Every parameter that `Filter.parse` knows.
PARAMETERS = (*NAMES, *(f"not_{name}" for name in NAMES), *TIMES)

#: How many types' verdicts are remembered, and of types of which length.
_REMEMBERED, _SHORT = 10_000, 200
#: Instructions of all patterns of a filter. Types that are longer than `_SHORT` match none: so the worst that strangers
#: can make of both costs some milliseconds for each new type.
PATTERNS_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the event's ``name`` is (``negated``: is not) one of ``values``."""

    name: str
    negated: bool
    #: Checked, sorted, each once.
    values: tuple[str, ...]
    #: What the event itself says counts alone, not what is known of ids and names from others; and what others say is
    #: known only so far as their realm, source and provider meet such terms, too. So a reader whose questions get them
    #: added never learns of what he may not see.
    exact: bool = False

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
    _tests: tuple[tuple[bool, Callable[[SearchFields], bool]], ...] = field(init=False, compare=False, repr=False)
    _types: dict[str, bool] = field(init=False, compare=False, repr=False)
    #: Whether ``system.`` types are asked for.
    _names_system: bool = field(init=False, compare=False, repr=False)
    #: Of each condition on the type: its negation, names, and globs and patterns.
    _typed: tuple[tuple[bool, frozenset[str], tuple[_Fits, ...]], ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        typed = [
            (term.negated, frozenset(term.values), tuple(_forms(term.values)))
            for term in self.terms
            if term.name == "type"
        ]
        object.__setattr__(self, "_typed", tuple(typed))
        named = any(value.startswith(_SYSTEM) for negated, values, _ in typed if not negated for value in values)
        object.__setattr__(self, "_names_system", named)
        tests = [(term.negated, term_test(term, self.catalogue)) for term in self.terms if term.name != "type"]
        bounds = (self.time_from, self.time_to, self.received_from, self.received_to)
        object.__setattr__(self, "_tests", tuple(tests))
        object.__setattr__(self, "_types", {})
        object.__setattr__(self, "needs_event", bool(tests) or any(bound is not None for bound in bounds))

    @classmethod
    def parse(cls, parameters: Mapping[str, Sequence[str]], catalogue: Catalogue, *, now: int | None = None) -> Filter:
        """Read query parameters, each with its values in order. ``now``: epoch milliseconds, from which times ago are
        counted; ``None``: as it is.

        Raises:
            RequestError: 400, a parameter is unknown, a value is not allowed, or there are too many of them; names it
                and what is allowed.
        """
        try:
            _check_numbers(parameters)
            return _read(parameters, catalogue, time.time_ns() // 1_000_000 if now is None else now)
        except _Refused as refused:
            known: dict[str, Any] = {} if refused.allowed is None else {"allowed": refused.allowed}
            raise RequestError(400, refused.title, refused.detail, parameter=refused.parameter, **known) from None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], catalogue: Catalogue, place: str = "filter") -> Filter:
        """Read a sink's filter: the names of the query parameters, each with one value or a list. Its timestamps are
        fixed ones: a filter that is another one with each start would begin to count anew.

        ``place`` says where the settings stand, for the error's text.

        Raises:
            ConfigError: a key is unknown or a value is not allowed; names it and what is allowed.
        """
        try:
            return _read({name: _listed(name, value) for name, value in settings.items()}, catalogue, None)
        except _Refused as refused:
            raise ConfigError(f"{place}.{refused.parameter}: {refused.detail}") from None

    def matches(self, fields: SearchFields) -> bool:
        """Whether the reader wants this event."""
        if not self.may_match_type(fields.type):
            return False
        if self.time_from is not None and fields.time < self.time_from:
            return False
        if self.time_to is not None and fields.time >= self.time_to:
            return False
        if self.received_from is not None and fields.received_at < self.received_from:
            return False
        if self.received_to is not None and fields.received_at >= self.received_to:
            return False
        return all(test(fields) is not negated for negated, test in self._tests)

    def refusal(self, fields: SearchFields) -> str | None:
        """The first condition that does not hold for an event, for people: ``type: access.LOGIN is none of admin.*``;
        ``None`` if all of them do."""
        type = self.catalogue.canonical(fields.type)
        for term, (negated, exact, forms) in zip(self._type_terms(), self._typed, strict=True):
            if self._means(type, fields.type, exact, forms) is negated:
                return _refused_by(term, fields.type)
        if not self._names_system and type.startswith(SYSTEM):
            return f"type: {fields.type} is sent only where a filter names it"
        bounds = (self.time_from, self.time_to, self.received_from, self.received_to)
        moments = (fields.time, fields.time, fields.received_at, fields.received_at)
        for name, bound, moment in zip(TIMES, bounds, moments, strict=True):
            is_from = name.endswith("from")
            if bound is not None and (moment < bound if is_from else moment >= bound):
                word = "arrived" if name.startswith("received") else "happened"
                return f"{name}: it {word} {'before' if is_from else 'at or after'} {_written(bound)}"
        others = [term for term in self.terms if term.name != "type"]
        for term, (negated, test) in zip(others, self._tests, strict=True):
            if test(fields) is negated:
                return _refused_by(term, *_said(term.name, fields))
        return None

    def may_match_type(self, type: str) -> bool:
        """Whether an event of this type can match; decides unless `needs_event`. Cheap: remembered for each type."""
        known = self._types.get(type)
        if known is None:
            known = self._wants_type(type)
            if len(type) <= _SHORT:
                if len(self._types) >= _REMEMBERED:  # types are an open set
                    self._types.clear()
                self._types[type] = known
        return known

    def scoped(self) -> Filter:
        """The same, as what its reader may see: its terms of realm, source and provider are exact."""
        terms = (replace(term, exact=True) if term.name in SCOPES else term for term in self.terms)
        return replace(self, terms=tuple(terms))

    def canonical(self) -> str:
        """One text for equal filters, to notice a change and to read."""
        said: dict[str, object] = {term.parameter: term.values for term in self.terms}
        bounds = (self.time_from, self.time_to, self.received_from, self.received_to)
        said |= {name: bound for name, bound in zip(TIMES, bounds, strict=True) if bound is not None}
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()

    def catalogued(self) -> str:
        """What the catalogue adds to the filter's meaning: other names of types of which one is meant and one is not,
        and the reasons of the classes that are asked for. Empty where it adds nothing."""
        said: list[str] = []
        if self._typed:
            renamed = sorted(self.catalogue.renamed.items())
            twins = [(one + twin, other + twin) for one, other in renamed for twin in ("", ERROR)]
            said += [f"{one}={other}" for one, other in twins if self._names(one) != self._names(other)]
        classes = {value for term in self.terms if term.name == "reason_class" for value in term.values}
        if classes:
            said += sorted(one for one in self.catalogue.reasons if self.catalogue.reason_class(one) in classes)
        return " ".join(said)

    def _names(self, type: str) -> list[bool]:
        """Of each condition on the type, whether it names this one."""
        return [type in exact or any(fits(type) for fits in forms) for _, exact, forms in self._typed]

    def __str__(self) -> str:
        return self.canonical()

    def _wants_type(self, type: str) -> bool:
        canonical = self.catalogue.canonical(type)
        for negated, exact, forms in self._typed:
            if self._means(canonical, type, exact, forms) is negated:
                return False
        return self._names_system or not canonical.startswith(SYSTEM)

    def _means(self, canonical: str, type: str, exact: frozenset[str], forms: tuple[_Fits, ...]) -> bool:
        """Whether one of these names, or of the globs and patterns, means a type."""
        names = {type, canonical, *self.catalogue.aliases(canonical)}
        return not names.isdisjoint(exact) or any(fits(name) for fits in forms for name in names)

    def _type_terms(self) -> list[Term]:
        return [term for term in self.terms if term.name == "type"]


#: Values of a condition that are told, and characters of what an event says.
_TOLD, _TOLD_LENGTH = 5, 100


def _refused_by(term: Term, *said: str | None) -> str:
    """Why a condition refuses an event that says this."""
    values = ", ".join(term.values[:_TOLD]) + (f" and {len(term.values) - _TOLD} more" if term.values[_TOLD:] else "")
    told = " or ".join(one[:_TOLD_LENGTH] for one in said if one)
    if not told:
        return f"{term.parameter}: the event has none; asked for is {values}"
    if len(term.values) > 1 or is_open(values):
        return f"{term.parameter}: {told} is {'one' if term.negated else 'none'} of {values}"
    return f"{term.parameter}: {told} is {'' if term.negated else 'not '}{values}"


def _said(name: str, fields: SearchFields) -> list[str | None]:
    """What an event says of what a condition asks for."""
    match name:
        case "realm":
            return [fields.realm_name, fields.realm_id]
        case "actor":
            return [fields.actor, *fields.actor_names]
        case "target":
            return [fields.target, *fields.target_names]
        case "user":
            return list(dict.fromkeys([fields.actor, *fields.actor_names, fields.target, *fields.target_names]))
        case "ip":
            return [fields.address]
        case "reason_class":
            return [fields.reason]
        case "q":
            return ["the text of the event"]
        case name if name in FOUND_DETAILS:
            details = fields.event.details or {}
            return [details[one] for one in FOUND_DETAILS[name] if one in details]
    said: str | None = getattr(fields, name)
    return [said]


def _written(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_known_type(pattern: str, catalogue: Catalogue) -> bool:
    """Whether the catalogue has a type that a type, glob or pattern means; ``system.`` types are ours."""
    if pattern.startswith(_SYSTEM):
        return True
    if is_open(pattern):
        return any(fits(name) for fits in _forms((pattern,)) for name in catalogue.names)
    return catalogue.known(catalogue.canonical(pattern)) is not None


#: Whether a type is of some form.
_Fits = Callable[[str], bool]
#: How types, globs and patterns begin that name types of the service's own.
_SYSTEM = (SYSTEM, f"/{SYSTEM}", "/system\\.")


def is_open(value: str) -> bool:
    """Whether a value of ``type`` can mean types that nobody listed: a glob, or a pattern."""
    return "*" in value or is_pattern(value)


def is_pattern(value: str) -> bool:
    """Whether a value of ``type`` is a pattern, ``/…/``, which is to match all of a type."""
    return len(value) > 2 and value.startswith("/") and value.endswith("/")


def check_pattern(pattern: str) -> int:
    """The size of a pattern of types, as `PATTERNS_LIMIT` counts it.

    Raises:
        ValueError: it is none, or too large; the message says why.
    """
    size = compile_pattern(pattern).size
    compile_pattern(f"(?:{pattern})")  # as it stands beside others: a \Q without \E would run on
    return size


_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.never_capture = True
#: Of all patterns of a condition together: thousands of filters may have some.
_OPTIONS.max_mem = 1 << 20


@lru_cache(maxsize=64)  # each may keep a megabyte of states
def _any_of(patterns: tuple[str, ...]) -> _Fits:
    """Whether a type is of one of these patterns, which were checked."""
    fullmatch = re2.compile("|".join(f"(?:{one[1:-1]})" for one in patterns), options=_OPTIONS).fullmatch
    return lambda type: len(type) <= _SHORT and fullmatch(type.encode("utf-8", "replace")) is not None


def _forms(values: Sequence[str]) -> Iterator[_Fits]:
    """What the globs and patterns among values mean."""
    for value in values:
        if "*" in value and not is_pattern(value):
            yield partial(glob_matches, value)
    if patterns := tuple(filter(is_pattern, values)):
        yield _any_of(patterns)


def _meant(value: str, catalogue: Catalogue) -> tuple[str, ...]:
    """The types or globs that one means: as in tables, the name of an access type may stand for it."""
    short = "." not in value and not is_known_type(value, catalogue) and is_known_type(ACCESS + value, catalogue)
    return (value, ACCESS + value) if short else (value,)


# Addresses


@lru_cache(maxsize=4_096)
def address_range(text: str) -> tuple[bytes, bytes]:
    """The first and the last address, 16 bytes each, that an address or CIDR means.

    Raises:
        ValueError: it is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    first, last = network[0].packed, network[-1].packed
    return (MAPPED + first, MAPPED + last) if network.version == 4 else (first, last)


# Resources


def split_globs(values: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of values of ``resource`` those that are paths, and those with a ``*`` in them."""
    values = tuple(values)
    return tuple(one for one in values if "*" not in one), tuple(one for one in values if "*" in one)


def glob_range(glob: str) -> tuple[str, str]:
    """Between which texts, included, all are that a glob means, in the order of their characters."""
    begun = glob.partition("*")[0]
    return begun, begun + "\U0010ffff"


# Words


class Word(NamedTuple):
    """One word of a question: the whole word, or the beginning of one."""

    text: str
    prefix: bool


def query_words(text: str) -> tuple[Word, ...]:
    """The words that must all occur; ``*`` after one makes it a beginning. Empty if there is none."""
    found: dict[Word, None] = {}
    for piece in text.split():
        split = split_words(piece)
        for number, word in enumerate(split, 1):
            found[Word(word, prefix=number == len(split) and piece.endswith("*"))] = None
    return tuple(found)


def wanted_words(term: Term) -> list[tuple[Word, ...]]:
    """Of one of `WORDED`: lists of words, of which an event must have all of one."""
    if term.name == "q":
        return [query_words(value) for value in term.values]
    return [(Word(detail_token(term.name, value), prefix=False),) for value in term.values]


# Reading and testing


class _Refused(Exception):
    def __init__(self, title: str, parameter: str, detail: str, allowed: object = None) -> None:
        self.title, self.parameter, self.detail, self.allowed = title, parameter, detail, allowed


def _check_numbers(parameters: Mapping[str, Sequence[str]]) -> None:
    """Refuse more than one question may have."""
    values = globs = words = 0
    for name, given in parameters.items():
        plain = name.removeprefix("not_")
        if plain == "type" and len(given) <= 2 * VALUES_LIMIT:
            # Of access, a type is one with and without its first part, and a filter is told with both.
            there = set(given)
            given = [one for one in given if not one.startswith(ACCESS) or one.removeprefix(ACCESS) not in there]
        values += len(given)
        if values > VALUES_LIMIT:
            raise _too_many(name, "values", VALUES_LIMIT)
        for value in given:
            if len(value) > LENGTH_LIMIT:
                detail = f"a value of {name} has {len(value)} characters; the limit is {LENGTH_LIMIT}"
                raise _Refused("Bad parameter", name, detail)
        globs += sum(map(is_open, given)) if plain == "type" else 0
        globs += sum(["*" in value for value in given]) if plain == "resource" else 0
        words += sum([len(query_words(value)) for value in given]) if plain == "q" else 0
        if globs > GLOBS_LIMIT:
            raise _too_many(name, "types and resources with a * or as patterns", GLOBS_LIMIT)
        if words > WORDS_LIMIT:
            raise _too_many(name, "words", WORDS_LIMIT)


def _too_many(parameter: str, what: str, limit: int) -> _Refused:
    return _Refused(
        "Too many values", parameter, f"with {parameter} there are more than {limit} {what} in all; ask twice"
    )


def _read(parameters: Mapping[str, Sequence[str]], catalogue: Catalogue, now: int | None) -> Filter:
    terms: list[Term] = []
    bounds: dict[str, int] = {}
    for parameter, values in parameters.items():
        if parameter in TIMES:
            if len(values) != 1:
                raise _Refused("Bad parameter", parameter, f"{parameter} is given {len(values)} times; once is right")
            bounds[parameter] = _moment(parameter, values[0], now)
        elif parameter in PARAMETERS:
            name = parameter.removeprefix("not_")
            checked, room = set[str](), PATTERNS_LIMIT
            for value in dict.fromkeys(values):
                checked.add(one := _checked(parameter, name, value, catalogue))
                if name == "type" and is_pattern(one):
                    room -= compile_pattern(one[1:-1]).size
                    if room < 0:  # and no more are compiled
                        detail = f"the patterns of {parameter} are too large together; use fewer, or smaller ones"
                        raise _Refused("Bad parameter", parameter, detail)
            if name == "type":
                checked = {one for value in checked for one in _meant(value, catalogue)}
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
        case "country":
            return country_code(value) or value
        case "resource":
            if len(value) > RESOURCE_LENGTH:
                detail = f"a value of {parameter} has {len(value)} characters; the limit is {RESOURCE_LENGTH}"
                raise _Refused("Bad parameter", parameter, detail)
            return resource_text(value)
        case "type" if is_pattern(value):
            try:
                check_pattern(value[1:-1])
            except ValueError as error:
                raise _Refused("Bad parameter", parameter, f"{parameter}={value[:100]!r}: {error}") from None
            return value
        case _:
            return value


def _one_of(parameter: str, value: str, allowed: Iterable[str]) -> str:
    known = [str(one) for one in allowed]
    if value not in known:
        raise _Refused(
            "Bad parameter", parameter, f"{parameter}={value!r} is not one of {', '.join(sorted(known))}", known
        )
    return value


def _moment(parameter: str, value: str, now: int | None) -> int:
    """See `adapter.timestamps.read_timestamp`."""
    try:
        return read_timestamp(value, now)
    except ValueError:
        right = FIXED if now is None else FORMS
        raise _Refused("Bad parameter", parameter, f"{parameter}={value!r} is not {right}") from None


def term_test(term: Term, catalogue: Catalogue) -> Callable[[SearchFields], bool]:
    """Tells whether fields have one of the term's values, its negation aside; not for ``type``, which
    `Filter.may_match_type` decides."""
    wanted = frozenset(term.values)
    match term.name:
        case "outcome":
            return lambda fields: fields.outcome in wanted
        case "reason":
            return lambda fields: fields.reason in wanted
        case "reason_class":
            return lambda fields: fields.reason is not None and catalogue.reason_class(fields.reason) in wanted
        case "provider":
            return lambda fields: fields.provider in wanted
        case "source":
            return lambda fields: fields.source in wanted
        case "realm":
            return lambda fields: fields.realm_id in wanted or fields.realm_name in wanted
        case "origin":
            return lambda fields: any(
                f"{fields.source}/{realm}" in wanted or f"/{realm}" in wanted
                for realm in (fields.realm_id, fields.realm_name)
                if realm is not None
            )
        case "actor":
            wanted = with_folded(wanted)
            return lambda fields: fields.actor in wanted or any(folded(name) in wanted for name in fields.actor_names)
        case "target":
            wanted = with_folded(wanted)
            return lambda fields: fields.target in wanted or any(folded(name) in wanted for name in fields.target_names)
        case "user":
            actor = term_test(Term("actor", False, term.values), catalogue)
            target = term_test(Term("target", False, term.values), catalogue)
            return lambda fields: actor(fields) or target(fields)
        case "client":
            return lambda fields: fields.client in wanted
        case "session":
            return lambda fields: fields.session in wanted
        case "id":
            return lambda fields: fields.id in wanted
        case "resource":
            paths, globs = split_globs(term.values)
            exact = frozenset(paths)
            return lambda fields: (
                (path := fields.resource) is not None
                and (path in exact or any(glob_matches(glob, path) for glob in globs))
            )
        case "ip":
            ranges = [address_range(value) for value in term.values]
            return lambda fields: (ip := fields.ip) is not None and any(low <= ip <= high for low, high in ranges)
        case "q":
            questions = wanted_words(term)
            return lambda fields: any(_has_words(words, question) for words in [fields.words] for question in questions)
        case name if name in FOUND_DETAILS:
            tokens = frozenset(word.text for (word,) in wanted_words(term))
            return lambda fields: not tokens.isdisjoint(fields.tokens(name))
    raise AssertionError(term.name)


def _has_words(found: set[str], question: tuple[Word, ...]) -> bool:
    return all(any(word.startswith(text) for word in found) if prefix else text in found for text, prefix in question)


# Looking conditions up


def term_keys(term: Term) -> frozenset[str] | None:
    """Texts by which a condition is found: it holds only if one of them is among what `KEYS_OF` gives for an event.
    ``None``: it has to be tested with each event."""
    if term.negated or term.name not in KEYS_OF:
        return None
    if term.name == "resource" and any("*" in value for value in term.values):
        return None
    if term.name in _NAMED:
        return with_folded(term.values)
    if term.name in FOUND_DETAILS:
        return frozenset(detail_token(term.name, value) for value in term.values)
    return frozenset(term.values)


def _actor_keys(fields: SearchFields) -> list[str | None]:
    return [fields.actor, *map(folded, fields.actor_names)]


def _target_keys(fields: SearchFields) -> list[str | None]:
    return [fields.target, *map(folded, fields.target_names)]


def _origin_keys(fields: SearchFields) -> list[str | None]:
    realms = (fields.realm_id, fields.realm_name)
    return [f"{source}/{realm}" for source in (fields.source, "") for realm in realms if realm is not None]


def _detail_keys(name: str, fields: SearchFields) -> list[str]:
    return fields.tokens(name)


#: Those that name people.
_NAMED = ("user", "actor", "target")
#: What an event says of each condition that can be looked up; those first that tell readers apart most.
KEYS_OF: Mapping[str, Callable[[SearchFields], Sequence[str | None]]] = {
    "id": lambda fields: (fields.id,),
    "session": lambda fields: (fields.session,),
    "resource": lambda fields: (fields.resource,),
    "actor": _actor_keys,
    "target": _target_keys,
    "user": lambda fields: [*_actor_keys(fields), *_target_keys(fields)],
    OF_SCOPE: _origin_keys,
    "realm": lambda fields: (fields.realm_id, fields.realm_name),
    "client": lambda fields: (fields.client,),
    **{name: partial(_detail_keys, name) for name in FOUND_DETAILS},
    "reason": lambda fields: (fields.reason,),
    "source": lambda fields: (fields.source,),
    "provider": lambda fields: (fields.provider,),
    "outcome": lambda fields: (fields.outcome,),
}
