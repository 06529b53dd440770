"""What went wrong in the database, or on the way there, as the errors that callers know."""

from __future__ import annotations

import asyncio

import asyncpg

from adapter.errors import ConfigError, StoreError, StoreUnavailable

#: What the client may end with when the connection ends within its own work: it has no kind for that.
_LOST = (OSError, TimeoutError, EOFError, asyncpg.InterfaceError, asyncpg.InternalClientError)
#: Everything that a question to the database may end with.
FAILURES = (asyncpg.PostgresError, *_LOST)

#: Classes of SQLSTATE (PostgreSQL's documentation, appendix A) that pass: connection, resources, intervention, system.
_PASSING = frozenset({"08", "53", "57", "58"})
#: And single states: read-only, lock not available, transaction ended for idling, serialization, deadlock.
_PASSING_STATES = frozenset({"25006", "25P03", "25P04", "55P03", "40001", "40P01"})
#: Those after which the same transaction may succeed at once.
_CLASHES = frozenset({"40001", "40P01"})
#: What the operator has to change: authorization, an unknown database, privileges.
_OPERATOR = frozenset({"28", "3D"})
_OPERATOR_STATES = frozenset({"42501"})


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith("08") or state in {"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"}
    if isinstance(error, ValueError):
        return False  # a value that the client could not send
    return isinstance(error, _LOST)


def is_clash(error: BaseException) -> bool:
    """Whether another transaction was in the way, and the same may succeed now."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _CLASHES


def store_error(name: str, error: BaseException) -> StoreError:
    """What to tell of an error; ``name`` is that of the database."""
    if isinstance(error, StoreError):
        return error
    said = _said(error)
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state[:2] in _PASSING or state in _PASSING_STATES or state[:2] in _OPERATOR or state in _OPERATOR_STATES:
            return StoreUnavailable(f"PostgreSQL at {name} cannot be used now: {said}")
        return StoreError(f"PostgreSQL at {name}: {said}")
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return StoreUnavailable(f"PostgreSQL at {name} has not answered in time")
    if is_lost(error):
        return StoreUnavailable(f"PostgreSQL at {name} cannot be reached: {said}")
    return StoreError(f"PostgreSQL at {name}: {said}")


def opening_error(name: str, error: BaseException) -> StoreError | ConfigError:
    """The same when the log is opened: what the operator has to change is told as that."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state[:2] in _OPERATOR or state in _OPERATOR_STATES:
            return ConfigError(f"the store's URL: PostgreSQL at {name} refuses: {_said(error)}")
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        # Its text may repeat a part of the URL.
        return ConfigError(f"the store's URL: PostgreSQL at {name} cannot be asked with these options")
    return store_error(name, error)


def _said(error: BaseException) -> str:
    said = str(error).strip() or type(error).__name__
    return said.splitlines()[0]
