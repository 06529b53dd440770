from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.table import Table, load_tables
from adapter.resources import mappings_path

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
