"""A signed statement: what was compared of a realm in a span of time, and how it ended.

The statement is JSON in the canonical form of RFC 8785, as far as texts and whole numbers need it. Its signature is a
detached JWS (RFC 7515, appendix F) with EdDSA over Ed25519 (RFC 8037); the header holds the public key and, as ``kid``,
its thumbprint (RFC 7638). So whoever has noted the thumbprint needs nothing else to verify every statement.
"""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import orjson
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import OKPKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapter.errors import ConfigError
from adapter.log.protocol import NewEntry
from adapter.model import Outcome
from adapter.reconciliation.comparison import Comparison, MissingEvent, Result
from adapter.system_events import system_event

#: Name of the event that holds one: its type is ``system.`` and this.
NAME = "SOURCE-RECONCILED"
#: Missing events that a statement names.
NAMED = 100
_ALGORITHM = "EdDSA"
_OUTCOMES = {
    Result.COMPLETE: Outcome.SUCCESS,
    Result.REPAIRED: Outcome.SUCCESS,
    Result.MISSING: Outcome.FAILURE,
}


class NotSigned(ValueError):
    """A statement is not signed by a key that is trusted, or was changed; the text says which."""


class Statement(BaseModel):
    """What was compared, and how it ended. Times are epoch milliseconds."""

    model_config = ConfigDict(populate_by_name=True)

    version: Literal[1] = 1
    source: str
    server: str = Field(description="Address of the server")
    realm: str
    kind: Literal["events", "admin-events"]
    since: int = Field(alias="from")
    to: int
    made_at: int = Field(description="When it was compared, by the adapter's clock")
    result: Result
    on_server: int
    in_log: int
    only_in_log: int | None
    repaired: int
    missing_count: int
    missing: list[MissingEvent]
    kept_from: int | None
    ids: Literal["id", "uid"] = Field(description="Of what the digest is: the server's ids, or uids where it has none")
    digest: str = Field(description="SHA-256 of the events on the server: their ids, sorted, each with a line feed")

    def written(self) -> bytes:
        """As it is signed."""
        return orjson.dumps(self.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)


def state(found: Comparison, server: str, made_at: int, ids: Iterable[str], has_ids: bool) -> Statement:
    """The statement of a comparison that has ended. ``ids``: of the events on the server."""
    told = found.model_dump(by_alias=True, include=set(Statement.model_fields))
    told |= {"missing": found.missing[:NAMED], "server": server, "made_at": made_at}
    return Statement(**told, ids="id" if has_ids else "uid", digest=digest_of(ids))


def digest_of(ids: Iterable[str]) -> str:
    """What ``sort | sha256sum`` gives of a file with an id on each line."""
    digest = hashlib.sha256()
    for one in sorted(ids):
        digest.update(one.encode() + b"\n")
    return digest.hexdigest()


class StatementKey:
    """The private key that signs."""

    def __init__(self, key: OKPKey) -> None:
        self._key = key
        #: The public key, as a JWK.
        self.public: dict[str, Any] = public_part(key)

    @property
    def thumbprint(self) -> str:
        """By which it is known (RFC 7638)."""
        return str(self.public["kid"])

    @property
    def private(self) -> dict[str, Any]:
        """All of it, as a JWK: for its file alone."""
        return {
            name: value for name, value in self._key.as_dict(private=True).items() if name in ("kty", "crv", "x", "d")
        }

    def sign(self, statement: bytes) -> str:
        """A detached JWS."""
        public = {name: value for name, value in self.public.items() if name != "kid"}
        header = {"alg": _ALGORITHM, "kid": self.thumbprint, "jwk": public}
        with _quietly():
            compact = jws.serialize_compact(header, statement, self._key, algorithms=[_ALGORITHM])
        head, _, signature = compact.split(".")
        return f"{head}..{signature}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without being told that RFC 9864 names the algorithm by its curve: verifiers know the older name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield


def public_part(key: OKPKey) -> dict[str, Any]:
    """What may be shown of a key, as a JWK."""
    told = key.as_dict(private=False)
    return {"kty": told["kty"], "crv": told["crv"], "x": told["x"], "kid": key.thumbprint()}


def make_key() -> StatementKey:
    """A new one."""
    return StatementKey(OKPKey.generate_key("Ed25519"))


def read_key(given: object, place: str) -> StatementKey:
    """A private key that is given as a JWK; ``place`` says where, for the error.

    Raises:
        ConfigError: it is none.
    """
    right = f"{place}: must be a private key as a JWK of the type OKP and the curve Ed25519, with x and d"
    if not isinstance(given, dict) or given.get("crv") != "Ed25519" or not isinstance(given.get("d"), str):
        raise ConfigError(right)
    try:
        key = OKPKey.import_key({name: given[name] for name in ("kty", "crv", "x", "d")})
        made = StatementKey(key)
        verified(b"{}", made.sign(b"{}"), {made.thumbprint})
    except (JoseError, ValueError, KeyError, TypeError):
        # The reason may hold the key.
        raise ConfigError(right) from None
    return made


def verified(statement: bytes, signature: str, trusted: Collection[str]) -> str:
    """The thumbprint of the key that has signed a statement. ``trusted``: thumbprints of keys.

    Raises:
        NotSigned: it was not signed, or by another key.
    """
    head, _, rest = signature.partition("..")
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        jwk = header["jwk"]
        key = OKPKey.import_key({name: jwk[name] for name in ("kty", "crv", "x")})
        thumbprint = key.thumbprint()
    except (JoseError, ValueError, KeyError, TypeError, msgspec.MsgspecError):
        raise NotSigned("the signature is no detached JWS with a public key") from None
    if thumbprint not in trusted:
        raise NotSigned(f"it is signed by the key {thumbprint}, which is not one that is trusted")
    payload = base64.urlsafe_b64encode(statement).decode().rstrip("=")
    try:
        with _quietly():
            jws.deserialize_compact(f"{head}.{payload}.{rest}", key, algorithms=[_ALGORITHM])
    except (JoseError, ValueError):
        raise NotSigned("the signature does not fit: the statement was changed, or it is another one's") from None
    return thumbprint


def statement_event(statement: Statement, key: StatementKey) -> NewEntry:
    """The event ``system.SOURCE-RECONCILED`` with a statement and its signature."""
    written = statement.written()
    details = {
        "source": statement.source,
        "realm": statement.realm,
        "kind": statement.kind,
        "result": statement.result.value,
        "on_server": str(statement.on_server),
        "missing": str(statement.missing_count),
        "statement": written.decode(),
        "signature": key.sign(written),
    }
    outcome = _OUTCOMES.get(statement.result, Outcome.UNKNOWN)
    # What it is made of stands in the event already.
    return system_event(NAME, statement.made_at, details, raw={}, outcome=outcome)


def read_statement(event: object) -> tuple[bytes, str, Statement]:
    """The statement of an event as it was signed, its signature, and what it says.

    Raises:
        NotSigned: the event holds none.
    """
    try:
        details = event["details"]  # type: ignore[index]
        text, signature = details["statement"], details["signature"]
        return text.encode(), str(signature), Statement.model_validate_json(text)
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError, ValidationError):
        raise NotSigned("the event holds no statement") from None
