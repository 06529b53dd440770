"""How many events have each value, in groups of the rows that questions are answered with."""

from __future__ import annotations

from ipaddress import IPv6Address

from adapter.log.postgresql.connecting import Connection
from adapter.search.cursor import newest
from adapter.search.index import ByTime, ByValue, Tally, Uncounted
from adapter.search.postgresql.query import Memory, open_question
from adapter.search.symbols import ORIGIN, value_of


async def count(connection: Connection, memory: Memory, question: ByValue, head: int) -> Tally | Uncounted:
    """The answer to a question about the entries up to ``head`` at least. Raises: as
    `adapter.search.postgresql.query.answer`."""
    rows = ByTime(question.filter, question.values, newest(question.snapshot))
    async with open_question(connection, memory, rows, head) as (known, asking):
        span = await connection.fetchrow("SELECT min(earliest), max(latest) FROM search_part")
        assert span is not None
        if asking is None:
            return Tally((), *span)
        column = "address" if question.by == "ip" else "origin" if question.by in ORIGIN else "kind"
        symbols = known.origins if column == "origin" else known.kinds
        counts: list[tuple[str | None, int]] = []
        for value, kind, type, events in await asking.groups(column):
            if kind < 0 and kind in asking.kinds.general and not question.filter.may_match_type(type or ""):
                continue
            if question.by == "ip":
                counts.append((_address(value), events))
            elif question.by == "realm" and value < 0:
                return Uncounted.UNTOLD
            else:
                general = type if question.by == "type" and value < 0 else None
                counts.append((general or value_of(symbols.symbol(value), question.by), events))
        return Uncounted.TOO_MANY if len(counts) > question.values else Tally(counts, *span)


def _address(stored: bytes | None) -> str | None:
    if stored is None:
        return None
    address = IPv6Address(stored)
    return str(address.ipv4_mapped or address)
