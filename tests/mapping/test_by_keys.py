"""What an object may be by its keys, and names that were judged before: the same answers as without, in bounds."""

from __future__ import annotations

import pytest

from adapter.mapping.by_keys import ByKeys, needed_keys
from adapter.mapping.expressions import compile_condition
from adapter.mapping.language import Condition
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.secret_names import Harmless
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.wrapping import _SECRET, _has_secret
from tests.mapping.built_in import PROVIDERS, cases, table

TABLE = MappingFile(provider="acme", title="Acme", identity="none", absent=["none"])


def condition(**words: object) -> Condition:
    return Condition.model_validate(words)


def test_candidates_are_those_whose_keys_an_object_has_in_their_order() -> None:
    by_keys = ByKeys([(frozenset("ab"), 1), (frozenset(), 2), (frozenset("a"), 3), (frozenset("c"), 4)])
    assert by_keys.of({"a": None, "x": 1}) == (2, 3)
    assert by_keys.of({"b": 1, "a": 1}) == (1, 2, 3)
    assert by_keys.of({}) == (2,)


def test_keys_that_no_candidate_needs_are_not_remembered() -> None:
    by_keys = ByKeys([(frozenset("a"), 1)])
    for number in range(5000):
        assert by_keys.of({"a": 1, f"key {number}": 2}) == (1,)
    assert by_keys._found.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ({"has": ["a.b", "c[0]"], "kind": "login", "n": [1, 2]}, {"a", "c", "kind", "n"}),
        ({"has": ["a[*].b"]}, {"a"}),
        # These hold of an object without the key, too.
        ({"kind": "none"}, set()),
        ({"kind": ["login", ""]}, set()),
        ({"kind": {"not": "login"}}, set()),
        ({"lacks": ["a"]}, set()),
        ({"any": [{"has": ["a"]}, {"has": ["b"]}]}, set()),
    ],
)
def test_the_keys_that_a_condition_needs(words: dict[str, object], needed: set[str]) -> None:
    assert needed_keys(TABLE, condition(**words)) == needed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_example_has_the_keys_that_the_shape_needs_which_fits_it(provider: str) -> None:
    mapping = table(provider).mapping
    shapes = [
        (needed_keys(mapping, shape.when), compile_condition(mapping, shape.when, shape.actor))
        for shape in merged_shapes(mapping).values()
    ]
    seen = 0
    raws = [case.placed.example.raw for case in cases() if case.provider == provider]
    for value in raws:
        for needed, fits in shapes:
            if isinstance(value, dict) and fits(value):
                seen += 1
                assert needed <= set(value)
    assert seen > 0


def test_a_name_is_judged_once() -> None:
    asked: list[str] = []

    def is_secret(name: str) -> bool:
        asked.append(name)
        return name == "password"

    names = Harmless(is_secret)
    assert names.has({"user": 1, "time": 2})
    assert names.has(["time", "user"])
    assert asked == ["user", "time"]
    assert not names.has({"user": 1, "password": 2})
    assert not names.has({"password": 2})


def test_names_that_a_sender_invents_are_forgotten_again() -> None:
    names = Harmless(lambda name: name.startswith("secret"))
    for number in range(10_000):
        assert names.has([f"name {number}", "x" * 1000])
        assert not names.has([f"secret {number}"])
    assert len(names._names) <= Harmless.LIMIT
    assert max(map(len, names._names)) <= Harmless.LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOiJI.eyJzdWIiOiIx.x",
        "Bearer abcdefgh1234",
        "BASIC\tYWxhZGRpbjpvcGVuc2VzYW1l",
        "ba\u017fic YWxhZGRpbjpvcGVuc2VzYW1l",
        "Splun\u212a abcdefgh1234",
        "https://anna:secret@idp.example.com",
        "/callback?CODE=1",
        "x&session_to\u212aen=1",
    ],
)
def test_a_secret_is_seen_by_its_form(text: str) -> None:
    assert _SECRET.search(text) is not None
    assert _has_secret(f'{{"a":"{text}"}}')
