"""Somebody who has a token."""

from __future__ import annotations

from dataclasses import dataclass

from adapter.settings import Permission


@dataclass(slots=True, frozen=True)
class Principal:
    """Somebody who has a token."""

    name: str
    permissions: frozenset[Permission]
    #: Names and ids of the realms whose events it may read; ``None``: all of them, and what is no realm's.
    realms: tuple[str, ...] | None = None
