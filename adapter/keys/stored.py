"""A key as the log keeps it: what its holder may, and the digest of its token, from which nobody gets the token."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from adapter.principal import Principal
from adapter.settings import KeyGrant


def digest_of(token: str) -> bytes:
    """By what a token is known. A plain hash is enough: the tokens that are made have 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key of the log."""

    #: Made up when the key was; one that is made anew with the same name has another.
    id: str
    grant: KeyGrant
    #: SHA-256 of its token.
    digest: bytes
    #: Epoch milliseconds, and the name of a principal.
    created_at: int
    created_by: str
    #: Epoch milliseconds from which it is refused; ``None``: never.
    expires_at: int | None

    @property
    def name(self) -> str:
        return self.grant.name

    @property
    def principal(self) -> Principal:
        """Whoever has its token."""
        return Principal(self.name, self.grant.permissions, self.grant.scope, self.id)

    def has_expired(self, now: int) -> bool:
        """Whether it is refused at a time, epoch milliseconds."""
        return self.expires_at is not None and now >= self.expires_at


def write_keys(keys: Iterable[StoredKey]) -> str:
    """The text of the note that holds all keys."""
    return orjson.dumps(
        [
            {
                "id": one.id,
                "name": one.name,
                "digest": one.digest.hex(),
                "permissions": sorted(one.grant.permissions),
                **one.grant.scope.told(),
                "createdAt": one.created_at,
                "createdBy": one.created_by,
                "expiresAt": one.expires_at,
            }
            for one in keys
        ]
    ).decode()


def read_keys(text: str) -> list[StoredKey]:
    """The keys of a note.

    Raises:
        ValueError: it is not what `write_keys` of this version writes.
    """
    try:
        return [
            StoredKey(
                one["id"],
                KeyGrant(
                    name=one["name"],
                    permissions=one["permissions"],
                    realms=one.get("realms"),
                    sources=one.get("sources"),
                    providers=one.get("providers"),
                ),
                bytes.fromhex(one["digest"]),
                one["createdAt"],
                one["createdBy"],
                one["expiresAt"],
            )
            for one in orjson.loads(text)
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of keys: {error!r}") from None
