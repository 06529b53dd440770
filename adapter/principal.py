"""Somebody who has a token."""

from __future__ import annotations

from dataclasses import dataclass

from adapter.scope import EVERYTHING, Scope
from adapter.settings import Permission


@dataclass(slots=True, frozen=True)
class Principal:
    """Somebody who has a token."""

    name: str
    permissions: frozenset[Permission]
    #: What its permissions are limited to.
    scope: Scope = EVERYTHING
    #: Of a key of the log its id: such a key may be revoked while an answer is written.
    key_id: str | None = None
