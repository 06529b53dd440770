"""A session as the log keeps it: whose rights it has, and the digest of its token, from which nobody gets the token."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from adapter.principal import Person


@dataclass(frozen=True, slots=True)
class Parent:
    """Whose rights a session has."""

    #: `settings`: a token of theirs, or the administrator's; `key`: one of the log; `issuer`: who signed in there.
    kind: str
    #: The name of the token's principal, the key's id, or the issuer.
    name: str
    #: The digest of a token of the settings. It may have been made by a person, so the log has what proves it alone.
    digest: bytes = field(default=b"", repr=False)
    #: Of an issuer: the roles that were told at the sign-in, the name, and who that is.
    roles: tuple[str, ...] = ()
    principal: str = ""
    person: Person | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What all sessions of one parent have in common."""
        return self.kind, self.name, None if self.person is None else self.person.id

    def proof(self, token: str) -> str:
        """What says for a session with this token that its parent has had this digest, and tells it to nobody."""
        return hmac.digest(token.encode("utf-8", "surrogateescape"), self.digest, "sha256").hex() if self.digest else ""


@dataclass(frozen=True, slots=True)
class Session:
    """A session, or a link that becomes one. Times are epoch milliseconds."""

    id: str
    #: Of its token.
    digest: bytes
    parent: Parent
    proof: str
    #: The name of who signed in, when that was.
    name: str
    created_at: int
    expires_at: int
    #: How he signed in: `key`, `link`, `oidc`.
    by: str
    is_link: bool = False
    #: Of one whose parent is at an issuer: when that was asked last, and with what it is asked again, sealed so that
    #: the session's token alone opens it.
    asked_at: int = 0
    sealed: str = ""

    def has_expired(self, now: int) -> bool:
        """Whether it is over at a time, epoch milliseconds."""
        return not self.created_at - 60_000 <= now < self.expires_at


def write_sessions(sessions: Iterable[Session]) -> str:
    """The text of the note that holds all sessions."""
    return orjson.dumps(
        [
            {
                "id": one.id,
                "digest": one.digest.hex(),
                "parent": one.parent.kind,
                "of": one.parent.name,
                "proof": one.proof,
                "roles": one.parent.roles,
                "principal": one.parent.principal,
                "person": None if one.parent.person is None else list(one.parent.person),
                "name": one.name,
                "createdAt": one.created_at,
                "expiresAt": one.expires_at,
                "by": one.by,
                "isLink": one.is_link,
                "askedAt": one.asked_at,
                "sealed": one.sealed,
            }
            for one in sessions
        ]
    ).decode()


def read_sessions(text: str) -> list[Session]:
    """The sessions of a note.

    Raises:
        ValueError: it is not what `write_sessions` of this version writes.
    """
    try:
        return [_session(one) for one in orjson.loads(text)]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of sessions: {error!r}") from None


def _session(one: dict[str, Any]) -> Session:
    person = None if one["person"] is None else Person(*one["person"])
    parent = Parent(
        one["parent"], one["of"], roles=tuple(one["roles"]), principal=one["principal"], person=person
    )  # fmt: skip
    return Session(
        one["id"], bytes.fromhex(one["digest"]), parent, one["proof"], one["name"], one["createdAt"], one["expiresAt"],
        one["by"], one["isLink"], one["askedAt"], one["sealed"],
    )  # fmt: skip
