"""JSON whose numbers stay what was written: an id of 25 digits, or a fraction of 20, is not the one next to it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import orjson

#: Digits of a whole number that Python turns into text again; longer ones are kept as the text they came as.
DIGITS_LIMIT = 4300


class NotJson(ValueError):
    """The bytes are not JSON; the message says where and why."""


def parse_json(body: bytes | str) -> Any:
    """The value of a JSON text. Whole numbers are ``int``, however long; fractions are ``float`` where that is the
    number that was written, and ``Decimal`` otherwise.

    Raises:
        NotJson: it is not JSON, or a kind of it that the fast parser does not take.
    """
    try:
        return _decode(body)
    except (ValueError, RecursionError, MemoryError):
        raise NotJson(_why(body)) from None


def write_json(value: Any) -> bytes:
    """What `parse_json` made, as JSON again."""
    return _encode(value)


def write_json_sorted(value: Any) -> bytes:
    """The same, whatever order the keys came in."""
    return _encode_sorted(value)


def fraction(digits: str) -> float | Decimal | str:
    """The number that was written; as text if no number has such an exponent."""
    number = float(digits)
    if repr(number) == digits:
        return number
    try:
        exact = Decimal(digits)
    except InvalidOperation:
        return digits
    return number if exact == Decimal(repr(number)) else exact


def whole(digits: str) -> int | str:
    """The number that was written; as text if it is longer than any number."""
    return int(digits) if len(digits) <= DIGITS_LIMIT else digits


def _why(body: bytes | str) -> str:
    """What the parser that tells line and column says."""
    if isinstance(body, bytes):
        try:
            body.decode()
        except UnicodeDecodeError as error:
            return f"not UTF-8: byte 0x{body[error.start]:02x} at {error.start}"
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return str(error)
    return "a number is too long"


_decode = msgspec.json.Decoder(float_hook=fraction).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_encode_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
