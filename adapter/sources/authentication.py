"""How a source proves who it is: bearer token, basic password, a header of its own, or a signature over the body.

One of the source's tokens serves in all of them. Every proof that a request presents must hold, so that a forged
signature beside a good token is refused; a request without any proof is refused.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import warnings
from collections.abc import Callable, Mapping, Sequence

from adapter.mapping.language import HeaderProof, Hmac, HmacProof, Jwt, JwtProof, Proof

#: Whether a bearer token is one that may post to every source (the administrator's, a key with that permission).
MayIngest = Callable[[str], bool]


def said(proof: Proof) -> str:
    """How a token is presented in this proof, for people."""
    match proof:
        case HeaderProof():
            return f"the header {proof.header}"
        case HmacProof():
            return f"secret of the signature in {proof.hmac.header}"
        case JwtProof():
            return f"secret of the signed token in {proof.jwt.header}"
        case "basic":
            return "basic password"
        case _:
            return "bearer token"


class Authenticator:
    """The proofs of one source."""

    def __init__(self, proofs: Sequence[Proof], tokens: Sequence[str], may_ingest: MayIngest) -> None:
        self._bearer = "bearer" in proofs
        self._basic = "basic" in proofs
        headers = [proof.header for proof in proofs if isinstance(proof, HeaderProof)]
        #: Some send their secret as the whole of this header, without a scheme.
        self._bare_authorization = any(header.lower() == "authorization" for header in headers)
        self._headers = [header for header in headers if header.lower() != "authorization"]
        self._signatures = [proof.hmac for proof in proofs if isinstance(proof, HmacProof)]
        self._jwts = [proof.jwt for proof in proofs if isinstance(proof, JwtProof)]
        self._tokens = [token.encode() for token in tokens]
        self._may_ingest = may_ingest

    def proves(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        """Whether the request with these headers and this body (as it was sent) comes from the source. ``now``:
        arrival, epoch seconds."""
        return self.refusal(headers, body, now) is None

    def refusal(self, headers: Mapping[str, str], body: bytes, now: float) -> str | None:
        """Why a request does not come from the source, for the operator and nobody else; ``None``: it does."""
        proven = False
        authorization = headers.get("Authorization")
        if authorization is not None:
            if not self._authorizes(authorization):
                return "its Authorization is not that of the source"
            proven = True
        for name in self._headers:
            value = headers.get(name)
            if value is not None:
                if not self._is_token(value.encode("utf-8", "surrogateescape")):
                    return f"its {name} is not the source's token"
                proven = True
        for signature in self._signatures:
            value = headers.get(signature.header)
            if value is not None:
                if not self._signs(signature, value, headers, body, now):
                    return f"its {signature.header} is no signature of this body by the source's token, or not recent"
                proven = True
        for rule in self._jwts:
            value = headers.get(rule.header)
            if value is not None:
                if not self._is_jwt(rule, value, now):
                    return f"its {rule.header} is no token signed by the source's, or has run out"
                proven = True
        return None if proven else "it brings none of the proofs that the source's table names"

    def _authorizes(self, authorization: str) -> bool:
        if self._bare_authorization and self._is_token(authorization.encode("utf-8", "surrogateescape")):
            return True
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

    def _signs(self, rule: Hmac, value: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        """Whether one of the header's signatures is right for one token and one allowed digest."""
        presented = [one.strip() for one in value.split(",")[:8]]
        parts = [one.partition("=")[::2] for one in presented]
        if rule.part is not None:
            presented = [text for name, text in parts if name == rule.part]
        if rule.bare:
            presented = [rule.prefix + one.removeprefix(rule.prefix) for one in presented]
        moment = None
        if rule.timestamp is not None:
            if rule.timestamp.header is not None:
                moment = headers.get(rule.timestamp.header)
            else:
                moment = next((text for name, text in parts if name == rule.timestamp.part), None)
            if moment is None or not _is_recent(moment, now, rule.timestamp.tolerance):
                return False
        signed = _signed(rule.signs, body, moment)
        expected = [_signature(rule, token, digest, signed) for token in self._tokens for digest in rule.digest]
        given = [one.encode("utf-8", "surrogateescape") for one in presented]
        return sum(hmac.compare_digest(one, other) for one in expected for other in given) > 0

    def _is_jwt(self, rule: Jwt, value: str, now: float) -> bool:
        """Whether a token is signed with one of the source's, and has not run out."""
        # Costs 17 MB of memory, which only who is sent such tokens should pay.
        from joserfc import jwt
        from joserfc.errors import JoseError, SecurityWarning
        from joserfc.jwk import OctKey

        for token in self._tokens:
            with warnings.catch_warnings():
                # How long the secret is was decided where it was made.
                warnings.simplefilter("ignore", SecurityWarning)
                try:
                    claims = jwt.decode(value, OctKey.import_key(token), algorithms=list(rule.algorithms)).claims
                except (JoseError, ValueError):
                    continue
            expires = claims.get("exp")
            return not isinstance(expires, int | float) or expires > now - _LEEWAY
        return False


#: Seconds that clocks may differ.
_LEEWAY = 60


def _is_recent(moment: str, now: float, tolerance: float) -> bool:
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 16):
        return False
    seconds = int(moment) / 1000 if len(moment) > 11 else int(moment)
    return abs(now - seconds) <= tolerance


def _signed(template: str, body: bytes, moment: str | None) -> bytes:
    before, _, after = template.partition("{body}")
    stamp = moment or ""
    return before.replace("{timestamp}", stamp).encode() + body + after.replace("{timestamp}", stamp).encode()


def _signature(rule: Hmac, token: bytes, digest: str, signed: bytes) -> bytes:
    mac = hmac.digest(token, signed, digest)
    text = mac.hex().encode() if rule.encoding == "hex" else base64.b64encode(mac)
    return rule.prefix.encode() + text
