"""What a request asks for in a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from adapter.errors import RequestError

#: How deep objects and lists of a body may stand within each other: what reads them goes as deep.
DEPTH = 32

Asked = TypeVar("Asked", bound=BaseModel)


def read_object(body: bytes) -> dict[str, Any]:
    """The members of a JSON object; none where there is no body.

    Raises:
        RequestError: 400, it is something else.
    """
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise RequestError(400, "Bad request", "send a JSON object, or no body at all")
    if _is_deeper(given, DEPTH):
        raise RequestError(400, "Bad request", f"the JSON is nested deeper than {DEPTH}, which nothing here is")
    return given


def _is_deeper(value: object, depth: int) -> bool:
    """Whether objects and lists stand within each other more often than so."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return any(isinstance(one, dict | list) for one in level)


def read_asked(model: type[Asked], given: Mapping[str, Any], *, strict: bool = True) -> Asked:
    """Members as a model. Where it is not ``strict``, a text may stand for a number, and a number for a truth value.
    Else who says ``"dry_run": 0`` would begin what he may have wanted to try.

    Raises:
        RequestError: 400, names the member that is wrong or unknown, and repeats no value: it may be a secret.
    """
    try:
        # As JSON: of what it has no form for, such as a tuple, a strict model takes the form that it has there.
        return model.model_validate_json(orjson.dumps(given), strict=strict)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = [field.alias or name for name, field in model.model_fields.items()]
            detail = f"{place} is not known; known are {', '.join(known)}"
            raise RequestError(400, "Unknown parameter", detail, parameter=place, allowed=known) from None
        raise RequestError(400, "Bad parameter", f"{place}: {first['msg']}", parameter=place) from None
