"""The public keys of a source whose sender signs with a private one: from a file, or from where the sender publishes
them."""

from __future__ import annotations

import asyncio
import json
import re
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from yarl import URL

from adapter.errors import ConfigError, NoReply
from adapter.outgoing.client import Client, open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.sources.signed_token import TRIED, SignedToken, key_type
from adapter.tasks import in_background

if TYPE_CHECKING:
    from joserfc.jwk import Key

#: Seconds between two fetches: of themselves, so that a key that was withdrawn goes; and for the sake of a token whose
#: key is not known yet.
REFRESH, PAUSE = 900.0, 30.0
#: Seconds that a fetch may take, for which the request with the unknown key waits.
TIMEOUT = 5.0
#: Bytes and lines of a published set of keys.
SIZE, LINES = 256 * 1024, 20_000
#: Bits of an RSA key, and keys that are read.
_SHORTEST, _MOST = 2048, 100

_log = structlog.get_logger("adapter.sources")


class PublicKeys:
    """Keys that verify tokens."""

    #: Why they could not be fetched when that was tried last; ``None``: they could.
    problem: str | None = None

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._keys = keys

    def fitting(self, token: SignedToken) -> list[Key]:
        """Those that may have verified a token: of its algorithm's type, and of its key id where both have one."""
        type = key_type(token.algorithm)
        fitting = [
            key
            for key in self._keys
            if key.key_type == type and (token.key_id is None or key.kid is None or key.kid == token.key_id)
        ]
        return fitting[:TRIED]

    async def seek(self, token: SignedToken) -> None:
        """Do what can be done to have the key of a token."""

    def lacks(self, token: SignedToken) -> bool:
        """Whether nobody can say if a token is right, since the keys cannot be fetched now."""
        return self.problem is not None and not token.is_shared and not self.fitting(token)


class FetchedKeys(PublicKeys):
    """The keys at an address, which are fetched in the background, and once more when a token names one that is not
    among them."""

    def __init__(
        self,
        client: Client,
        url: URL,
        source: str,
        *,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._client = client
        self._url = url
        self._source = source
        self._pause = pause
        self._clock = clock
        self._fetched_at: float | None = None
        self._fetching = asyncio.Lock()

    async def seek(self, token: SignedToken) -> None:
        # However many such tokens come, and from whom: one fetch at a time, and then a pause.
        if not token.is_shared and key_type(token.algorithm) is not None and not self.fitting(token):
            await self.fetch()

    async def fetch(self) -> None:
        """Fetch them, unless that was done a moment ago. Those that were there stay if that fails."""
        async with self._fetching:
            if self._fetched_at is not None and self._clock() - self._fetched_at < self._pause:
                return
            self._fetched_at = self._clock()
            try:
                reply = await self._client.request("GET", self._url, headers={"Accept": "application/json"})
                if reply.status != 200:
                    raise ValueError(f"the answer has status {reply.status}")
                self._keys = read_keys(reply.body)
                self.problem = None
            except (NoReply, ValueError) as error:
                self.problem = str(error)
                _log.warning("public_keys_not_fetched", source=self._source, url=str(self._url), problem=str(error))

    async def keep_fresh(self) -> None:
        """Fetch them now, and again and again."""
        while True:
            await self.fetch()
            await asyncio.sleep(REFRESH if self._keys else self._pause)


@asynccontextmanager
async def open_public_keys(
    place: str | None, source: str, outgoing: OutgoingSettings
) -> AsyncIterator[PublicKeys | None]:
    """The keys of a source, while the context lasts. ``place``: a PEM or JWKS file, or the https address of a JWKS;
    ``None``: it has none.

    Raises:
        ConfigError: the file cannot be read, or holds no key.
    """
    if place is None:
        yield None
    elif "://" not in place:
        try:
            # The file is small, and read before anything runs.
            keys = read_keys(Path(place).read_bytes())  # noqa: ASYNC240
        except OSError as error:
            raise ConfigError(f"public_keys: {place} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"public_keys: {place}: {error}") from None
        yield PublicKeys(keys)
    else:
        opening = open_client(outgoing, connections=1, timeout=TIMEOUT, answer_size=SIZE, answer_lines=LINES)
        async with opening as client:
            fetched = FetchedKeys(client, URL(place), source)
            async with in_background(fetched.keep_fresh(), f"public keys of {source}"):
                yield fetched


def read_keys(text: bytes) -> list[Key]:
    """The public keys in a PEM text, one or several, or in a JWKS (or a single JWK).

    Raises:
        ValueError: it is neither, holds no key that verifies signatures, or a private or too short one.
    """
    with warnings.catch_warnings():
        # Of keys that are too short; those are refused.
        warnings.simplefilter("ignore")
        keys = _pem_keys(text) if b"-----BEGIN" in text else _json_keys(text)
    if not keys:
        raise ValueError("holds no public key that verifies signatures (RSA, EC or OKP)")
    for type in {key.key_type for key in keys}:
        if sum(key.key_type == type and key.kid is None for key in keys) > TRIED:
            raise ValueError(
                f"holds more than {TRIED} {type} keys without a `kid`, which are all tried with each token"
            )
    return keys


def _pem_keys(text: bytes) -> list[Key]:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if b"PRIVATE KEY-----" in text:
        raise ValueError("holds a private key; only its owner should have that: give the public one")
    keys: list[Key] = []
    for block in _PEM.findall(text)[:_MOST]:
        for model in (RSAKey, ECKey, OKPKey):
            try:
                key = model.import_key(block)
            except Exception:  # noqa: S112 - one of another type, or none
                continue
            _refuse_short(key)
            keys.append(key)
            break
        else:
            raise ValueError("holds a part that is no public key of RSA, EC or OKP (Ed25519)")
    return keys


_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----\s*", re.DOTALL)


def _json_keys(text: bytes) -> list[Key]:
    """Those of a JWKS that can be used; others are passed over, as a set may have keys for other things."""
    from joserfc.jwk import JWKRegistry

    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is neither PEM nor JSON") from None
    listed: Any = given.get("keys", [given]) if isinstance(given, dict) else None
    if not isinstance(listed, list):
        raise ValueError('is no JWKS: {"keys": [...]}')
    keys: list[Key] = []
    for one in listed[:_MOST]:
        # A secret has no place among public keys: whoever can read them could sign with it.
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC", "OKP") or one.get("use", "sig") != "sig":
            continue
        public = {name: value for name, value in one.items() if name not in _PRIVATE}
        try:
            key = JWKRegistry.import_key(public)
            _refuse_short(key)
        except Exception:  # noqa: S112 - a type or curve that we do not know
            continue
        keys.append(key)
    return keys


#: The parts of a JWK that only its owner should have.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def _refuse_short(key: Key) -> None:
    from joserfc.jwk import RSAKey

    if isinstance(key, RSAKey) and key.public_key.key_size < _SHORTEST:
        raise ValueError(f"holds an RSA key of {key.public_key.key_size} bits; {_SHORTEST} is the least")
