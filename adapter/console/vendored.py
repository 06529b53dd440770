"""What of others the pages load, as the file beside it says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "vendor"


class Vendored(NamedTuple):
    name: str
    version: str
    licence: str
    #: The files that hold it.
    files: list[str]


@cache
def vendored() -> list[Vendored]:
    """The packages of others, by their names."""
    listed = json.loads((_FOLDER / "vendor.json").read_text("utf-8"))
    return [
        Vendored(
            name,
            one["version"],
            one["license"],
            [file for file, it in listed["files"].items() if name in it["packages"]],
        )
        for name, one in sorted(listed["packages"].items())
    ]
