"""A small table of a user's own, written into a folder as its author would."""

from __future__ import annotations

from pathlib import Path

import yaml

TYPES = """
types:
  LOGIN: {group: login, kind: action, meaning: Somebody logged in, sentence: "{username} logged in"}
  LOGOUT: {group: login, kind: action, meaning: Somebody logged out, sentence: "{username} logged out"}
"""

MAPPING = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, authDetails.userId: user}
types:
  in: {type: LOGIN}
"""

RAW = {"id": "1", "kind": "in", "user": "anna"}


def expected(type: str = "access.LOGIN") -> dict[str, object]:
    """What an example of `RAW` expects."""
    return {
        "id": "1",
        "time": 1_767_225_600_000,
        "type": type,
        "authDetails": {"userId": "anna"},
        "details": {},
        "outcome": "success",
        "source": {"name": "acme", "provider": "acme", "nativeType": "in"},
    }


def write_table(folder: Path, text: str = MAPPING, name: str = "acme") -> Path:
    """Put a table's file in place; its examples stay as they are."""
    file = folder / name / "mapping.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def write_example(folder: Path, type: str = "access.LOGIN", name: str = "acme") -> None:
    """Put an example in place that expects `RAW` to become this type."""
    file = folder / name / "examples" / "first.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump([{"name": "first", "raw": RAW, "expect": [expected(type)]}]), encoding="utf-8")
