"""A table applied to a body without a server: what each record becomes, written for people and for tests."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from adapter.mapping.body import JSON, NDJSON, NotReadable, Record
from adapter.mapping.table import Table
from adapter.model import EventDict, identity_digest, identity_key, numbered_key, source_key, uid_text


def origin(source: str, table: Table, native_type: str | None, received_at: int) -> dict[str, Any]:
    """The ``source`` of an event."""
    return {
        "name": source,
        "provider": table.provider,
        "nativeType": native_type,
        "receivedAt": received_at,
        "mapping": table.name,
    }


def apply(
    table: Table, body: bytes, received_at: int, media: str = JSON, *, random_uid: Callable[[], uuid.UUID] = uuid.uuid4
) -> Iterator[dict[str, Any]]:
    """What each record of a body becomes, in order: the unified event with the provider's name as source,
    ``{"quarantined": {"nativeType", "problem"}}`` or ``{"ignored": {"nativeType"}}``.

    Raises:
        NotReadable: the body as a whole is not what ``media`` says.
        UnknownMedia: the table does not take ``media``.
    """
    return apply_records(table, table.split(body, media), received_at, random_uid=random_uid)


def records_of(table: Table, body: bytes, media: str | None = None) -> list[Record]:
    """The records of a body whose media type may be unknown: JSON, or else lines of JSON (a broken one is told as
    quarantined).

    Raises:
        NotReadable: the body as a whole is not what ``media`` says.
        UnknownMedia: the table does not take ``media``.
    """
    try:
        return table.split(body, media or JSON)
    except NotReadable:
        if media is not None:
            raise
        return table.split(body, NDJSON[0])


def apply_records(
    table: Table, records: Iterable[Record], received_at: int, *, random_uid: Callable[[], uuid.UUID] = uuid.uuid4
) -> Iterator[dict[str, Any]]:
    """The same for records that were taken out of a body already."""
    key = source_key(table.provider)
    equal: Counter[bytes] = Counter()
    for record in records:
        result = table.result(record, received_at)
        if result.event is None:
            if result.problem is None:
                yield {"ignored": {"nativeType": result.native_type}}
            else:
                yield {"quarantined": {"nativeType": result.native_type, "problem": result.problem}}
            continue
        event: EventDict = result.event
        if result.strong is not None:
            uid = uid_text(identity_key(result.seconds, identity_digest(key, result.strong)))
        elif result.weak is not None:
            weak = identity_key(result.seconds, identity_digest(key, result.weak))
            uid = uid_text(numbered_key(weak, equal[weak]))
            equal[weak] += 1
        else:
            uid = str(random_uid())
        event["uid"] = uid
        event["source"] = origin(table.provider, table, result.native_type, received_at)
        yield event
