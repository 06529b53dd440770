"""What schemathesis does not know of itself: how media types of ours are written."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq")
def write_lines(_: Any, value: Any) -> bytes:
    """A value a line, of a list; else one line."""
    lines = value if isinstance(value, list) else [value]
    return "".join(f"{json.dumps(one)}\n" for one in lines).encode("utf-8", "surrogatepass")
