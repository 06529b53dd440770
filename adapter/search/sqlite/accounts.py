"""The accounts of a search database (`adapter.search.accounts`), as the filler keeps them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import orjson

from adapter.search.accounts import COUNTED, GROUPED, WAITING, Row, joined

COLUMNS = "account, origin, last, at, success, success_at, failures, failing, failed"
JOINED = joined("max")
GROUPED_NEW = GROUPED.format("account_new")

_WAIT = f"INSERT INTO account_new ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
_PUT = f"""
INSERT OR REPLACE INTO account ({COLUMNS}, doubtful)
SELECT {JOINED} FROM ({GROUPED_NEW} ORDER BY 1, 2) AS g
LEFT JOIN account AS a ON a.account = g.account AND a.origin = g.origin
"""
#: Events of an account, by its key.
_EVENTS = (
    "part AS p CROSS JOIN found_by AS f ON f.part = p.id AND f.key = ?1 "
    "CROSS JOIN event AS e ON e.position = f.position AND e.account = ?1 AND e.superseded_by IS NULL"
)
_COUNT = f"INSERT INTO account ({COLUMNS}) {COUNTED.format(_EVENTS)}"
#: Accounts whose rows say something of events that are to go.
_SAYING = """
SELECT DISTINCT e.account FROM json_each(?) AS gone CROSS JOIN event AS e ON e.position = gone.value
CROSS JOIN account AS a ON a.account = e.account AND a.origin = e.origin
WHERE e.position >= a.at OR e.time >= a.last OR e.position = a.success_at OR e.time >= a.failing
"""


# Filled, inside of a transaction


def add(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Add what some events say; from time to time it is put among the rest."""
    connection.executemany(_WAIT, rows)
    (waiting,) = connection.execute("SELECT max(rowid) FROM account_new").fetchone()
    if (waiting or 0) >= WAITING:
        put(connection)


def put(connection: sqlite3.Connection) -> None:
    """Put what waits among the rest."""
    connection.execute(_PUT)
    connection.execute("DELETE FROM account_new")
    doubtful = connection.execute("SELECT DISTINCT account FROM account WHERE doubtful").fetchall()
    count_again(connection, [account for (account,) in doubtful])


def saying(connection: sqlite3.Connection, positions: Sequence[int]) -> list[int]:
    """Accounts whose rows say something of these events, which are to go; nothing may wait."""
    return [account for (account,) in connection.execute(_SAYING, (orjson.dumps(positions).decode(),))]


def count_again(connection: sqlite3.Connection, accounts: Iterable[int]) -> None:
    """Count accounts again, from the events that are there; nothing of them may wait."""
    for account in sorted(accounts):
        connection.execute("DELETE FROM account WHERE account = ?", (account,))
        connection.execute(_COUNT, (account,))
