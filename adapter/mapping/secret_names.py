"""Names that speak of secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

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


class Harmless:
    """Names that were found to be no secret's. What sends events sends the same keys each time: an object that has
    none but known ones is judged by one call.

    Senders choose names, so those that are remembered are bounded in number and length; a name that is forgotten is
    judged again."""

    #: Names that are remembered, and characters of one.
    LIMIT, LENGTH = 2048, 128

    def __init__(self, is_secret: Callable[[str], bool]) -> None:
        self._is_secret = is_secret
        self._names: set[str] = set()

    def has(self, names: Collection[str]) -> bool:
        """Whether none of these names is a secret's."""
        known = self._names
        if known.issuperset(names):
            return True
        for name in names:
            if name in known:
                continue
            if self._is_secret(name):
                return False
            if len(name) <= self.LENGTH:
                if len(known) >= self.LIMIT:
                    known.clear()
                known.add(name)
        return True
