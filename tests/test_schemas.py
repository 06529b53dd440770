from __future__ import annotations

import jsonschema
import pytest

from adapter.mapping.document import Document
from adapter.resources import mappings_path, schemas_path
from adapter.schemas import MODELS, generated

TABLES = sorted(mappings_path().glob("*/mapping.yaml"))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    text = (schemas_path() / name).read_text(encoding="utf-8")
    assert text == generated()[name], "run `python -m adapter.schemas`"


@pytest.mark.parametrize("name", sorted(path.name for path in schemas_path().rglob("*.json")))
def test_every_schema_is_a_schema(name: str) -> None:
    (path,) = schemas_path().rglob(name)
    jsonschema.Draft202012Validator.check_schema(Document.read(path).value)


def test_editors_are_offered_types_reasons_and_fields_and_own_types_are_right() -> None:
    schema = Document.read(schemas_path() / "mapping.schema.json").value
    row = schema["$defs"]["Row"]["properties"]
    offered = {key: {word for one in row[key]["anyOf"] for word in one.get("enum", ())} for key in ("type", "reason")}
    assert {"LOGIN", "LOGIN_ERROR", "admin.USER-CREATE"} <= offered["type"]
    assert {"bad_credentials", "unspecified"} <= offered["reason"]
    assert {"time", "authDetails.userId"} <= row["fields"]["properties"].keys()
    assert {"details.factor", "details.country"} <= row["fields"]["properties"].keys()
    assert "otp" in row["details"]["properties"]["factor"]["examples"]
    own = {"provider": "own", "title": "Own", "type": "kind", "identity": "none", "types": {"a": {"type": "OWN_TYPE"}}}
    jsonschema.validate(own, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_every_table_fits_the_schema_that_editors_use(path) -> None:  # type: ignore[no-untyped-def]
    schema = Document.read(schemas_path() / "mapping.schema.json").value
    value = Document.read(path).value
    # YAML has numbers as keys where JSON, which the schema speaks of, has text.
    value["types"] = {str(native): row for native, row in value.get("types", {}).items()}
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
