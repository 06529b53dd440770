"""A kind of source that only tests have: follows a file of JSON lines. Its place is a number of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

from adapter.sources.protocol import Inlet, Opened, SourceContext
from adapter.sources.settings import SourceSettings


class Settings(SourceSettings):
    """``[[sources]]`` with ``kind = "lines"``."""

    kind: Literal["lines"] = "lines"
    path: Path = Field(description="The file")
    size: int = Field(1000, description="Bytes that are read at a time")


@asynccontextmanager
async def open_source(settings: Settings, context: SourceContext) -> AsyncIterator[Opened]:
    async def pull(inlet: Inlet) -> None:
        while True:
            begin = int(inlet.place or 0)
            with settings.path.open("rb") as file:
                file.seek(begin)
                lines, end, _ = file.read(settings.size).rpartition(b"\n")
            if end:
                await inlet.take(lines + end, "application/x-ndjson", str(begin + len(lines + end)))
            else:
                await asyncio.sleep(0.005)

    yield Opened(pull=pull)
