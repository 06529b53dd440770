"""Where the database is: the URL that the operator gives, and what of it may be told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from adapter.errors import ConfigError

#: The schema that has the tables, if the URL names none.
SCHEMA = "idp_adapter"

_SCHEMES = ("postgresql", "postgres")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")


@dataclass(slots=True, frozen=True)
class Address:
    """A database, and the schema in it that has the tables."""

    #: For asyncpg; may hold a password, and is never told.
    url: str = field(repr=False)
    schema: str
    #: What may be told: host, port and database.
    name: str

    @property
    def channel(self) -> str:
        """Where is told that the log is longer."""
        return f"{self.schema}_head"


def read_address(url: str) -> Address:
    """Read ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…&schema=…``: what PostgreSQL's own clients
    take (libpq, section "Connection URIs"), and ``schema``.

    Raises:
        ConfigError: it is no such URL. The text does not repeat it, since it may hold a password.
    """
    try:
        split = urlsplit(url)
        hosts = split.netloc.rpartition("@")[2]
        options = parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query))
    except ValueError:
        raise ConfigError("the store's URL cannot be read; postgresql://USER:PASSWORD@HOST/DATABASE is one") from None
    if split.scheme not in _SCHEMES:
        raise ConfigError("the store's URL does not begin with postgresql://")
    if split.fragment:
        raise ConfigError("the store's URL ends in a fragment; a '#' in a password is written %23")
    given = dict(options)
    schema = given.pop("schema", SCHEMA)
    if not _NAME.fullmatch(schema):
        raise ConfigError(
            "the store's URL: schema has to be a name of small letters, digits and '_', of at most 48 characters"
        )
    # Others are read-only standbys. Whoever names several hosts gets the one that is not.
    given.setdefault("target_session_attrs", "primary")
    told = f"{hosts or given.get('host') or 'the local server'}{split.path}"
    return Address(urlunsplit(split._replace(query=urlencode(given))), schema, told)
