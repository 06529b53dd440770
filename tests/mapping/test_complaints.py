"""What is wrong in a table is told all at once, each with its line, in the words of the language."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.refusals import wrong_types
from adapter.mapping.table import Table
from adapter.resources import mappings_path

Make = Callable[[str], Table]

#: Line 4 is the first; provider and title stand before.
TOP = """type: kind
identity: {strong: id}
"""


def told(make: Make, text: str) -> list[str]:
    """The lines of what is said about a table, without the file's name."""
    with pytest.raises(MappingError) as error:
        make(text)
    assert len(error.value.each) == len(str(error.value).splitlines())
    return [line.removeprefix("mappings/acme/mapping.yaml:") for line in str(error.value).splitlines()]


def test_all_that_is_wrong_is_told_in_order_of_lines(make_table: Make) -> None:
    assert told(
        make_table,
        TOP
        + """feilds: {}
types:
  a.b:
    - {when: {x: 1}, typ: LOGIN}
    - {type: admin.USER-DELETED}
  c: {type: LOGIN_ERROR, reason: lockd}
fields:
  authDetails.client: x
  authDetails.ipAddress: {path: a, as: ipp}
""",
    ) == [
        "6: feilds: unknown key; did you mean fields?",
        "9: types.a.b.0.typ: unknown key; did you mean type?",
        "10: types.a.b.1.type: 'admin.USER-DELETED' is no type of the catalogue (did you mean admin.USER-DELETE?); "
        "add it to types.yaml",
        "11: types.c.reason: 'lockd' is not a reason; did you mean locked?",
        "13: fields.authDetails.client: 'authDetails.client' is no field of the unified event; did you mean "
        "authDetails.clientId?",
        "14: fields.authDetails.ipAddress.as: 'ipp' is no conversion; did you mean ip?",
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("types: {a: {type: LOGIN, ignore: true}}", "types.a: has a type, and `ignore: true`; one of them is enough"),
        ("types: {a: {}}", "types.a: needs a type, or `ignore: true`"),
        ("types: {a: }", "types.a: should be an object ({word: value, …}) or a list, and is empty"),
        ("types: {a: {type: LOGIN, when: [x]}}", "types.a.when: should be an object ({word: value, …})"),
        ("types: {a: {type: LOGIN, when: {x: {nt: 1}}}}", "types.a.when.x.nt: unknown key"),
        ("types: {a: {type: LOGIN, when: {x: {}}}}", "types.a.when.x: needs present, contains, starts, matches or not"),
        ("fields: {id: {path: a, template: b}}", "fields.id: needs exactly one of path, template, value; has path, "),
        ("fields: {time: [a, {path: b, az: epoch}]}", "fields.time.1.az: unknown key"),
        ("fields: {id: a..b}", "fields.id: not a path: 'a..b' at character 3: expected a key"),
        ("fields: {id: {template: '{a/{b}'}}", "fields.id.template: a brace without the other one"),
        ("unknown: {type: 'access.{native'}", "unknown.type: a brace without the other one"),
        ("unknown: drop", "unknown: should be 'quarantine' or 'ignore' or an object ({word: value, …}), and is 'drop'"),
        ("auth: [{hmac: {header: a, digest: sha256}}]", "auth.0.hmac.digest: should be a list, and is 'sha256'"),
        ("auth: [{hmca: {}}]", "auth.0.hmca: unknown key; did you mean hmac?"),
        ("actor: {id: a}", "actor.self: is missing"),
        ("reason: {path: a, table: {x: lockd}}", "reason.table.x: 'lockd' is not a reason; did you mean locked?"),
        ("reason: {path: a, default: lockd}", "reason.default: 'lockd' is not a reason; did you mean locked?"),
        ("reason: [{path: a}, {value: lockd}]", "reason.1.value: 'lockd' is not a reason; did you mean locked?"),
        ("reason: [{path: a}, lockd]", "reason.1: 'lockd' is not a reason; did you mean locked?"),
        ("types: {a: {type: LOGIN, when: {actor: human}}}", "types.a.when: a condition on `actor` needs the table's"),
        ("failed: {any: [{actor: human}]}", "failed: a condition on `actor` needs the table's `actor`"),
        ("body: [{events: a, when: {actor: self}}]", "body.0.when: a condition on `actor` needs the table's `actor`"),
        ("shapes: {a: {when: {actor: self}}}", "shapes.a.when: a condition on `actor` needs the table's `actor`"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(make_table: Make, line: str, complaint: str) -> None:
    told_lines = told(make_table, f"{TOP}{line}\n")
    assert told_lines[0].startswith(f"6: {complaint}"), told_lines
    assert "function" not in told_lines[0]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "fields: {userID: a}",
            "fields.userID: 'userID' is no field of the unified event; did you mean authDetails.userId?",
        ),
        (
            "fields: {authDetails.ip_address: a}",
            "fields.authDetails.ip_address: 'authDetails.ip_address' is no field of the unified event; did you mean "
            "authDetails.ipAddress?",
        ),
        ("failed: {why: {nott: x}}", "failed.why.nott: unknown key; did you mean not?"),
        (
            "types: {a: {type: LOGIN, when: {any: [{x: {Contains: y}}]}}}",
            "types.a.when.any.0.x.Contains: unknown key; did you mean contains?",
        ),
        (
            "types: {a: {type: LOGIN_ERROR, reason: BAD-CREDENTIALS}}",
            "types.a.reason: 'BAD-CREDENTIALS' is not a reason; did you mean bad_credentials?",
        ),
        (
            "fields: {time: {path: at, as: RFC-3339}}",
            "fields.time.as: 'RFC-3339' is no conversion; did you mean rfc3339?",
        ),
        ("Types: {}", "Types: unknown key; did you mean types?"),
    ],
)
def test_what_was_probably_meant_is_said_in_one_finding(make_table: Make, line: str, complaint: str) -> None:
    assert told(make_table, f"{TOP}{line}\n") == [f"6: {complaint}"]


@pytest.mark.parametrize(
    ("type", "meant"),
    [
        ("login", "LOGIN"),
        ("Login_Eror", "LOGIN_ERROR"),
        ("access.login-error", "LOGIN_ERROR"),
        ("user-create", "admin.USER-CREATE"),
        ("admin.USER_DELETE", "admin.USER-DELETE"),
        ("acess.LOGIN", "LOGIN"),
    ],
)
def test_the_type_that_was_probably_meant_is_said(catalogue: Catalogue, type: str, meant: str) -> None:
    [(place, text, _)] = wrong_types({"types": {"a": {"type": type}}}, catalogue)
    assert place == ("types", "a", "type")
    assert text == f"{type!r} is no type of the catalogue (did you mean {meant}?); add it to types.yaml"


def test_what_a_shape_lacks_is_told_at_the_shape(make_table: Make) -> None:
    assert told(make_table, "type: kind\nshapes:\n  a: {identity: none}\n  b: {}\n") == [
        "7: shapes.b: has no `identity` (keys, or `none`)"
    ]


def test_a_name_that_no_provider_can_have_is_refused_in_words(catalogue: Catalogue) -> None:
    with pytest.raises(MappingError, match=r":1: provider: 'Acme Inc' is no name for a provider; begin with a small"):
        Table(Document(Path("mapping.yaml"), "provider: Acme Inc\ntitle: Acme\n" + TOP), catalogue)


@pytest.mark.parametrize("text", ["{17: locked}", '{"17": locked}', "{x: locked, 17: disabled}"])
def test_numbers_are_taken_where_texts_are_meant(make_table: Make, text: str) -> None:
    table = make_table(
        TOP + f"reason: {{path: rc, table: {text}, default: unspecified}}\ntypes: {{a: {{type: LOGIN}}}}"
    )
    assert "17" in table.mapping.reason.table  # type: ignore[union-attr, operator]
    table = make_table(TOP + "types: {a: {type: LOGIN, details: {level: 5, exact: 1.10, on: true}}}")
    assert table.mapping.types["a"].details == {"level": "5", "exact": "1.10", "on": "true"}  # type: ignore[union-attr]


def test_several_words_of_a_requirement_must_all_hold(make_table: Make) -> None:
    table = make_table(TOP + "failed: {rc: {present: true, not: 0}}\ntypes: {a: {type: LOGIN}}")
    types = [table.read({"kind": "a", **more}, 0)[0]["type"] for more in ({}, {"rc": 0}, {"rc": 5})]
    assert types == ["access.LOGIN", "access.LOGIN", "access.LOGIN_ERROR"]


def test_all_that_is_wrong_in_the_types_of_a_user_is_told(tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text("types:\n  A: {group: x, knd: action}\n  B: {kind: acton}\nresons: {}\n")
    with pytest.raises(MappingError) as error:
        load_catalogue([tmp_path, mappings_path()])
    lines = [(one.line, one.problem) for one in error.value.each]
    assert (2, "types.A.knd: unknown key; did you mean kind?") in lines
    assert (4, "resons: unknown key; did you mean reasons?") in lines
    assert [line for line, _ in lines] == sorted(line or 0 for line, _ in lines)


@pytest.mark.parametrize(
    ("line", "column", "code"),
    [
        ("types: {a: {typ: LOGIN}}", 13, "unknown-key"),
        ("types: {a: [{type: LOGIN, when: {x: 1}}, {}]}", 42, "wrong-value"),
        ("actor: {id: a}", 1, "missing-key"),
        ("auth: [{hmac: {header: a, digest: sha256}}]", 27, "wrong-kind"),
        ("unknown: drop", 1, "wrong-value"),
        ("unknown: 1", 1, "wrong-kind"),
        ("fields: {time: {path: b, as: epooch}}", 26, "wrong-value"),
        ("reason: {path: a, default: lockd}", 19, "unknown-reason"),
        ("failed: {any: [{actor: human}]}", 1, "missing-key"),
        ("types: {a: {type: LOGIN, outcome: failure}}", 9, "outcome-disagrees"),
        ("each: list", 12, "shared-key"),
        ("extends: nobody", 1, "unknown-table"),
        ("title: again", 1, "duplicate-key"),
        ("reason: [a}", 11, "yaml"),
    ],
)
def test_a_mistake_has_a_column_and_a_code(make_table: Make, line: str, column: int, code: str) -> None:
    with pytest.raises(MappingError) as error:
        make_table(f"{TOP}{line}\n")
    [first, *_] = error.value.each
    assert (first.column, first.code) == (column, code), str(first)
