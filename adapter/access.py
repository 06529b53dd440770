"""Who may do what: the principals of tokens and their permissions."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace

from adapter.errors import ConfigError
from adapter.keys.live import LiveKeys
from adapter.keys.sessions import SESSION_PREFIX, Sessions
from adapter.keys.stored import digest_of
from adapter.keys.stored_sessions import Parent, Session
from adapter.oidc import Issuers
from adapter.principal import Principal
from adapter.settings import Permission
from adapter.sign_ins import SignIns

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
        sessions: Sessions | None = None,
        sign_ins: SignIns | None = None,
    ) -> None:
        """``issuers``: who else makes tokens that are taken; ``sources``: of each configured one its provider;
        ``keys`` and ``sessions``: those of the log; ``sign_ins``: of those who signed in at an issuer."""
        self._issuers = issuers
        self._keys = keys
        self._sessions = sessions
        self._sign_ins = sign_ins
        self.sources = sources or {}
        self._principals: dict[bytes, Principal] = {}
        for token, principal in principals:
            other = self._principals.setdefault(digest_of(token), principal)
            if other is not principal:
                raise ConfigError(f"keys: {principal.name} has the same token as {other.name}; give each its own")
        self._digests = {principal.name: digest for digest, principal in self._principals.items()}

    async def learn(self, token: str) -> str | None:
        """Find out whose token this is, if it is one of the issuers'. `principal` and `may` know it then; or why it is
        not taken, for the operator.

        Raises:
            RequestError: 503, that cannot be told now.
            StoreError: likewise.
        """
        if self._sessions is not None and token.startswith(SESSION_PREFIX):
            await self._sessions.learn(token)
            session = self._sessions.find(token)
            if self._sign_ins is not None and session is not None:
                await self._sign_ins.ask_again(session, token)
        elif self._issuers is not None and token.count(".") == 2 and self.key(token) is None:
            return await self._issuers.learn(token)
        return None

    def key(self, token: str) -> Principal | None:
        """Whose token of ours this is; ``None`` if it is none of ours."""
        if self._sessions is not None and token.startswith(SESSION_PREFIX):
            session = self._sessions.find(token)
            return None if session is None or session.is_link else self.of_session(session, token)
        digest = digest_of(token)
        found = self._principals.get(digest)
        return found if found is not None or self._keys is None else self._keys.principal(digest)

    def is_revoked(self, principal: Principal) -> bool:
        """Whether somebody who had a token when he asked has none now: his key was revoked, or has expired, or
        he signed out."""
        if principal.session_id is not None and (
            self._sessions is None or not self._sessions.has(principal.session_id)
        ):
            return True
        return principal.key_id is not None and (self._keys is None or not self._keys.has(principal.key_id))

    def parent(self, token: str) -> Parent | None:
        """Whose rights a session has that is opened with a token, of which `learn` was asked before; ``None``: with
        this one none is."""
        digest = digest_of(token)
        if (found := self._principals.get(digest)) is not None:
            return Parent("settings", found.name, digest)
        if self._keys is not None and (found := self._keys.principal(digest)) is not None and found.key_id is not None:
            return Parent("key", found.key_id)
        return None

    def of_session(self, session: Session, token: str) -> Principal | None:
        """What the holder of a session's or a link's token may: what its parent may now; ``None``: that is nobody's any
        more."""
        parent = self.parent_of(session, token)
        found: Principal | None = None
        if parent is not None and parent.kind == "settings":
            found = self._principals.get(parent.digest)
        elif parent is not None and parent.kind == "key" and self._keys is not None:
            found = self._keys.by_id(parent.name)
        elif parent is not None and parent.kind == "issuer" and self._sign_ins is not None:
            found = self._sign_ins.principal(parent)
        return None if found is None else replace(found, session_id=session.id)

    def parent_of(self, session: Session, token: str) -> Parent | None:
        """The parent of a session or a link, of whose token this is; ``None``: it is gone, or has another token now."""
        if session.parent.kind != "settings":
            return session.parent
        parent = replace(session.parent, digest=self._digests.get(session.parent.name, b""))
        return parent if parent.digest and hmac.compare_digest(parent.proof(token), session.proof) else None

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
