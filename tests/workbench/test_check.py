"""What the check says about a table that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.mapping.catalogue import Catalogue
from adapter.mapping.document import Document
from adapter.resources import mappings_path
from adapter.workbench.check import check_document

TABLE = """provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, time: {path: at, as: epoch}}
types:
  in: {type: LOGIN}
"""
RAW = {"kind": "in", "id": "1", "at": 1_767_225_600}
EVENT = {
    "id": "1",
    "time": 1_767_225_600_000,
    "type": "access.LOGIN",
    "authDetails": {},
    "details": {},
    "outcome": "success",
    "source": {"name": "acme", "provider": "acme", "nativeType": "in"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "acme/examples").mkdir(parents=True)
    return tmp_path


def found(folder: Path, catalogue: Catalogue, table: str, *raws: dict[str, Any], expect: Any = None) -> list[str]:
    """What is found, without the folder."""
    examples = [{"name": "one", "raw": raw, "expect": [EVENT] if expect is None else expect} for raw in raws]
    (folder / "acme/examples/all.yaml").write_text(yaml.safe_dump(examples))
    document = Document(folder / "acme/mapping.yaml", table)
    findings = check_document(document, catalogue, [folder, mappings_path()])
    return [str(one).removeprefix(f"{folder}/acme/") for one in findings]


def test_an_identity_that_names_no_event_of_an_example_is_warned_about(folder: Path, catalogue: Catalogue) -> None:
    assert found(folder, catalogue, TABLE, RAW) == []
    template = TABLE.replace("strong: id}", 'strong: {template: "{id}/{@element}"}}')
    [warning] = found(folder, catalogue, template, RAW)
    assert warning.startswith("mapping.yaml:4: warning: identity: names no event in any example (@element is absent)")
    weak = TABLE.replace("strong: id}", "weak: [session, at]}")
    assert (
        found(folder, catalogue, weak, {**RAW, "at": 1_767_225_600.5}, expect=[{**EVENT, "time": 1767225600500}]) == []
    )
    assert found(folder, catalogue, TABLE.replace("{strong: id}", "none"), RAW) == []


@pytest.mark.parametrize(
    ("redact", "warned"),
    [
        ("{in: payload, keys: [Password, card.number]}", ""),
        ("{in: payload}", ""),
        ("{in: payloads, keys: [password]}", "payloads"),
        ("{in: payload, keys: [password, pasword, number.card, pin]}", "pasword, number.card, pin"),
    ],
)
def test_a_redaction_that_no_example_shows_is_warned_about(
    folder: Path, catalogue: Catalogue, redact: str, warned: str
) -> None:
    raw = {**RAW, "payload": '{"password": "a", "card": {"number": "b"}}'}
    text = f"mapping.yaml:8: warning: redact.0: no example has {warned} in it, so nothing shows that it is found there"
    assert found(folder, catalogue, f"{TABLE}redact: [{redact}]\n", raw) == ([text] if warned else [])


def test_of_redactions_only_the_tables_own_need_an_example(folder: Path, catalogue: Catalogue) -> None:
    (folder / "base").mkdir()
    (folder / "base/mapping.yaml").write_text(TABLE.replace("acme", "base") + "redact: [{in: a}, {in: b}]\n")
    redact = "redact:\n  - {in: b, keys: null}\n  - {in: c}\n  - {in: payload}\n"
    table = "provider: acme\ntitle: Acme\nextends: base\n" + redact
    told = found(folder, catalogue, table, {**RAW, "payload": 1})
    assert told == [
        "mapping.yaml:6: warning: redact.1: no example has c in it, so nothing shows that it is found there"
    ]


def test_a_signed_token_that_comes_with_any_body_is_warned_about(folder: Path, catalogue: Catalogue) -> None:
    auth = "auth:\n  - bearer\n  - jwt: {header: X-Jwt}\n  - jwt: {header: X-Bound, body_hash: {claim: hash}}\n"
    assert found(folder, catalogue, TABLE + auth, RAW) == [
        "mapping.yaml:10: warning: auth.1.jwt: does not cover the body: whoever has recorded such a token may post "
        "anything with it until it runs out; if a claim holds the hash of the body, name it under body_hash"
    ]
    bases = "provider: acme\ntitle: Acme\nextends: magic-link\n"
    assert found(folder, catalogue, bases) == []


def test_what_became_of_an_example_instead_of_an_event_is_all_that_is_told(folder: Path, catalogue: Catalogue) -> None:
    told = found(folder, catalogue, TABLE.replace("type: kind", "type: knd"), RAW)
    wrong = "expected an event of type access.LOGIN, is quarantined: the native type is missing: knd"
    assert f"examples/all.yaml:1: error: example 'one': {wrong}" in told
    assert len([line for line in told if "all.yaml" in line]) == 1
    [line] = found(folder, catalogue, TABLE, RAW, expect=[{"ignored": {"nativeType": "in"}}])
    assert line.endswith("expected ignored, is an event of type access.LOGIN")


def test_shapes_that_can_never_be_reached_are_errors(folder: Path, catalogue: Catalogue) -> None:
    shapes = "shapes:\n  a: {when: {has: [x]}}\n  b: {}\n  c: {when: {has: [y]}}\n  d: {when: {has: [x]}}\n"
    assert found(folder, catalogue, TABLE + shapes, RAW) == [
        "mapping.yaml:11: error: shapes.c: can never be reached: shapes.b before it has no condition",
        "mapping.yaml:12: error: shapes.d: can never be reached: shapes.a before it has the same condition",
    ]


def test_rows_of_the_table_that_is_extended_need_no_example(folder: Path, catalogue: Catalogue) -> None:
    table = "provider: acme\ntitle: Acme\nextends: onewelcome\ntypes:\n  10001: {type: LOGIN}\n  101: {type: LOGOUT}\n"
    assert found(folder, catalogue, table) == [
        "mapping.yaml:5: warning: types.10001: no example reaches this row (type 10001)",
        "mapping.yaml:6: warning: types.101: no example reaches this row (type 101)",
    ]


def test_all_that_is_wrong_in_an_example_is_told(folder: Path, catalogue: Catalogue) -> None:
    (folder / "acme/examples/more.yaml").write_text("- name: two\n  row: {}\n  expects: []\n")
    told = [line for line in found(folder, catalogue, TABLE, RAW) if "more.yaml" in line]
    assert told == [
        "examples/more.yaml:1: error: 0.raw: is missing",
        "examples/more.yaml:2: error: 0.row: unknown key; there are name, raw, media, expect, note",
        "examples/more.yaml:3: error: 0.expects: unknown key; did you mean expect?",
    ]


def test_findings_about_a_table_are_in_order_of_its_lines(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE + "  out: [{type: LOGOUT}, {type: LOGOT}]\n  up: {type: DECIDE}\nredact: [{in: x}]\n"
    lines = [int(line.split(":")[1]) for line in found(folder, catalogue, table, RAW)]
    assert lines == sorted(lines)
    assert {8, 9, 10} <= {*lines}


FAMILIES = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, time: {path: at, as: epoch}}
types:
  in.*: {type: LOGIN}
catalogue: {page: Handbook, types: [in.first, in.second]}
"""


def test_one_type_of_a_family_is_an_example_of_it(folder: Path, catalogue: Catalogue) -> None:
    raw = {**RAW, "kind": "in.first"}
    event = {**EVENT, "source": {"name": "acme", "provider": "acme", "nativeType": "in.first"}}
    assert found(folder, catalogue, FAMILIES, raw, expect=[event]) == []
    [warning] = found(folder, catalogue, FAMILIES)
    assert warning.endswith("warning: types.in.*: no example reaches this row (type in.*)")


def test_the_vendors_list_is_held_against_families(folder: Path, catalogue: Catalogue) -> None:
    row = "  in.*: {type: LOGIN}\n"
    longer = FAMILIES.replace(row, row + "  in.third.*: {ignore: true}\n").replace("second]", "second, out.first]")
    table = longer.replace("out.first]}", "out.first], unmapped: {in.second: not ours}}")
    told = [one.partition(": ")[2] for one in found(folder, catalogue, table)]
    assert told == [
        "warning: types.in.*: no example reaches this row (type in.*)",
        "warning: types.in.third.*: no example reaches this row (type in.third.*)",
        "warning: types.in.third.*: no type of catalogue.types falls to this family",
        "error: catalogue.unmapped.in.second: is said to have no row on purpose, but in.* reads it",
        "error: catalogue.types.2: the vendor's type out.first has no row, and is not listed under catalogue.unmapped",
    ]
