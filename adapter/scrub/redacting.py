"""What a table redacts now, in what was stored before it did."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.known_secrets import REDACTED, KnownSecrets
from adapter.mapping.body import NotReadable, UnknownMedia
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.keyvalue import parse_keyvalue
from adapter.mapping.table import Table

#: Characters that a value has at least which is looked for inside of other texts, and one that is looked for as a
#: whole: shorter ones are ordinary words.
INSIDE, WHOLE = 8, 4


@dataclass(slots=True)
class Taken:
    """What was taken out of a raw event."""

    #: Whole texts in which something was, with what they are without it.
    texts: dict[str, str] = field(default_factory=dict)
    #: The values themselves.
    values: set[str] = field(default_factory=set)

    def out_of(self, value: Any) -> Any:
        """A value of JSON without what was taken; the same object if nothing of it is in there."""
        secrets = KnownSecrets((one for one in self.values if len(one) >= INSIDE), shortest=INSIDE)
        return _without(value, self.texts, secrets)


def redact(table: Table, raw: bytes, media: str, unwrap: str) -> tuple[bytes, Taken] | str | None:
    """A stored raw event without what the table redacts now; ``None``: nothing of it; a text: why that cannot be told.
    Never raises, whatever is stored."""
    try:
        after = table.split(raw, media, sys.maxsize, unwrap)
        if len(after) == 1 and after[0].raw == raw:
            return None
        before = table.split_unredacted(raw, media)
    except (NotReadable, UnknownMedia) as error:
        return str(error)
    except Exception as error:
        return table.failed(error)
    if len(after) != 1 or len(before) != 1 or before[0].raw != raw:
        return "the table does not read it as one event now"
    if after[0].media != media:
        return "without what the table redacts it would be of another media type"
    taken = Taken()
    _compare(before[0].value, after[0].value, taken)
    return after[0].raw, taken


def _compare(before: Any, after: Any, taken: Taken) -> None:
    """Find what is in one value of JSON, and not in the other."""
    if before == after:
        return
    if after == REDACTED:
        taken.values.update(_texts(before))
        if isinstance(before, str) and len(before) >= WHOLE:
            taken.texts[before] = REDACTED
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            _compare(before[key], after[key], taken)
    elif isinstance(before, list) and isinstance(after, list):
        for one, other in zip(before, after, strict=False):
            _compare(one, other, taken)
    elif isinstance(before, str) and isinstance(after, str):
        taken.texts[before] = after
        try:
            _compare(parse_json(before), parse_json(after), taken)
        except NotJson:
            _compare(parse_keyvalue(before), parse_keyvalue(after), taken)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _without(value: Any, texts: Mapping[str, str], secrets: KnownSecrets) -> Any:
    if isinstance(value, str):
        return texts[value] if value in texts else secrets.cleaned_value(value)
    if isinstance(value, dict):
        members = {key: _without(one, texts, secrets) for key, one in value.items()}
        return value if members == value else members
    if isinstance(value, list):
        elements = [_without(one, texts, secrets) for one in value]
        return value if elements == value else elements
    return value
