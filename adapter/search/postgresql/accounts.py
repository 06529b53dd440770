"""The accounts of a search in PostgreSQL (`adapter.search.accounts`), as the filler keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from adapter.log.postgresql.connecting import Connection
from adapter.search.accounts import FAILURE, GROUPED, SUCCESS, WAITING, Row, joined
from adapter.search.postgresql.schema import events_of

COLUMNS = "account, origin, last, at, success, success_at, failures, failing, failed"
JOINED = joined("greatest")
GROUPED_NEW = GROUPED.format("search_account_new")
ON = "LEFT JOIN search_account AS a ON a.account = g.account AND a.origin = g.origin"
#: Parts that one statement asks, at most: it locks all of them.
_TOGETHER = 16

_PUT = f"""
INSERT INTO search_account AS known ({COLUMNS}, doubtful)
SELECT account, origin, last, at, success, success_at, failures, failing, failed, doubtful
FROM (SELECT {JOINED} FROM ({GROUPED_NEW} ORDER BY 1, 2) AS g {ON}) AS said
ON CONFLICT (account, origin) DO UPDATE SET last = excluded.last, at = excluded.at, success = excluded.success,
  success_at = excluded.success_at, failures = excluded.failures, failing = excluded.failing, failed = excluded.failed,
  doubtful = excluded.doubtful
"""
_SAYING = """
SELECT DISTINCT e.account FROM {0} AS e JOIN search_account AS a ON a.account = e.account AND a.origin = e.origin
WHERE ($1::bigint[] IS NULL OR (e.position <= $2
    AND NOT EXISTS (SELECT FROM unnest($1::bigint[]) AS kept (position) WHERE kept.position = e.position)))
  AND (e.position >= a.at OR e.time >= a.last OR e.position = a.success_at OR e.time >= a.failing)
"""
_SEEN = f"""
SELECT account, origin, max(time), max(position), max(time) FILTER (WHERE deed = {SUCCESS}) FROM {{0}}
WHERE account = ANY ($1::bigint[]) AND superseded_by IS NULL GROUP BY account, origin
"""
_FAILED = f"""
SELECT e.account, e.origin, max(e.position) FILTER (WHERE deed = {SUCCESS}),
  count(*) FILTER (WHERE deed = {FAILURE}), min(e.time) FILTER (WHERE deed = {FAILURE}),
  max(e.time) FILTER (WHERE deed = {FAILURE})
FROM {{0}} AS e JOIN unnest($1::bigint[], $2::integer[], $3::bigint[]) AS known (account, origin, success)
  ON known.account = e.account AND known.origin = e.origin
WHERE e.superseded_by IS NULL AND ((deed = {SUCCESS} AND time = success) OR (deed = {FAILURE} AND time > success))
GROUP BY e.account, e.origin
"""


# Filled, inside of a transaction


async def add(run: Connection, rows: Sequence[Row], waiting: int) -> int:
    """Add what some events say; from time to time it is put among the rest. ``waiting``: how many rows wait; how many
    do then."""
    if rows:
        await run.copy_records_to_table("search_account_new", records=rows, columns=list(Row._fields))
    if waiting + len(rows) < WAITING:
        return waiting + len(rows)
    await put(run)
    return 0


async def put(run: Connection) -> None:
    """Put what waits among the rest."""
    await run.execute(_PUT)
    await run.execute("DELETE FROM search_account_new")
    await count_again(
        run, [row[0] for row in await run.fetch("SELECT DISTINCT account FROM search_account WHERE doubtful = 1")]
    )


async def saying(run: Connection, part: int, left: Sequence[int] | None, until: int) -> list[int]:
    """Accounts whose rows say something of the events of a part up to ``until`` that are not ``left``; ``None``: of any
    of it. Nothing may wait."""
    return [row[0] for row in await run.fetch(_SAYING.format(events_of(part)), left, until)]


async def count_again(run: Connection, accounts: Iterable[int]) -> None:
    """Count accounts again, from the events that are there; nothing of them may wait."""
    wanted = sorted(set(accounts))
    if not wanted:
        return
    await run.execute("DELETE FROM search_account WHERE account = ANY ($1::bigint[])", wanted)
    parts = [row[0] for row in await run.fetch("SELECT id FROM search_part ORDER BY id")]
    found: dict[tuple[int, int], Row] = {}
    for tables in in_groups(parts):
        for account, origin, last, at, success in await run.fetch(union(_SEEN, tables), wanted):
            row = found.get((account, origin), Row(account, origin, last, at, None, None, 0, None, None))
            found[account, origin] = row._replace(
                last=max(last, row.last), at=max(at, row.at), success=_latest(success, row.success)
            )
    if not found:
        return
    keys = [
        *map(
            list, zip(*((*key, -1 if row.success is None else row.success) for key, row in found.items()), strict=True)
        )
    ]
    for tables in in_groups(parts):
        for account, origin, success_at, count, failing, failed in await run.fetch(union(_FAILED, tables), *keys):
            row = found[account, origin]
            found[account, origin] = row._replace(
                success_at=_latest(success_at, row.success_at),
                failures=row.failures + count,
                failing=failing if row.failing is None else min(row.failing, failing or row.failing),
                failed=_latest(failed, row.failed),
            )
    await run.copy_records_to_table("search_account", records=list(found.values()), columns=list(Row._fields))


def _latest(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def in_groups(parts: Sequence[int]) -> Iterator[list[str]]:
    """The tables of some parts, so many at a time as one statement may ask."""
    rest = iter(parts)
    while some := [events_of(part) for part in islice(rest, _TOGETHER)]:
        yield some


def union(statement: str, tables: Sequence[str]) -> str:
    """A statement about one part, of several."""
    return " UNION ALL ".join(f"({statement.format(table)})" for table in tables)
