"""How a source proves who it is: bearer token, basic password, a header of its own, or a signature over the body.

One of the source's tokens serves in all of them. Every credential that a request presents must hold, so that a forged
signature beside a good token is refused; a request without any credential is refused, and so is one that presents a
credential twice.

Headers are judged before the body is read, and the body is read only for a signature over it. What is refused costs the
same for every name, so that the time does not tell which names are those of sources: each authenticator also works on
the credentials that only other sources know, and on as many tokens as the source with the most of them has.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import math
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy

from adapter.mapping.language import Credential, HeaderCredential, Hmac, HmacCredential, Jwt, JwtCredential

#: Whether a bearer token is one that may post to every source (the administrator's, a key with that permission).
MayIngest = Callable[[str], bool]

_Rule = TypeVar("_Rule", Hmac, Jwt)

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

#: Seconds that clocks may differ.
_LEEWAY = 60

#: Bytes that are hashed before other requests get a turn.
_TURN = 1024 * 1024

#: Signatures in one header that are looked at.
_SIGNATURES = 8


def said(credential: Credential) -> str:
    """How a token is presented in this credential, for people."""
    match credential:
        case HeaderCredential():
            return f"the header {credential.header}"
        case HmacCredential():
            return f"secret of the signature in {credential.hmac.header}"
        case JwtCredential():
            return f"secret of the signed token in {credential.jwt.header}"
        case "basic":
            return "basic password"
        case _:
            return "bearer token"


class Decoys:
    """What is done for every name alike: the credentials of all sources, and random tokens."""

    def __init__(self, credentials: Sequence[Credential] = (), tokens: int = 1) -> None:
        """``credentials`` are those of all sources, ``tokens`` the most that one of them has."""
        self.bare_authorization = any(_is_bare_authorization(credential) for credential in credentials)
        self.signatures = _distinct(
            credential.hmac for credential in credentials if isinstance(credential, HmacCredential)
        )
        self.jwts = _distinct(credential.jwt for credential in credentials if isinstance(credential, JwtCredential))
        self.tokens = [secrets.token_urlsafe(24).encode() for _ in range(tokens)]


class Signature(NamedTuple):
    """A signature that a request presents, and that only the body can prove."""

    rule: Hmac
    #: As they would be made: the texts of the header of which one must be right.
    given: Sequence[bytes]
    #: What is signed before and after the body.
    before: bytes
    after: bytes
    #: Whether it is a credential of this source, and not only of others.
    counts: bool


class Judgement(NamedTuple):
    """What the headers of a request tell about its sender."""

    #: Why it does not come from the source, for the operator and nobody else. ``None``: nothing speaks against it.
    refusal: str | None
    #: Whether the headers alone prove the source.
    proven: bool
    #: To be computed over the body; none: it need not be read for this.
    signatures: Sequence[Signature]


_PROVEN = Judgement(None, True, ())


class Authenticator:
    """The credentials of one source; without credentials and tokens, those of a name that is no source."""

    def __init__(
        self, credentials: Sequence[Credential], tokens: Sequence[str], may_ingest: MayIngest, decoys: Decoys
    ) -> None:
        self._bearer = "bearer" in credentials
        self._basic = "basic" in credentials
        #: Some send their secret as the whole of this header, without a scheme.
        self._bare_authorization = any(_is_bare_authorization(credential) for credential in credentials)
        self._headers = [
            credential.header
            for credential in credentials
            if isinstance(credential, HeaderCredential) and not _is_bare_authorization(credential)
        ]
        self._signatures = [credential.hmac for credential in credentials if isinstance(credential, HmacCredential)]
        self._jwts = [credential.jwt for credential in credentials if isinstance(credential, JwtCredential)]
        self._foreign_signatures = [rule for rule in decoys.signatures if rule not in self._signatures]
        self._foreign_jwts = [rule for rule in decoys.jwts if rule not in self._jwts]
        self._tokens = [token.encode() for token in tokens]
        #: So that all sources compare with as many.
        self._decoys = decoys.tokens[len(tokens) :]
        self._any_bare_authorization = decoys.bare_authorization
        self._may_ingest = may_ingest

    async def refusal(self, headers: Headers, body: bytes, now: float) -> str | None:
        """Why a request with these headers and this body (as it was sent) does not come from the source, for the
        operator and nobody else; ``None``: it does. ``now``: arrival, epoch seconds."""
        return await self.verify(self.judge(headers, now), headers, body, now)

    def judge(self, headers: Headers, now: float) -> Judgement:
        """What the headers alone tell. ``now``: arrival, epoch seconds."""
        refusal = None
        proven = False
        authorization = headers.getall("Authorization", None)
        if authorization is not None:
            # Every source takes tokens here, so that one that is wrong is wrong for every name.
            if len(authorization) > 1:
                return Judgement("it brings Authorization more than once", False, ())
            if not self._authorizes(authorization[0]):
                return Judgement("its Authorization is not that of the source", False, ())
            proven = True
        for name in self._headers:
            values = headers.getall(name, None)
            if values is not None:
                if len(values) > 1 or not self._is_token(values[0].encode("utf-8", "surrogateescape")):
                    refusal = f"its {name} is not the source's token"
                proven = True
        for rule in self._jwts:
            values = headers.getall(rule.header, None)
            if values is not None:
                if len(values) > 1 or not self._is_jwt(rule, values[0], now, self._tokens):
                    refusal = f"its {rule.header} is no token signed by the source's, or not valid now"
                proven = True
        signatures = []
        for signature in self._signatures:
            if signature.header in headers:
                presented = _presented(signature, headers, now, counts=True)
                if presented is None:
                    refusal = f"its {signature.header} is malformed, presented more than once, or not recent"
                else:
                    signatures.append(presented)
        if refusal is None and (proven or signatures):
            return Judgement(None, proven, signatures) if signatures else _PROVEN
        # The body of what is refused is read if it can be that of any source's signature.
        signatures += self._foreign(headers, now)
        return Judgement(
            refusal or "it brings none of the credentials that the source's table names", False, signatures
        )

    def _foreign(self, headers: Headers, now: float) -> list[Signature]:
        """What is done for a request that is refused, whatever its name is: all signed tokens are tried, and the
        signatures that only other sources know are to be computed."""
        for tokens, rules in ((self._decoys, self._jwts), ([*self._tokens, *self._decoys], self._foreign_jwts)):
            for rule in rules:
                value = _only(headers, rule.header)
                if value is not None:
                    self._is_jwt(rule, value, now, tokens)
        found = (_presented(rule, headers, now, counts=False) for rule in self._foreign_signatures)
        return [one for one in found if one is not None]

    async def verify(self, judgement: Judgement, headers: Headers, body: bytes, now: float) -> str | None:
        """Why a request that was judged so, with these headers at this time, and has this body (as it was sent), does
        not come from the source; ``None``: it does. Long bodies give other requests their turn."""
        refusal = judgement.refusal
        for signature in judgement.signatures:
            if not await self._signs(signature, body) and signature.counts:
                refusal = f"its {signature.rule.header} is no signature of this body by the source's token"
        if judgement.refusal is None and refusal is not None:
            for signature in self._foreign(headers, now):
                await self._signs(signature, body)
        return refusal

    def _authorizes(self, authorization: str) -> bool:
        scheme, _, value = authorization.partition(" ")
        value = value.strip()
        match scheme.lower():
            case "bearer":
                right = self._is_token(value.encode("utf-8", "surrogateescape")) and self._bearer
                if right or self._may_ingest(value):
                    return True
            case "basic":
                try:
                    _, _, password = base64.b64decode(value, validate=True).partition(b":")
                except (binascii.Error, ValueError):
                    password = b""
                if password and self._is_token(password) and self._basic:
                    return True
        if not self._any_bare_authorization:
            return False
        return self._is_token(authorization.encode("utf-8", "surrogateescape")) and self._bare_authorization

    def _is_token(self, presented: bytes) -> bool:
        # All are compared, so that the time does not tell which of them was the right one, or how many there are.
        right = sum(hmac.compare_digest(token, presented) for token in self._tokens)
        for decoy in self._decoys:
            hmac.compare_digest(decoy, presented)
        return right > 0

    async def _signs(self, signature: Signature, body: bytes) -> bool:
        """Whether one of the header's signatures is right for one token and one allowed digest."""
        for counts, tokens in ((signature.counts, self._tokens), (False, self._decoys)):
            if len(body) <= _TURN:
                signed = signature.before + body + signature.after
                macs = [hmac.digest(token, signed, digest) for token in tokens for digest in signature.rule.digest]
            else:
                macs = [
                    await _mac_in_turns(token, digest, signature, body)
                    for token in tokens
                    for digest in signature.rule.digest
                ]
            expected = [_text(signature.rule, mac) for mac in macs]
            right = sum(hmac.compare_digest(one, other) for one in expected for other in signature.given)
            if counts and right:
                return True
        return False

    @staticmethod
    def _is_jwt(rule: Jwt, value: str, now: float, tokens: Sequence[bytes]) -> bool:
        """Whether a token is signed with one of ``tokens``, and is valid now."""
        claims = [_claims(rule, value, token) for token in tokens]
        return any(one is not None and _is_valid(one, now) for one in claims)


def _distinct(rules: Iterable[_Rule]) -> list[_Rule]:
    """Each of equal rules once; they are not hashable."""
    found: list[_Rule] = []
    for rule in rules:
        if rule not in found:
            found.append(rule)
    return found


def _is_bare_authorization(credential: Credential) -> bool:
    return isinstance(credential, HeaderCredential) and credential.header.lower() == "authorization"


def _claims(rule: Jwt, value: str, token: bytes) -> Mapping[str, object] | None:
    """What a token says that is signed with the source's; ``None`` if it is not."""
    # Costs 17 MB of memory, which only who is sent such tokens should pay.
    from joserfc import jwt
    from joserfc.errors import SecurityWarning
    from joserfc.jwk import OctKey

    with warnings.catch_warnings():
        # How long the secret is was decided where it was made.
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return jwt.decode(value, OctKey.import_key(token), algorithms=list(rule.algorithms)).claims
        except Exception:
            # What is wrong with a stranger's token may be anything: nested too deep, no object, no text.
            return None


def _is_valid(claims: Mapping[str, object], now: float) -> bool:
    """Whether the timestamps in a signed token allow it now; one that is there and is no number does not."""
    for name in ("exp", "nbf", "iat"):
        timestamp = claims.get(name, now)
        if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
            return False
        if isinstance(timestamp, float) and not math.isfinite(timestamp):
            return False
        if timestamp <= now - _LEEWAY if name == "exp" else timestamp > now + _LEEWAY:
            return False
    return True


def _presented(rule: Hmac, headers: Headers, now: float, *, counts: bool) -> Signature | None:
    """The signature that the headers present for ``rule``; ``None`` if it cannot be right, whatever the body is."""
    value = _only(headers, rule.header)
    if value is None:
        return None
    presented = [one.strip() for one in value.split(",")[:_SIGNATURES]]
    parts = [one.partition("=")[::2] for one in presented]
    if rule.part is not None:
        presented = [text for name, text in parts if name == rule.part]
    if rule.bare:
        presented = [rule.prefix + one.removeprefix(rule.prefix) for one in presented]
    stamp = ""
    if rule.timestamp is not None:
        if rule.timestamp.header is not None:
            timestamp = _only(headers, rule.timestamp.header)
        else:
            timestamp = next((text for name, text in parts if name == rule.timestamp.part), None)
        if timestamp is None or not _is_recent(timestamp, now, rule.timestamp.tolerance):
            return None
        stamp = timestamp
    given = [one.encode("utf-8", "surrogateescape") for one in presented]
    if rule.signs == "{body}":
        return Signature(rule, given, b"", b"", counts)
    before, _, after = (part.replace("{timestamp}", stamp).encode() for part in rule.signs.partition("{body}"))
    return Signature(rule, given, before, after, counts)


def _only(headers: Headers, name: str) -> str | None:
    """The value of a header that is there once."""
    values = headers.getall(name, ())
    return values[0] if len(values) == 1 else None


def _is_recent(timestamp: str, now: float, tolerance: float) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 16):
        return False
    seconds = int(timestamp) / 1000 if len(timestamp) > 11 else int(timestamp)
    return abs(now - seconds) <= tolerance


async def _mac_in_turns(token: bytes, digest: str, signature: Signature, body: bytes) -> bytes:
    mac = hmac.new(token, signature.before, digest)
    view = memoryview(body)
    for at in range(0, len(view), _TURN):
        mac.update(view[at : at + _TURN])
        await asyncio.sleep(0)
    mac.update(signature.after)
    return mac.digest()


def _text(rule: Hmac, mac: bytes) -> bytes:
    """A signature as senders write it."""
    text = mac.hex().encode() if rule.encoding == "hex" else base64.b64encode(mac)
    return rule.prefix.encode() + text
