"""How a source proves who it is: bearer token, basic password, a header of its own, a signature over the body, or a
signed token.

One of the source's tokens serves in all of them but those signed with a private key. Every credential that a request
presents must hold, so that a forged signature beside a good token is refused; a request without any credential is
refused, and so is one that presents a credential twice.

Headers are judged before the body is read, and the body is read only for a signature over it, or its hash. What is
refused costs the same for every name, so that the time does not tell which names are those of sources: each
authenticator also works on the credentials that only other sources know, and on as many tokens as the source with the
most of them has.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy

from adapter.errors import RequestError
from adapter.mapping.language import Credential, HeaderCredential, Hmac, HmacCredential, Jwt, JwtCredential
from adapter.sources.public_keys import PublicKeys
from adapter.sources.signed_token import (
    TRIED,
    HashedBody,
    Meant,
    decoy_key,
    hashed_body,
    is_meant,
    public_claims,
    read_token,
    shared_claims,
)

#: Whether a bearer token is one that may post here (the administrator's, a key with that permission).
MayIngest = Callable[[str], bool]
#: Finds out before whose a bearer token is that somebody else made, or why it is not taken; raises `RequestError` (503)
#: if that cannot be told.
Learn = Callable[[str], Awaitable[str | None]]

_Rule = TypeVar("_Rule", Hmac, Jwt)

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

#: Bytes that are hashed before other requests get a turn.
_TURN = 1024 * 1024

#: Signatures in one header that are looked at.
_SIGNATURES = 8


def said(credential: Credential) -> str | None:
    """How a token is presented in this credential, for people; ``None``: it is signed with a private key, and proves
    what no token does."""
    match credential:
        case HeaderCredential():
            return f"the header {credential.header}"
        case HmacCredential():
            return f"secret of the signature in {credential.hmac.header}"
        case JwtCredential() if not any(one.startswith("HS") for one in credential.jwt.algorithms):
            return None
        case JwtCredential():
            unbound = " (which does not cover the body)" if credential.jwt.body_hash is None else ""
            return f"key of the signed token in {credential.jwt.header}{unbound}"
        case "basic":
            return "basic password"
        case _:
            return "bearer token"


def unbound(credentials: Iterable[Credential]) -> list[Jwt]:
    """The signed tokens among credentials that do not cover the body."""
    return [one.jwt for one in credentials if isinstance(one, JwtCredential) and one.jwt.body_hash is None]


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
    signatures: Sequence[Signature | HashedBody]


_PROVEN = Judgement(None, True, ())


class Authenticator:
    """The credentials of one source; without credentials and tokens, those of a name that is no source."""

    def __init__(
        self,
        credentials: Sequence[Credential],
        tokens: Sequence[str],
        may_ingest: MayIngest,
        decoys: Decoys,
        public: PublicKeys | None = None,
        learn: Learn | None = None,
        meant: Meant | None = None,
    ) -> None:
        self._meant = meant or Meant()
        self._learn = learn
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
        self._public = public
        self._has_public = public is not None and bool(self._jwts)
        #: Whether keys may have to be fetched before tokens are judged.
        self.seeks_keys = self._has_public or learn is not None
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
        if self.seeks_keys:
            await self.seek_keys(headers)
        return await self.verify(self.judge(headers, now), headers, body, now)

    async def seek_keys(self, headers: Headers) -> str | None:
        """Fetch the keys of the signed tokens in these headers that are not known yet, if that may be done now. Why the
        bearer token is not taken as that of a user, for the operator: it may be one of the source's sender, from the
        same issuer.

        Raises:
            RequestError: 503, they cannot be fetched.
        """
        why = None
        if self._learn is not None and (bearer := _token_in(headers, "Authorization")):
            why = await self._learn(bearer)
        if not self._has_public:
            return why
        assert self._public is not None
        for rule in self._jwts:
            value = _token_in(headers, rule.header)
            token = None if value is None else read_token(value)
            if token is not None and token.algorithm in rule.algorithms:
                await self._public.seek(token)
                if self._public.lacks(token):
                    raise RequestError(
                        503,
                        "Public keys are missing",
                        "The keys that verify this token cannot be fetched now; send the request again later.",
                        headers={"Retry-After": "30"},
                    )
        return why

    def judge(self, headers: Headers, now: float) -> Judgement:
        """What the headers alone tell. ``now``: arrival, epoch seconds."""
        refusal = None
        proven = False
        signatures: list[Signature | HashedBody] = []
        authorization = headers.getall("Authorization", None)
        if authorization is not None:
            # Every source takes tokens here, so that one that is wrong is wrong for every name.
            if len(authorization) > 1:
                return Judgement("it brings Authorization more than once", False, ())
            if self._authorizes(authorization[0]):
                proven = True
            else:
                found = self._judge_bearer(headers, now)
                if isinstance(found, str):
                    self._try_decoys(headers, of_authorization=True)
                    return Judgement(f"its Authorization is {found}", False, ())
                proven = found is None
                signatures += [] if found is None else [found]
        for name in self._headers:
            values = headers.getall(name, None)
            if values is not None:
                if len(values) > 1 or not self._is_token(values[0].encode("utf-8", "surrogateescape")):
                    refusal = f"its {name} is not the source's token"
                proven = True
        for rule in self._jwts:
            values = None if _is_authorization(rule.header) else headers.getall(rule.header, None)
            if values is not None:
                found = self._judge_token(rule, values[0], now) if len(values) == 1 else "presented more than once"
                if found is None:
                    proven = True
                elif isinstance(found, str):
                    refusal = f"its {rule.header} is {found}"
                else:
                    signatures.append(found)
        for signature in self._signatures:
            if signature.header in headers:
                presented = _presented(signature, headers, now, counts=True)
                if isinstance(presented, str):
                    refusal = f"its {signature.header} {presented}"
                else:
                    signatures.append(presented)
        if refusal is None and (proven or signatures):
            return Judgement(None, proven, signatures) if signatures else _PROVEN
        # The body of what is refused is read if it can be that of any source's signature.
        signatures += self._foreign(headers, now)
        return Judgement(
            refusal or "it brings none of the credentials that the source's table names", False, signatures
        )

    def _judge_bearer(self, headers: Headers, now: float) -> HashedBody | str | None:
        """What a signed token in `Authorization` proves, by the first of the table's rules that it fits."""
        found: HashedBody | str | None = "not that of the source"
        for rule in self._jwts:
            if _is_authorization(rule.header) and isinstance(found, str):
                token = _token_in(headers, rule.header) or ""
                # A wrong token is told as that, and not as a bad form of what it need not be.
                if token.count(".") == 2:
                    found = self._judge_token(rule, token, now)
        return found

    def _judge_token(self, rule: Jwt, value: str, now: float) -> HashedBody | str | None:
        """What a signed token proves: the source (``None``), or its body; or what it is instead."""
        token = read_token(value)
        if token.algorithm not in rule.algorithms:
            return f"no signed token, or not signed as the table says ({', '.join(rule.algorithms)})"
        if token.is_shared:
            claims = shared_claims(rule, token, self._tokens)
        elif self._public is None:
            return f"signed with a private key ({token.algorithm}), and the source has no public_keys"
        else:
            claims = public_claims(rule, token, self._public.fitting(token))
        if claims is None:
            return "not signed with a key of the source"
        if not is_meant(rule, claims, now, self._meant):
            return "a token of the source that is not valid now, or has another audience or issuer"
        if rule.body_hash is None:
            return None
        return (
            hashed_body(rule, claims) or f"a token of the source without the hash of the body ({rule.body_hash.claim})"
        )

    def _try_decoys(self, headers: Headers, *, of_authorization: bool) -> None:
        """Try the signed tokens in these headers with so many keys that for every name as many were tried."""
        for own, rules in ((True, self._jwts), (False, self._foreign_jwts)):
            for rule in rules:
                value = _token_in(headers, rule.header) if _is_authorization(rule.header) is of_authorization else None
                token = None if value is None else read_token(value)
                if token is None or token.algorithm not in rule.algorithms:
                    continue
                if token.is_shared:
                    shared_claims(rule, token, self._decoys if own else [*self._tokens, *self._decoys])
                else:
                    tried = 0 if not own or self._public is None else len(self._public.fitting(token))
                    algorithm = next(one for one in rule.algorithms if one == token.algorithm)
                    public_claims(rule, token, [decoy_key(algorithm)] * (TRIED - tried))

    def _foreign(self, headers: Headers, now: float) -> list[Signature]:
        """What is done for a request that is refused, whatever its name is: all signed tokens are tried, and the
        signatures that only other sources know are to be computed."""
        self._try_decoys(headers, of_authorization=False)
        found = (_presented(rule, headers, now, counts=False) for rule in self._foreign_signatures)
        return [one for one in found if isinstance(one, Signature)]

    async def verify(self, judgement: Judgement, headers: Headers, body: bytes, now: float) -> str | None:
        """Why a request that was judged so, with these headers at this time, and has this body (as it was sent), does
        not come from the source; ``None``: it does. Long bodies give other requests their turn."""
        refusal = judgement.refusal
        for signature in judgement.signatures:
            if isinstance(signature, HashedBody):
                if not await signature.is_of(body):
                    refusal = f"the hash in its {signature.header} is not that of this body"
            elif not await self._signs(signature, body) and signature.counts:
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


def _distinct(rules: Iterable[_Rule]) -> list[_Rule]:
    """Each of equal rules once; they are not hashable."""
    found: list[_Rule] = []
    for rule in rules:
        if rule not in found:
            found.append(rule)
    return found


def _is_bare_authorization(credential: Credential) -> bool:
    return isinstance(credential, HeaderCredential) and credential.header.lower() == "authorization"


def _presented(rule: Hmac, headers: Headers, now: float, *, counts: bool) -> Signature | str:
    """The signature that the headers present for ``rule``; why it cannot be right, whatever the body is."""
    value = _only(headers, rule.header)
    if value is None:
        return "is presented more than once"
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
        if timestamp is None:
            return "comes without its timestamp"
        if not _is_recent(timestamp, now, rule.timestamp.tolerance):
            return f"is not recent: its time and the clock here differ by more than {rule.timestamp.tolerance:g} s"
        stamp = timestamp
    given = [one.encode("utf-8", "surrogateescape") for one in presented]
    if rule.signs == "{body}":
        return Signature(rule, given, b"", b"", counts)
    before, _, after = (part.replace("{timestamp}", stamp).encode() for part in rule.signs.partition("{body}"))
    return Signature(rule, given, before, after, counts)


def _is_authorization(header: str) -> bool:
    return header.lower() == "authorization"


def _token_in(headers: Headers, name: str) -> str | None:
    """The signed token in a header that is there once."""
    value = _only(headers, name)
    if value is None or not _is_authorization(name):
        return value
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


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
