"""How events are shown: each value with a link to the events that have it, and one to those that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from adapter.console.events_query import PATH, Clause, Query
from adapter.filter import LENGTH_LIMIT
from adapter.formats.text import harmless, laid_out
from adapter.search_fields import FOUND_DETAILS

#: Characters of a value in a table, and of one in the event's own page, where the rest is behind a click; and of a text
#: that is shown at all: more is in the file.
CELL, VALUE, WHOLE = 60, 300, 65_536
#: The same of a realm in a table: many are ids.
_REALM = 16
#: Fields of an event that are shown.
FIELDS = 500

#: Which filter finds what stands in a field of an event.
_FILTERS = {
    "type": "type",
    "outcome": "outcome",
    "reason": "reason",
    "realmId": "realm",
    "realmName": "realm",
    "id": "id",
    "authDetails.userId": "user",
    "authDetails.username": "user",
    "authDetails.clientId": "client",
    "authDetails.ipAddress": "ip",
    "authDetails.sessionId": "session",
    "source.name": "source",
    "source.provider": "provider",
    "lookedUp.actor": "actor",
    "lookedUp.target": "target",
    "lookedUp.client": "client",
    "lookedUp.realm": "realm",
    "details.username": "user",
    "details.userId": "user",
    "details.code_id": "session",
    **{f"details.{detail}": name for name, details in FOUND_DETAILS.items() for detail in details},
}
#: Fields whose numbers are times, epoch milliseconds.
_MOMENTS = {"time", "source.receivedAt", "source.normalizedAt"}
_OUTCOMES = {"success": "good", "failure": "bad"}

# The sign of it is in the style: a page has a thousand of them.
_NOT = Markup('<a class="events-not" href="{}" title="without {} {}"></a>')
_VALUE = Markup('<span class="events-value"><a href="{}" title="{}: {}">{}</a>{}</span>')
_CHOSEN = Markup('<span class="events-value events-chosen">{}</span>')


class Links:
    """Links to events, from a page with some filters. Made once for each value: a table has the same ones again and
    again."""

    def __init__(self, query: Query, prefix: str) -> None:
        """``prefix``: what stands before the path of each page."""
        self._query = query
        self._path = prefix + PATH
        self._base = f"{self._path}?{query.text}&" if query.text else f"{self._path}?"
        self._made: dict[tuple[str | None, str, str | None, int], Markup] = {}

    def to(self, query: Query, **more: str) -> str:
        """The address of a page with other filters, and what else stands in it."""
        text = "&".join(filter(None, (query.text, urlencode(more))))
        return f"{self._path}?{text}" if text else self._path

    def including(self, name: str, value: str) -> str:
        """The address of the page with one more value of a filter."""
        if Clause(name, value).opposite in self._query.pairs:
            return self.to(self._query.including(name, value))
        return f"{self._base}{name}={quote(value, safe='', errors='replace')}"

    def value(self, name: str | None, value: str, text: str | None = None, *, length: int = CELL) -> Markup:
        """A text (that of the value, where there is no other), which leads to the events that have the value, and
        beside it what leads to those that have not. ``length``: characters of the text that are shown."""
        key = (name, value, text, length)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._value(name, value, cut(value if text is None else text, length))
        return made

    def _value(self, name: str | None, value: str, shown: str) -> Markup:
        if name is None or not value.strip() or len(value) > LENGTH_LIMIT:
            return escape(shown)
        if (name, value) in self._query.pairs:
            return _CHOSEN.format(shown)
        said = cut(value, CELL)
        without = _NOT.format(self.including(f"not_{name}", value), name, said)
        return _VALUE.format(self.including(name, value), name, cut(value, VALUE), shown, without)

    def sentence(self, parts: Sequence[Mapping[str, str]]) -> Markup:
        """A sentence of the API."""
        return Markup("").join(
            self.value(one["filter"], one["value"], one["text"]) if "filter" in one else escape(harmless(one["text"]))
            for one in parts
        )


class Row(NamedTuple):
    """An event in a table."""

    href: str
    time: int
    sentence: Markup
    type: Markup
    outcome: Markup
    #: Which colour the outcome has: good, bad, plain.
    kind: str
    reason: Markup
    provider: Markup
    realm: Markup
    address: Markup


def row_of(event: Mapping[str, Any], links: Links, prefix: str) -> Row:
    """An event as a row."""
    source, who = event["source"], event.get("authDetails", {})
    looked_up = event.get("lookedUp", {})
    realm = event.get("realmName") or looked_up.get("realm") or event.get("realmId")
    reason, address = event.get("reason"), who.get("ipAddress")
    by_address = next((one for one in event["sentence"]["parts"] if one.get("filter") == "ip"), None)
    return Row(
        href=f"{prefix}{PATH}/{quote(event['uid'], safe='')}",
        time=event["time"],
        sentence=links.sentence(event["sentence"]["parts"]),
        type=links.value("type", event["type"]),
        outcome=links.value("outcome", event["outcome"]),
        kind=_OUTCOMES.get(event["outcome"], "plain"),
        reason=links.value("reason", reason, reason.replace("_", " ")) if reason else Markup(""),
        provider=links.value("provider", source["provider"]),
        realm=links.value("realm", realm, length=_REALM) if realm else Markup(""),
        address=links.value("ip", by_address["value"] if by_address else address, address) if address else Markup(""),
    )


@dataclass(frozen=True)
class Field:
    """One field of an event."""

    name: str
    #: The value, with its links where it is one to search for.
    shown: Markup | None
    #: A time instead, epoch milliseconds.
    moment: int | None = None
    #: A long text instead: how it begins, all of it that is shown, and how many characters it has.
    begins: str | None = None
    whole: str | None = None
    length: int = 0
    #: Whether there is more, which stands in the file alone.
    is_cut: bool = False


def fields_of(event: Mapping[str, Any], links: Links) -> list[Field]:
    """The first `FIELDS` of an event, those of objects under their paths, without its sentence and what the provider
    sent."""
    return [_field(name, value, links) for name, value in islice(flat(event), FIELDS)]


def _field(path: str, value: Any, links: Links) -> Field:
    name = cut(path, CELL)
    if path in _MOMENTS and isinstance(value, int):
        return Field(name, None, moment=value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > VALUE or "\n" in text:
        whole = laid_out_json(text)
        return Field(name, None, None, cut(text, CELL), whole[:WHOLE], len(text), is_cut=len(whole) > WHOLE)
    return Field(name, links.value(_filter_of(path, text), text, length=VALUE))


def _filter_of(name: str, text: str) -> str | None:
    found = _FILTERS.get(name)
    # An address with a port, say, is none that a filter takes.
    if found == "ip" and (text.count(":") == 1 or text.startswith("[")):
        return None
    return found


def flat(event: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of an event by their paths, in their order."""
    for name, value in event.items():
        if name in ("sentence", "raw", "envelope"):
            continue
        if isinstance(value, dict):
            for inner, one in value.items():
                yield f"{name}.{inner}", one
        else:
            yield name, value


class Change(NamedTuple):
    """A field in which two readings of an event differ; ``None``: it is not there."""

    name: str
    old: str | None
    new: str | None


#: Of ``source``: what each reading says anew.
_READING = ("source.normalizedAt", "source.revision")


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """In which fields an event was read differently; `FIELDS` at most."""
    before, after = ({name: _text(value) for name, value in flat(one) if name not in _READING} for one in (old, new))
    names = dict.fromkeys([*before, *after])
    return [Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def cut(text: str, length: int) -> str:
    """A text made harmless, or the beginning of a long one."""
    return harmless(text) if len(text) <= length else f"{harmless(text[:length])}…"


def laid_out_json(text: str) -> str:
    """JSON with a part a line, any other text as it is, and what is long or nested deeply."""
    if text[:1] not in "{[" or len(text) > WHOLE:
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return laid_out(text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
