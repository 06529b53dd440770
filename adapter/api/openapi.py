"""``/openapi.json``: the description of the HTTP interface, made from the declarations of its operations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from adapter import __version__
from adapter.api.operation import Answer, Operation, json_answer
from adapter.problem import MEDIA_TYPE

_REFERENCE = "#/components/schemas/{model}"


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str = Field(description="Short, fixed name of the problem")
    status: int
    detail: str = Field(description="What was wrong in this request, and what would be right")


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document about these operations."""
    models = {answer.model for one in operations for answer in one.answers.values() if answer.model}
    ordered = sorted(models | {Problem}, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "serialization") for model in ordered], ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _page(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "IdP Event Adapter",
            "version": __version__,
            "description": "Native events of identity providers in, unified events out.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def openapi_operation(operations: Sequence[Operation]) -> Operation:
    """The operation that serves the document about ``operations`` and itself."""
    body = b""

    async def show(request: web.Request) -> web.Response:
        return json_answer(body)

    own = Operation("GET", "/openapi.json", show, "This description", {200: Answer("An OpenAPI document.")})
    body = orjson.dumps(describe([*operations, own]))
    return own


def _page(operation: Operation) -> dict[str, Any]:
    in_path = set(re.findall(r"{(\w+)}", operation.path))
    page: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _id(operation),
        "parameters": [
            {
                "name": one.name,
                "in": "path" if one.name in in_path else "query",
                "required": one.name in in_path,
                "description": one.description,
                "schema": {"type": "array", "items": dict(one.schema)} if one.repeatable else dict(one.schema),
            }
            for one in operation.parameters
        ],
        "responses": {str(status): _response(answer) for status, answer in operation.answers.items()},
    }
    if not operation.public and not operation.bare:
        page["security"] = [{"token": []}]
        needed = f"the permission `{operation.permission}`" if operation.permission else "a known token"
        page["description"] = f"Needs {needed}."
    if operation.body:
        page["requestBody"] = {"required": True, "content": {media: {} for media in operation.body}}
    page["responses"]["default"] = _response(Answer("What was wrong.", (MEDIA_TYPE,), Problem))
    return page


def _id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path)
    return "_".join([operation.method.lower(), *words])


def _response(answer: Answer) -> dict[str, Any]:
    schema: Mapping[str, Any] = {}
    if answer.model is not None:
        schema = {"$ref": _REFERENCE.format(model=answer.model.__name__)}
    elif MEDIA_TYPE in answer.media:
        schema = {"$ref": _REFERENCE.format(model=Problem.__name__)}
    return {
        "description": answer.description,
        "content": {
            **{media: {"schema": dict(schema)} if schema else {} for media in answer.media},
            **{media: {} for media in answer.others},
        },
    }
