"""The HTTP interface, as ``/openapi.json`` describes it: every operation, searchable, each with a command to try."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from aiohttp import web

from adapter.console.frame import Route, Section
from adapter.console.visit import Visit
from adapter.errors import RequestError

_PATH = "/ui/api"
_REFERENCE = "#/components/schemas/"
#: How deep an example is made: schemas may contain themselves.
_DEEP = 5

Document = Mapping[str, Any]


async def _list(visit: Visit) -> web.Response:
    document = await visit.get("/openapi.json")
    words = visit.request.query.get("q", "").lower().split()
    groups: dict[str, list[dict[str, Any]]] = {}
    found = 0
    for one in _operations(document):
        if all(word in one["searched"] for word in words):
            groups.setdefault(one["tag"], []).append(one)
            found += 1
    # In the order of the document's tags.
    ordered = {tag["name"]: groups[tag["name"]] for tag in document["tags"] if tag["name"] in groups}
    visit.command("idp-adapter --help")
    return visit.page("api.html", groups=ordered, found=found, q=visit.request.query.get("q", ""))


async def _show(visit: Visit) -> web.Response:
    document = await visit.get("/openapi.json")
    name = visit.request.match_info["operation"]
    found = next((one for one in _operations(document) if one["id"] == name), None)
    if found is None:
        raise RequestError(404, "Not found", f"There is no operation {name!r}; the list has all of them.")
    page = found["page"]
    body = [
        {"media": media, "type": _type(content.get("schema", {}))}
        for media, content in page.get("requestBody", {}).get("content", {}).items()
    ]
    answers = [
        {
            "status": status,
            "description": answer["description"],
            "content": [
                {"media": media, "type": _type(content.get("schema", {}))}
                for media, content in answer.get("content", {}).items()
            ],
            "headers": answer.get("headers", {}),
        }
        for status, answer in page["responses"].items()
    ]
    parameters = [{**_examples(one), **one, "type": _type(one["schema"])} for one in page["parameters"]]
    schemas = [
        {
            "name": one,
            "description": schema.get("description", ""),
            "fields": [
                {
                    "name": field,
                    "type": _type(about),
                    "required": field in schema.get("required", ()),
                    "description": about.get("description", ""),
                }
                for field, about in schema.get("properties", {}).items()
            ],
        }
        for one in _named(page, document)
        for schema in [document["components"]["schemas"][one]]
    ]
    base = visit.site.address(visit.request)
    return visit.page(
        "api_operation.html",
        one=found,
        parameters=parameters,
        body=body,
        answers=answers,
        schemas=schemas,
        curl=curl(found, document, base),
    )


def _operations(document: Document) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, page in methods.items():
            summary, description = page.get("summary", ""), page.get("description", "")
            names = " ".join(one["name"] for one in page["parameters"])
            yield {
                "id": page["operationId"],
                "method": method.upper(),
                "path": path,
                "summary": summary,
                "description": description,
                "tag": page["tags"][0],
                "page": page,
                "searched": f"{method} {path} {summary} {description} {names} {page['tags'][0]}".lower(),
            }


def curl(operation: Mapping[str, Any], document: Document, base: str) -> str:
    """A command that asks an operation: with what it needs, and an example of its body."""
    page, path = operation["page"], operation["path"]
    query: list[str] = []
    for one in page["parameters"]:
        value = _value(one)
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", str(value))
        elif one["in"] == "query" and (one["required"] or "example" in one) and len(query) < 2:
            query.append(f"{one['name']}={value}")
    words = ["curl"]
    if operation["method"] != "GET":
        words += ["--request", operation["method"]]
    line = " ".join(words)
    if page.get("security"):
        line += ' --header "Authorization: Bearer $TOKEN"'
    content = page.get("requestBody", {}).get("content", {})
    media = "application/json" if "application/json" in content else next(iter(content), None)
    if media is not None:
        line += f" \\\n    --header {shlex.quote(f'Content-Type: {media}')}"
        schema = content[media].get("schema")
        data = "@FILE" if schema is None else orjson.dumps(_example(schema, document, 0)).decode()
        line += f" \\\n    --data {shlex.quote(data)}"
    address = shlex.quote(base + path + ("?" + "&".join(query) if query else ""))
    return f"{line} \\\n    {address}" if media else f"{line} {address}"


def _examples(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """The example of a parameter's schema, if it has one."""
    schema = parameter["schema"].get("items", parameter["schema"])
    return {"example": schema["examples"][0]} if schema.get("examples") else {}


def _value(parameter: Mapping[str, Any]) -> Any:
    """A value of a parameter: its example, one that it may have, or its name in capitals."""
    value = parameter.get("example", parameter["schema"].get("default", parameter["name"].upper()))
    return value[0] if isinstance(value, list) else value


def _example(schema: Any, document: Document, depth: int) -> Any:
    """A value of a schema: what it must have, and no more."""
    if not isinstance(schema, dict) or depth > _DEEP:
        return "…"
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].removeprefix(_REFERENCE)]
    if schema.get("examples"):
        return schema["examples"][0]
    for name in ("default", "const"):
        if schema.get(name) is not None:
            return schema[name]
    if schema.get("enum"):
        return schema["enum"][0]
    if options := [one for one in schema.get("anyOf", schema.get("oneOf", ())) if one.get("type") != "null"]:
        return _example(options[0], document, depth + 1)
    match schema.get("type"):
        case "object":
            needed = schema.get("required", ())
            fields = schema.get("properties", {})
            return {name: _example(fields[name], document, depth + 1) for name in needed if name in fields}
        case "array":
            return [_example(schema.get("items", {}), document, depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            # What has to fit a pattern is a name, mostly.
            return "example" if "pattern" in schema else "…"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if schema.get("enum"):
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if options := schema.get("anyOf", schema.get("oneOf")):
        return " or ".join(dict.fromkeys(map(_type, options)))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {})) or 'anything'}"
    if schema.get("type") == "object" and isinstance(more := schema.get("additionalProperties"), dict):
        return f"object of {_type(more) or 'anything'}"
    return str(schema.get("type", schema.get("description", "")))


def _named(tree: Any, document: Document) -> list[str]:
    """Names of the schemas that a part of the document uses, and those that they use."""
    found: dict[str, None] = {}
    waiting = [tree]
    while waiting:
        for name in re.findall(rf'"{_REFERENCE}([^"]+)"', orjson.dumps(waiting.pop()).decode()):
            if name not in found:
                found[name] = None
                waiting.append(document["components"]["schemas"][name])
    return list(found)


SECTION = Section(
    _PATH,
    "API",
    None,
    "g i",
    (Route("GET", _PATH, _list), Route("GET", f"{_PATH}/{{operation}}", _show)),
    styles=("api.css",),
)
