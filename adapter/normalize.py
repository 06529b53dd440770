"""What a table makes of one record, whoever asks: receiving, a trial of a table, or a later reading of what is stored.
The event, the keys by which it is known and its uid are made here alone."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from adapter.log.identity import GROUPS, content_digest, group_key
from adapter.log.protocol import NewEntry, ReadKeys, new_entry
from adapter.mapping.body import NotReadable, Record, UnknownMedia
from adapter.mapping.compile import Result
from adapter.mapping.forwarders import AUTO
from adapter.mapping.table import Table
from adapter.mapping.wrapping import time_in
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


def origin(
    source: str, table: Table, native_type: str | None, received_at: int, name: str | None = None
) -> dict[str, Any]:
    """The ``source`` of an event. ``name``: of a further event of its record."""
    made = {
        "name": source,
        "provider": table.provider,
        "nativeType": native_type,
        "receivedAt": received_at,
        "mapping": table.name,
    }
    if name is not None:
        # The table's name stands last.
        made = {"name": source, "provider": table.provider, "nativeType": native_type, "also": name, **made}
    return made


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
        weak = content_digest(key, raw)
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
    entry = (
        source, received_at, raw, record.media, uid, strong, weak, seconds, native, kind, written, problem, key,
        record.envelope,
    )  # fmt: skip
    return new_entry(entry), event


def normalize_further(
    table: Table, record: Record, first: NewEntry, key: bytes
) -> Iterator[tuple[NewEntry, EventDict]]:
    """What the log takes of the further events of a record, and these events. ``first``: what it takes of the first
    one, or has of it; ``key``: of its source. Raw event and media type are those of the first one, so that they take no
    room beside it. Never raises, whatever a table does."""
    if table.further is None or first.event is None or first.native_type is None:
        return
    native = first.native_type[:_NATIVE_TYPE]
    for name in table.further(first.native_type):
        event, _, strong_values, weak_values, seconds, _ = table.read_further(record, first.received_at, name)
        if event is None:
            continue
        strong = None if strong_values is None else identity_digest(key, strong_values)
        weak = None if weak_values is None else identity_digest(key, weak_values)
        if strong is None and weak is None:
            # The record is new each time; this one is known by it.
            weak = identity_digest(key, ["also", name, "uid", uid_text(first.uid)])
            seconds = 0 if is_former_key(first.uid) else int.from_bytes(first.uid[:4], "big")
        uid = identity_key(seconds, strong or weak or b"")
        event["uid"] = uid_text(uid)
        event["source"] = origin(first.source, table, native, first.received_at, name)
        try:
            written = orjson.dumps(event)
        except TypeError:  # half of a surrogate pair: it stands in the first event, too, or is kept out of both
            continue
        yield (
            first._replace(
                # Its bytes are those of the first event, which may have been quarantined; it never was.
                namespace=None,
                uid=uid,
                strong=strong,
                weak=weak,
                seconds=seconds,
                native_type=native,
                type=event["type"],
                event=written,
            ),
            event,
        )


def further_name(event: bytes) -> str | None:
    """The name of a further event of its record (JSON, its source last); ``None``: it is the first one."""
    # Quotes inside texts are escaped, so nothing else looks like these.
    at = event.rfind(_SOURCE)
    if event.find(_ALSO, at) < 0:
        return None
    name: str | None = orjson.loads(event[at + len(_SOURCE) - 1 : -1]).get("also")
    return name


_SOURCE, _ALSO = b',"source":{', b',"also":"'


class Reading(NamedTuple):
    """What a table makes of bytes that are stored."""

    result: Result
    #: What it was read from; ``None``: the bytes hold no record.
    record: Record | None


def read_stored(
    table: Table,
    raw: bytes,
    media: str,
    received_at: int,
    unwrap: str = AUTO,
    name: str | None = None,
    envelope: bytes = b"",
) -> list[Reading]:
    """What a table makes of the bytes that are stored for one record, and of what they came in; ``name``: of its
    further event that is asked for. Mostly one; never none, and never raises: the bytes were taken apart by another
    table, or an older version of this one."""
    try:
        records = table.split(raw, media, sys.maxsize, unwrap)
        at = time_in(envelope)
    except (NotReadable, UnknownMedia) as error:
        return [Reading(unread(str(error)), None)]
    except Exception as error:
        return [Reading(unread(table.failed(error)), None)]
    if not records:
        return [Reading(unread("it holds no event"), None)]
    for record in records:
        if record.forwarded_at is None:
            record.forwarded_at = at
    return [Reading(table.result(record, received_at, name), record) for record in records]


def read_raw(
    table: Table, raw: bytes, media: str, received_at: int, unwrap: str = AUTO, envelope: bytes = b""
) -> list[Result]:
    """The same without the records."""
    return [one.result for one in read_stored(table, raw, media, received_at, unwrap, envelope=envelope)]


def unread(problem: str) -> Result:
    """The reading of what no table could read."""
    return Result(None, None, None, None, 0, problem)


def read_keys(result: Result, raw: bytes, key: bytes) -> ReadKeys:
    """By what the log is to know what was quarantined and is read now. ``raw``: its bytes; ``key``: the source's."""
    strong, weak = (None if values is None else identity_digest(key, values) for values in (result.strong, result.weak))
    return ReadKeys(strong, weak, result.seconds, content_digest(key, raw))


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
