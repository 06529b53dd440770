"""Times and sizes as people write them in settings: ``400d``, ``200GB``, ``5%``."""

from __future__ import annotations

import re

_SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_SHORT = {"s": 1, "min": 60, "h": 3600}
_BYTES = {
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
}
_NUMBER = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?([A-Za-z%]+)", re.ASCII)


def seconds_of(text: str) -> int:
    """The seconds of a time: a number and h, d, w or y (365 days).

    Raises:
        ValueError: it is none; says what is right.
    """
    read = _NUMBER.fullmatch(text)
    if read is None or read[2] not in _SECONDS or not float(read[1]):
        raise ValueError(f"{text!r} is not a time such as 12h, 90d, 8w or 7y")
    return int(float(read[1]) * _SECONDS[read[2]])


def bytes_of(text: str) -> int:
    """The bytes of a size: a number and MB, GB, TB, MiB, GiB or TiB.

    Raises:
        ValueError: it is none; says what is right.
    """
    read = _NUMBER.fullmatch(text)
    if read is None or read[2] not in _BYTES:
        raise ValueError(f"{text!r} is not a size such as 500MB, 200GB or 1.5TiB")
    return int(float(read[1]) * _BYTES[read[2]])


def is_size(text: str) -> bool:
    """Whether a text is a size, rather than a time."""
    read = _NUMBER.fullmatch(text)
    return read is not None and read[2] in _BYTES


def share_of(text: str, whole: int) -> int:
    """The bytes of a size, or of a share of the whole: ``5%``.

    Raises:
        ValueError: it is neither; says what is right.
    """
    read = _NUMBER.fullmatch(text)
    if read is not None and read[2] == "%" and float(read[1]) <= 100:
        return int(whole * float(read[1]) / 100)
    try:
        return bytes_of(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a size such as 5GB nor a share of the disk such as 5%") from None


def interval_of(text: str) -> float:
    """The seconds of a short time: a number and s, min or h.

    Raises:
        ValueError: it is none; says what is right.
    """
    read = _NUMBER.fullmatch(text)
    if read is None or read[2] not in _SHORT or not float(read[1]):
        raise ValueError(f"{text!r} is not a time such as 5s, 2min or 1h")
    return float(read[1]) * _SHORT[read[2]]
