"""An example made of what has arrived: with its secrets hidden, and nothing expected of it yet. A work for a process of
its own, as in `adapter.workbench.trial`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from adapter.errors import MappingError, RequestError
from adapter.mapping.body import JSON
from adapter.mapping.document import Document
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.scalars import dump
from adapter.workbench.examples import Example
from adapter.workbench.leaks import without_secrets
from adapter.workbench.trial import Folders, Texts, read_unsaved, table_of
from adapter.workbench.unsaved import TEXT_LIMIT, TYPES, is_own, place_of, present_texts


class Wanted(BaseModel):
    """Which event an example is to be made of, and where it is to stand."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"uid": "6ab16d80-8a3f-8d51-9c4e-3f6f2b41a0c7", "file": "examples/arrived.yaml"}]
        },
    )

    uid: str = Field(max_length=1000, description="Its uid, or the id that its provider gave it; quarantined ones too")
    name: str | None = Field(None, min_length=1, max_length=200, description="Name of the example; default: made of it")
    file: str = Field("examples/arrived.yaml", description="The file that it is added to")


class ArrivedExample(BaseModel):
    """An example made of what arrived. Nothing is written: save it with PUT /mappings/NAME and
    `{"files": {FILE: TEXT}}`, which says what the table makes of it."""

    example: dict[str, Any]
    file: str
    text: str = Field(description="The file's text with it")
    hidden: list[str] = Field(description="Where a value was hidden that looks like a secret, and why")


def example_of(
    folders: Folders, provider: str, in_use: Texts, wanted: Wanted, raw: bytes, media: str, name: str
) -> bytes:
    """`ArrivedExample`. ``name``: what it is called, if that was not said.

    Raises:
        RequestError: 400, there can be no such file; 409, it cannot be added to it; 413, it is too long.
    """
    read_unsaved({"files": {wanted.file: ""}})
    if wanted.file == TYPES:
        raise RequestError(400, "Bad request", "file: an example stands in examples/NAME.yaml")
    given: dict[str, Any] = {"name": wanted.name or name}
    try:
        given["raw"] = parse_json(raw.decode()) if media == JSON else raw.decode()
    except (NotJson, UnicodeDecodeError):
        given["raw"] = raw.decode("utf-8", "replace")
    if media != JSON:
        given["media"] = media
    table = table_of(folders, in_use)
    given["raw"], hidden = without_secrets(table, Example.model_validate(given))
    given["expect"] = []
    before = present_texts(folders, provider).get(wanted.file, "") if is_own(place_of(folders, provider)) else ""
    text = f"{before.rstrip()}\n{dump([given])}" if before.strip() else dump([given])
    if len(text) > TEXT_LIMIT:
        detail = f"{wanted.file} would have more than {TEXT_LIMIT} characters; name another file"
        raise RequestError(413, "Too long", detail)
    try:
        place = place_of(folders, provider).parent / wanted.file
        same = Document(place, text).value == [*(Document(place, before).value or []), given]
    except (MappingError, TypeError):
        same = False
    if not same:
        detail = f"{wanted.file} is not written as a list of lines that begin with '- '; name another file"
        raise RequestError(409, "Cannot be added", detail)
    found = ArrivedExample(example=given, file=wanted.file, text=text, hidden=hidden)
    return found.model_dump_json().encode()
