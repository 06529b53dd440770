"""How values of raw events become what the unified event wants. Every function is total: foreign data never raises,
what cannot be converted is absent (``None``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from adapter.mapping.country import country_code
from adapter.mapping.exact import NotJson, parse_json, write_json
from adapter.mapping.language import Conversion, Lookup
from adapter.mapping.paths import scalar_text
from adapter.mapping.times import ReadTime, read_zone, reader, rfc2822, syslog

#: Timestamps outside are taken for a mistake of the sender: 2000-01-01 to 2100-01-01, epoch milliseconds.
EARLIEST = 946_684_800_000
LATEST = 4_102_444_800_000

Convert = Callable[[Any], str | None]
#: Takes the arrival, epoch milliseconds, behind the value where `Lookup.needs_arrival` says so.
ConvertTime = Callable[..., int | None]


def text_of(absent: frozenset[str]) -> Convert:
    """The converter to text of a table in which the texts of ``absent`` mean that there is no value."""

    def text(value: Any) -> str | None:
        found = scalar_text(value)
        return None if found is None or found in absent else found

    return text


def json_text(value: Any) -> str | None:
    """Objects and lists as JSON text, scalars as text."""
    found = scalar_text(value)
    if found is not None or value is None:
        return found
    return write_json(value).decode()


def list_text(text: str) -> str | None:
    """The elements of a list in JSON with ``, `` between, of an object among them its ``name``; other text as it is."""
    if not text.startswith("["):
        return text
    try:
        listed = parse_json(text)
    except NotJson:
        return text
    elements = [one.get("name") if isinstance(one, dict) else one for one in listed]
    return ", ".join(found for one in elements if (found := scalar_text(one))) or None


def ip(text: str) -> str:
    """An address without port, brackets and zone; text that is no address as it is."""
    if ":" not in text and "%" not in text:
        return text
    found = _WITH_PORT.fullmatch(text)
    if found is None:
        return text
    return (found["v4"] or found["v6"] or found["bare"]).partition("%")[0]


_WITH_PORT = re.compile(
    r"(?P<v4>\d{1,3}(?:\.\d{1,3}){3})(?::\d{1,5})?|\[(?P<v6>[0-9A-Fa-f:.%\w]+)\](?::\d{1,5})?|(?P<bare>[0-9A-Fa-f:.]+%\w+)"
)


def seconds(value: Any) -> int | None:
    """Epoch seconds, whole or not, as milliseconds."""
    number = _number(value)
    return None if number is None else _plausible(number * 1000)


def milliseconds(value: Any) -> int | None:
    """Epoch milliseconds, as a number or as digits."""
    if value.__class__ is int and EARLIEST <= value < LATEST:
        return value
    number = _number(value)
    return None if number is None else _plausible(number)


def epoch(value: Any) -> int | None:
    """Epoch time in seconds, milliseconds, microseconds or nanoseconds, told apart by its size."""
    number = _number(value)
    if number is None:
        return None
    for unit in (1000, 1, 1e-3, 1e-6):
        found = _plausible(number * unit if unit >= 1 else number // round(1 / unit))
        if found is not None:
            return found
    return None


def rfc3339(value: Any, zone: tzinfo = UTC) -> int | None:
    """A timestamp in RFC 3339 (ISO 8601) as epoch milliseconds; without a zone it is taken as of ``zone``."""
    if value.__class__ is not str:
        return None
    try:
        timestamp = datetime.fromisoformat(value.strip().replace(",", "."))
        if timestamp.tzinfo is None:
            timestamp = timestamp.replace(tzinfo=zone)
        # Whole numbers throughout: a float of seconds would lose the last millisecond now and then.
        since = timestamp - _EPOCH
    except (ValueError, OverflowError):
        return None
    return _plausible(since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000)


#: Conversions of texts by a function; what they cannot read is absent.
OF_TEXT: dict[Conversion, Callable[[str], str | None]] = {
    Conversion.LIST: list_text,
    Conversion.COUNTRY: country_code,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TIMES: dict[Conversion, ConvertTime] = {
    Conversion.RFC3339: rfc3339,
    Conversion.SECONDS: seconds,
    Conversion.MILLISECONDS: milliseconds,
    Conversion.EPOCH: epoch,
}
_WRITTEN: dict[Conversion, ReadTime] = {Conversion.RFC2822: rfc2822, Conversion.SYSLOG: syslog}


def convert_time(lookup: Lookup) -> ConvertTime:
    """What makes epoch milliseconds of a value that a lookup with ``times`` finds."""
    zone = UTC if lookup.zone is None else read_zone(lookup.zone)
    if isinstance(lookup.as_, Conversion) and lookup.as_ in _TIMES and lookup.zone is None:
        return _TIMES[lookup.as_]
    converters = [_time_converter(form, zone) for form in lookup.times]
    if len(converters) == 1:
        return converters[0]

    def first(value: Any, arrival: int | None = None) -> int | None:
        for convert in converters:
            found = convert(value, arrival)
            if found is not None:
                return found
        return None

    return first


def _time_converter(form: Conversion | str, zone: tzinfo) -> ConvertTime:
    if isinstance(form, Conversion) and form in _TIMES:
        plain = _TIMES[form]
        if form is not Conversion.RFC3339 or zone is UTC:
            return lambda value, arrival=None: plain(value)
        return lambda value, arrival=None: rfc3339(value, zone)
    read = _WRITTEN[form] if isinstance(form, Conversion) else reader(form)

    def convert(value: Any, arrival: int | None = None) -> int | None:
        text = scalar_text(value)
        found = None if text is None else read(text, zone, arrival)
        return None if found is None else _plausible(found)

    return convert


def _number(value: Any) -> int | float | None:
    if value.__class__ is int or value.__class__ is float:
        return value
    if value.__class__ is Decimal:
        return float(value)
    if value.__class__ is str and 0 < len(value) <= 32:
        if value[4:5] == "-":
            return None  # a date, as most texts are; no number of this form is a plausible time
        try:
            return int(value) if value.isascii() and value.isdigit() else float(value)
        except ValueError:
            return None
    return None


def _plausible(timestamp: int | float) -> int | None:
    try:
        whole = int(timestamp)
    except (ValueError, OverflowError):
        return None
    return whole if EARLIEST <= whole < LATEST else None
