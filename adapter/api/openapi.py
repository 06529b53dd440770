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
from adapter.api.openapi_fields import completed, example
from adapter.api.operation import Answer, Body, Operation, Parameter, Proof, json_answer
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
    408: "The body did not come in time.",
    409: "It does not go together with what there is: the text says with what, and what to do.",
    412: "It is another one by now than the precondition says: read it again.",
    413: "The body is too large.",
    415: "The media type of the body, or its packing, is not taken.",
    422: "It was read, and cannot be used: the text says what is wrong.",
    428: "A precondition is missing: If-Match with the ETag that was read, or If-None-Match: *.",
    429: "This key has as much under way as it may.",
    431: "The header of the request is too large.",
    500: "A fault of the service; its log says more.",
    501: "What makes such a document is not installed with this service.",
    502: "A server that the service asked does not answer, or refuses.",
    503: "Not now: the store, or the search, does not answer, or too much is under way.",
}
#: Headers of some of them.
_ERROR_HEADERS = {
    401: {"WWW-Authenticate": "Which token is wanted"},
    412: {"ETag": "Of what is there now, where there is anything"},
    429: {"Retry-After": "Seconds after which to come again"},
    503: {"Retry-After": "Seconds after which to come again, if that is known"},
}

#: Of headers that are no texts of their own, the schema; and an example of each.
_HEADER_SCHEMAS: Mapping[str, Any] = {
    "Retry-After": {"type": "integer", "minimum": 0},
    "X-Removed": {"type": "integer", "minimum": 1},
}
_HEADER_EXAMPLES: Mapping[str, Any] = {
    "Content-Disposition": 'attachment; filename="events.csv"',
    "ETag": '"3f6f2b41"',
    "Location": "/sinks/soc",
    "Preference-Applied": "return=representation",
    "Retry-After": 5,
    "WWW-Authenticate": 'Bearer realm="idp-adapter"',
    "Warning": '199 - "enabled was left out, so the webhook is disabled; PUT it with enabled: true"',
    "X-Cursor": "nBQ7mR3k",
    "X-Hints": '["type=LOGIM: no event of this type is known"]',
    "X-Next": "nBQ7mR3k",
    "X-Removed": 3,
}

#: How callers prove who they are.
_SCHEMES: Mapping[Proof, Mapping[str, Any]] = {
    Proof.TOKEN: {"type": "http", "scheme": "bearer", "description": "The token of a key, or of an issuer"},
    Proof.SOURCE: {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of the source, or what its table names under `auth`: a basic password, a header, a "
        "signature, a signed token",
    },
    Proof.LINK: {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a receiver's link. A browser that opens the link gets a cookie in its place",
    },
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
            "schemas": completed(_of_sets(schemas.get("$defs", {}))),
            "securitySchemes": {str(name): dict(scheme) for name, scheme in _SCHEMES.items()},
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
            others = ("text/html",) if operation.for_browsers else ()
            error = Answer(_ERRORS[status], (MEDIA_TYPE,), others=others, headers=_ERROR_HEADERS.get(status, {}))
            page["responses"][str(status)] = _response(error, references)
    if (proof := operation.proof) is not None:
        page["security"] = [{str(proof): []}]
    if proof is Proof.TOKEN:
        needed = f"the permission `{operation.permission}`" if operation.permission else "a known token"
        page["description"] = f"Needs {needed}."
    if operation.body is not None:
        content = {media: _content(operation.body, media, references) for media in operation.body.media}
        page["requestBody"] = {"required": operation.body.required, "content": content}
    return page


def _of_sets(tree: Any) -> Any:
    """Schemas without `uniqueItems`: in what is a set here, a value that is given twice counts once."""
    if isinstance(tree, dict):
        return {name: _of_sets(one) for name, one in tree.items() if name != "uniqueItems"}
    return [_of_sets(one) for one in tree] if isinstance(tree, list) else tree


def _parameter(one: Parameter, in_path: set[str]) -> dict[str, Any]:
    schema = dict(one.schema)
    if one.example is None and not schema.get("enum") and "default" not in schema:
        schema["examples"] = [example(schema, {}, one.name)]
    said: dict[str, Any] = {
        "name": one.name,
        "in": "path" if one.name in in_path else one.place,
        "required": one.required or one.name in in_path,
        "description": one.description,
        "schema": {"type": "array", "items": schema} if one.repeatable else schema,
    }
    if one.example is not None:
        said["example"] = [one.example] if one.repeatable else one.example
    return said


def _errors(operation: Operation, in_path: set[str]) -> Iterator[int]:
    """What may be wrong with a request to an operation."""
    yield 400
    if operation.proof is not None:
        yield from (401, 403)
    if in_path:
        yield 404
    if operation.body is not None:
        yield from (408, 413)
    yield from operation.errors
    yield from (429, 431, 500, 503)


def _id(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path)
    return "_".join([operation.method.lower(), *words])


def _content(body: Body, media: str, references: References) -> dict[str, Any]:
    if body.model is None or media not in (JSON, "application/merge-patch+json", "application/x-www-form-urlencoded"):
        return {"example": body.examples[media]} if media in body.examples else {}
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
            name: {
                "description": about,
                "schema": dict(_HEADER_SCHEMAS.get(name, {"type": "string"})),
                "example": _HEADER_EXAMPLES.get(name, "text"),
            }
            for name, about in answer.headers.items()
        }
    return said
