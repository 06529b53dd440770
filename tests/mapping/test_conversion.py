"""Lists and countries, as events have them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.conversion import list_text
from adapter.mapping.country import country_code, is_country_code
from adapter.mapping.document import Document
from adapter.resources import mappings_path
from tests.mapping.test_compile import BASE, Make, event_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NL", "NL"),
        ("nl", "NL"),
        ("NLD", "NL"),
        ("Netherlands", "NL"),
        ("  united states of america ", "US"),
        ("Korea, Republic of", "KR"),
        ("Norway", "NO"),
        ("NO", "NO"),
        ("Atlantis", None),
        ("", None),
    ],
)
def test_a_country_is_known_by_its_codes_and_names(text: str, code: str | None) -> None:
    assert country_code(text) == code


def test_no_name_is_of_two_countries() -> None:
    listed = Document.read(mappings_path() / "countries.yaml").value
    names = [name.casefold() for code, names in listed.items() for name in (code, *names)]
    assert len(names) == len(set(names))
    assert len(listed) == 249
    assert all(is_country_code(code) for code in listed)


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ('["reader","writer"]', "reader, writer"),
        ('[{"id":"1","name":"auditor"},{"id":"2"},7]', "auditor, 7"),
        ("Super administrator, Read only admin", "Super administrator, Read only admin"),
        ("[anonymous]", "[anonymous]"),
        ("[]", None),
    ],
)
def test_a_list_becomes_its_elements(text: str, listed: str | None) -> None:
    assert list_text(text) == listed


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5), min_size=1, max_size=5
    )
)
def test_every_text_of_a_list_is_in_it(texts: list[str]) -> None:
    assert list_text(json.dumps(texts)) == ", ".join(texts)


def test_tables_read_both(make_table: Make) -> None:
    fields = """  details.role: {path: roles, as: list}
  details.country: {path: [place.code, place.name], as: country}
"""
    table = make_table(BASE + fields + "types: {in: {type: LOGIN}}")
    raw = {"kind": "in", "when": 1767225600, "roles": ["a", {"name": "b"}], "place": {"name": "Germany"}}
    assert event_of(table, raw)["details"] == {"role": "a, b", "country": "DE"}
    text = {"kind": "in", "when": 1767225600, "roles": '[{"name":"b"}]', "place": {"code": "??"}}
    assert event_of(table, text)["details"] == {"role": "b"}
    alone = {"kind": "in", "when": 1767225600, "roles": "a"}
    assert event_of(table, alone)["details"] == {"role": "a"}
