"""Names that speak of secrets."""

from __future__ import annotations

import re

#: Speak of a secret wherever they stand in a name.
_PARTS = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "credential", "authorization", "cookie",
    "apikey", "accesskey", "privatekey",
)  # fmt: skip
#: So short that they must be a word of their own.
_WORDS = frozenset(("pwd", "otp", "totp", "pin", "jwt"))
#: As the last word of a name: it tells something about the secret, and is none.
_ABOUT = frozenset((
    "type", "kind", "id", "name", "count", "length", "status", "state", "policy", "method", "at", "time", "date",
    "expires", "expiry", "expiration", "ttl", "age", "url", "uri", "endpoint", "issuer",
))  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def speaks_of_secret(name: str) -> bool:
    """Whether what stands under a key of this name is a secret, as far as a name can tell."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    whole = "".join(words)
    return not _WORDS.isdisjoint(words) or any(part in whole for part in _PARTS)
