"""What a webhook's event types took there is what our filter takes: by the expressions themselves."""

from __future__ import annotations

import re

import pytest

from adapter.filter import Filter
from adapter.phasetwo.event_types import read_event_types
from tests.mapping.built_in import catalogue

WORDS = {"*": "", "access.*": "access.", "admin.*": "admin.", "system.*": "system."}


def taken_there(entry: str, type: str) -> bool:
    """What the extension does: four words, else an expression that the whole type must fit, else the same text."""
    if entry in WORDS:
        return type.startswith(WORDS[entry])
    try:
        return re.fullmatch(entry, type) is not None
    except re.error:
        return entry == type


#: What happens: every type of the catalogue, and some that an extension or a later version may have.
OTHERS = (
    "foo.bar",
    "admin.CLIENT-CREATE",
    "admin.CLIENT_ROLE-DELETE",
    "access.LOGIN_LATER",
    "org.MEMBER",
)
TYPES = [*catalogue().names, *(f"{one}_ERROR" for one in catalogue().names if one.startswith("access.")), *OTHERS]


@pytest.mark.parametrize(
    "entry",
    [
        "*", "access.*", "admin.*", "system.*", ".*",
        "access.LOGIN", "foo.bar", r"access\.LOGIN", "access.LOGIN_ERROR", "admin.USER-CREATE",
        "admin.CLIENT-.*", r"admin\.CLIENT-.+", ".*_ERROR", ".+_ERROR", "access.LOGIN.*", "^access[.]?LOGIN$",
        r"access\.(LOGIN|LOGOUT)", r"access\.(?:LOGIN|REGISTER)(_ERROR)?", r"(access|admin)\.USER.*",
        "access.(LOGIN|CODE_TO_TOKEN).*", "admin.USER-(CREATE|DELETE)|access.REGISTER", r"admin\.(USER|GROUP)-.*?",
        "admin.CLIENT-*", "access.LOGIN*", "*.LOGIN", "admin-USER-CREATE", "access.LOGIN+", "access.(LOGIN", "",
        r"access\.(?!LOGIN).*", "access.[A-L].*", r"access\.\w+", "access.LOGI.", "access.LOGIN.+", "(a|b)*", "a{2}",
    ],
)  # fmt: skip
def test_what_is_carried_over_takes_the_same_and_what_is_not_is_named(entry: str) -> None:
    found = read_event_types([entry])
    # A type of ours may have another name there.
    names = {type: (type, *catalogue().aliases(type)) for type in TYPES}
    there = {type for type in TYPES if any(taken_there(entry, name) for name in names[type])}
    taking = Filter.from_settings({"type": found.types or ["nothing.AT_ALL"]}, catalogue(), "here")
    here = {type for type in TYPES if taking.may_match_type(type)}
    if any("left out" in why for _, why in found.notes):
        assert here == set()
    else:
        assert here == there


@pytest.mark.parametrize(
    ("entry", "types", "said"),
    [
        ("admin.CLIENT-.*", ["admin.CLIENT-*"], None),
        ("access.(LOGIN|LOGOUT)(_ERROR)?",
         ["access.LOGIN", "access.LOGIN_ERROR", "access.LOGOUT", "access.LOGOUT_ERROR"], None),
        ("admin.CLIENT-*", [], "'-*' is any number of '-', whatever its documentation says: it matched no event"),
        ("access.LOGIN*", ["access.LOGI", "access.LOGIN"], "matched no more than access.LOGI and access.LOGIN there"),
        (r"admin\.(USER|GROUP)", [], "it matched no event there; it is left out"),
        ("*.LOGIN", [], "is no expression that a filter can have: not a pattern of RE2 syntax"),
        ("access.[A-Z]+", ["/access.[A-Z]+/"], None),
        ("access.LOGIN.+", ["/access.LOGIN.+/"], None),
        ("(a|b)+", ["/(a|b)+/"], None),
        ("(?:a|b|c|d)(?:e|f)(?:g|h)" * 3, ["/" + "(?:a|b|c|d)(?:e|f)(?:g|h)" * 3 + "/"], None),
        (r"access\.(?!LOGIN).*", [], "is no expression that a filter can have: not a pattern of RE2 syntax"),
        (r"\Qaccess.LOGIN\E", [r"/\Qaccess.LOGIN\E/"], None),
        (r"\Qaccess.LOGIN", [], "is no expression that a filter can have"),
        ("a{99999999999}", ["/a{99999999999}/"], None),
        ("[a-z&&[^x]]", [], "there && in brackets is an intersection"),
        (r"(a)\1", [], "not a pattern of RE2 syntax"),
        ("[a-z]{500}[0-9]{500}[a-z]{500}", [], "is more than a filter can have of expressions"),
    ],
)  # fmt: skip
def test_entries_become_types_globs_and_patterns(entry: str, types: list[str], said: str | None) -> None:
    found = read_event_types([entry])
    assert found.types == types
    assert [why for _, why in found.notes if said is not None and said in why] or said is None
    assert (said is None) == (found.notes == [])


def test_an_expression_of_any_kind_ends_soon() -> None:
    for entry in ("(" * 5000, "(a|" * 3000 + ")" * 3000, "a?" * 5000, "((((a*)*)*)*)*", "|" * 100_000):
        read_event_types([entry])


def test_a_filter_has_as_many_expressions_as_it_can() -> None:
    entries = [f"x{number}[a-z]{{99}}" for number in range(12)]
    found = read_event_types(entries)
    assert 0 < len(found.types) < 12
    assert {why for _, why in found.notes} == {"is more than a filter can have of expressions; it is left out"}
    Filter.from_settings({"type": found.types}, catalogue(), "here")  # and it takes them
