"""Somebody who has a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from adapter.scope import EVERYTHING, Scope
from adapter.settings import Permission


class Person(NamedTuple):
    """What a token says of its holder; ``None``: nothing."""

    id: str | None = None
    name: str | None = None
    client: str | None = None
    session: str | None = None
    #: Name of the realm that made the token.
    realm: str | None = None


@dataclass(slots=True, frozen=True)
class Principal:
    """Somebody who has a token."""

    name: str
    permissions: frozenset[Permission]
    #: What its permissions are limited to.
    scope: Scope = EVERYTHING
    #: Of a key of the log its id: such a key may end while an answer is written.
    key_id: str | None = None
    #: Of an issuer's token.
    person: Person | None = None
    #: Of a browser's session its id: likewise.
    session_id: str | None = None
