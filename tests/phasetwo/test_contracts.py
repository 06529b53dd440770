"""The recorded contracts can be played: nothing in them is misspelled, or used before it is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CONTRACTS = yaml.safe_load((Path(__file__).parent / "contracts.yaml").read_text(encoding="utf-8"))
CONVERSATIONS = CONTRACTS["conversations"]

GIVEN = {"nothing": set(), "sends": {"webhook", "send", "user_event", "admin_event"}}
ROLES = {"view-events", "manage-events", "publish-events", "anybody", "nobody"}
MEMBERS = {"call", "as", "query", "headers", "body", "status", "location", "answer", "keep", "upstream"}
PLAIN = {"text", "number", "boolean", "object"}


def named(value: Any) -> set[str]:
    """The names in braces that a value has anywhere."""
    if isinstance(value, str):
        return set(re.findall(r"\{(\w+)\}", value))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for one in inner for name in named(one)}


def shape_names(shape: Any) -> set[str]:
    """The shapes that a shape is made of, but for the plain ones."""
    if isinstance(shape, str):
        return {shape} - PLAIN
    assert isinstance(shape, dict), shape
    if "is" in shape or "list" in shape:
        assert len(shape) == 1, shape
        return shape_names(shape["list"]) if "list" in shape else set()
    return {name for member, one in shape.items() if member != "never" for name in shape_names(one)}


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=[one["name"] for one in CONVERSATIONS])
def test_a_conversation_can_be_played(conversation: dict[str, Any]) -> None:
    assert conversation.keys() == {"name", "clients", "given", "steps"}
    assert set(conversation["clients"]) <= {"python", "java", "javascript", "documentation", "any"}
    known = {"realm"} | GIVEN[conversation["given"]]
    for step in conversation["steps"]:
        assert step.keys() <= MEMBERS, step
        method, _, path = step["call"].partition(" ")
        assert (method in {"GET", "POST", "PUT", "DELETE"}, path[0], step["as"] in ROLES) == (True, "/", True), step
        assert 200 <= step["status"] < 500
        assert named(path) <= known, step
        answer = step.get("answer", "empty")
        assert shape_names(answer) <= {*CONTRACTS["shapes"], "empty"}, step
        known |= named(step.get("location", "")) | set(step.get("keep", ()))
        assert named(CONTRACTS["shapes"].get(answer, {}) if isinstance(answer, str) else answer) <= known, step


def test_shapes_are_made_of_shapes_there_are() -> None:
    for shape in CONTRACTS["shapes"].values():
        assert shape_names(shape) <= CONTRACTS["shapes"].keys()
