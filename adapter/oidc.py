"""Access tokens that a Keycloak makes for its users and clients (OpenID Connect, RFC 9068): whose they are, and what
they may do here.

What a token says of itself decides nothing before its signature is verified but which issuer's keys are tried. Verified
ones are remembered for a minute at most, by a digest, so that a key that is withdrawn is soon of no use.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from adapter.errors import RequestError
from adapter.formats.text import harmless
from adapter.mapping.language import Jwt
from adapter.outgoing.settings import OutgoingSettings
from adapter.principal import Person, Principal
from adapter.settings import OidcIssuer, Permission
from adapter.sources.public_keys import PublicKeys, open_public_keys
from adapter.sources.signed_token import Claims, SignedToken, is_meant, public_claims, read_token

#: For how long it is remembered whose a token is, seconds, and of how many.
REMEMBERED_FOR, REMEMBERED = 60.0, 1_000
#: Characters of a token; one of Keycloak has one or two thousand.
_LONGEST = 16_384
#: Characters of a name.
_NAME = 200


class Issuer(NamedTuple):
    """One realm that makes tokens, and the keys by which they are verified."""

    settings: OidcIssuer
    keys: PublicKeys

    @property
    def rule(self) -> Jwt:
        """What its tokens have to say."""
        one = self.settings
        return Jwt(
            header="Authorization",
            algorithms=list(one.algorithms),
            audience=one.audience,
            issuer=one.issuer,
            tolerance=one.tolerance,
        )


class Issuers:
    """Whose a token is. Made by `open_issuers`."""

    def __init__(self, issuers: Sequence[Issuer], clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives epoch seconds."""
        self._issuers = {one.settings.issuer: one for one in issuers}
        self._clock = clock
        #: Whose a token is, by its digest, and until when that is known.
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    @property
    def all(self) -> Mapping[str, Issuer]:
        """By what stands in their tokens as ``iss``."""
        return self._issuers

    def principal(self, token: str) -> Principal | None:
        """Whose token this is, if `learn` found that out a moment ago."""
        found = self._known.get(_digest(token))
        return found[0] if found is not None and self._clock() < found[1] else None

    async def learn(self, token: str) -> str | None:
        """Find out whose token this is, if that is not known. Why one of an issuer's is not taken, for the operator.

        Raises:
            RequestError: 503, the keys of its issuer cannot be had now.
        """
        if len(token) > _LONGEST or self.principal(token) is not None:
            return None
        issuer = self._issuers.get(_issuer_in(token))
        signed = read_token(token)
        if issuer is None or signed.algorithm not in issuer.settings.algorithms:
            return None
        claims = await verified(issuer, signed)
        now = self._clock()
        refusal = (
            "its signature is not the issuer's" if claims is None else refusal_of(issuer.rule, signed, claims, now)
        )
        if claims is None or refusal is not None:
            return f"as a token of {issuer.settings.issuer} it is not taken: {refusal}"
        expires = claims["exp"]
        assert isinstance(expires, int | float)
        until = min(expires + issuer.settings.tolerance, now + REMEMBERED_FOR)
        told = told_of_holder(issuer.settings, claims)
        self._known[_digest(token)] = principal_of(issuer.settings, told), until
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return None


async def verified(issuer: Issuer, token: SignedToken) -> Claims | None:
    """What a token says, if it is signed by the issuer; else ``None``.

    Raises:
        RequestError: 503, the issuer's keys cannot be had now.
    """
    if token.algorithm not in issuer.settings.algorithms:
        return None
    await issuer.keys.seek(token)
    if issuer.keys.lacks(token):
        raise RequestError(
            503,
            "Keys of the issuer are missing",
            f"The keys of {issuer.settings.issuer} cannot be fetched now; try again later.",
            headers={"Retry-After": "30"},
        )
    return public_claims(issuer.rule, token, issuer.keys.fitting(token))


def refusal_of(rule: Jwt, token: SignedToken, claims: Claims, now: float) -> str | None:
    """Why a verified token is not taken as an access token, for the operator; ``None``: it is."""
    if not is_meant(rule, claims, now):
        return f"it is not valid now, or not for the audience {rule.audience!r}"
    if "exp" not in claims:
        return "it never expires"
    if "cnf" in claims:
        return "it is bound to a key of its holder (DPoP, mTLS), which is not proven here"
    # Keycloak signs ID tokens, and logout tokens, with the same keys, for the same audience.
    kind = claims.get("typ", "Bearer" if _type_of(token.text) in ("at+jwt", "application/at+jwt") else None)
    if kind != "Bearer":
        return f"it is no access token: typ is {harmless(str(kind))[:50]!r}"
    return None


class Told(NamedTuple):
    """What a token tells of its holder."""

    #: Those of its roles that mean something here.
    roles: tuple[str, ...]
    name: str
    person: Person


def told_of_holder(settings: OidcIssuer, claims: Claims) -> Told:
    """What a verified token tells of its holder."""
    roles = set(_roles(_member(claims.get("resource_access"), settings.audience)))
    if settings.realm_roles:
        roles |= set(_roles(claims.get("realm_access")))
    said = next(
        (one for name in ("preferred_username", "azp", "sub") if isinstance(one := claims.get(name), str) and one), "?"
    )
    id, person, client, session = (_text(claims.get(one)) for one in ("sub", "preferred_username", "azp", "sid"))
    of_token = Person(id, person, client, session, settings.realm)
    return Told(tuple(sorted(roles & settings.permissions.keys())), harmless(said)[:_NAME], of_token)


def principal_of(settings: OidcIssuer, told: Told) -> Principal:
    """Who that is here, by what the settings say now."""
    permissions: set[Permission] = set()
    for role in told.roles:
        permissions |= settings.permissions.get(role, frozenset())
    # No key of the settings has a blank in its name.
    name = f"{told.name} of {settings.realm}"
    return Principal(name, frozenset(permissions), settings.scope, person=told.person)


def _text(claim: Any) -> str | None:
    return harmless(claim[:_NAME]) if isinstance(claim, str) and claim else None


def _roles(access: Any) -> list[str]:
    roles = _member(access, "roles")
    return [one for one in roles if isinstance(one, str)] if isinstance(roles, list) else []


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _issuer_in(token: str) -> str:
    """Who a token says that made it, which is not proven; empty if it does not."""
    issuer = _member(_part(token, 1), "iss")
    return issuer if isinstance(issuer, str) else ""


def _type_of(token: str) -> str:
    """The type in the header of a token."""
    kind = _member(_part(token, 0), "typ")
    return kind.lower() if isinstance(kind, str) else ""


def _part(token: str, number: int) -> Any:
    encoded = token.split(".")[number]
    try:
        return json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError):
        return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


@asynccontextmanager
async def open_issuers(
    settings: Sequence[OidcIssuer], outgoing: OutgoingSettings, clock: Callable[[], float] = time.time
) -> AsyncIterator[Issuers | None]:
    """Those of the settings, while the context lasts; ``None``: there are none. Each has a connection of its own to
    fetch its keys: one that hangs holds up no other's tokens.

    Raises:
        ConfigError: what they name cannot be used.
    """
    if not settings:
        yield None
        return
    async with AsyncExitStack() as stack:
        issuers = []
        for one in settings:
            keys = await stack.enter_async_context(open_public_keys(one.keys_at, f"oidc {one.issuer}", outgoing))
            assert keys is not None
            issuers.append(Issuer(one, keys))
        yield Issuers(issuers, clock)
