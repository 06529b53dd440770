"""Who may do what: the holders of tokens and their permissions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from adapter.errors import ConfigError
from adapter.settings import Permission

#: The administrator's name; may do everything.
ADMIN = "admin"


@dataclass(slots=True, frozen=True)
class Holder:
    """Somebody who has a token."""

    name: str
    permissions: frozenset[Permission]


class Access:
    """Who holds which token.

    Tokens are kept as digests and looked up by them, so that neither a dump nor the time of an answer tells anything
    about a token.

    Raises:
        ConfigError: two holders have the same token.
    """

    def __init__(self, holders: Iterable[tuple[str, Holder]]) -> None:
        self._holders: dict[bytes, Holder] = {}
        for token, holder in holders:
            other = self._holders.setdefault(_digest(token), holder)
            if other is not holder:
                raise ConfigError(f"keys: {holder.name} has the same token as {other.name}; give each its own")

    def holder(self, token: str) -> Holder | None:
        """Whose token this is; ``None`` if nobody's."""
        return self._holders.get(_digest(token))

    def may(self, token: str, permission: Permission) -> bool:
        """Whether the holder of this token, if it has one, has the permission."""
        holder = self.holder(token)
        return holder is not None and permission in holder.permissions


def bearer_token(authorization: str | None) -> str | None:
    """The token of an ``Authorization`` header; ``None`` if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
