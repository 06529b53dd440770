"""The accounts of a search: when each was seen last, when somebody got in with it last, and how often nobody did since.

An account is a user id in the events of one source and realm. What its events say of it is kept in a row, which a batch
of the filler adds to; the last rows wait apart, and are put among the others many at a time, in the order of the keys:
a row in a large table costs a page, and so neighbours share them. What somebody else has done to an account says
nothing of it, nor does what a provider says of a user that it does not know.

Failures are counted since the last success. Where a success comes in late, between failures that are counted already,
or where events were removed or read anew, the account is counted again, from its events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapter.search_fields import SYSTEM, SearchFields

#: What an event is for its account: somebody got in, or did not.
SUCCESS, FAILURE = 1, 2
#: Rows that may wait until they are put among the others: a question looks through all of them.
WAITING = 100_000


class Row(NamedTuple):
    """What some events say of an account. Times: epoch milliseconds."""

    #: Fingerprint of its id.
    account: int
    origin: int
    #: When it was seen last, and in which entry of the log.
    last: int
    at: int
    #: The same of the last success.
    success: int | None
    success_at: int | None
    #: Since then; and when the first and the last of these were.
    failures: int
    failing: int | None
    failed: int | None


def account_of(found: SearchFields) -> str | None:
    """The id of the account that acted; ``None``: of none, or nobody knows whether there is one."""
    if found.actor is None or found.reason == "unknown_user" or found.type.startswith(SYSTEM):
        return None
    return found.actor


def deed_of(found: SearchFields) -> int | None:
    """What an event is for the account that acted."""
    if found.type == "access.LOGIN" and found.outcome == "success":
        return SUCCESS
    return FAILURE if found.type == "access.LOGIN_ERROR" else None


class Deeds:
    """What the events of a batch say of their accounts."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], Row] = {}
        self._failures: list[Row] = []

    def take(
        self, account: int | None, deed: int | None, origin: int, time: int, position: int, *, is_new: bool
    ) -> None:
        """Take in an event, with the fingerprint of its account and what it is for it; ``is_new``: no earlier entry of
        it was, whose failure is counted."""
        if account is None:
            return
        if deed == FAILURE and is_new:
            self._failures.append(Row(account, origin, time, position, None, None, 1, time, time))
            return
        success, success_at = (time, position) if deed == SUCCESS else (None, None)
        row = Row(account, origin, time, position, success, success_at, 0, None, None)
        key = (account, origin)
        before = self._seen.get(key)
        if before is None:
            self._seen[key] = row
            return
        if success is None or (before.success is not None and before.success > success):
            success, success_at = before.success, before.success_at
        self._seen[key] = row._replace(last=max(time, before.last), success=success, success_at=success_at)

    def rows(self) -> list[Row]:
        """A row for each account, and one for each failure, which may be before or after a success."""
        return [*self._seen.values(), *self._failures]


#: Rows of one account joined: of those in ``{0}``, which has the columns of `Row`.
GROUPED = """
SELECT account, origin, max(last) AS last, max(at) AS at, max(success) AS success,
  max(success_at) FILTER (WHERE success = s) AS success_at,
  CAST(coalesce(sum(failures) FILTER (WHERE failed > s), 0) AS bigint) AS failures,
  min(failing) FILTER (WHERE failed > s) AS failing, max(failed) FILTER (WHERE failed > s) AS failed
FROM (SELECT {0}.*, coalesce(max(success) OVER (PARTITION BY account, origin), -1) AS s FROM {0}) AS said
GROUP BY account, origin
"""
_S = "{greatest}(coalesce(a.success, -1), coalesce(g.success, -1))"
#: Columns of a row ``a`` that was there, joined with one ``g`` of `GROUPED`. The last says that the failures are to be
#: counted again.
JOINED = (
    "g.account AS account, g.origin AS origin, "
    "CASE WHEN a.last > g.last THEN a.last ELSE g.last END AS last, "
    "CASE WHEN a.at > g.at THEN a.at ELSE g.at END AS at, "
    "CASE WHEN a.success > coalesce(g.success, -1) THEN a.success ELSE g.success END AS success, "
    "CASE WHEN a.success > coalesce(g.success, -1) THEN a.success_at ELSE g.success_at END AS success_at, "
    f"CASE WHEN a.failed > {_S} THEN a.failures ELSE 0 END + CASE WHEN g.failed > {_S} THEN g.failures ELSE 0 END "
    "AS failures, "
    f"CASE WHEN a.failed > {_S} AND (g.failing IS NULL OR a.failing < g.failing OR NOT g.failed > {_S}) THEN a.failing "
    f"WHEN g.failed > {_S} THEN g.failing END AS failing, "
    f"CASE WHEN a.failed > {_S} AND (g.failed IS NULL OR a.failed > g.failed) THEN a.failed "
    f"WHEN g.failed > {_S} THEN g.failed END AS failed, "
    f"CASE WHEN (a.failing <= {_S} AND a.failed > {_S}) OR (g.failing <= {_S} AND g.failed > {_S}) THEN 1 ELSE 0 END "
    "AS doubtful"
)


def joined(greatest: str) -> str:
    """`JOINED` with the engine's name for the greatest of two numbers."""
    return JOINED.replace("{greatest}", greatest)


#: What events that are read as ``{0}`` say of each account now.
COUNTED = f"""
SELECT account, origin, max(time) AS last, max(position) AS at, max(success) AS success,
  max(position) FILTER (WHERE deed = {SUCCESS} AND time = success) AS success_at,
  count(*) FILTER (WHERE deed = {FAILURE} AND time > coalesce(success, -1)) AS failures,
  min(time) FILTER (WHERE deed = {FAILURE} AND time > coalesce(success, -1)) AS failing,
  max(time) FILTER (WHERE deed = {FAILURE} AND time > coalesce(success, -1)) AS failed
FROM (
  SELECT e.account, e.origin, e.time, e.position, e.deed,
    max(CASE WHEN e.deed = {SUCCESS} THEN e.time END) OVER (PARTITION BY e.account, e.origin) AS success
  FROM {{0}}
) AS said GROUP BY account, origin
"""


def changed_by(before: Sequence[int | None] | None, after: Sequence[int | None] | None) -> set[int]:
    """The accounts that are to be counted again where an event is read anew: account, origin, time and deed of both
    readings; ``None``: it was no event."""
    if before is not None and after is not None and tuple(before) == tuple(after):
        return set()
    return {row[0] for row in (before, after) if row is not None and row[0] is not None}
