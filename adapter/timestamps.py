"""Timestamps as people write them, on the command line and over HTTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

#: What is right where a timestamp must stay the same whenever it is read.
FIXED = "a timestamp with its zone, such as 2026-05-01T08:30:00Z, or epoch milliseconds"
#: What is right elsewhere.
FORMS = f"{FIXED}, or how long ago ('30m', '2h', '7d'; also '-2h'), or now, today, yesterday (days of UTC)"

#: As it is described in ``/openapi.json``.
SCHEMA = {"anyOf": [{"type": "string", "description": FORMS}, {"type": "integer", "description": "epoch milliseconds"}]}

# A plus sign that was not escaped arrives as a blank.
_RFC3339 = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<clock>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d+))?"
    r"(?P<zone>[Zz]|[+ -]\d\d:?\d\d)",
    re.ASCII,
)
_AGO = re.compile(r"-?(?P<number>\d{1,5})(?P<unit>[smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_timestamp(text: str, now: int | None) -> int:
    """Epoch milliseconds; of a finer timestamp the next whole one, so that bounds stay exact. ``now``: epoch
    milliseconds, from which times ago are counted; ``None``: only what is the same whenever it is read.

    Raises:
        ValueError: it is none; `FORMS` or `FIXED` say what is right.
    """
    if text.isascii() and text.isdecimal() and len(text) <= 15:
        return int(text)
    if now is not None and (relative := _relative(text, now)) is not None:
        return max(0, relative)
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no timestamp")
    zone = found["zone"].upper().replace("Z", "+00:00").replace(" ", "+")
    try:
        seconds = round(datetime.fromisoformat(f"{found['date']}T{found['clock']}{zone}").timestamp())
    except OverflowError as error:
        raise ValueError(str(error)) from None
    fraction = (found["fraction"] or "").ljust(3, "0")
    return max(0, seconds * 1000 + int(fraction[:3]) + (fraction[3:].strip("0") != ""))


def write_timestamp(milliseconds: int) -> str | None:
    """Epoch milliseconds as RFC 3339 in UTC, ``2026-05-01T08:30:00.000Z``; ``None`` beyond the calendar."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _relative(text: str, now: int) -> int | None:
    if text == "now":
        return now
    if (ago := _AGO.fullmatch(text)) is not None:
        return now - round(timedelta(**{_UNITS[ago["unit"]]: int(ago["number"])}).total_seconds() * 1000)
    if text not in _DAYS:
        return None
    midnight = datetime.fromtimestamp(now // 1000, UTC).replace(hour=0, minute=0, second=0)
    return round((midnight - timedelta(days=_DAYS[text])).timestamp()) * 1000
