"""Times as logs write them: formats with the directives of ``strptime``, RFC 2822, syslog.

A format is made into a regular expression once. To read a text with it is total: what the format does not fit is no
time, and neither is a day that no calendar has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

#: Characters of a format, and of a text that is read with one.
FORMAT_LENGTH = 100
TEXT_LENGTH = 100

#: From the text, the zone where it names none, and the arrival (epoch ms) from which the year is taken where it has
#: none, to epoch milliseconds; ``None``: it is no such time.
ReadTime = Callable[[str, tzinfo, int | None], int | None]

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTH = {name[:length].lower(): number + 1 for number, name in enumerate(_MONTHS) for length in (3, len(name))}

#: Zones with a name that means one thing: those of RFC 2822. Minutes east of Greenwich.
_ZONES = {
    **dict.fromkeys(("Z", "UTC", "UT", "GMT"), 0),
    **dict.fromkeys(("EST", "CDT"), -300),
    **dict.fromkeys(("CST", "MDT"), -360),
    **dict.fromkeys(("MST", "PDT"), -420),
    "EDT": -240,
    "PST": -480,
}


def _names(names: tuple[str, ...]) -> str:
    return "|".join(f"{name[:3]}(?:{name[3:]})?" if len(name) > 3 else name for name in names)


#: Directive: what it matches.
_DIRECTIVES = {
    "Y": "(?P<Y>[0-9]{4})",
    "y": "(?P<y>[0-9]{2})",
    "m": "(?P<m>1[0-2]|0[1-9]|[1-9])",
    "b": f"(?P<b>{_names(_MONTHS)})",
    "d": "(?P<d>3[01]|[12][0-9]|0[1-9]|[1-9])",
    "a": f"(?:{_names(_DAYS)})",
    "H": "(?P<H>2[0-3]|[01][0-9]|[0-9])",
    "I": "(?P<I>1[0-2]|0[1-9]|[1-9])",
    "p": "(?P<p>AM|PM)",
    "M": "(?P<M>[0-5][0-9]|[0-9])",
    "S": "(?P<S>[0-5][0-9]|[0-9])",
    "f": "(?P<f>[0-9]{1,9})",
    "z": f"(?P<z>[+-](?:2[0-3]|[01][0-9])(?::?[0-5][0-9])?|{'|'.join(_ZONES)})",
    "%": "%",
}
#: Directives that stand for others.
_SHORT = {"B": "%b", "h": "%b", "A": "%a", "e": "%d", "T": "%H:%M:%S", "R": "%H:%M", "F": "%Y-%m-%d", "D": "%m/%d/%y"}

#: As clocks show it; offsets are taken off afterwards.
_EPOCH = datetime(1970, 1, 1)


def check_format(text: str) -> None:
    """Refuse what is no format of times.

    Raises:
        ValueError: it is none; the message says why.
    """
    _pattern(text)


def has_year(text: str) -> bool:
    """Whether a format says where the year stands."""
    return {"Y", "y"} & _pattern(text).groupindex.keys() != set()


@lru_cache(maxsize=1024)
def reader(text: str) -> ReadTime:
    """What reads times of a format."""
    return _reader(_pattern(text))


def _pattern(text: str) -> re.Pattern[str]:
    if len(text) > FORMAT_LENGTH:
        raise ValueError(f"the format has {len(text)} characters; the limit is {FORMAT_LENGTH}")
    whole = re.sub("%(.)", lambda found: _SHORT.get(found[1], found[0]), text.strip(), flags=re.DOTALL)
    parts, seen = [], set()
    for part in re.findall(r"%.?|\s+|[^%\s]+", whole, re.DOTALL):
        name = part[1:]
        if part[0] != "%":
            parts.append(r"[ \t]+" if part.isspace() else re.escape(part))
        elif name not in _DIRECTIVES:
            known = " ".join(f"%{one}" for one in [*_DIRECTIVES, *_SHORT])
            raise ValueError(f"there is no directive %{name} in a format; there are {known}")
        elif name in seen and name not in "%a":
            raise ValueError(f"the format {text!r} has %{name} twice")
        else:
            seen.add(name)
            parts.append(_DIRECTIVES[name])
    for needed, told in _NEEDED:
        if not needed(seen):
            raise ValueError(f"the format {text!r} {told}")
    return re.compile("".join(parts), re.ASCII | re.IGNORECASE)


#: What a format must have.
_NEEDED: tuple[tuple[Callable[[set[str]], bool], str], ...] = (
    (lambda seen: "d" in seen and bool(seen & {"m", "b"}), "needs a day (%d) and a month (%m, or %b for its name)"),
    (lambda seen: not seen >= {"m", "b"}, "has the month twice: %m and %b"),
    (lambda seen: not seen >= {"Y", "y"}, "has the year twice: %Y and %y"),
    (lambda seen: ("I" in seen) is ("p" in seen), "needs %I and %p together"),
    (lambda seen: not seen >= {"H", "I"}, "has the hour twice: %H and %I"),
)


def _reader(pattern: re.Pattern[str]) -> ReadTime:
    groups = pattern.groupindex.keys()
    has_year, has_offset = bool({"Y", "y"} & groups), "z" in groups
    match = pattern.fullmatch

    def read(text: str, zone: tzinfo, arrival: int | None) -> int | None:
        text = text.strip()
        found = match(text) if len(text) <= TEXT_LENGTH else None
        if found is None:
            return None
        parts = found.groupdict()
        name = parts.get("b")
        month = int(parts["m"]) if name is None else _MONTH[name.lower()]
        day = int(parts["d"])
        hour = int(parts.get("H") or 0)
        if "p" in parts:
            hour = int(parts["I"]) % 12 + (12 if parts["p"].lower() == "pm" else 0)
        rest = (hour, int(parts.get("M") or 0), int(parts.get("S") or 0), int(((parts.get("f") or "") + "000000")[:6]))
        if has_offset:
            zone = _offset(parts["z"])
        try:
            if has_year:
                year = int(parts["Y"]) if "Y" in parts else _century(int(parts["y"]))
                return _since_epoch(datetime(year, month, day, *rest), zone)
            return None if arrival is None else _latest(month, day, rest, zone, arrival)
        except (ValueError, OverflowError):
            return None

    return read


def _century(year: int) -> int:
    """The year of two digits, as POSIX has it: 69 to 99 are in the last century."""
    return year + (1900 if year >= 69 else 2000)


def _since_epoch(wall: datetime, zone: tzinfo) -> int:
    """Epoch milliseconds of a wall clock in a zone. A time that comes twice there is the earlier one, and one that was
    skipped is read with the clock of before."""
    offset = zone.utcoffset(wall)
    since = wall - _EPOCH if offset is None else wall - _EPOCH - offset
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


#: A day, and a bit more than the hours by which no zone is ahead of another; milliseconds.
_DAY = 86_400_000
#: Between two leap years lie eight at most.
_YEARS = 9


def _latest(month: int, day: int, rest: tuple[int, int, int, int], zone: tzinfo, arrival: int) -> int | None:
    """The latest such time that is not more than a day after the arrival."""
    limit = arrival + _DAY
    last = (_UTC_EPOCH + timedelta(milliseconds=limit + _DAY)).year
    for year in range(last, last - _YEARS, -1):
        try:
            found = _since_epoch(datetime(year, month, day, *rest), zone)
        except ValueError:  # the 29th of February
            continue
        if found <= limit:
            return found
    return None


_UTC_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def _offset(text: str) -> tzinfo:
    minutes = _ZONES.get(text.upper())
    if minutes is None:
        digits = text[1:].replace(":", "")
        minutes = (int(digits[:2]) * 60 + int(digits[2:] or 0)) * (-1 if text[0] == "-" else 1)
    return timezone(timedelta(minutes=minutes))


def read_zone(name: str) -> tzinfo:
    """The zone of an IANA name (``Europe/Berlin``) or of an offset (``+02:00``).

    Raises:
        ValueError: there is none.
    """
    if name.upper() in ("UTC", "Z"):
        return UTC
    if re.fullmatch(r"[+-](?:2[0-3]|[01][0-9]):?[0-5][0-9]", name):
        return _offset(name)
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(
            f"{name[:100]!r} is no time zone of this system; write an IANA name such as Europe/Berlin, or an offset "
            "such as +02:00"
        ) from None


def _written(*parts: str) -> ReadTime:
    return _reader(re.compile("".join(parts), re.ASCII | re.IGNORECASE))


_DATE = rf"{_DIRECTIVES['d']}[ \t]+{_DIRECTIVES['b']}[ \t]+{_DIRECTIVES['Y']}"
_CLOCK = f"{_DIRECTIVES['H']}:{_DIRECTIVES['M']}"

#: ``Mon, 02 Jan 2006 15:04:05 -0700``; weekday and seconds may be missing, a comment may follow.
rfc2822 = _written(
    rf"(?:{_DIRECTIVES['a']}[ \t]*,[ \t]*)?{_DATE}[ \t]+{_CLOCK}(?::{_DIRECTIVES['S']})?[ \t]+{_DIRECTIVES['z']}",
    r"(?:[ \t]*\([^()]*\))?",
)
#: ``Jan  2 15:04:05``, perhaps with a fraction.
syslog = _written(
    rf"{_DIRECTIVES['b']}[ \t]+{_DIRECTIVES['d']}[ \t]+{_CLOCK}:{_DIRECTIVES['S']}(?:\.{_DIRECTIVES['f']})?"
)
