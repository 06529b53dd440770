"""What a table makes of one record, whoever asks: receiving, a trial of a table, or a later reading of what is stored.
The event, the keys by which it is known and its uid are made here alone."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from adapter.log.identity import GROUPS, group_key
from adapter.log.protocol import NewEntry, new_entry
from adapter.mapping.body import NotReadable, Record, UnknownMedia, with_time
from adapter.mapping.compile import Result
from adapter.mapping.forwarders import AUTO
from adapter.mapping.table import FORWARDER, Table
from adapter.model import (
    EventDict,
    identity_digest,
    identity_key,
    is_former_key,
    leading_seconds,
    numbered_key,
    uid_text,
    uuid5_bytes,
)

#: Characters of a native type that are kept beside its raw event.
_NATIVE_TYPE = 400
#: Several events of one record are told apart by their keys; so many equal ones are tried.
_COPIES = 64


def origin(source: str, table: Table, native_type: str | None, received_at: int) -> dict[str, Any]:
    """The ``source`` of an event."""
    return {
        "name": source,
        "provider": table.provider,
        "nativeType": native_type,
        "receivedAt": received_at,
        "mapping": table.name,
    }


def normalize(
    table: Table, record: Record, source: str, key: bytes, received_at: int, random_uid: Callable[[], uuid.UUID]
) -> tuple[NewEntry, EventDict | None] | str:
    """What the log takes of a record, and its event as it is written there (``None``: it is quarantined). If the table
    ignores it, what that is: a native type, or what the table calls such a line. ``source``, ``key``: name and key of
    its source; ``received_at``: arrival, epoch milliseconds. Never raises, whatever a table does."""
    raw = record.raw
    event, native, strong_values, weak_values, seconds, problem = table.read_record(record, received_at)
    if event is None and problem is None:
        return str(native) if record.ignored is None else record.ignored

    strong = weak = None
    if strong_values is not None:
        strong = identity_digest(key, strong_values)
    if weak_values is not None:
        weak = identity_digest(key, weak_values)
    elif strong is None and event is None:
        weak = identity_digest(key, ["bytes", hashlib.sha256(raw).hexdigest()])
        seconds = 0
    first = strong or weak
    if first is not None:
        uid = identity_key(seconds, first)
    else:
        # Unlike all others, and beside those of its time.
        random = uuid5_bytes(key, random_uid().bytes)
        uid = identity_key(seconds or leading_seconds(received_at), random)

    if native is not None and len(native) > _NATIVE_TYPE:
        native = native[:_NATIVE_TYPE]
    kind: str | None = None
    written: bytes | None = None
    if event is not None:
        event["uid"] = uid_text(uid)
        event["source"] = origin(source, table, native, received_at)
        kind = event["type"]
        try:
            written = orjson.dumps(event)
        except TypeError as error:  # half of a surrogate pair
            event, kind, problem = None, None, f"cannot be written as JSON: {error}"
    media, at = record.media, record.forwarded_at
    if at is not None and not record.says_when and (event is None or event["details"].get("time_source") == FORWARDER):
        # It would be lost, and the event read at another time later.
        media = with_time(media, at)
    entry = (source, received_at, raw, media, uid, strong, weak, seconds, native, kind, written, problem)
    return new_entry(entry), event


def read_raw(table: Table, raw: bytes, media: str, received_at: int, unwrap: str = AUTO) -> list[Result]:
    """What a table makes of the bytes that are stored for one record. Mostly one; never none, and never raises: the
    bytes were taken apart by another table, or an older version of this one."""
    try:
        records = table.split(raw, media, sys.maxsize, unwrap)
    except (NotReadable, UnknownMedia) as error:
        return [unread(str(error))]
    except Exception as error:
        return [unread(table.failed(error))]
    if not records:
        return [unread("it holds no event")]
    return [table.result(record, received_at) for record in records]


def unread(problem: str) -> Result:
    """The reading of what no table could read."""
    return Result(None, None, None, None, 0, problem)


def is_known_by(uid: bytes, key: bytes, result: Result) -> bool:
    """Whether a reading is the one of several from a record that became the event with this uid. ``key``: the
    source's."""

    def made(values: list[str | None]) -> bytes:
        digest = identity_digest(key, values)
        return digest if is_former_key(uid) else identity_key(result.seconds, digest)

    if result.strong is not None and made(result.strong) == uid:
        return True
    if result.weak is None:
        return False
    first = made(result.weak)
    groups = [group_key(first, number) for number in range(GROUPS)]
    return any(numbered_key(group, number) == uid for number in range(_COPIES) for group in groups)
