"""The JSON Schemas that are generated from models: ``python -m adapter.schemas`` writes them, a test compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from adapter.event import Event
from adapter.mapping.catalogue import ACCESS, Catalogue, CatalogueFile, load_catalogue
from adapter.mapping.language import AUTH_FIELDS, EVENT_FIELDS, Mapping
from adapter.resources import mappings_path, schemas_path
from adapter.workbench.examples import Example

#: File under ``schemas/``: the model it describes, and its title.
MODELS: dict[str, tuple[type[BaseModel], str]] = {
    "event.schema.json": (Event, "Unified event"),
    "mapping.schema.json": (Mapping, "Mapping file"),
    "types.schema.json": (CatalogueFile, "Catalogue of unified types, reasons and details"),
    "example.schema.json": (Example, "Example of a mapping table"),
}


def generated() -> dict[str, str]:
    """File name: text, of every generated schema."""
    texts = {}
    for name, (model, title) in MODELS.items():
        if model is Mapping:
            schema = mapping_schema(load_catalogue([mappings_path()]))
        else:
            schema = model.model_json_schema(by_alias=True, mode="validation")
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}
        texts[name] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


def mapping_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema of a mapping file. It names the words of the catalogue and the unified fields, so that editors offer
    them. Others stay right: users have types of their own."""
    schema = Mapping.model_json_schema(by_alias=True, mode="validation")
    row, shape = schema["$defs"]["Row"]["properties"], schema["$defs"]["Shape"]["properties"]
    types = sorted(name.removeprefix(ACCESS) for name in catalogue.names)
    row["type"]["anyOf"].insert(0, {"enum": types})
    row["reason"]["anyOf"].insert(0, {"enum": sorted(catalogue.reasons)})
    also = schema["$defs"]["AlsoRow"]["properties"]
    also["type"]["anyOf"] = [_ROW_TYPES, {"type": also["type"].pop("type")}]
    also["reason"]["anyOf"].insert(0, _ROW_REASONS)
    row["details"]["properties"] = {
        name: {
            **row["details"]["additionalProperties"],
            "description": one.meaning,
            **({"examples": list(one.values)} if one.values else {}),
        }
        for name, one in catalogue.details.items()
    }
    also["details"] = {**also["details"], "$ref": "#/$defs/Row/properties/details"}
    meanings = {f"details.{name}": one.meaning for name, one in catalogue.details.items()}
    fields = [*EVENT_FIELDS, *(f"authDetails.{name}" for name in AUTH_FIELDS), "details", *meanings]
    # A table that extends another takes a field away by null.
    for name, places in (("Value", [row, also]), ("ValueOrNull", [shape, schema["properties"]])):
        for one in (place["fields"] for place in places):
            schema["$defs"][name] = one["additionalProperties"]
            one["properties"] = {
                field: {"$ref": f"#/$defs/{name}", **({"description": meanings[field]} if field in meanings else {})}
                for field in fields
            }
    return schema


#: The lists are long, and stand once.
_ROW_TYPES, _ROW_REASONS = ({"$ref": f"#/$defs/Row/properties/{word}/anyOf/0"} for word in ("type", "reason"))


def write(folder: Path) -> None:
    """Write every generated schema into a folder."""
    for name, text in generated().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(schemas_path())
