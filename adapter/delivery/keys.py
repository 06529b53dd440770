"""By which key of an event a sink keeps order: events of one key are sent strictly one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from adapter.search_fields import SearchFields, folded, search_fields

#: What a key is made of; always within the source and the realm.
OrderBy = Literal["user", "session", "realm"]

#: The key of an event (JSON), ``None`` if it has none.
KeyOf = Callable[[bytes], str | None]


def make_key_of(order_by: str | None) -> KeyOf:
    """How keys are made: ``user:…``, ``session:…``, ``realm:…`` and a digest, so that no person stands in a row.

    User: who was acted upon, else who acted; by the id, else by the name, whose case does not matter. Realm: by the id,
    else by the name.
    """
    match order_by:
        case "user":
            return lambda event: _key("user", event, _user)
        case "session":
            return lambda event: _key("session", event, lambda fields: fields.session)
        case "realm":
            return lambda event: _key("realm", event, _realm)
        case _:
            return lambda event: None


def kind_of(key: str) -> str:
    """By what a key orders."""
    return key.partition(":")[0]


def _key(kind: str, event: bytes, value_of: Callable[[SearchFields], str | None]) -> str | None:
    fields = search_fields(event)
    value = value_of(fields)
    if value is None:
        return None
    parts = (fields.source, _realm(fields) or "", value)
    # With their lengths, so that no value can pose as two.
    text = "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")
    return f"{kind}:{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def _realm(fields: SearchFields) -> str | None:
    return fields.realm_id or fields.realm_name


def _user(fields: SearchFields) -> str | None:
    if fields.target is not None or fields.target_names:
        return fields.target or folded(fields.target_names[0])
    if fields.actor is not None or fields.actor_names:
        return fields.actor or folded(fields.actor_names[0])
    return None
