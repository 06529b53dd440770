"""The key that signs tokens to receivers (JWT, RS256), and its public half as they fetch it.

What needs joserfc is imported where a key is at hand: most services sign no tokens.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from adapter.errors import ConfigError

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

#: Bits of a key that is made, and the least of one that is given.
BITS = 2048
ALGORITHM = "RS256"
_RIGHT = f"must be a private RSA key of {BITS} bits or more, as PEM without a password or as a JWK"


class TokenKey:
    """A private RSA key."""

    def __init__(self, key: RSAKey) -> None:
        self._key = key
        told = key.as_dict(private=False)
        #: Its id: its thumbprint (RFC 7638).
        self.id = key.thumbprint()
        #: The public half, as a JWK.
        self.public: dict[str, Any] = {
            **{name: told[name] for name in ("kty", "n", "e")},
            "kid": self.id,
            "use": "sig",
            "alg": ALGORITHM,
        }

    @property
    def private(self) -> dict[str, object]:
        """All of it, as a JWK: for where it is kept alone."""
        told = self._key.as_dict(private=True)
        return {name: told[name] for name in ("kty", "n", "e", "d", "p", "q", "dp", "dq", "qi")}

    def secrets(self) -> list[str]:
        """Each part of it from which the rest can be found."""
        return [str(self.private[name]) for name in ("d", "p", "q", "dp", "dq")]

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with these claims."""
        from joserfc import jwt

        return jwt.encode({"alg": ALGORITHM, "typ": "JWT", "kid": self.id}, claims, self._key, algorithms=[ALGORITHM])


#: Gives the key of the service, which is made when it is asked for first.
GetTokenKey = Callable[[], Awaitable[TokenKey]]


def make_token_key() -> TokenKey:
    """A new one; takes a tenth of a second, or some."""
    from joserfc.jwk import RSAKey

    return TokenKey(RSAKey.generate_key(BITS))


def read_token_key(given: bytes, place: str) -> TokenKey:
    """A private key in PEM or as a JWK; ``place`` says where, for the error.

    Raises:
        ConfigError: it is none, or too short; the text holds nothing of it.
    """
    from joserfc.jwk import RSAKey

    try:
        with warnings.catch_warnings():
            # Of keys that are too short; those are refused.
            warnings.simplefilter("ignore")
            key = RSAKey.import_key(given if b"-----BEGIN" in given else json.loads(given))
        private = key.private_key
        if private is not None and private.key_size >= BITS:
            # What a JWK leaves out, such as the primes, is in it then.
            return TokenKey(RSAKey.import_key(key.as_pem(private=True)))
    except Exception:  # noqa: S110 - whatever is wrong with it, and the reason may hold the key
        pass
    raise ConfigError(f"{place}: {_RIGHT}")
