"""Where the key that signs statements comes from: the settings, or the data folder, where it is made once."""

from __future__ import annotations

from pathlib import Path

import orjson

from adapter.errors import ConfigError
from adapter.folder import STATEMENT_KEY, read_private_key, write_private_key
from adapter.reconciliation.statement import StatementKey, make_key, read_key


def open_key(configured: str | None, folder: Path) -> StatementKey:
    """The key of the settings, a JWK as JSON; or else the one of the data folder, which is made if there is none.

    Raises:
        ConfigError: it is none, or the folder cannot be used.
    """
    if configured is not None:
        try:
            given = orjson.loads(configured)
        except orjson.JSONDecodeError:
            given = None
        return read_key(given, "statements.key")
    kept = read_private_key(folder, STATEMENT_KEY)
    if kept is not None:
        try:
            return read_key(kept, str(folder / STATEMENT_KEY))
        except ConfigError as error:
            raise ConfigError(f"{error}; restore it, or remove it to have another one made") from None
    key = make_key()
    write_private_key(folder, STATEMENT_KEY, key.private)
    return key
