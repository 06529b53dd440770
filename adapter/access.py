"""Who may do what: the principals of tokens and their permissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from adapter.errors import ConfigError
from adapter.keys.live import LiveKeys
from adapter.keys.stored import digest_of
from adapter.oidc import Issuers
from adapter.principal import Principal
from adapter.settings import Permission

__all__ = ["ADMIN", "Access", "Principal", "bearer_token"]

#: The administrator's name; may do everything.
ADMIN = "admin"


class Access:
    """Who holds which token.

    Tokens are kept as digests and looked up by them, so that neither a dump nor the time of an answer tells anything
    about a token.

    Raises:
        ConfigError: two principals have the same token.
    """

    def __init__(
        self,
        principals: Iterable[tuple[str, Principal]],
        issuers: Issuers | None = None,
        sources: Mapping[str, str] | None = None,
        keys: LiveKeys | None = None,
    ) -> None:
        """``issuers``: who else makes tokens that are taken; ``sources``: of each configured one its provider;
        ``keys``: those of the log."""
        self._issuers = issuers
        self._keys = keys
        self.sources = sources or {}
        self._principals: dict[bytes, Principal] = {}
        for token, principal in principals:
            other = self._principals.setdefault(digest_of(token), principal)
            if other is not principal:
                raise ConfigError(f"keys: {principal.name} has the same token as {other.name}; give each its own")

    async def learn(self, token: str) -> str | None:
        """Find out whose token this is, if it is one of the issuers'. `principal` and `may` know it then; or why it is
        not taken, for the operator.

        Raises:
            RequestError: 503, that cannot be told now.
        """
        if self._issuers is not None and token.count(".") == 2 and self.key(token) is None:
            return await self._issuers.learn(token)
        return None

    def key(self, token: str) -> Principal | None:
        """Whose token of ours this is; ``None`` if it is none of ours."""
        digest = digest_of(token)
        found = self._principals.get(digest)
        return found if found is not None or self._keys is None else self._keys.principal(digest)

    def is_revoked(self, principal: Principal) -> bool:
        """Whether somebody who had a token when he asked has none now, since his key was revoked."""
        return principal.key_id is not None and (self._keys is None or not self._keys.has(principal.key_id))

    def principal(self, token: str) -> Principal | None:
        """Whose token this is; ``None`` if nobody's. Of an issuer's, `learn` was asked before."""
        found = self.key(token)
        return found if found is not None or self._issuers is None else self._issuers.principal(token)

    def may(self, token: str, permission: Permission) -> bool:
        """Whether the principal of this token, if it has one, has the permission, whatever that is limited to."""
        principal = self.principal(token)
        return principal is not None and permission in principal.permissions

    def may_post(self, token: str, source: str) -> bool:
        """Whether the principal of this token, if it has one, may post to a source."""
        principal = self.principal(token)
        return (
            principal is not None
            and Permission.INGEST in principal.permissions
            and principal.scope.has_source(source, self.sources)
        )


def bearer_token(authorization: str | None) -> str | None:
    """The token of an ``Authorization`` header; ``None`` if it holds none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
