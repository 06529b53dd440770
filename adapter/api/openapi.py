"""``/openapi.json``: the description of the HTTP interface, made from the declarations of its operations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from adapter import __version__
from adapter.api.operation import Answer, Body, Operation, Parameter, json_answer
from adapter.mapping.body import JSON
from adapter.problem import MEDIA_TYPE

_REFERENCE = "#/components/schemas/{model}"

#: The parts of the interface, by how a path begins: the first that fits.
TAGS = {
    "Events": ("/events", "/quarantine", "/ignored", "/timeline", "/people"),
    "Searches": ("/searches",),
    "Receiving": ("/ingest",),
    "Sources": ("/sources", "/statement-key"),
    "Sinks": ("/sinks",),
    "Links for receivers": ("/links",),
    "Mappings": ("/mappings", "/renormalization"),
    "Upkeep": ("/retention", "/scrub"),
    "Keys": ("/keys", "/.well-known"),
    "Keycloak and Phase Two": ("/admin/realms", "/realms", "/auth"),
    "Service": ("/",),
}

#: What may be wrong with a request, whatever it asks for.
_ERRORS = {
    400: "A parameter, or the body, is wrong: the text says which, and what would be right.",
    401: "There is no known token.",
    403: "The token lacks the permission, or is limited to less.",
    404: "There is no such thing, or none that the token may see.",
    413: "The body is too large.",
    429: "This key has as much under way as it may.",
    500: "A fault of the service; its log says more.",
    503: "Not now: the store, or the search, does not answer, or too much is under way.",
}
#: Headers of some of them.
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": "Which token is wanted"},
    429: {"Retry-After": "Seconds after which to come again"},
    503: {"Retry-After": "Seconds after which to come again, if that is known"},
}

#: Of each model, as what is sent and as what is answered, the schema that points to its own.
References = Mapping[tuple[Any, JsonSchemaMode], Any]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str = Field(description="Short, fixed name of the problem")
    status: int
    detail: str = Field(description="What was wrong in this request, and what would be right")


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document about these operations."""
    answered = {answer.model for one in operations for answer in one.answers.values() if answer.model}
    asked = {one.body.model for one in operations if one.body is not None and one.body.model is not None}
    # What may be left out differs in what is sent and what is answered.
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in sorted(asked, key=lambda model: model.__name__)),
        *((model, "serialization") for model in sorted(answered | {Problem}, key=lambda model: model.__name__)),
    ]
    references, schemas = models_json_schema(wanted, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _page(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "IdP Event Adapter",
            "version": __version__,
            "description": "Native events of identity providers in, unified events out. Errors are problem documents "
            "(RFC 9457). A parameter that is not described is refused.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in TAGS],
        "paths": paths,
        "components": {
            "schemas": _of_sets(schemas.get("$defs", {})),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The token of a key, or of an issuer"}
            },
        },
    }


def openapi_operation(operations: Sequence[Operation]) -> Operation:
    """The operation that serves the document about ``operations`` and itself, which is made when the first one asks for
    it: it takes a tenth of a start."""

    @cache
    def body() -> bytes:
        return orjson.dumps(describe([*operations, own]))

    async def show(request: web.Request) -> web.Response:
        return json_answer(await asyncio.to_thread(body))

    own = Operation("GET", "/openapi.json", show, "This description", {200: Answer("An OpenAPI document.")})
    return own


def _page(operation: Operation, references: References) -> dict[str, Any]:
    in_path = set(re.findall(r"{(\w+)}", operation.path))
    page: dict[str, Any] = {
        "tags": [next(tag for tag, begins in TAGS.items() if operation.path.startswith(begins))],
        "summary": operation.summary,
        "operationId": _id(operation),
        "parameters": [_parameter(one, in_path) for one in operation.parameters],
        "responses": {str(status): _response(answer, references) for status, answer in operation.answers.items()},
        "security": [],
    }
    for status in _errors(operation, in_path):
        if status not in operation.answers:
            error = Answer(_ERRORS[status], (MEDIA_TYPE,), headers=_ERROR_HEADERS.get(status, {}))
            page["responses"][str(status)] = _response(error, references)
    if not operation.public and not operation.bare:
        page["security"] = [{"token": []}]
        needed = f"the permission `{operation.permission}`" if operation.permission else "a known token"
        page["description"] = f"Needs {needed}."
    if operation.body is not None:
        content = {media: _content(operation.body, media, references) for media in operation.body.media}
        page["requestBody"] = {"required": operation.body.required, "content": content}
    page["responses"]["default"] = _response(Answer("What else was wrong.", (MEDIA_TYPE,)), references)
    return page


def _of_sets(tree: Any) -> Any:
    """Schemas without `uniqueItems`: in what is a set here, a value that is given twice counts once."""
    if isinstance(tree, dict):
        return {name: _of_sets(one) for name, one in tree.items() if name != "uniqueItems"}
    return [_of_sets(one) for one in tree] if isinstance(tree, list) else tree


def _parameter(one: Parameter, in_path: set[str]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": one.name,
        "in": "path" if one.name in in_path else one.place,
        "required": one.name in in_path,
        "description": one.description,
        "schema": {"type": "array", "items": dict(one.schema)} if one.repeatable else dict(one.schema),
    }
    if one.example is not None:
        said["example"] = [one.example] if one.repeatable else one.example
    return said


def _errors(operation: Operation, in_path: set[str]) -> Iterator[int]:
    """What may be wrong with a request to an operation."""
    yield 400
    if not operation.public:
        yield from (401, 403)
    if in_path:
        yield 404
    if operation.body is not None:
        yield 413
    yield from (429, 500, 503)


def _id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path)
    return "_".join([operation.method.lower(), *words])


def _content(body: Body, media: str, references: References) -> dict[str, Any]:
    if media != JSON or body.model is None:
        return {}
    schema: Any = references[body.model, "validation"]
    return {"schema": {"anyOf": [schema, {"description": "Raw events"}]} if body.raw else schema}


def _response(answer: Answer, references: References) -> dict[str, Any]:
    model = Problem if answer.model is None and MEDIA_TYPE in answer.media else answer.model
    schema = None if model is None else references[model, "serialization"]
    said: dict[str, Any] = {
        "description": answer.description,
        "content": {
            **{media: {"schema": schema} if schema else {} for media in answer.media},
            **{media: {} for media in answer.others},
        },
    }
    if answer.headers:
        said["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in answer.headers.items()
        }
    return said
