"""Who may do what: the principals of tokens and their permissions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from adapter.errors import ConfigError
from adapter.settings import Permission

#: The administrator's name; may do everything.
ADMIN = "admin"


@dataclass(slots=True, frozen=True)
class Principal:
    """Somebody who has a token."""

    name: str
    permissions: frozenset[Permission]


class Access:
    """Who holds which token.

    Tokens are kept as digests and looked up by them, so that neither a dump nor the time of an answer tells anything
    about a token.

    Raises:
        ConfigError: two principals have the same token.
    """

    def __init__(self, principals: Iterable[tuple[str, Principal]]) -> None:
        self._principals: dict[bytes, Principal] = {}
        for token, principal in principals:
            other = self._principals.setdefault(_digest(token), principal)
            if other is not principal:
                raise ConfigError(f"keys: {principal.name} has the same token as {other.name}; give each its own")

    def principal(self, token: str) -> Principal | None:
        """Whose token this is; ``None`` if nobody's."""
        return self._principals.get(_digest(token))

    def may(self, token: str, permission: Permission) -> bool:
        """Whether the principal of this token, if it has one, has the permission."""
        principal = self.principal(token)
        return principal is not None and permission in principal.permissions


def bearer_token(authorization: str | None) -> str | None:
    """The token of an ``Authorization`` header; ``None`` if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
