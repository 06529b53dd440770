"""A row that makes more than one event of a record: what it makes, what they are known by, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.errors import MappingError
from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.language import ALSO_LIMIT
from adapter.mapping.table import Table, load_table
from adapter.mapping.trace import Trace
from adapter.resources import mappings_path
from adapter.workbench.accept import changes, write
from adapter.workbench.apply import apply, apply_records
from adapter.workbench.check import check_table
from adapter.workbench.compare import changed_identity, table_changes
from adapter.workbench.examples import expected_form, read_examples
from adapter.workbench.explain import explain
from adapter.workbench.shown import lookups, paths
from adapter.workbench.unread import unread
from tests.mapping.acme_also import ALSO, LOCKED, RAW, SINGLE, expected, write_also

Make = Callable[[str], Table]

HEAD = """
type: kind
identity: {strong: id}
fields: {id: id, authDetails.userId: user}
"""


def events(table: Table, *raws: dict[str, Any]) -> list[dict[str, Any]]:
    return list(apply(table, orjson.dumps(raws), 0))


def told(table: Table, raw: dict[str, Any]) -> list[tuple[str | None, str, str]]:
    """Name, type and outcome of each event of a record."""
    return [
        (one["source"].get("also"), one["type"].removeprefix("access."), one["outcome"]) for one in events(table, raw)
    ]


@pytest.fixture
def table(tmp_path: Path, catalogue: Catalogue) -> Table:
    return load_table(write_also(tmp_path), catalogue)


def test_a_record_is_its_first_event_and_one_for_each_also_whose_condition_holds(table: Table) -> None:
    for raw in (RAW, LOCKED):
        assert [expected_form(one) for one in events(table, raw)] == expected(raw)


def test_each_event_has_a_uid_of_its_own_and_the_first_one_that_of_the_record(
    table: Table, tmp_path: Path, catalogue: Catalogue
) -> None:
    single = load_table(write_also(tmp_path, SINGLE, examples=False), catalogue)
    [alone] = events(single, LOCKED)
    first, *further = events(table, LOCKED)
    assert first["uid"] == alone["uid"]
    assert len({one["uid"] for one in (first, *further)}) == 3
    assert [one["uid"] for one in events(table, LOCKED)] == [one["uid"] for one in (first, *further)]


def test_equal_records_of_one_body_stay_as_many_in_each_of_their_events(table: Table) -> None:
    raw = {name: value for name, value in RAW.items() if name != "id"}
    assert len({one["uid"] for one in events(table, raw, raw, raw)}) == 6


def test_no_record_can_pose_as_a_further_event_of_another(make_table: Make) -> None:
    table = make_table(HEAD.replace("{strong: id}", "{weak: [a, b, c]}") + "types: {x: {type: LOGIN}}")
    also = make_table(
        HEAD.replace("{strong: id}", "{weak: [a]}") + "types: {x: {type: LOGIN, also: [{name: b, type: LOGOUT}]}}"
    )
    taken = {one["uid"] for one in events(also, {"kind": "x", "a": "1"})}
    assert taken.isdisjoint(one["uid"] for one in events(table, {"kind": "x", "a": "also", "b": "b", "c": "1"}))


def test_a_family_and_the_failure_of_a_type_make_further_events_too(make_table: Make) -> None:
    table = make_table(
        HEAD
        + """
error_suffix: _failed
failed: {status: bad}
types:
  in*: {type: LOGIN, also: [{name: out, type: LOGOUT}, {name: note, type: DETECT_THREAT, failable: false}]}
  other: {type: LOGIN}
"""
    )
    ok = [(None, "LOGIN", "success"), ("out", "LOGOUT", "success"), ("note", "DETECT_THREAT", "unknown")]
    assert told(table, {"id": "1", "kind": "in.web"}) == ok
    assert told(table, {"id": "1", "kind": "in.web", "status": "bad"}) == [
        (None, "LOGIN_ERROR", "failure"),
        ("out", "LOGOUT_ERROR", "failure"),
        ("note", "DETECT_THREAT", "unknown"),
    ]
    assert [one[1] for one in told(table, {"id": "1", "kind": "in.web_failed"})] == [
        "LOGIN_ERROR",
        "LOGOUT_ERROR",
        "DETECT_THREAT_ERROR",
    ]
    assert told(table, {"id": "1", "kind": "other"}) == ok[:1]


def test_only_the_row_that_is_taken_makes_further_events(make_table: Make) -> None:
    table = make_table(
        HEAD
        + """
types:
  x:
    - {when: {a: 1}, type: LOGIN, also: [{name: one, type: LOGOUT}]}
    - {when: {a: 2}, type: LOGIN, also: [{name: one, type: DETECT_THREAT}, {name: two, type: LOGOUT}]}
    - {type: LOGIN}
"""
    )
    assert [told(table, {"id": "1", "kind": "x", "a": a})[1:] for a in (1, 2, 3)] == [
        [("one", "LOGOUT", "success")],
        [("one", "DETECT_THREAT", "unknown"), ("two", "LOGOUT", "success")],
        [],
    ]


def test_what_is_quarantined_or_ignored_has_no_further_event(make_table: Make) -> None:
    table = make_table(
        HEAD + "types: {x: [{when: {a: 1}, type: LOGIN, also: [{name: b, type: LOGOUT}]}], y: {ignore: true}}"
    )
    assert [list(one) for one in events(table, {"kind": "x"}, {"kind": "y"})] == [["quarantined"], ["ignored"]]


def test_each_element_of_a_record_has_its_further_events(make_table: Make) -> None:
    table = make_table(
        """
type: list.kind
each: list
identity: {strong: {template: "{id}/{@element}"}}
fields: {details.n: list.n}
types: {x: {type: LOGIN, also: [{name: out, type: LOGOUT}]}}
"""
    )
    found = events(table, {"id": "1", "list": [{"kind": "x", "n": 1}, {"kind": "x", "n": 2}]})
    assert [(one["type"], one["details"]["n"]) for one in found] == [
        ("access.LOGIN", "1"), ("access.LOGOUT", "1"), ("access.LOGIN", "2"), ("access.LOGOUT", "2"),
    ]  # fmt: skip
    assert len({one["uid"] for one in found}) == 4


@pytest.mark.parametrize(
    ("also", "problem"),
    [
        ("[{type: LOGOUT}]", "types.x.also.0"),
        ("[{name: a}]", "types.x.also.0"),
        ("[{name: A b, type: LOGOUT}]", "'A b' is no name here"),
        ("[{name: a, type: LOGOUT}, {name: a, type: LOGIN}]", "has two `also` that are called 'a'"),
        ("[{name: a, type: LOGOUT, also: [{name: b, type: LOGIN}]}]", "also"),
        ("[{name: a, type: LOGOUT, ignore: true}]", "ignore"),
        ("[{name: a, type: LOGIN_ERROR, reason: lokked}]", "types.x.also.0.reason: 'lokked' is not a reason"),
        ("[{name: a, type: LOGIN, outcome: failure}]", "outcome failure does not agree"),
        ("[{name: a, type: LOGIN, when: {actor: human}}]", "types.x.also.0.when: a condition on `actor` needs"),
        (f"[{', '.join(f'{{name: a{number}, type: LOGIN}}' for number in range(ALSO_LIMIT + 1))}]", "at most 8"),
    ],
)
def test_what_is_no_row_under_also_is_refused(make_table: Make, also: str, problem: str) -> None:
    with pytest.raises(MappingError) as refused:
        make_table(f"{HEAD}types:\n  x:\n    type: LOGIN\n    also: {also}\n")
    assert problem in str(refused.value)


def test_a_row_that_is_ignored_has_no_also(make_table: Make) -> None:
    with pytest.raises(MappingError, match="has `also`, and `ignore: true`"):
        make_table(HEAD + "types: {x: {ignore: true, also: [{name: a, type: LOGIN}]}}")


def test_the_check_is_green_and_sees_rows_and_paths_under_also(
    tmp_path: Path, table: Table, catalogue: Catalogue
) -> None:
    assert check_table(table, strict=True) == []
    more = (
        ALSO.replace("{details.by: admin}", "{details.by: admin, details.why: {path: wy}}")
        + "      - {name: never, when: {lokced: true}, type: LOGUOT}\n"
    )
    changed = load_table(write_also(tmp_path, more), catalogue)
    found = [str(one).partition(": ")[2] for one in check_table(changed, strict=True)]
    assert found == [
        "error: types.fraud.also.1.fields.details.why.path: finds nothing in any example: wy; add an example that has "
        "it, or mend the path [path-finds-nothing]",
        "error: types.fraud.also.2.type: 'LOGUOT' is no type of the catalogue (did you mean LOGOUT?); add it to "
        "types.yaml [unknown-type]",
        "error: types.fraud.also.2: no example reaches this row (type fraud) [no-example]",
        "error: types.fraud.also.2.when.lokced: finds nothing in any example: lokced; did you mean locked? "
        "[path-finds-nothing]",
    ]
    assert ("types", "fraud", "also", 1, "fields", "details.why") in [place for place, _ in lookups(changed.mapping)]
    assert any(place[:4] == ("types", "fraud", "also", 1) for place, _ in paths(changed.mapping))


def test_what_a_further_event_says_is_read(tmp_path: Path, catalogue: Catalogue) -> None:
    for text, missing in ((ALSO.replace("context: login", "context: shop"), {}), (SINGLE, {"channel": 1})):
        table = load_table(write_also(tmp_path, text, examples=False), catalogue)
        (table.folder / "examples").mkdir(exist_ok=True)
        raw = orjson.dumps({**RAW, "channel": "shop"}).decode()
        (table.folder / "examples/all.yaml").write_text(f"- name: fraud\n  raw: {raw}\n")
        assert unread(table, list(read_examples(table.folder))) == missing


def test_accept_writes_all_events_of_a_record(tmp_path: Path, catalogue: Catalogue) -> None:
    table = load_table(write_also(tmp_path), catalogue)
    file = tmp_path / "acme/examples/all.yaml"
    file.write_text(f"- name: fraud\n  raw: {orjson.dumps(LOCKED).decode()}\n  expect: []\n")
    write(list(changes(table)))
    assert yaml.safe_load(file.read_text())[0]["expect"] == expected(LOCKED)
    assert list(changes(table)) == []


def test_an_explanation_says_which_also_was_taken_and_why_others_were_not(table: Table) -> None:
    first, report = explain(table, table.split(orjson.dumps(RAW)), 0)
    assert [(one.name, one.failed) for one in first.rows] == [
        ("types.fraud", None),
        ("types.fraud.also.lock", "locked is absent, wanted True"),
    ]
    assert report.also == "report"
    assert report.known_by == "1/report or fraud/1700000000000/anna/report, at 2023-11-14T22:13:20Z"
    assert [one.name for one in report.rows] == ["types.fraud", "types.fraud.also.report"]
    assert report.fields["details.context"].by == "the row's details"


def test_a_further_event_that_is_new_changes_no_key_and_one_with_another_name_does(
    tmp_path: Path, table: Table, catalogue: Catalogue
) -> None:
    def changed(text: str) -> Table:
        folder = tmp_path / "changed"
        return load_table(write_also(folder, text, examples=False), catalogue)

    single, renamed = changed(SINGLE), changed(ALSO.replace("name: report", "name: notice"))
    assert [(one.example, one.lines, one.keys) for one in table_changes(table, single)] == [
        ("fraud 1", ["also report: access.REPORT_SUSPICIOUS_ACTIVITY becomes nothing"], False),
        (
            "fraud 2",
            [
                "also report: access.REPORT_SUSPICIOUS_ACTIVITY becomes nothing",
                "also lock: access.LOGOUT becomes nothing",
            ],
            False,
        ),
    ]
    assert changed_identity(table, single) is None
    assert changed_identity(table, renamed) == "'fraud 1', 'fraud 2'"


RECORDS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["in", "fraud", "none"])},
    optional={
        "id": st.sampled_from(["1", "2", "", None]),
        "at": st.sampled_from([1_700_000_000_000, 1_700_000_001_500, "soon"]),
        "user": st.sampled_from(["anna", "ben", 7]),
        "locked": st.sampled_from([True, "true", False]),
        "@also": st.just("report"),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORDS, max_size=6))
def test_further_events_change_nothing_of_the_first_ones(raws: list[dict[str, Any]]) -> None:
    single, several = TABLES
    alone = [expected_form(one) for one in events(single, *raws)]
    first = [expected_form(one) for one in events(several, *raws) if "also" not in one.get("source", ())]
    assert first == alone


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=4))
def test_a_traced_table_makes_the_same_events(raws: list[dict[str, Any]]) -> None:
    _, table = TABLES
    records = table.split(orjson.dumps(raws))
    shown = [one.event for one in explain(table, records, 0) if one.event is not None]
    made = [one for one in apply_records(table, records, 0) if "uid" in one]
    assert [expected_form(one) for one in shown] == [expected_form(one) for one in made]
    traced = table.traced(Trace())
    assert [traced.results(one, 0) for one in records] == [table.results(one, 0) for one in records]


def _tables() -> tuple[Table, Table]:
    catalogue = load_catalogue([mappings_path()])
    file = Path("mappings/acme/mapping.yaml")
    return Table(Document(file, SINGLE), catalogue), Table(Document(file, ALSO), catalogue)


TABLES = _tables()
