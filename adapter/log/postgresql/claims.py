"""Claims, by the database's clock: of several services, one does what only one may do at a time.

Nothing tells whether a service lives but time: whoever was killed, stopped or cut off does not renew, and whoever comes
back finds a greater token (`adapter.log.postgresql.progress` checks it where something is written).
"""

from __future__ import annotations

from adapter.log.postgresql.connecting import Connection
from adapter.log.postgresql.works import text
from adapter.log.protocol import Claim

# The clock is read when the row is locked: a wait for it counts.
_CLAIM = """
INSERT INTO claim AS held (name, token, owner, until)
VALUES ($1, 1, $2, clock_timestamp() + $3 * interval '1 second')
ON CONFLICT (name) DO UPDATE SET
  token = held.token + (held.owner IS DISTINCT FROM excluded.owner)::integer,
  owner = excluded.owner,
  until = clock_timestamp() + $3 * interval '1 second'
WHERE held.owner = excluded.owner OR held.until <= clock_timestamp()
RETURNING token
"""
_RELEASE = "UPDATE claim SET owner = NULL, until = clock_timestamp() WHERE name = $1 AND token = $2"


async def take(connection: Connection, name: str, owner: str, seconds: float) -> Claim | None:
    """As `adapter.log.protocol.Claims.claim`, for so many seconds."""
    token = await connection.fetchval(_CLAIM, text(name), text(owner), seconds)
    return None if token is None else Claim(name, token, seconds)


async def release(connection: Connection, claim: Claim) -> None:
    """As `adapter.log.protocol.Claims.release`."""
    await connection.execute(_RELEASE, text(claim.name), claim.token)
