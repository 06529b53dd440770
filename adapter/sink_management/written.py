"""Sinks as they would stand in ``adapter.toml``, and what a change of one is, for people."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: Said first of a sink.
_FIRST = ("name", "kind", "url", "filter", "from")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def difference(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    """What a sink would be, for people: none if it would stay as it is."""
    name, settings = after["name"], after["settings"]
    if before is None:
        lines = [f"+ {name}"]
        return lines + [f"    {key} = {_value(settings[key])}" for key in _ordered(settings) if key != "name"]
    if not after["changed"]:
        return []
    lines, old = [f"~ {name}"], before["settings"]
    for key in after["changed"]:
        if key in old:
            lines.append(f"  - {key} = {_value(old[key])}")
        if key in settings:
            lines.append(f"  + {key} = {_value(settings[key])}{' (changed)' if old.get(key) == settings[key] else ''}")
    return lines


def as_toml(settings: Mapping[str, Any]) -> list[str]:
    """A sink as one of ``[[sinks]]``, line by line."""
    return ["[[sinks]]", *(f"{_key(key)} = {_value(settings[key])}" for key in _ordered(settings))]


def _ordered(settings: Mapping[str, Any]) -> list[str]:
    first = [key for key in _FIRST if key in settings]
    return first + [key for key in settings if key not in first]


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            inner = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
    return str(value)
