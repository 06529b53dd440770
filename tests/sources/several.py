"""A source whose records make several events, and a log that they are taken into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from adapter.counts import IngestCounts
from adapter.log.protocol import Log
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.table import Table
from adapter.model import uid_text
from adapter.resources import mappings_path
from adapter.sources.intake import IngestSummary, Intake, Source
from tests.mapping.acme_also import ALSO, AT, SINGLE

CATALOGUE = load_catalogue([mappings_path()])


def _table(text: str) -> Table:
    return Table(Document(Path("mappings/acme/mapping.yaml"), text), CATALOGUE)


#: The table; the same before its row had `also`; and one whose events have no keys.
SEVERAL, FORMER = _table(ALSO), _table(SINGLE)
NO_KEY = _table(ALSO.replace('{strong: id, weak: ["@native", at, user]}', "none"))


class Bench:
    """A source whose records are taken into a log."""

    def __init__(self, log: Log, table: Table = SEVERAL) -> None:
        self.log = log
        self.tables = {"acme": table}
        self._source = Source("prod", "acme", "prod", self.tables)
        self._intake = Intake(log, IngestCounts())

    async def take(self, *records: Any) -> IngestSummary:
        return await self._intake.take(self._source, orjson.dumps(records), "application/json", AT + 1000)

    async def stored(self) -> list[tuple[str | None, str | None, str]]:
        """Of each entry: the user, the name of a further event, and the uid."""
        entries = await self.log.read(0, limit=10_000)
        events = [orjson.loads(one.event) for one in entries if one.event is not None]
        assert [one["uid"] for one in events] == [uid_text(one.uid) for one in entries if one.event is not None]
        return [(one["authDetails"].get("userId"), one["source"].get("also"), one["uid"]) for one in events]
