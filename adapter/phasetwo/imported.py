"""A webhook of Phase Two's extension, as a sink that does the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.phasetwo.event_types import EventTypes, read_event_types

#: Signatures by the algorithm's name there.
_HMAC = {"HmacSHA256": "phasetwo-sha256", "HmacSHA1": "phasetwo-sha1"}
#: What of a webhook is carried over, or means nothing for a sink.
_KNOWN = {
    "id", "enabled", "url", "secret", "algorithm", "authType", "audience", "createdBy", "createdAt", "realm",
    "eventTypes", "payloadFormat",
}  # fmt: skip


@dataclass
class Imported:
    """What a webhook becomes."""

    name: str
    #: Of a sink, as adapter.toml has them.
    settings: dict[str, Any] = field(default_factory=dict)
    #: What is not as it was there, for people.
    notes: list[str] = field(default_factory=list)
    #: Why there is no sink that would do the same; ``None``: there is one.
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Realm:
    """Where webhooks come from."""

    name: str
    #: ``None``: not known.
    id: str | None
    #: The `iss` of its tokens.
    issuer: str


def sink_name(realm: str, webhook: str) -> str:
    """The name of the sink of a webhook, by its id: the same each time."""
    return f"{_plain(realm)[:40] or 'realm'}-{_plain(webhook)[:8]}"


def is_sink_name(realm: str, name: str) -> bool:
    """Whether a sink is called as that of a webhook of this realm would be."""
    return re.fullmatch(re.escape(sink_name(realm, "")) + "[0-9a-f]{8}", name) is not None


def needs_secret(webhook: Mapping[str, Any]) -> bool:
    """Whether a webhook may sign with a secret; extensions before 0.62 say no ``authType``."""
    return _auth_type(webhook) in (None, "hmac")


def import_webhook(webhook: Mapping[str, Any], secret: str | None, realm: Realm, sources: list[str]) -> Imported:
    """The sink that sends what the webhook sent. ``sources``: of these alone; none: of all that know the realm."""
    found = Imported(sink_name(realm.name, str(webhook.get("id"))))
    entries = webhook.get("eventTypes")
    types = read_event_types(str(one) for one in entries if one) if isinstance(entries, list) else EventTypes([], [])
    found.notes += [f"event type {entry}: {why}" for entry, why in types.notes]
    if not webhook.get("enabled"):
        found.notes.append("it is disabled there, too")
    for name, value in webhook.items():
        if name not in _KNOWN and value not in (None, "", [], {}, False):
            found.notes.append(f"{name}: is not carried over")
    filter: dict[str, list[str]] = {"type": types.types, "realm": [one for one in (realm.name, realm.id) if one]}
    if sources:
        filter["source"] = sources
    signing, found.problem = _signing(webhook, secret, realm)
    if not types.types:
        left = "none of them can be carried over" if types.notes else "it has none"
        found.problem = f"eventTypes: {left}, so it would get nothing"
    if (payload := webhook.get("payloadFormat")) not in (None, "", "default", "phasetwo"):
        found.problem = f"payloadFormat: {payload}: there is no such format here"
    if found.problem is None and _auth_type(webhook) is None and not secret:
        found.notes.append(
            "it says no authType and shows no secret, so nothing is signed here; if its receiver verifies signatures, "
            "give the sink a signature and a secret before it is resumed"
        )
    found.settings = {
        "name": found.name, "kind": "webhook", "url": webhook.get("url"), "format": "phasetwo", "filter": filter,
        **signing,
    }  # fmt: skip
    return found


def _signing(webhook: Mapping[str, Any], secret: str | None, realm: Realm) -> tuple[dict[str, Any], str | None]:
    """The settings by which a sink signs as the webhook did, and why there are none."""
    kind, algorithm = _auth_type(webhook), webhook.get("algorithm")
    plain: dict[str, Any] = {"signature": None, "secret": None}
    if kind is None:
        kind = "hmac" if secret else "none"
    match kind:
        case "none":
            return plain, None
        case "hmac" if not secret:
            return plain, "secret: it signs with one, and the extension has none"
        case "hmac":
            signature = _HMAC.get(algorithm or "HmacSHA256")
            if signature is None:
                return plain, f"algorithm: {algorithm}: there is no such signature here; there are {', '.join(_HMAC)}"
            return {"signature": signature, "secret": secret}, None
        case "bearer" if algorithm not in (None, "", "RS256"):
            return plain, f"algorithm: {algorithm}: tokens are signed with RS256 here"
        case "bearer":
            signed = {"kind": "phasetwo-bearer", "issuer": realm.issuer}
            if webhook.get("audience"):
                signed["audience"] = str(webhook["audience"])
            return {"signature": signed, "secret": None}, None
    return plain, f"authType: {kind}: is not carried over; make the sink by hand, with `auth`"


def _auth_type(webhook: Mapping[str, Any]) -> str | None:
    given = webhook.get("authType")
    return given.lower() if isinstance(given, str) and given else None


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")
