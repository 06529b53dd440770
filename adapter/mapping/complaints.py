"""A validator's complaints about a file, as its author needs them: each with its place, in words, and of the several
forms that a value may have only about the one that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, RootModel, ValidationError

from adapter.finding_codes import Code

#: Keys and numbers that lead to a part of a file.
Place = tuple[str | int, ...]


class Problem(NamedTuple):
    """Something that is wrong with a file."""

    place: Place
    text: str
    code: Code


#: What a value should be, where it is something else altogether.
_KINDS = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "an object ({word: value, …})",
    "model_type": "an object ({word: value, …})",
    "literal_error": "",
    "enum": "",
}
_UNKNOWN = "extra_forbidden"
_MISSING = "missing"
#: Of a value that should be one of a few words.
_WORDS = ("literal_error", "enum")
_CODES = {_UNKNOWN: Code.UNKNOWN_KEY, _MISSING: Code.MISSING_KEY}


@dataclass(frozen=True)
class _Complaint:
    place: Place
    kind: str
    text: str
    #: Each of them would do, if it is of the wrong kind altogether.
    wanted: tuple[str, ...] = ()


def complaints(error: ValidationError, model: type[BaseModel], value: Any) -> Iterator[Problem]:
    """Where a value does not fit its model."""
    found = _meant([(tuple(each["loc"]), each) for each in error.errors()], value, ())
    # A wrong word tells more than that the right one is not there.
    for one in sorted(found, key=lambda one: one.kind == _MISSING):
        text, code = one.text, _CODES.get(one.kind, Code.WRONG_VALUE)
        if one.wanted:
            there = _at(value, one.place)
            text = "should be " + " or ".join(one.wanted)
            if there is None:
                text += ", and is empty"
            elif not isinstance(there, dict | list):
                text += f", and is {there!r}"
            # Where a word would do, another one is misspelt; nothing else is.
            code = Code.WRONG_VALUE if one.kind in _WORDS and isinstance(there, str) else Code.WRONG_KIND
        elif one.kind == _UNKNOWN:
            text = "unknown key" + _hint(str(one.place[-1]), model, one.place[:-1])
        yield Problem(one.place, text, code)


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that a wrong one was probably meant to be, in whatever case either is written."""
    plain = {_folded(one): one for one in reversed(known)}
    found = difflib.get_close_matches(_folded(word), plain, n=1, cutoff=0.7)
    return plain[found[0]] if found else None


def nearest_name(name: str, known: Sequence[str]) -> str | None:
    """The same of names with something before a dot, which may be wrong, or missing."""
    prefix, dot, tail = name.rpartition(".")
    same = [one for one in known if one.startswith(prefix + dot)] if dot else []
    tails = {one.rpartition(".")[2]: one for one in reversed([*same, *known])}
    near = nearest(tail, [*tails])
    return None if near is None else tails[near]


def _folded(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _meant(errors: Sequence[tuple[tuple[Any, ...], Any]], value: Any, place: Place) -> list[_Complaint]:
    """Those of the errors that were meant. ``errors``: each with what is left of its location, whose steps lead into
    the value, or name one of several forms that it might have."""
    found: list[_Complaint] = []
    inside: dict[str | int, list[tuple[tuple[Any, ...], Any]]] = {}
    forms: dict[str, list[tuple[tuple[Any, ...], Any]]] = {}
    for rest, error in errors:
        if not rest or rest[0] == "[key]":
            found.append(_complaint(place, error))
        elif (isinstance(value, dict) and rest[0] in value) or (isinstance(value, list) and isinstance(rest[0], int)):
            inside.setdefault(rest[0], []).append((rest[1:], error))
        elif len(rest) == 1 and error["type"] == _MISSING:
            found.append(_complaint((*place, rest[0]), error))
        else:
            forms.setdefault(rest[0], []).append((rest[1:], error))
    for step, some in inside.items():
        found += _meant(some, value[step], (*place, step))
    if forms:
        read = [_meant(some, value, place) for some in forms.values()]
        fitting = [some for some in read if not all(one.place == place and one.wanted for one in some)]
        if fitting:
            found += min(fitting, key=lambda some: sum(_is_other_form(one, place) for one in some))
        else:
            wanted = dict.fromkeys(word for some in read for one in some for word in one.wanted)
            kind = next((one.kind for some in read for one in some if one.kind in _WORDS), "")
            found.append(_Complaint(place, kind, "", tuple(wanted)))
    return found


def _is_other_form(one: _Complaint, place: Place) -> bool:
    """Whether it says that the value at the place has other words than the form."""
    return one.kind in (_UNKNOWN, _MISSING) and one.place[:-1] == place


def _complaint(place: Place, error: Any) -> _Complaint:
    kind = error["type"]
    if kind in _KINDS:
        return _Complaint(place, kind, "", (_KINDS[kind] or error["ctx"]["expected"],))
    text = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return _Complaint(place, kind, "is missing" if kind == _MISSING else text)


def _at(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step]
    return value


def _hint(word: str, model: type[BaseModel], place: Place) -> str:
    kinds: list[Any] = [model.model_fields["root"].annotation if issubclass(model, RootModel) else model]
    for step in place:
        kinds = [inner for kind in kinds for inner in _inside(kind, step)]
    known = list(dict.fromkeys(name for kind in kinds for one in _models(kind) for name in _words(one)))
    if not known:
        return ""
    near = nearest(word, known)
    return f"; there are {', '.join(known)}" if near is None else f"; did you mean {near}?"


def _words(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _plain(kind: Any) -> Iterator[Any]:
    """The forms that a value of this type may have."""
    if get_origin(kind) is Annotated:
        yield from _plain(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _plain(one)
    else:
        yield kind


def _models(kind: Any) -> list[type[BaseModel]]:
    return [one for one in _plain(kind) if isinstance(one, type) and issubclass(one, BaseModel)]


def _inside(kind: Any, step: str | int) -> Iterator[Any]:
    """The types of what stands at a step inside a value of this type."""
    for one in _plain(kind):
        if get_origin(one) is list and isinstance(step, int):
            yield get_args(one)[0]
        elif get_origin(one) is dict and isinstance(step, str):
            yield get_args(one)[1]
        elif one in _models(one):
            if step in (words := _words(one)):
                yield words[str(step)]
            elif one.model_config.get("extra") == "allow":
                yield from _inside(get_type_hints(one)["__pydantic_extra__"], str(step))
