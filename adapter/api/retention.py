"""What is kept, and what retention would remove."""

from __future__ import annotations

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from adapter.api.operation import Answer, Operation, json_answer
from adapter.retention.retaining import Preview, Retaining
from adapter.settings import Permission


class RemovableShare(BaseModel):
    """Entries of one source and type."""

    source: str
    type: str | None = Field(description="Null: quarantined")
    entries: int
    bytes: int = Field(description="Of their events, before compression")


class RetentionPreview(BaseModel):
    """What would be removed now."""

    entries: int = Field(description="How many entries would go")
    shares: list[RemovableShare]
    rawUntil: int = Field(description="Up to this position native bytes would go alone")
    first: int = Field(description="Position of the first entry in the log")
    head: int = Field(description="Position of the last one")
    stored: int = Field(description="Entries in the log")
    size: int = Field(description="Bytes that the log takes")
    free: int = Field(description="Bytes of its files that are free for new entries")
    had: int = Field(description="Up to this position every sink has had its events")


class RetentionPages:
    """Answers for retention."""

    def __init__(self, retaining: Retaining) -> None:
        self._retaining = retaining

    def operations(self) -> list[Operation]:
        return [
            Operation(
                "GET",
                "/retention/preview",
                self.preview,
                "What the settings of [store] would remove from the log now",
                {200: Answer("The counts, by source and type.", model=RetentionPreview)},
                Permission.READ,
            )
        ]

    async def preview(self, request: web.Request) -> web.Response:
        return json_answer(orjson.dumps(preview_json(await self._retaining.preview())))


def preview_json(found: Preview) -> dict[str, object]:
    """A preview as it is answered."""
    usage = found.usage
    return {
        "entries": sum(one.entries for one in found.shares),
        "shares": [
            {"source": one.source, "type": one.type, "entries": one.entries, "bytes": one.size} for one in found.shares
        ],
        "rawUntil": found.raw_until,
        "first": usage.first,
        "head": found.head,
        "stored": usage.entries,
        "size": usage.size,
        "free": usage.free,
        "had": found.had,
    }
