"""How a source proves who it is: bearer token, basic password, a header of its own, or a signature over the body.

One of the source's tokens serves in all of them. Every proof that a request presents must hold, so that a forged
signature beside a good token is refused; a request without any proof is refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence

from adapter.mapping.language import HeaderProof, Hmac, HmacProof, Proof

#: Whether a bearer token is one that may post to every source (the administrator's, a key with that permission).
MayIngest = Callable[[str], bool]


class Authenticator:
    """The proofs of one source."""

    def __init__(self, proofs: Sequence[Proof], tokens: Sequence[str], may_ingest: MayIngest) -> None:
        self._bearer = "bearer" in proofs
        self._basic = "basic" in proofs
        self._headers = [proof.header for proof in proofs if isinstance(proof, HeaderProof)]
        self._signatures = [proof.hmac for proof in proofs if isinstance(proof, HmacProof)]
        self._tokens = [token.encode() for token in tokens]
        self._may_ingest = may_ingest

    def proves(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the request with these headers and this body (as it was sent) comes from the source."""
        proven = False
        authorization = headers.get("Authorization")
        if authorization is not None:
            if not self._authorizes(authorization):
                return False
            proven = True
        for name in self._headers:
            value = headers.get(name)
            if value is not None:
                if not self._is_token(value.encode("utf-8", "surrogateescape")):
                    return False
                proven = True
        for signature in self._signatures:
            value = headers.get(signature.header)
            if value is not None:
                if not self._signs(signature, value, body):
                    return False
                proven = True
        return proven

    def _authorizes(self, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        value = value.strip()
        match scheme.lower():
            case "bearer":
                presented = value.encode("utf-8", "surrogateescape")
                return (self._bearer and self._is_token(presented)) or self._may_ingest(value)
            case "basic" if self._basic:
                try:
                    _, _, password = base64.b64decode(value, validate=True).partition(b":")
                except (binascii.Error, ValueError):
                    return False
                return self._is_token(password)
            case _:
                return False

    def _is_token(self, presented: bytes) -> bool:
        # All are compared, so that the time does not tell which of them was the right one.
        return sum(hmac.compare_digest(token, presented) for token in self._tokens) > 0

    def _signs(self, rule: Hmac, value: str, body: bytes) -> bool:
        """Whether one of the comma-separated signatures is right for one token and one allowed digest."""
        expected = [_signature(rule, token, digest, body) for token in self._tokens for digest in rule.digest]
        presented = [one.strip().encode("utf-8", "surrogateescape") for one in value.split(",")[:8]]
        return sum(hmac.compare_digest(one, other) for one in expected for other in presented) > 0


def _signature(rule: Hmac, token: bytes, digest: str, body: bytes) -> bytes:
    mac = hmac.digest(token, body, digest)
    text = mac.hex().encode() if rule.encoding == "hex" else base64.b64encode(mac)
    return rule.prefix.encode() + text
