"""Which events the log has, asked for reading alone: as if they were appended, without storing anything."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.log.identity import Identities, find_known, keys_of
from adapter.log.protocol import NewEntry
from adapter.log.sqlite.append import read_former, read_watched
from adapter.log.sqlite.contents import TransactionContents
from adapter.log.sqlite.index import BASE, find_keys
from adapter.log.sqlite.reading import Reader


def read_known(reader: Reader, entries: Sequence[NewEntry]) -> list[bytes | None]:
    """The uids of the events that the log has of these, as `adapter.log.protocol.Log.known`."""
    # One state of the log for all statements, whatever is committed meanwhile.
    reader.execute("BEGIN")
    try:
        keys = keys_of(entries, read_former(reader), read_watched(reader))
        contents = TransactionContents(reader, reader.compression, BASE - 1)
        known = find_keys(reader, {key for those in keys for key in those if key is not None})
        identities = Identities(known, lambda key: find_keys(reader, (key,)).get(key), contents)
        return find_known(identities, entries, keys, contents.new, BASE)
    finally:
        reader.execute("ROLLBACK")
