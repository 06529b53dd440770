"""Questions about the accounts of a search in PostgreSQL."""

from __future__ import annotations

from time import monotonic

import asyncpg

from adapter.log.postgresql.connecting import Connection
from adapter.search.accounts import SUCCESS, Row
from adapter.search.keys import ACTOR, QuestionKeys
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount, Known
from adapter.search.postgresql.accounts import COLUMNS, GROUPED_NEW, JOINED, ON, in_groups, union
from adapter.search.postgresql.schema import events_of
from adapter.search.symbols import KnownSymbols, Wanted

_NOW = f"""
WITH g AS MATERIALIZED ({GROUPED_NEW}),
now AS (
  SELECT {JOINED} FROM g {ON}
  UNION ALL
  SELECT {COLUMNS}, doubtful FROM search_account AS a
  WHERE NOT EXISTS (SELECT 1 FROM g WHERE g.account = a.account AND g.origin = a.origin)
)
SELECT {COLUMNS} FROM now WHERE ($1::integer[] IS NULL OR origin = ANY ($1))
  AND ($2::bigint[] IS NULL OR account = ANY ($2)) AND ($3::bigint IS NULL OR last < $3) AND failures >= $4
  AND ($5::bigint IS NULL OR ({{column}}, account, origin) {{way}} ($5, $6::bigint, $7::integer))
ORDER BY {{column}} {{direction}}, account {{direction}}, origin {{direction}} LIMIT $8
"""
_SINCE = "SELECT min((SELECT min(time) FROM {0} WHERE origin = one)) FROM unnest($1::integer[]) AS one"
_FIRST = """
SELECT wanted.account, wanted.origin, first.time
FROM unnest($1::bigint[], $2::integer[]) AS wanted (account, origin), LATERAL (
  SELECT time FROM {0} AS e WHERE e.account = wanted.account AND e.origin = wanted.origin AND e.superseded_by IS NULL
  ORDER BY time LIMIT 1
) AS first
"""
_ACTIVE = f"""
SELECT account, source, bool_or(coalesce(deed = {SUCCESS}, false)) AS got_in
FROM {{0}} AS e JOIN unnest($1::integer[], $2::integer[]) AS of (origin, source) ON of.origin = e.origin
WHERE time >= $3 AND time < $4 AND account IS NOT NULL AND superseded_by IS NULL GROUP BY account, source
"""


async def find(
    connection: Connection, keys: QuestionKeys, known: KnownSymbols, origins: Wanted | None, question: ByAccount
) -> Accounts:
    """The accounts of one page, of one state of the database."""
    parts = [row[0] for row in await connection.fetch("SELECT id FROM search_part ORDER BY id")]
    if origins is None or not origins.sure:
        return Accounts((), None)
    since: int | None = None
    for tables in in_groups(parts):
        # Since when anything else is here is not for every reader to know.
        for (earliest,) in await connection.fetch(union(_SINCE, tables), list(origins.sure)):
            if earliest is not None:
                since = earliest if since is None else min(since, earliest)
    of = list(origins.sure) if origins.left_out or origins.general else None
    ids = None if question.ids is None else keys.of((ACTOR,), question.ids)
    column = "coalesce(success, -1)" if question.sort.endswith("success") else question.sort.removeprefix("-")
    way, direction = ("<", "DESC") if question.sort.startswith("-") else (">", "ASC")
    sql = _NOW.format(column=column, way=way, direction=direction)
    after = question.after or (None, None, None)
    # Row by row, each account would be held against all that wait.
    await connection.execute("SET LOCAL enable_hashjoin = on")
    rows = [
        Row(*row)
        for row in await connection.fetch(
            sql, of, ids, question.dormant_since, question.failures_min, *after, question.limit
        )
    ]
    first: dict[tuple[int, int], int] = {}
    accounts, of_accounts = [row.account for row in rows], [row.origin for row in rows]
    for tables in in_groups(parts) if rows else ():
        for account, origin, time in await connection.fetch(union(_FIRST, tables), accounts, of_accounts):
            first[account, origin] = min(time, first.get((account, origin), time))
    found: list[Known] = []
    for row in rows:
        source, provider, realm_id, realm_name = known.symbol(row.origin)
        found.append(
            Known(
                row, source or "", provider or "", realm_id, realm_name, first.get((row.account, row.origin), row.last)
            )
        )
    return Accounts(found, since)


async def count_active(
    connection: Connection, known: KnownSymbols, origins: Wanted | None, question: ActiveIn
) -> list[Active | None]:
    """How many were active in each stretch, the last ones first; ``None``: there was no time left."""
    found: list[Active | None] = [None] * len(question.stretches)
    until = monotonic() + question.seconds
    sources: dict[str | None, int] = {}
    of = [
        (origin, sources.setdefault(known.symbol(origin)[0], len(sources)))
        for origin in (() if origins is None else origins.sure)
    ]
    columns = [[one[0] for one in of], [one[1] for one in of]]
    for number in reversed(range(len(question.stretches))):
        if monotonic() >= until:
            break
        begin, end = question.stretches[number]
        sql = "SELECT id FROM search_part WHERE latest >= $1 AND earliest < $2"
        tables = [events_of(row[0]) for row in await connection.fetch(sql, begin, end)]
        if not tables:
            found[number] = Active(0, 0)
            continue
        inner = union(_ACTIVE, tables)
        whole = (
            "SELECT count(*), count(*) FILTER (WHERE got_in) FROM "
            f"(SELECT bool_or(got_in) AS got_in FROM ({inner}) AS parts GROUP BY account, source) AS seen"
        )
        try:
            async with connection.transaction():
                # One stretch may have more events than there is time for.
                left = max(1, round((until - monotonic()) * 1000))
                await connection.execute(f"SET LOCAL statement_timeout = {left}")
                seen, got_in = await connection.fetchrow(whole, *columns, begin, end) or (0, 0)
        except asyncpg.QueryCanceledError:
            break
        found[number] = Active(seen, got_in)
    return found
