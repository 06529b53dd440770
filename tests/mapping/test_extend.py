from __future__ import annotations

from pathlib import Path

import jsonschema
import orjson
import pytest
import yaml

from adapter.errors import MappingError
from adapter.mapping.table import Table, load_tables
from adapter.resources import mappings_path, schemas_path

BASE = """
provider: base
title: Base
type: kind
identity: {strong: id}
fields: {id: id, authDetails.userId: user}
shapes:
  old: {when: {has: [kind]}}
types: {in: {type: LOGIN}, out: {type: LOGOUT}}
"""


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "mapping.yaml").write_text(text)


def table(folders: list[Path], name: str) -> Table:
    return load_tables([*folders, mappings_path()])[name]


def type_of(table: Table, **raw: object) -> object:
    event = table.read({"id": "1", **raw}, 0)[0]
    return None if event is None else event["type"]


def test_rows_and_fields_are_added_and_replaced_one_by_one(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    write(
        tmp_path,
        "own",
        """
provider: own
title: Own
extends: base
fields: {authDetails.userId: uid, realmId: tenant}
shapes:
  new: {when: {v: 2}, type: type2}
types: {out: {ignore: true}, reg: {type: REGISTER}}
""",
    )
    own = table([tmp_path], "own")
    assert type_of(own, kind="in") == "access.LOGIN"
    assert type_of(own, kind="out") is None
    assert type_of(own, kind="reg") == "access.REGISTER"
    assert type_of(own, v=2, kind="in", type2="reg") == "access.REGISTER"
    event = own.read({"id": "1", "kind": "in", "uid": "u", "tenant": "t"}, 0)[0]
    assert (event["authDetails"], event["realmId"]) == ({"userId": "u"}, "t")


def test_null_takes_away_what_the_table_has_that_is_extended(tmp_path: Path) -> None:
    base = BASE + "redact: [{in: a, keys: [x]}, {in: b}, {in: c}]\nfailed: {status: bad}\nauth: [basic]\nabsent: [x]\n"
    write(tmp_path, "base", base + "catalogue: {page: p, types: [in]}\n")
    own = """
provider: own
title: Own
extends: base
failed: null
catalogue: null
auth: null
absent: null
fields: {authDetails.userId: null, realmId: tenant}
types: {out: null, reg: {type: REGISTER}}
redact: [{in: b, keys: null}, {in: c, keys: [y]}, {in: d}]
shapes: {new: {types: {x: {type: LOGIN}}}, old: null}
"""
    write(tmp_path, "own", own)
    schema = orjson.loads((schemas_path() / "mapping.schema.json").read_bytes())
    jsonschema.validate(yaml.safe_load(own), schema)
    table_ = table([tmp_path], "own")
    assert type_of(table_, kind="in", status="bad") == "access.LOGIN"
    assert type_of(table_, kind="out") is None
    assert "no row for 'out'" in table_.read({"id": "1", "kind": "out"}, 0)[-1]
    event = table_.read({"id": "1", "kind": "in", "user": "u", "tenant": "t"}, 0)[0]
    assert (event["authDetails"], event["realmId"]) == ({}, "t")
    assert list(table_.mapping.shapes) == ["new"]
    assert table_.mapping.catalogue is None
    assert (table_.mapping.auth, table_.mapping.absent) == (["bearer", "basic"], ["null"])
    assert [(one.in_, one.keys) for one in table_.mapping.redact] == [("c", ["y"]), ("d", []), ("a", ["x"])]


def test_what_was_taken_away_stays_away_in_tables_above(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    write(tmp_path, "middle", "provider: middle\ntitle: M\nextends: base\ntypes: {out: null}\nfields: {id: null}\n")
    write(tmp_path, "own", "provider: own\ntitle: O\nextends: middle\ntypes: {in: null, reg: {type: REGISTER}}\n")
    own = table([tmp_path], "own")
    assert {*own.mapping.types} == {"reg"}
    assert "id" not in own.mapping.fields
    # What one has taken away another may say again.
    write(tmp_path, "own", "provider: own\ntitle: O\nextends: middle\ntypes: {out: {ignore: true}}\n")
    assert {*table([tmp_path], "own").mapping.types} == {"in", "out"}


def test_a_redaction_is_not_lost_when_a_table_has_one_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "keycloak", "provider: keycloak\ntitle: Ours\nextends: keycloak\nredact: [{in: x, keys: [y]}]\n")
    ours = table([tmp_path], "keycloak").mapping.redact
    theirs = load_tables([mappings_path()])["keycloak"].mapping.redact
    assert [one.in_ for one in ours] == ["x", *(one.in_ for one in theirs)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("types: {outt: null}", "types.outt"),
        ("fields: {authDetails.user: null}", "fields.authDetails.user"),
        ("aliases: {new: null}", "aliases.new"),
        ("shapes: {new: null}", "shapes.new"),
        ("shapes: {old: {types: {out: null}}}", "shapes.old.types.out"),
        ("redact: [{in: a}, {in: b, keys: null}]", "redact.1"),
    ],
)
def test_a_null_that_takes_nothing_away_is_refused(tmp_path: Path, text: str, place: str) -> None:
    base = BASE.replace("has: [kind]}}", "has: [kind]}, types: {x: {type: LOGIN}}}")
    write(tmp_path, "base", base + "redact: [{in: a}]\naliases: {id: uid}\n")
    write(tmp_path, "own", f"provider: own\ntitle: Own\nextends: base\n{text}\n")
    with pytest.raises(MappingError) as refused:
        table([tmp_path], "own")
    assert f"mapping.yaml:4: {place}: null takes away what the table that is extended has" in str(refused.value)


@pytest.mark.parametrize("text", ["types: {in: null}", "fields: {id: null}", "redact: [{in: a, keys: null}]"])
def test_a_table_that_extends_none_has_nothing_to_take_away(tmp_path: Path, text: str) -> None:
    part = text.partition(":")[0]
    kept = "\n".join(line for line in BASE.splitlines() if not line.startswith(part))
    write(tmp_path, "base", f"{kept}\n{text}\n")
    with pytest.raises(MappingError, match=rf"{part}.*is empty|{part}\.0\.keys"):
        table([tmp_path], "base")


def test_a_users_table_extends_the_built_in_one_that_it_hides(tmp_path: Path) -> None:
    write(
        tmp_path, "onewelcome", "provider: onewelcome\ntitle: Ours\nextends: onewelcome\ntypes: {10001: {type: LOGIN}}"
    )
    ours = table([tmp_path], "onewelcome")
    assert type_of(ours, event_type_id=10001) == "access.LOGIN"
    assert type_of(ours, event_type_id="103") == "access.LOGOUT"


def test_the_version_changes_with_the_table_that_is_extended(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    write(tmp_path, "own", "provider: own\ntitle: Own\nextends: base")
    before = table([tmp_path], "own").version
    write(tmp_path, "base", BASE + "# fixed\n")
    assert table([tmp_path], "own").version != before


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ("nothing", None, r"mapping.yaml:3: extends: there is no table 'nothing' to extend"),
        ("b", "a", r"extends itself in a circle"),
        ("../own", None, r"mapping.yaml:3: extends: '../own' is no name for a provider"),
        ("..", None, r"'..' is no name for a provider"),
        ("a" * 300, None, r"is no name for a provider"),
    ],
)
def test_a_table_that_cannot_be_extended_is_named(
    tmp_path: Path, first: str, second: str | None, complaint: str
) -> None:
    write(tmp_path, "a", f"provider: a\ntitle: A\nextends: {first}")
    if second:
        write(tmp_path, "b", f"provider: b\ntitle: B\nextends: {second}")
    with pytest.raises(MappingError, match=complaint):
        load_tables([tmp_path])


@pytest.mark.parametrize("part", ["types", "fields", "shapes"])
@pytest.mark.parametrize("value", ["text", "[1]", "5"])
def test_a_part_that_is_no_object_is_refused_with_its_line(tmp_path: Path, part: str, value: str) -> None:
    write(tmp_path, "base", BASE)
    write(tmp_path, "own", f"provider: own\ntitle: Own\nextends: base\n{part}: {value}\n")
    with pytest.raises(MappingError, match=r"mapping\.yaml:4"):
        table([tmp_path], "own")
