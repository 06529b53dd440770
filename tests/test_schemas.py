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


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.parent.name)
def test_every_table_fits_the_schema_that_editors_use(path) -> None:  # type: ignore[no-untyped-def]
    schema = Document.read(schemas_path() / "mapping.schema.json").value
    value = Document.read(path).value
    # YAML has numbers as keys where JSON, which the schema speaks of, has text.
    value["types"] = {str(native): row for native, row in value.get("types", {}).items()}
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
