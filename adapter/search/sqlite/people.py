"""Questions about the accounts of a search database."""

from __future__ import annotations

import sqlite3
from time import monotonic

import orjson

from adapter.search.accounts import SUCCESS, Row
from adapter.search.people import Accounts, Active, ActiveIn, ByAccount, Known
from adapter.search.sqlite.accounts import COLUMNS, GROUPED_NEW, JOINED
from adapter.search.sqlite.compiler import Compiler
from adapter.search.sqlite.conditions import Sql, any_of

#: Steps of SQLite's machine between two looks at the clock.
_STEPS = 20_000
#: All rows as they are now.
_NOW = f"""
WITH g AS MATERIALIZED ({GROUPED_NEW}),
now AS (
  SELECT {JOINED} FROM g LEFT JOIN account AS a ON a.account = g.account AND a.origin = g.origin
  UNION ALL
  SELECT {COLUMNS}, doubtful FROM account AS a
  WHERE NOT EXISTS (SELECT 1 FROM g WHERE g.account = a.account AND g.origin = a.origin)
)
SELECT {COLUMNS} FROM now WHERE {{}} ORDER BY {{}} LIMIT ?
"""
_SINCE = "SELECT min((SELECT min(time) FROM event WHERE origin = one.value)) FROM json_each(?) AS one"
_FIRST = """
SELECT min(time) FROM (SELECT (
  SELECT f.time FROM found_by AS f CROSS JOIN event AS e ON e.position = f.position
  WHERE f.part = p.id AND f.key = ?1 AND e.account = ?1 AND e.origin = ?2 AND e.superseded_by IS NULL
  ORDER BY f.time LIMIT 1
) AS time FROM part AS p)
"""
_ACTIVE = f"""
WITH of (origin, source) AS (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)),
seen AS (
  SELECT e.account, of.source, max(e.deed IS {SUCCESS}) AS got_in
  FROM event AS e INDEXED BY event_time CROSS JOIN of ON of.origin = e.origin
  WHERE e.time >= ? AND e.time < ? AND e.account IS NOT NULL AND e.superseded_by IS NULL
  GROUP BY e.account, of.source
)
SELECT count(*), coalesce(sum(got_in), 0) FROM seen
"""


def find(connection: sqlite3.Connection, compiler: Compiler, question: ByAccount) -> Accounts:
    """The accounts of one page, of one state of the database."""
    run = connection.execute
    run("BEGIN")
    try:
        _, origins = compiler.wanted(question.filter)
        if origins is None or not origins.sure:
            return Accounts((), None)
        # Since when anything else is here is not for every reader to know.
        (since,) = run(_SINCE, (orjson.dumps(origins.sure).decode(),)).fetchone()
        tests = [Sql("1")]
        if origins.left_out or origins.general:
            tests.append(any_of("origin", origins.sure))
        if question.ids is not None:
            tests.append(any_of("account", compiler.accounts(question.ids)))
        if question.dormant_since is not None:
            tests.append(Sql("last < ?", (question.dormant_since,)))
        if question.failures_min:
            tests.append(Sql("failures >= ?", (question.failures_min,)))
        column = "coalesce(success, -1)" if question.sort.endswith("success") else question.sort.removeprefix("-")
        way, direction = ("<", "DESC") if question.sort.startswith("-") else (">", "ASC")
        if question.after is not None:
            tests.append(Sql(f"({column}, account, origin) {way} (?, ?, ?)", question.after))
        order = ", ".join(f"{one} {direction}" for one in (column, "account", "origin"))
        sql = _NOW.format(" AND ".join(test.text for test in tests), order)
        values = [value for test in tests for value in test.values]
        rows = [Row(*row) for row in run(sql, (*values, question.limit))]
        found: list[Known] = []
        for row in rows:
            (first,) = run(_FIRST, (row.account, row.origin)).fetchone()
            source, provider, realm_id, realm_name = compiler.symbol("source", row.origin)
            found.append(
                Known(row, source or "", provider or "", realm_id, realm_name, row.last if first is None else first)
            )
        return Accounts(found, since)
    finally:
        run("COMMIT")


def count_active(connection: sqlite3.Connection, compiler: Compiler, question: ActiveIn) -> list[Active | None]:
    """How many were active in each stretch, the last ones first; ``None``: there was no time left."""
    run = connection.execute
    found: list[Active | None] = [None] * len(question.stretches)
    until = monotonic() + question.seconds
    run("BEGIN")
    # One stretch may have more events than there is time for.
    connection.set_progress_handler(lambda: monotonic() >= until, _STEPS)
    try:
        _, origins = compiler.wanted(question.filter)
        sources: dict[str | None, int] = {}
        of = []
        for origin in () if origins is None else origins.sure:
            source, *_ = compiler.symbol("source", origin)
            of.append((origin, sources.setdefault(source, len(sources))))
        wanted = orjson.dumps(of).decode()
        for number in reversed(range(len(question.stretches))):
            if monotonic() >= until:
                break
            seen, got_in = run(_ACTIVE, (wanted, *question.stretches[number])).fetchone()
            found[number] = Active(seen, got_in)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        connection.set_progress_handler(None, 0)
        run("COMMIT")
    return found
