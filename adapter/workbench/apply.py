"""A table applied to a body without a server: what each record becomes, written for people and for tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from adapter.log.identity import Former, Identities, keys_of
from adapter.log.protocol import NewEntry
from adapter.mapping.body import JSON, NDJSON, TEXT, NotReadable, Record
from adapter.mapping.table import Table
from adapter.model import source_key, uid_text
from adapter.normalize import normalize, normalize_further


def apply(
    table: Table, body: bytes, received_at: int, media: str = JSON, *, random_uid: Callable[[], uuid.UUID] = uuid.uuid4
) -> Iterator[dict[str, Any]]:
    """What each record of a body becomes, in order: the unified event with the provider's name as source (and behind
    it, further events that its row makes of it, each with ``also`` in its source),
    ``{"quarantined": {"nativeType", "problem"}}``, ``{"ignored": {"nativeType"}}``, or for a line that the table passes
    over ``{"ignored": {"line"}}`` with what the table calls it.

    Raises:
        NotReadable: the body as a whole is not what ``media`` says.
        UnknownMedia: the table does not take ``media``.
    """
    return apply_records(table, table.split(body, media), received_at, random_uid=random_uid)


def records_of(table: Table, body: bytes, media: str | None = None) -> list[Record]:
    """The records of a body whose media type may be unknown: JSON, or else lines of text, if the table reads such and
    they do not begin as JSON does, or lines of JSON (a broken one is told as quarantined).

    Raises:
        NotReadable: the body as a whole is not what ``media`` says.
        UnknownMedia: the table does not take ``media``.
    """
    try:
        return table.split(body, media or JSON)
    except NotReadable:
        if media is not None:
            raise
        is_text = body.lstrip()[:1] not in (b"{", b"[") and any(one.media == TEXT for one in table.mapping.body)
        return table.split(body, TEXT if is_text else NDJSON[0])


def apply_records(
    table: Table, records: Iterable[Record], received_at: int, *, random_uid: Callable[[], uuid.UUID] = uuid.uuid4
) -> Iterator[dict[str, Any]]:
    """The same for records that were taken out of a body already."""
    for some in apply_each(table, records, received_at, random_uid=random_uid):
        yield from some


def apply_each(
    table: Table, records: Iterable[Record], received_at: int, *, random_uid: Callable[[], uuid.UUID] = uuid.uuid4
) -> Iterator[list[dict[str, Any]]]:
    """The same record by record: of each what it becomes, first, and its further events."""
    body = _Body()
    key = source_key(table.provider)
    for record in records:
        made = normalize(table, record, table.provider, key, received_at, random_uid)
        if isinstance(made, str):
            yield [{"ignored": {"nativeType" if record.ignored is None else "line": made}}]
            continue
        entry, event = made
        if event is None:
            yield [{"quarantined": {"nativeType": entry.native_type, "problem": entry.problem}}]
            continue
        both = [(entry, event), *normalize_further(table, record, entry, key)]
        yield [{**event, "uid": uid_text(body.uid(entry))} for entry, event in both]


class _Body:
    """The events of one body, with the uids that an empty log gives them."""

    def __init__(self) -> None:
        self._entries: list[NewEntry] = []
        self._identities = Identities({}, lambda key: None, self)

    def uid(self, entry: NewEntry) -> bytes:
        """The uid of the next one: its own, or that of the event that it is a copy of."""
        self._entries.append(entry)
        [keys] = keys_of([entry], Former(0), set())
        known = self._identities.resolve(entry, keys, len(self._entries))
        if known.position != len(self._entries):
            self._entries.pop()
        return known.uid

    def event(self, position: int) -> bytes | None:
        """See `adapter.log.identity.Contents`."""
        return self._entries[position - 1].event

    def raw(self, position: int) -> bytes | None:
        """See `adapter.log.identity.Contents`."""
        return self._entries[position - 1].raw
