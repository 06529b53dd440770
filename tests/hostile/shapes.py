"""Bodies that are made to cost: each shape grows to any size, so that what is worse than linear shows as a curve."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
FORM = "application/x-www-form-urlencoded"

MIB = 1 << 20


class Shape(NamedTuple):
    """One kind of body."""

    family: str
    name: str
    #: A body of about so many bytes.
    make: Callable[[int], bytes]
    media: str = JSON
    #: Sent with ``Content-Encoding: gzip`` as it is made; all others are sent both plain and packed.
    packed: bool = False


def _fill(unit: bytes, size: int, before: bytes = b"", after: bytes = b"", between: bytes = b"") -> bytes:
    """A unit as often as it fits."""
    count = max(1, (size - len(before) - len(after)) // (len(unit) + len(between)))
    return before + between.join([unit] * count) + after if between else before + unit * count + after


def _filled(unit: bytes, before: bytes = b"", after: bytes = b"", between: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: _fill(unit, size, before, after, between)


def _nested(opening: bytes, middle: bytes, closing: bytes) -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        depth = max(1, (size - len(middle)) // (len(opening) + len(closing)))
        return opening * depth + middle + closing * depth

    return make


def _keys(name: Callable[[int], str]) -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        each = len(name(0)) + 10
        return b"{%s}" % b",".join(f'"{name(number)}":1'.encode() for number in range(max(1, size // each)))

    return make


#: Events that tables know, open at the end for what a shape puts in.
_ADMIN = (
    b'{"id":"a-1","time":1777881612000,"operationType":"UPDATE","realmId":"acme","resourceType":"USER",'
    b'"resourcePath":"users/u-1","authDetails":{"userId":"u-2"},"representation":'
)
_LOGIN = b'{"id":"l-1","time":1777881612000,"type":"LOGIN","realmId":"acme","userId":"u-1","details":{"username":'
_ZITADEL = (
    b'{"aggregateID":"1","aggregateType":"user","resourceOwner":"2","instanceID":"3","version":"v1","sequence":4,'
    b'"event_type":"user.human.added","created_at":"2026-05-04T08:00:00Z","userID":"5","event_payload":'
)
_LINE = b'type="LOGIN", realmId="acme", clientId="web", userId="u-1", ipAddress="203.0.113.7", '


def in_text(before: bytes, inner: Callable[[int], bytes], after: bytes = b"}") -> Callable[[int], bytes]:
    """A body in which a text holds what another shape makes."""
    return lambda size: before + json.dumps(inner(size).decode("utf-8", "replace")).encode() + after


def in_base64(before: bytes, inner: Callable[[int], bytes], after: bytes = b"}") -> Callable[[int], bytes]:
    """A body in which a text holds in base64 what another shape makes."""
    return lambda size: before + b'"%s"' % base64.b64encode(inner(size * 3 // 4)) + after


def in_form(inner: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A form whose field holds what another shape makes."""
    return lambda size: b"json=" + quote(inner(size), safe="'()[]{},:").encode()


def _notifications(size: int) -> bytes:
    """Envelopes in envelopes, each inner one as a text of the outer."""
    inner = "{}"
    while True:
        outer = json.dumps({"Type": "Notification", "Message": inner})
        if len(outer) > size:
            return inner.encode()
        inner = outer


def _every_plane(size: int) -> bytes:
    text = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0x21, 0x41, 0xFFD, 0x2603, 0xABCD, 0xFFFE))
    return _fill(text.encode(), size, _LOGIN + b'"', b'"}}')


def _half_pairs(size: int) -> bytes:
    return _fill(rb"\ud83d", size, _LOGIN + b'"', b'"}}')


def events(size: int, each: int = 400) -> bytes:
    """Logins that are as they should be, each of about so many bytes."""
    made = []
    for number in range(max(1, size // each)):
        event: dict[str, Any] = {
            "id": f"e-{number}",
            "time": 1777881612000 + number,
            "type": "LOGIN",
            "realmId": "acme",
            "userId": f"u-{number % 1000}",
            "details": {"username": "anna"},
        }
        event["details"]["note"] = "x" * max(0, each - len(json.dumps(event)) - 13)
        made.append(json.dumps(event))
    return f"[{','.join(made)}]".encode()


# gzip


@lru_cache(maxsize=64)
def _zeros(unit: bytes, size: int) -> bytes:
    """gzip of a unit as often as gives so many packed bytes, or 1 GiB unpacked."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = unit * max(1, MIB // len(unit))
    packed = bytearray()
    unpacked = 0
    while len(packed) < size and unpacked < 1 << 30:
        packed += packer.compress(block)
        unpacked += len(block)
    return bytes(packed + packer.flush())


def bomb(unit: bytes) -> Callable[[int], bytes]:
    """gzip that holds up to a thousand times its bytes."""
    return lambda size: _zeros(unit, size)


def members(inner: bytes) -> Callable[[int], bytes]:
    """gzip of many small members."""
    return _filled(gzip.compress(inner, mtime=0))


def _bomb_in_a_bomb(size: int) -> bytes:
    return gzip.compress(_zeros(b" ", size * 100), mtime=0)


def _endless_name(size: int) -> bytes:
    """A member whose header names a file, for ever."""
    return b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * size


def _broken_off(size: int) -> bytes:
    packed = gzip.compress(events(size * 8), mtime=0)
    return packed[: len(packed) // 2]


def _zeros_behind(size: int) -> bytes:
    """One good member, and then what is none."""
    return gzip.compress(b"[]", mtime=0) + b"\0" * size


SHAPES = [
    # Nesting
    Shape("brackets", "[[[[…", _filled(b"[")),
    Shape("brackets", "[[[[…]]]]", _nested(b"[", b"", b"]")),
    Shape("brackets", "]]]]…", _filled(b"]")),
    Shape("brackets", '{"a":{"a":…}}', _nested(b'{"a":', b"1", b"}")),
    Shape("brackets", "[{[{… without an end", _filled(b'[{"a":')),
    Shape("brackets", "[[]],[[]],…", _filled(b"[[[[]]]]", b"[", b"]", b",")),
    Shape("brackets", "2,000 [ and an endless string", _filled(rb"\"", b"[" * 2000 + b'"')),
    Shape("brackets", "100,000 [ and blanks", _filled(b" ", b"[" * 100_000)),
    Shape("brackets", "objects, each 60 deep", _filled(b'{"a":' * 60 + b"1" + b"}" * 60, b"[", b"]", b",")),
    Shape("brackets", "objects, each 900 deep", _filled(b'{"a":' * 900 + b"1" + b"}" * 900, b"[", b"]", b",")),
    # Strings
    Shape("strings", r'"\"\"\"… without an end', _filled(rb"\"", b'"')),
    Shape("strings", r'{"a":"\"\"… without an end', _filled(rb"\"", b'{"a":"')),
    Shape("strings", r"backslashes without an end", _filled(b"\\\\", b'{"a":"')),
    Shape("strings", "quotes", _filled(b'"')),
    Shape("strings", "a string of brackets", _filled(b"[{", b'{"type":"', b'"}')),
    Shape("strings", "an object, then an endless string", _filled(rb"\"", b'{"type":"LOGIN"}"')),
    Shape("strings", r"\u escapes", _filled(rb"\u0041", b'{"type":"', b'"}')),
    Shape("strings", r"\u0000", _filled(rb"\u0000", _LOGIN + b'"', b'"}}')),
    # Lists of nothing
    Shape("lists", "[1,1,1,…]", _filled(b"1", b"[", b"]", b",")),
    Shape("lists", "[{},{},{},…]", _filled(b"{}", b"[", b"]", b",")),
    Shape("lists", "[null,…]", _filled(b"null", b"[", b"]", b",")),
    Shape("lists", '["","",…]', _filled(b'""', b"[", b"]", b",")),
    Shape("lists", "[ , , ,…]", _filled(b" ", b"[", b"]", b",")),
    Shape("lists", "[1,1,1,… without an end", _filled(b"1,", b"[")),
    Shape("lists", "[{…},{…},… half an object at the end", _filled(b'{"type":"LOGIN"},', b"[", b'{"type":')),
    # Blanks and the like
    Shape("blanks", "blanks", _filled(b" ")),
    Shape("blanks", "empty lines", _filled(b"\n"), NDJSON),
    Shape("blanks", "CR and LF", _filled(b"\r\n\t "), NDJSON),
    Shape("blanks", "byte order marks", _filled(b"\xef\xbb\xbf")),
    Shape("blanks", "byte order marks before an event", _filled(b"\xef\xbb\xbf", after=b'{"type":"LOGIN"}')),
    Shape("blanks", "byte order marks on each line", _filled(b'\xef\xbb\xbf{"a":1}\n'), NDJSON),
    Shape("blanks", "NUL", _filled(b"\0")),
    Shape("blanks", "blanks between objects", _filled(b" " * 1000, b'{"a":1}', b'{"a":1}')),
    # Numbers
    Shape("numbers", "a number of many digits", _filled(b"1", b'{"time":', b"}")),
    Shape("numbers", "a fraction of many digits", _filled(b"0", b'{"time":1.', b"1}")),
    Shape("numbers", "a huge exponent", _filled(b"9", b'{"time":1e', b"}")),
    Shape("numbers", "1e999999999", _filled(b"1e999999999", b"[", b"]", b",")),
    Shape("numbers", "---…", _filled(b"-")),
    Shape("numbers", "numbers of 5,000 digits", _filled(b"9" * 5000, b'{"type":"LOGIN","a":[', b"]}", b",")),
    # Keys
    Shape("keys", "many", _keys(lambda number: f"k{number}")),
    Shape("keys", "equal", _filled(b'"a":1', b"{", b"}", b",")),
    Shape("keys", "equal types", _filled(b'"type":"LOGIN"', b"{", b"}", b",")),
    Shape("keys", "alike", _keys(lambda number: "a" * 500 + str(number))),
    Shape("keys", "a long one", _filled(b"a", b'{"', b'":1}')),
    Shape("keys", "many in details", lambda size: _LOGIN + b'"u"' + b"".join(
        b',"k%d":"v"' % number for number in range(max(1, size // 12))) + b"}}"),
    # Objects one after another
    Shape("objects", "{}{}{}…", _filled(b"{}")),
    Shape("objects", '{"a":1}{"a":1}…', _filled(b'{"a":1}')),
    Shape("objects", "and half of one", _filled(b'{"a":1}\n', after=b'{"a":')),
    Shape("objects", "and a lone surrogate", _filled(b'{"a":1}', after=rb'{"a":"\ud800"}')),
    Shape("objects", "a list with a lone surrogate", _filled(b'{"a":1}', b'[{"a":"\\ud800"},', b"]", b",")),
    Shape("objects", "lines", _filled(b'{"type":"LOGIN"}\n'), NDJSON),
    Shape("objects", "one line without an end", _filled(b"a", b'{"type":"'), NDJSON),
    Shape("objects", "lines of [", _filled(b"[\n"), NDJSON),
    Shape("objects", "lines of 1,000 [", _filled(b"[" * 1000 + b"\n"), NDJSON),
    # Envelopes
    Shape("envelopes", "events in events", _nested(b'{"events":[', b"{}", b"]}")),
    Shape("envelopes", "CloudEvents in CloudEvents", _nested(b'{"specversion":"1.0","data":', b"{}", b"}")),
    Shape("envelopes", "notifications in notifications", _notifications),
    Shape("envelopes", "a notification of brackets", in_text(b'{"Type":"Notification","Message":', _filled(b"["))),
    Shape("envelopes", "a notification of a list", in_text(
        b'{"Type":"Notification","Message":', _filled(b"{}", b"[", b"]", b","))),
    Shape("envelopes", "events of nothing", _filled(b"{}", b'{"events":[', b"]}", b",")),
    Shape("envelopes", "results of nothing", _filled(b"{}", b'{"page":1,"results":[', b"]}", b",")),
    Shape("envelopes", "data.events of nothing", _filled(b"{}", b'{"data":{"events":[', b"]}}", b",")),
    Shape("envelopes", "records of nothing", _filled(b"{}", b'{"requestId":"r","records":[', b"]}", b",")),
    Shape("envelopes", "Records of nothing", _filled(b"{}", b'{"Records":[', b"]}", b",")),
    Shape("envelopes", "records of base64", _filled(b'{"data":"e30="}', b'{"requestId":"r","records":[', b"]}", b",")),
    Shape("envelopes", "a message of brackets", in_text(b'{"message":', _filled(b"[", b"{"), b"}")),
    # Texts that hold JSON
    Shape("representation", "brackets", in_text(_ADMIN, _nested(b"[", b"", b"]"))),
    Shape("representation", "open brackets", in_text(_ADMIN, _filled(b"["))),
    Shape("representation", "objects 490 deep", in_text(_ADMIN, _filled(
        b'{"a":' * 490 + b"1" + b"}" * 490, b"[", b"]", b","))),
    Shape("representation", "brackets that are no text", lambda size: _ADMIN + _nested(b"[", b"", b"]")(size) + b"}"),
    Shape("representation", "JSON in text in JSON", in_text(_ADMIN, in_text(b'{"value":', in_text(
        b'{"value":', _filled(b"[", b'{"password":"secret-1"'))))),
    Shape("representation", "pairs", in_text(_ADMIN, _filled(b"password=secret-1, "))),
    Shape("representation", "endless string", in_text(_ADMIN, _filled(rb"\"", b'{"password":"secret-1","a":"'))),
    Shape("representation", "secrets", in_text(_ADMIN, _filled(b'{"password":"secret-1"}', b"[", b"]", b","))),
    Shape("base64", "brackets", in_base64(_ZITADEL, _filled(b"["))),
    Shape("base64", "balanced brackets", in_base64(_ZITADEL, _nested(b"[", b"", b"]"))),
    Shape("base64", "objects 490 deep", in_base64(_ZITADEL, _filled(
        b'{"a":' * 490 + b"1" + b"}" * 490, b"[", b"]", b","))),
    Shape("base64", "lone surrogates", in_base64(_ZITADEL, _filled(rb"\ud800", b'{"secret":"', b'"}'))),
    Shape("base64", "objects one after another", in_base64(_ZITADEL, _filled(b'{"a":1}'))),
    Shape("base64", "a record of Firehose's", in_base64(
        b'{"requestId":"r","records":[{"data":', _filled(b'{"a":1}'), b"}]}")),
    # Unicode
    Shape("unicode", "every plane", _every_plane),
    Shape("unicode", "halves of pairs", _half_pairs),
    Shape("unicode", "halves in keys", _filled(rb'"\ud800":1', b"{", b"}", b",")),
    Shape("unicode", "no UTF-8", _filled(b"\xff")),
    Shape("unicode", "no UTF-8 in a string", _filled(b"\xff", b'{"type":"', b'"}')),
    Shape("unicode", "surrogates as UTF-8", _filled(b"\xed\xa0\x80", b'{"type":"', b'"}')),
    Shape("unicode", "overlong", _filled(b"\xc0\x80", b'{"type":"', b'"}')),
    Shape("unicode", "broken off", _filled(b"\xf0\x9f\x98", b'{"type":"', b'"}')),
    # Lines of text
    Shape("lines", "pairs", _filled(b'a="1", ', _LINE), TEXT),
    Shape("lines", "quotes", _filled(b'"', _LINE + b'a="'), TEXT),
    Shape("lines", "escaped quotes", _filled(rb"\", a=", _LINE + b'a="'), TEXT),
    Shape("lines", 'values that begin and do not end', _filled(b"""a='", """, _LINE), TEXT),
    Shape("lines", "backslashes", _filled(b"\\", b"type=", b'"A\\", realmId=')),
    Shape("lines", "brackets", _filled(b"a=[, ", _LINE, b"]"), TEXT),
    Shape("lines", "open brackets", _filled(b"a=[", _LINE), TEXT),
    Shape("lines", "commas", _filled(b", ", _LINE), TEXT),
    Shape("lines", "lines of nothing", _filled(b"x\n"), TEXT),
    Shape("lines", "lines of type=", _filled(b"type="), TEXT),
    Shape("lines", "almost a type", _filled(b'type="A', after=b'"'), TEXT),
    Shape("lines", "events", _filled(_LINE + b"\n"), TEXT),
    Shape("lines", "lines that are JSON", _filled(b'{"message":"type=LOGIN, realmId=a"}\n'), TEXT),
    Shape("lines", "lines of [", _filled(b"{" * 1000 + b"\n"), TEXT),
    # What forwarders wrap events in
    Shape("forwarded", "records of nothing", _filled(b'{"message":"a"}', b'{"records":[', b"]}", b",")),
    Shape("forwarded", "records, the last one an event", _filled(
        b'{"message":"a"},', b'{"records":[', b'{"message":"{\\"type\\":\\"LOGIN\\",\\"realmId\\":\\"r\\"}"}]}')),
    Shape("forwarded", "lines in a text", _filled(rb"x\n", b'{"stream":"stdout","log":"', b'"}')),
    Shape("forwarded", "objects in a text", _filled(rb"{\"message\":\"a\"}\n", b'{"stream":"stdout","log":"', b'"}')),
    Shape("forwarded", "brackets in a text", _filled(b"[", b'{"log":"', b'"}')),
    Shape("forwarded", "quotes in texts in texts", _filled(rb"\\\"", rb'{"log":"{\"log\":\"', rb'\"}"}')),
    Shape("forwarded", "objects in objects", _nested(b'{"message":', b'"a"', b"}")),
    Shape("forwarded", "bytes as numbers", _filled(b"123,", b'{"__REALTIME_TIMESTAMP":"1","MESSAGE":[', b"123]}")),
    Shape("forwarded", "base64", in_base64(b'{"message":{"data":', _filled(b"x\n"), b"}}")),
    Shape("forwarded", "heads", _filled(b"a | "), TEXT),
    Shape("forwarded", "heads of lines", _filled(b"<14>Jan 14 09:04:54 a b: x\n"), TEXT),
    Shape("forwarded", "an endless head", _filled(b'a="]" ', b"<14>1 2026-01-14T09:04:54Z a b c d [e "), TEXT),
    Shape("forwarded", "all keys in another case", _filled(b'"TYPE":1', b"{", b"}", b",")),
    # Forms
    Shape("forms", "Python's brackets", in_form(_filled(b"(")), FORM),
    Shape("forms", "Python's lists", in_form(_filled(b"[", b"'")), FORM),
    Shape("forms", "Python's dictionaries", in_form(_nested(b"{'a':", b"1", b"}")), FORM),
    Shape("forms", "Python's lists of numbers", in_form(_filled(b"1,", b"['a',", b"]")), FORM),
    Shape("forms", "Python's dictionary", in_form(_filled(b"'a':'b',", b"{", b"}")), FORM),
    Shape("forms", "Python's texts side by side", in_form(_filled(b"'a' ", b"{'a':", b"}")), FORM),
    Shape("forms", "Python's signs", in_form(_filled(b"-", after=b"1")), FORM),
    Shape("forms", "Python's sums", in_form(_filled(b"1+", after=b"1j")), FORM),
    Shape("forms", "Python's number", in_form(_filled(b"9", b"{'a':", b"}")), FORM),
    Shape("forms", "JSON's brackets", in_form(_filled(b"[")), FORM),
    Shape("forms", "an endless string", in_form(_filled(rb"\"", b"[" * 2000 + b'"')), FORM),
    Shape("forms", "many fields", _filled(b"a&"), FORM),
    Shape("forms", "equal fields", _filled(b"json={}&"), FORM),
    Shape("forms", "percent signs", _filled(b"%", b"json="), FORM),
    Shape("forms", "%00", _filled(b"%00", b"json="), FORM),
    Shape("forms", "+", _filled(b"+", b"json="), FORM),
    # gzip
    Shape("gzip", "a bomb of blanks", bomb(b" "), packed=True),
    Shape("gzip", "a bomb of lines", bomb(b"1\n"), NDJSON, packed=True),
    Shape("gzip", "a bomb of empty lines", bomb(b"\n"), NDJSON, packed=True),
    Shape("gzip", "a bomb of {}", bomb(b"{}"), packed=True),
    Shape("gzip", "a bomb of [", bomb(b"["), packed=True),
    Shape("gzip", "a bomb of lines of text", bomb(b"type=\n"), TEXT, packed=True),
    Shape("gzip", "a bomb in a bomb", _bomb_in_a_bomb, packed=True),
    Shape("gzip", "empty members", members(b""), packed=True),
    Shape("gzip", "members of one byte", members(b" "), packed=True),
    Shape("gzip", "members of an event", members(b'{"type":"LOGIN"}\n'), NDJSON, packed=True),
    Shape("gzip", "an endless name", _endless_name, packed=True),
    Shape("gzip", "broken off", _broken_off, packed=True),
    Shape("gzip", "zeros behind it", _zeros_behind, packed=True),
]  # fmt: skip

FAMILIES = list(dict.fromkeys(shape.family for shape in SHAPES))
