"""What the report of a filter says: the question in words, counts, and the first events, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from adapter import __version__
from adapter.filter import Filter
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.sentence import sentence, text_of
from adapter.model import Entry, uid_text
from adapter.scope import Scope
from adapter.search_fields import search_fields
from adapter.timestamps import write_timestamp

#: Events that a report lists, and those that it counts: whatever more there are, it says so.
LISTED, COUNTED = 1_000, 1_000_000
#: Values of a count that are told.
_VALUES = 12
_WORDS = {
    "q": "words",
    "ip": "address",
    "idp": "identity provider",
    "reason_class": "class of reason",
    "id": "the provider's id",
    "user": "user",
}
_COUNTED_BY = {"outcome": "By outcome", "type": "By type", "provider": "By provider"}


class _Of(msgspec.Struct):
    provider: str


class _Read(msgspec.Struct):
    time: int
    type: str
    outcome: str
    source: _Of


@dataclass
class Summary:
    """Events of a filter, as they come: counted up to `COUNTED`, listed up to `LISTED`."""

    catalogue: Catalogue
    total: int = 0
    is_whole: bool = True
    earliest: int | None = None
    latest: int | None = None
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in _COUNTED_BY})
    rows: list[dict[str, str]] = field(default_factory=list)

    def take(self, entries: Sequence[Entry]) -> bool:
        """Take some more; whether it wants any after these."""
        for entry in entries:
            if entry.event is None:
                continue
            if self.total == COUNTED:
                self.is_whole = False
                return False
            read = _decode(entry.event)
            self.total += 1
            self.earliest = read.time if self.earliest is None else min(self.earliest, read.time)
            self.latest = read.time if self.latest is None else max(self.latest, read.time)
            for name, value in (("outcome", read.outcome), ("type", read.type), ("provider", read.source.provider)):
                self.counts[name][value] += 1
            if len(self.rows) < LISTED:
                self.rows.append(_row(entry.event, entry.uid, self.catalogue))
        return True


_decode = msgspec.json.Decoder(_Read).decode


def _row(event: bytes, uid: bytes, catalogue: Catalogue) -> dict[str, str]:
    fields = search_fields(event)
    return {
        "time": _moment(fields.time),
        "outcome": fields.outcome,
        "sentence": text_of(sentence(fields, catalogue)),
        "type": fields.type,
        "source": fields.source,
        "uid": uid_text(uid),
    }


def report_head(
    summary: Summary, filter: Filter, scope: Scope, *, order: str, by: str, made_at: int, snapshot: int
) -> dict[str, Any]:
    """What the report says of itself, as `adapter.documents.pdf.write` takes it. ``filter``: as it was asked for, what
    the ``scope`` adds aside; ``by``: who asked; ``made_at``: epoch milliseconds."""
    listed, total = len(summary.rows), summary.total
    period = "–" if summary.earliest is None or summary.latest is None else (
        f"{_moment(summary.earliest)} to {_moment(summary.latest)}"
    )  # fmt: skip
    more = "" if summary.is_whole else "at least "
    facts = [
        ["Events", f"{more}{total:,}"],
        *[["Which", text] for text in in_words(filter)],
        *([["Limits of the key", str(scope)]] if scope.is_limited else []),
        ["First to last", period],
        ["Asked by", by],
        ["Asked at", _moment(made_at)],
        ["From", f"IdP Event Adapter {__version__}, log up to entry {snapshot:,}"],
    ]
    if not summary.is_whole:
        facts.append(["Counted", f"the first {COUNTED:,} events alone; there are more, and no count below has them"])
    which = "latest" if order == "time" else "first"
    note = f"Times are UTC. The {which} {listed:,} events; {more}{total - listed:,} are not listed here."
    if listed == total and summary.is_whole:
        note = f"Times are UTC. All events are listed: {total:,}."
    return {
        "title": "Report of events",
        "foot": f"IdP Event Adapter {__version__} · {_moment(made_at)}",
        "madeAt": made_at,
        "facts": facts,
        "counts": [{"by": told, "rows": _most(summary.counts[name])} for name, told in _COUNTED_BY.items()],
        "total": total,
        "note": note,
        "sign": ["Prepared by", "Reviewed by"],
    }


async def report_rows(summary: Summary) -> AsyncIterator[bytes]:
    """The listed events, as `adapter.documents.pdf.write` takes them."""
    yield b"\n".join(map(orjson.dumps, summary.rows))


def in_words(filter: Filter) -> list[str]:
    """What a filter asks for, a text for each of its conditions."""
    told = []
    for term in filter.terms:
        name = _WORDS.get(term.name, term.name.replace("_", " "))
        values = " or ".join(term.values)
        told.append(f"{name} is not {values}" if term.negated else f"{name} is {values}")
    for name, since, until in (
        ("happened", filter.time_from, filter.time_to),
        ("arrived", filter.received_from, filter.received_to),
    ):
        bounds = [] if since is None else [f"at or after {_moment(since)}"]
        bounds += [] if until is None else [f"before {_moment(until)}"]
        if bounds:
            told.append(f"{name} {' and '.join(bounds)}")
    return told or ["all events but the service's own (system.*)"]


def _most(values: Counter[str]) -> list[tuple[str, int]]:
    ordered = sorted(values.items(), key=lambda one: (-one[1], one[0]))
    rest = ordered[_VALUES:]
    return [*ordered[:_VALUES], *([(f"{len(rest)} others", sum(n for _, n in rest))] if rest else [])]


def _moment(milliseconds: int) -> str:
    written = write_timestamp(milliseconds)
    return f"{milliseconds} ms" if written is None else f"{written[:10]} {written[11:19]}Z"
