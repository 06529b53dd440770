"""What the check says about a table that can be used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.finding_codes import Code, Weight
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.document import Document
from adapter.resources import mappings_path
from adapter.tables.in_use import load_proved
from adapter.workbench.check import check_document, check_table
from tests.docs.pages import TOP

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
    """What is found, without folder and columns."""
    examples = [{"name": "one", "raw": raw, "expect": [EVENT] if expect is None else expect} for raw in raws]
    (folder / "acme/examples/all.yaml").write_text(yaml.safe_dump(examples))
    document = Document(folder / "acme/mapping.yaml", table)
    findings = check_document(document, catalogue, [folder, mappings_path()])
    assert [one for one in findings if one.error != (one.code.weight is not Weight.WARNING)] == []
    return [re.sub(r":(\d+):\d+:", r":\1:", str(one).removeprefix(f"{folder}/acme/"), count=1) for one in findings]


def test_an_identity_that_names_no_event_of_an_example_is_warned_about(folder: Path, catalogue: Catalogue) -> None:
    assert found(folder, catalogue, TABLE, RAW) == []
    template = TABLE.replace("strong: id}", 'strong: {template: "{id}/{@element}"}}')
    [warning] = found(folder, catalogue, template, RAW)
    assert warning.startswith("mapping.yaml:4: warning: identity: names no event in any example (@element is absent)")
    weak = TABLE.replace("strong: id}", "weak: [session, at]}")
    half = {**RAW, "at": 1_767_225_600.5, "session": ""}
    assert found(folder, catalogue, weak, half, expect=[{**EVENT, "time": 1767225600500}]) == []
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
def test_a_redaction_that_no_example_shows_is_an_error(
    folder: Path, catalogue: Catalogue, redact: str, warned: str
) -> None:
    raw = {**RAW, "payload": '{"password": "a", "card": {"number": "b"}}'}
    text = f"mapping.yaml:8: error: redact.0: no example has {warned} in it, so nothing shows that it is found there"
    text += " [redaction-finds-nothing]"
    assert found(folder, catalogue, f"{TABLE}redact: [{redact}]\n", raw) == ([text] if warned else [])


def test_of_redactions_only_the_tables_own_need_an_example(folder: Path, catalogue: Catalogue) -> None:
    (folder / "base").mkdir()
    (folder / "base/mapping.yaml").write_text(TABLE.replace("acme", "base") + "redact: [{in: a}, {in: b}]\n")
    redact = "redact:\n  - {in: b, keys: null}\n  - {in: c}\n  - {in: payload}\n"
    table = "provider: acme\ntitle: Acme\nextends: base\n" + redact
    told = found(folder, catalogue, table, {**RAW, "payload": 1})
    assert told == [
        "mapping.yaml:6: error: redact.1: no example has c in it, so nothing shows that it is found there "
        "[redaction-finds-nothing]"
    ]


def test_a_signed_token_that_comes_with_any_body_is_warned_about(folder: Path, catalogue: Catalogue) -> None:
    auth = "auth:\n  - bearer\n  - jwt: {header: X-Jwt}\n  - jwt: {header: X-Bound, body_hash: {claim: hash}}\n"
    assert found(folder, catalogue, TABLE + auth, RAW) == [
        "mapping.yaml:10: warning: auth.1.jwt: does not cover the body: whoever has recorded such a token may post "
        "anything with it until it runs out; if a claim holds the hash of the body, name it under body_hash "
        "[unbound-token]"
    ]
    bases = "provider: acme\ntitle: Acme\nextends: magic-link\n"
    assert found(folder, catalogue, bases) == []


def test_what_became_of_an_example_instead_of_an_event_is_all_that_is_told(folder: Path, catalogue: Catalogue) -> None:
    told = found(folder, catalogue, TABLE.replace("type: kind", "type: knd"), RAW)
    wrong = "expected an event of type access.LOGIN, is quarantined: the native type is missing: knd [example-differs]"
    assert f"examples/all.yaml:1: error: example 'one': {wrong}" in told
    assert len([line for line in told if "all.yaml" in line]) == 1
    [line] = found(folder, catalogue, TABLE, RAW, expect=[{"ignored": {"nativeType": "in"}}])
    assert line.endswith("expected ignored, is an event of type access.LOGIN [example-differs]")


def test_shapes_that_can_never_be_reached_are_errors(folder: Path, catalogue: Catalogue) -> None:
    shapes = "shapes:\n  a: {when: {has: [x]}}\n  b: {}\n  c: {when: {has: [y]}}\n  d: {when: {has: [x]}}\n"
    assert found(folder, catalogue, TABLE + shapes, {**RAW, "x": 1}) == [
        "mapping.yaml:11: error: shapes.c: can never be reached: shapes.b before it has no condition [unreachable]",
        "mapping.yaml:12: error: shapes.d: can never be reached: shapes.a before it has the same condition "
        "[unreachable]",
    ]


def test_rows_of_the_table_that_is_extended_need_no_example(folder: Path, catalogue: Catalogue) -> None:
    table = "provider: acme\ntitle: Acme\nextends: onewelcome\ntypes:\n  10001: {type: LOGIN}\n  101: {type: LOGOUT}\n"
    assert found(folder, catalogue, table) == [
        "mapping.yaml:5: warning: types.10001: no example reaches this row (type 10001) [no-example]",
        "mapping.yaml:6: warning: types.101: no example reaches this row (type 101) [no-example]",
    ]


def test_all_that_is_wrong_in_an_example_is_told(folder: Path, catalogue: Catalogue) -> None:
    (folder / "acme/examples/more.yaml").write_text("- name: two\n  row: {}\n  expects: []\n")
    told = [line for line in found(folder, catalogue, TABLE, RAW) if "more.yaml" in line]
    assert told == [
        "examples/more.yaml:1: error: 0.raw: is missing [missing-key]",
        "examples/more.yaml:2: error: 0.row: unknown key; there are name, raw, media, expect, note, unknown "
        "[unknown-key]",
        "examples/more.yaml:3: error: 0.expects: unknown key; did you mean expect? [unknown-key]",
    ]


def test_findings_about_a_table_are_in_order_of_its_lines(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE + "  out: [{type: LOGOUT}, {type: LOGOT}]\n  up: {type: DECIDE}\nredact: [{in: x}]\n"
    lines = [int(line.split(":")[1]) for line in found(folder, catalogue, table, RAW)]
    assert lines == sorted(lines)
    assert {8, 9, 10} <= {*lines}


def test_a_finding_names_file_line_column_and_code(folder: Path, catalogue: Catalogue) -> None:
    (folder / "acme/examples").joinpath("more.yaml").write_text("- {name: two, raw: {}}\n")
    table = TABLE.replace("{type: LOGIN}", "[{type: LOGIN}, {type: LOGOUT}]")
    findings = check_document(Document(folder / "acme/mapping.yaml", table), catalogue, [folder, mappings_path()])
    assert [str(one).removeprefix(f"{folder}/acme/").partition(": ")[0] for one in findings] == [
        "mapping.yaml:3:1",
        "mapping.yaml:4:12",
        "mapping.yaml:5:25",
        "mapping.yaml:7:23",
        "mapping.yaml:7:8",
        "mapping.yaml:7:23",
        "examples/more.yaml:1:3",
    ]
    assert str(findings[-1]).endswith(" [example-empty]")


def test_every_code_is_given_to_a_finding() -> None:
    sources = [file.read_text() for part in ("mapping", "workbench") for file in (TOP / "adapter" / part).glob("*.py")]
    assert [code for code in Code if not any(f"Code.{code.name}" in source for source in sources)] == []


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
    assert warning.endswith("warning: types.in.*: no example reaches this row (type in.*) [no-example]")


def test_the_vendors_list_is_held_against_families(folder: Path, catalogue: Catalogue) -> None:
    row = "  in.*: {type: LOGIN}\n"
    longer = FAMILIES.replace(row, row + "  in.third.*: {ignore: true}\n").replace("second]", "second, out.first]")
    table = longer.replace("out.first]}", "out.first], unmapped: {in.second: not ours}}")
    told = [one.partition(": ")[2] for one in found(folder, catalogue, table)]
    assert told == [
        "warning: types.in.*: no example reaches this row (type in.*) [no-example]",
        "warning: types.in.third.*: no example reaches this row (type in.third.*) [no-example]",
        "warning: types.in.third.*: no type of catalogue.types falls to this family [idle-family]",
        "error: catalogue.unmapped.in.second: is said to have no row on purpose, but in.* reads it [listed-unmapped]",
        "error: catalogue.types.2: the vendor's type out.first has no row, and is not listed under catalogue.unmapped "
        "[not-listed]",
    ]


# --- faults: errors to who checks a table, and no reason to refuse one that runs ---------------------------------


def codes(findings: list[str]) -> list[str]:
    """What each finding is, and on which line, without its text."""
    return [f"{line.split(': ')[0].split('/')[-1]} {line.rpartition('[')[2].rstrip(']')}" for line in findings]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("{id: id,", "{id: id, authDetails.userId: user.nam,", 5),
        ("{id: id,", "{id: id, authDetails.userId: [user.name, usr],", 5),
        ("{id: id,", '{id: id, details.both: {template: "{id}/{usr}"},', 5),
        ("{id: id,", "{id: id, details.deep: {path: payload, json: a.c},", 5),
        ("strong: id}", "strong: id, weak: [at, usr]}", 4),
        ("{type: LOGIN}", "[{when: {usr: x}, type: LOGOUT}, {type: LOGIN}]", 7),
        ("{type: LOGIN}", "[{when: {lacks: [id, usr]}, type: LOGOUT}, {type: LOGIN}]", 7),
        ("{type: LOGIN}", "[{when: {any: [{has: [usr]}]}, type: LOGOUT}, {type: LOGIN}]", 7),
        ("{type: LOGIN}", "{type: LOGIN, fields: {realmId: tenant}}", 7),
    ],
)
def test_a_path_that_finds_nothing_in_any_example_is_one_finding(
    folder: Path, catalogue: Catalogue, before: str, after: str, line: int
) -> None:
    raw = {**RAW, "user": {"name": None}, "payload": '{"a": {"b": 1}}'}
    raws = [raw, {**raw, "user": {"name": "ann"}}]
    told = [one for one in found(folder, catalogue, TABLE.replace(before, after), *raws) if "all.yaml" not in one]
    told = [one for one in told if "no example reaches" not in one]
    assert codes(told) == [f"mapping.yaml:{line} path-finds-nothing"], told


@pytest.mark.parametrize(
    ("after", "meant"),
    [
        ("{type: LOGIN, fields: {realmId: realm.nmae}}", "realm.nmae; did you mean realm.name?"),
        ("{type: LOGIN, fields: {realmId: Realm.Name}}", "Realm.Name; did you mean realm.name?"),
        ("[{when: {hass: [id]}, type: LOGOUT}, {type: LOGIN}]", "hass; did you mean has?"),
        ("{type: LOGIN, fields: {realmId: zone}}", "zone; add an example that has it, or mend the path"),
    ],
)
def test_the_path_that_was_probably_meant_is_said(folder: Path, catalogue: Catalogue, after: str, meant: str) -> None:
    told = found(folder, catalogue, TABLE.replace("{type: LOGIN}", after), {**RAW, "realm": {"name": "r"}})
    [line] = [one for one in told if "path-finds-nothing" in one]
    assert line.endswith(f"finds nothing in any example: {meant} [path-finds-nothing]")


def test_a_path_that_one_example_has_is_right(folder: Path, catalogue: Catalogue) -> None:
    table = (
        TABLE.replace("{id: id,", "{id: id, authDetails.userId: [user.name, usr],") + "shapes: {a: {beside: [more]}}\n"
    )
    raws = [{**RAW, "user": {"name": "ann"}}, {**RAW, "more": {"usr": "ann"}}]
    expect = [{**EVENT, "authDetails": {"userId": "ann"}}]
    assert [one for one in found(folder, catalogue, table, *raws, expect=expect) if "has the name" not in one] == []


def test_a_path_in_the_form_of_jsonpath_is_told_how_it_is_written_here(folder: Path, catalogue: Catalogue) -> None:
    told = "is written as JSONPath, and would look for a key named $; here it is"
    table = TABLE.replace("{id: id,", "{id: id, realmId: $.tenant.id,") + 'redact: [{in: "$[0].secret"}]\n'
    assert found(folder, catalogue, table, RAW) == [
        f"mapping.yaml:5: error: fields.realmId: $.tenant.id {told} tenant.id [jsonpath]",
        f"mapping.yaml:8: error: redact.0: in: $[0].secret {told} [0].secret [jsonpath]",
    ]
    assert found(folder, catalogue, TABLE.replace("{id: id,", "{id: $.id,"), {**RAW, "$": {"id": "1"}}) == []


def test_a_time_that_no_example_can_be_read_with_is_an_error(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE.replace("as: epoch", "as: rfc3339")
    told = found(folder, catalogue, table, RAW, expect=[])
    assert codes([one for one in told if "all.yaml" not in one]) == ["mapping.yaml:5 time-missed"]
    wrong = found(folder, catalogue, TABLE.replace("path: at", "path: att"), RAW, expect=[])
    assert codes([one for one in wrong if "all.yaml" not in one]) == ["mapping.yaml:5 path-finds-nothing"]


def test_an_address_that_is_none_is_an_error(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE.replace("{id: id,", "{id: id, authDetails.ipAddress: {path: from, as: ip},")
    told = found(
        folder, catalogue, table, {**RAW, "from": "web"}, expect=[{**EVENT, "authDetails": {"ipAddress": "web"}}]
    )
    assert codes(told) == ["mapping.yaml:5 no-address"]
    for right in ("203.0.113.7", "2001:db8::1"):
        expect = [{**EVENT, "authDetails": {"ipAddress": right}}]
        assert found(folder, catalogue, table, {**RAW, "from": right}, expect=expect) == []


def test_a_reason_on_a_success_is_an_error(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE.replace("{type: LOGIN}", "{type: LOGIN, reason: locked}")
    assert codes(found(folder, catalogue, table, RAW)) == ["mapping.yaml:7 reason-on-success"]
    for fails in ("failed: {id: 2}\n", "error_suffix: _ERROR\n"):
        assert found(folder, catalogue, table + fails, RAW) == []
    never = table.replace("locked}", "locked, failable: false}") + "failed: {id: 2}\n"
    assert codes(found(folder, catalogue, never, RAW)) == ["mapping.yaml:7 reason-on-success"]


def test_an_agreed_detail_that_is_not_of_its_form_is_an_error_once_for_each_value(
    folder: Path, catalogue: Catalogue
) -> None:
    table = TABLE.replace("{id: id,", "{id: id, details.country: land, details.mfa: second, details.own: land,")
    details = {"country": "Holland", "mfa": "yes", "own": "Holland"}
    raw = {**RAW, "land": "Holland", "second": "yes"}
    told = found(folder, catalogue, table, raw, {**raw, "id": "1"}, expect=[{**EVENT, "details": details}])
    assert [one for one in codes(told) if "detail-form" in one] == ["all.yaml:1 detail-form"] * 2
    assert "details.country is 'Holland'; it is a country's code of two capital letters" in "".join(told)
    assert "details.mfa is 'yes'; it is true or false" in "".join(told)
    right = {"country": "NL", "mfa": "true", "own": "NL"}
    expect = [{**EVENT, "details": right}]
    assert found(folder, catalogue, table, {**RAW, "land": "NL", "second": True}, expect=expect) == []


def test_a_detail_that_a_row_says_is_told_where_it_stands(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE.replace("{type: LOGIN}", "{type: LOGIN, details: {factor: telepathy, own: x}}")
    expect = [{**EVENT, "details": {"factor": "telepathy", "own": "x"}}]
    [told] = found(folder, catalogue, table, RAW, expect=expect)
    assert told.startswith(
        "mapping.yaml:7: error: types.in.details.factor: details.factor is 'telepathy'; it is one of "
    )
    assert told.endswith("[detail-form]")


def test_a_value_that_fell_to_its_default_is_an_error_unless_the_example_says_so(
    folder: Path, catalogue: Catalogue
) -> None:
    table = TABLE.replace("{id: id,", "{id: id, details.by: {path: way, table: {s: sms}, default: other},")
    raws = [{**RAW, "way": "s"}, {**RAW, "way": "fax"}, RAW]
    told = found(folder, catalogue, table, *raws, expect=[])
    assert codes([one for one in told if "all.yaml" not in one]) == ["mapping.yaml:5 value-not-in-table"]
    file = folder / "acme/examples/all.yaml"
    examples = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump([{**one, "unknown": ["fax"]} for one in examples]))
    findings = check_document(Document(folder / "acme/mapping.yaml", table), catalogue, [folder, mappings_path()])
    assert [one for one in findings if one.code.weight is Weight.FAULT] == []


TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm5hIn0." + "Qm9yZWQgYnkgYWxs"


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"note": f"got {TOKEN}"}, "raw.note holds a signed token"),
        ({"headers": ["Authorization: Bearer 8Jq3xLw0PzR7tYv2"]}, "raw.headers[0] holds a bearer token"),
        ({"link": "https://id.acme.test/reset?token=8Jq3xLw0PzR7"}, "raw.link holds an address with a token in it"),
        ({"pem": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG"}, "raw.pem holds a private key"),
        ({"clientSecret": "8Jq3xLw0PzR7tYv2"}, "raw.clientSecret is called a secret"),
        (
            {"text": '{"client": {"api_key": 1, "secret": "8Jq3xLw0PzR7tYv2"}}'},
            "raw.text.client.secret is called a secret",
        ),
        (
            {"payload": {"value": "8Jq3xLw0PzR7tYv2"}},
            "raw.payload.value is redacted by the table, and stands in the file",
        ),
    ],
)
def test_a_secret_that_an_example_still_holds_is_one_finding(
    folder: Path, catalogue: Catalogue, raw: dict[str, Any], where: str
) -> None:
    table = TABLE + "redact: [{in: payload, keys: [value]}]\n"
    told = found(folder, catalogue, table, {**RAW, "payload": {"value": "hidden-1"}, **raw})
    assert told == [
        f"examples/all.yaml:1: error: example 'one': {where}; put a value there that says what it is, such as hidden-1 "
        "[secret-in-example]"
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {"clientSecret": "hidden-1"},
        {"password": "correct horse battery"},
        {"tokenType": "8Jq3xLw0PzR7tYv2"},
        {"sessionId": "nh5iCfRLDcd4B7kkCX1eWREU"},
        {"link": "https://id.acme.example/cb?state=8Jq3xLw0PzR7tYv2"},
        {"auth": "Bearer example-token-of-nobody"},
    ],
)
def test_what_is_no_secret_or_says_that_it_is_made_up_may_stand_there(
    folder: Path, catalogue: Catalogue, raw: dict[str, Any]
) -> None:
    assert found(folder, catalogue, TABLE, {**RAW, **raw}) == []


def test_a_table_that_runs_goes_on_with_its_faults(folder: Path, catalogue: Catalogue) -> None:
    table = TABLE.replace("{id: id,", "{id: id, realmId: tenant,").replace("LOGIN}", "LOGIN, reason: locked}")
    file = folder / "acme/mapping.yaml"
    file.write_text(table + "redact: [{in: payload}]\n")
    found(folder, catalogue, table, {**RAW, "secret": "8Jq3xLw0PzR7tYv2"})
    loaded = load_proved(file, catalogue, [folder])
    wanted = ["path-finds-nothing", "reason-on-success", "redaction-finds-nothing", "secret-in-example"]
    for in_use in (False, True):
        findings = check_table(loaded, strict=False, in_use=in_use)
        assert sorted(str(one.code) for one in findings) == wanted
        assert {one.error for one in findings} == {not in_use}
