"""Events into a local file: NDJSON, one unified event a line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from adapter.sinks.settings import SinkSettings


class Settings(SinkSettings):
    """``[[sinks]]`` with ``kind = "file"``."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="The file; made if it is not there, with mode 0600")
