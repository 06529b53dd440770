"""What it costs to write and sign the body of a post: CPU of one login, by format, signature and privacy, without the
request itself. Floor: the same without a signature, or one by itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapter.model import Entry
from adapter.privacy import Privacy
from adapter.sinks.settings import read_sink_settings
from adapter.sinks.signing import make_secret, make_signer, needs_token_key
from adapter.sinks.token_key import make_token_key
from adapter.sinks.webhook import Settings
from tests.bench.delivering import entries, fill
from tests.bench.processes import run_apart, run_loop
from tests.bench.result import Result

EVENTS = 2_000
TIMES = 7
BATCH = 100

_V1, _V1A = (make_secret(kind, secrets.token_bytes) for kind in ("whsec", "whsk"))
_PRIVACY = {
    "drop": ["details.refresh_token_id", "authDetails.sessionId"],
    "mask": ["authDetails.ipAddress"],
    "hash": ["authDetails.userId", "authDetails.username"],
    "key": "k" * 32,
}
_BATCH = {"entries": BATCH}
#: What is measured, and what it is measured against.
_WAYS: dict[str, dict[str, Any]] = {
    "unified, unsigned": {},
    "Standard Webhooks, v1": {"secret": _V1},
    "Standard Webhooks, v1a": {"secret": _V1A},
    "Standard Webhooks, v1 and v1a": {"secret": [_V1, _V1A]},
    "Phase Two's HMAC, SHA-256": {"secret": "x" * 40, "signature": "phasetwo-sha256"},
    "Phase Two's HMAC, SHA-1": {"secret": "x" * 40, "signature": "phasetwo-sha1"},
    "Phase Two's token, RS256": {
        "signature": [{"kind": "phasetwo-bearer", "issuer": "https://id.example/realms/acme"}]
    },
    "format phasetwo": {"format": "phasetwo"},
    "format keycloak": {"format": "keycloak"},
    "CloudEvents, structured": {"format": {"name": "cloudevents", "source": "https://id.example"}},
    "CloudEvents, binary": {"format": {"name": "cloudevents", "source": "https://id.example", "mode": "binary"}},
    "privacy: two fields dropped, one masked, two hashed": {"privacy": _PRIVACY},
    "gzip": {"compress": "gzip"},
    f"v1, in batches of {BATCH}": {"secret": _V1, "batch": _BATCH},
    f"v1, in batches of {BATCH}, gzip": {"secret": _V1, "batch": _BATCH, "compress": "gzip"},
}


def measure(folder: Path) -> list[Result]:
    """The rows ``payload``."""
    log = folder / "log.sqlite"
    run_apart(fill, log, EVENTS)
    logins = [entry for entry in entries(log) if entry.event is not None]
    plain: list[float] = []
    results = []
    for what, settings in _WAYS.items():
        given = read_sink_settings({"name": "payload", "kind": "webhook", "url": "https://soc.example/", **settings})
        assert isinstance(given, Settings)
        times = [run_loop(_cost(given, logins)) for _ in range(TIMES)]
        plain = plain or times
        results.append(Result(f"a login's body: {what}", "µs an event", times, plain))
    return results


async def _cost(settings: Settings, logins: Sequence[Entry]) -> float:
    """µs of CPU for each login."""
    signatures, bodies = settings.signatures(), settings.bodies()
    sign = make_signer(signatures, make_token_key() if needs_token_key(signatures) else None, secrets.token_bytes)
    privacy = None if settings.privacy is None else Privacy(settings.privacy, settings.name)
    size = 1 if settings.batch is None else settings.batch.entries
    now = int(time.time())
    began = time.process_time()
    for start in range(0, len(logins), size):
        part = logins[start : start + size]
        if privacy is not None:
            part = [one._replace(event=privacy.apply(one.event)) for one in part if one.event is not None]
        id, _, body = await bodies.make(part)
        sign(id, now, body)
    return (time.process_time() - began) / len(logins) * 1e6
