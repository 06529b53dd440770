"""What a stored entry holds without secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
import structlog

from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import Replacement, Stored
from adapter.mapping.body import JSON, Record
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.forwarders import AUTO
from adapter.mapping.table import Table
from adapter.model import Entry
from adapter.scrub.redacting import redact
from adapter.sources.intake import Source, without_secrets

_log = structlog.get_logger("adapter.scrub")

#: What says which event it is, when it was, and whose: no secret, and it stays.
_KEPT = frozenset({"uid", "time", "outcome", "source"})
#: Objects whose members have names of ours.
_NAMED = frozenset({"authDetails"})


class Cleaner:
    """Finds what entries are to hold from now on."""

    def __init__(
        self,
        secrets: Sequence[KnownSecrets],
        sources: Mapping[str, Source],
        tables: Mapping[str, Table],
        *,
        redact: bool,
    ) -> None:
        """``sources``: those that are configured, by name; ``redact``: what their tables redact goes, too."""
        self._secrets = secrets
        self._sources = sources
        self._tables = tables
        self._redact = redact

    def clean(self, some: Iterable[Stored], problems: Counter[str]) -> list[Replacement]:
        """What those hold from now on that hold a secret. ``problems`` counts what could not be looked into."""
        found = []
        for stored in some:
            try:
                replacement = self._clean(stored, problems)
            except Exception:
                _log.exception("scrub_entry_failed", position=stored.entry.position)
                problems["a fault of the adapter; its log says which"] += 1
                continue
            if replacement is not None:
                found.append(replacement)
        return found

    def clean_text(self, text: str) -> str:
        """A text of JSON without secrets; the same object if there are none."""
        if not any(secrets.may_be_in(text.encode("utf-8", "surrogatepass")) for secrets in self._secrets):
            return text
        value = cleaned = orjson.loads(text)
        for secrets in self._secrets:
            cleaned = secrets.cleaned_value(cleaned)
        return text if cleaned == value else orjson.dumps(cleaned).decode()

    def _clean(self, stored: Stored, problems: Counter[str]) -> Replacement | None:
        entry, raw, envelope = stored.entry, stored.raw, stored.envelope
        event, type, native_type, problem = entry.event, entry.type, entry.native_type, entry.problem
        for secrets in self._secrets:
            if raw is not None and (secrets.may_be_in(raw) or secrets.may_be_in(envelope)):
                raw, envelope = _cleaned_raw(raw, stored.media, envelope, secrets)
            if event is not None and secrets.may_be_in(event):
                event = _changed(event, secrets.cleaned_value)
            type, native_type, problem = (
                None if one is None else secrets.cleaned_value(one) for one in (type, native_type, problem)
            )
        if self._redact and raw is not None and (table := self._table(entry)) is not None:
            source = self._sources.get(entry.source)
            found = redact(table, raw, stored.media, AUTO if source is None else source.unwrap)
            if isinstance(found, str):
                problems[f"redacting: {found}"] += 1
            elif found is not None:
                raw, taken = found
                event = None if event is None else _changed(event, taken.out_of)
        if (raw, envelope, event, type, native_type, problem) == (
            stored.raw, stored.envelope, entry.event, entry.type, entry.native_type, entry.problem,
        ):  # fmt: skip
            return None
        return Replacement(entry.position, type, native_type, problem, event, raw, envelope)

    def _table(self, entry: Entry) -> Table | None:
        source = self._sources.get(entry.source)
        if source is not None:
            return self._tables.get(source.provider)
        return None if entry.event is None else self._tables.get(orjson.loads(entry.event)["source"]["provider"])


def _cleaned_raw(raw: bytes, media: str, envelope: bytes, secrets: KnownSecrets) -> tuple[bytes, bytes]:
    """What was sent, as it is stored when it is received, now that these secrets are known."""
    value: Any = None
    if media == JSON:
        with suppress(NotJson):
            value = parse_json(raw)
    record = Record(raw, value, None, media)
    record.envelope = envelope
    without_secrets(record, secrets)
    return record.raw, record.envelope


def _changed(event: bytes, clean: Callable[[Any], Any]) -> bytes:
    """An event of which what may hold a secret is cleaned; the same object if nothing of it changes."""
    value = orjson.loads(event)
    changed = {}
    for name, one in value.items():
        if name in _KEPT:
            continue
        cleaned = {key: clean(text) for key, text in one.items()} if name in _NAMED else clean(one)
        if cleaned != one:
            changed[name] = cleaned
    native = value["source"].get("nativeType")
    if native is not None and (cleaned := clean(native)) != native:
        changed["source"] = {**value["source"], "nativeType": cleaned}
    return orjson.dumps({**value, **changed}) if changed else event
