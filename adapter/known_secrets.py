"""Secrets that the service itself has: its tokens, those of its sources, the secrets of its sinks. Whatever else an
event may hold, it carries none of these further, or who may read events could forge them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any

import re2

#: What stands in the place of a secret.
REDACTED = "[redacted]"
#: Characters that a secret has at least: a shorter one may be an ordinary word.
SHORTEST = 16

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
#: What is neither letter nor digit as a blank.
_RUNS = bytes(code if chr(code).isascii() and chr(code).isalnum() else 32 for code in range(256))
#: Before the secret of a webhook (Standard Webhooks, 'Signature scheme').
_PREFIXES = ("whsec_", "whsk_")


#: Up to so many runs are looked for by one pattern. Of more the automaton outgrows its room, and a search takes a
#: hundred times as long: then long ones are found by pieces of them, of so many characters, looked up at every few
#: places.
_MANY, _PIECE, _EVERY = 256, 12, 4


class KnownSecrets:
    """Finds them in what is sent, as they are, in base64, and escaped once or more often as JSON, URL or HTML does it
    with what is neither letter nor digit."""

    def __init__(self, secrets: Iterable[str] = (), *, shortest: int = SHORTEST) -> None:
        """``shortest``: characters that one of them has at least."""
        self._shortest = shortest
        #: Each with runs of which one is in whatever holds it: letters and digits are escaped by nobody.
        self._known: dict[str, tuple[bytes, ...]] = {}
        self._runs: set[str] = set()
        #: How each is found in all its forms; made when it may be there, as there may be thousands of secrets.
        self._patterns: dict[str, Any] = {}
        self._search: Any = None
        self._pieces: frozenset[bytes] = frozenset()
        self._is_new = False
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Look for these, too, from now on. Those that are too short are left out."""
        for secret in secrets:
            if secret.lstrip().startswith("-----BEGIN CERTIFICATE"):
                continue  # is for everybody to see
            text = secret.partition("_")[2] if secret.startswith(_PREFIXES) else secret
            if len(text) >= self._shortest and text not in self._known:
                runs = {_longest_run(one) for one in (text, *_in_base64(text.encode()))}
                self._known[text] = tuple(run.encode() if run.isalnum() else b"" for run in runs)
                self._runs |= runs
                self._is_new = True

    def may_be_in(self, raw: bytes) -> bool:
        """Whether it is worth looking closer: one search, which takes hardly longer for 20 secrets than for one."""
        if self._is_new:
            self._is_new = False  # first: what is added meanwhile is looked for the next time
            self._prepare()
        search = self._search
        return (search is not None and search(raw) is not None) or (bool(self._pieces) and self._has_piece(raw))

    def _prepare(self) -> None:
        runs = sorted(self._runs)
        by_pieces: list[str] = []
        if len(runs) > _MANY:
            by_pieces = [run for run in runs if run.isalnum() and len(run) >= _PIECE + _EVERY - 1]
            runs = [run for run in runs if not run.isalnum() or len(run) < _PIECE + _EVERY - 1]
        # Of each run the pieces at the first places: one of them is at a place where a text is looked at.
        places = range(_EVERY)
        self._pieces = frozenset(run[at : at + _PIECE].encode() for run in by_pieces for at in places)
        self._search = re2.compile("|".join(runs).encode("latin-1"), options=_OPTIONS).search if runs else None

    def _has_piece(self, raw: bytes) -> bool:
        pieces = self._pieces
        for run in raw.translate(_RUNS).split():
            for at in range(0, len(run) - _PIECE + 1, _EVERY):
                if run[at : at + _PIECE] in pieces:
                    return True
        return False

    def cleaned(self, raw: bytes) -> bytes:
        """The bytes without secrets; the same object if there are none."""
        if not self.may_be_in(raw):
            return raw
        for text, runs in list(self._known.items()):
            if not any(run in raw for run in runs):
                continue
            pattern = self._patterns.get(text)
            if pattern is None:
                forms = [_escaped(text), *map(_of_base64, _in_base64(text.encode()))]
                pattern = self._patterns[text] = re2.compile("|".join(forms).encode("latin-1"), options=_OPTIONS)
            if pattern.search(raw) is not None:
                raw = pattern.sub(REDACTED.encode(), raw)
        return raw

    def cleaned_value(self, value: Any) -> Any:
        """A value of JSON without secrets in its texts, keys and numbers; the same object if there are none."""
        if value.__class__ is str:
            before = value.encode("utf-8", "surrogatepass")
            after = self.cleaned(before)
            return value if after is before else after.decode("utf-8", "surrogatepass")
        if value.__class__ is list:
            elements = [self.cleaned_value(one) for one in value]
            return value if elements == value else elements
        if value.__class__ is dict:
            members = {self.cleaned_value(key): self.cleaned_value(one) for key, one in value.items()}
            return value if members == value else members
        if value.__class__ in (bool, type(None)):
            return value
        text = str(value)
        return value if self.cleaned_value(text) is text else REDACTED


def _longest_run(text: str) -> str:
    """A pattern for the longest run of letters and digits in a text; for all of it if there is none."""
    return max(re.findall(r"[A-Za-z0-9]+", text), key=len, default="") or _escaped(text)


def _escaped(text: str) -> str:
    """A pattern for a text, however it is escaped."""
    return "".join(one if one.isalnum() and one.isascii() else _of_character(one) for one in text)


def _of_character(character: str) -> str:
    """A pattern for one character that is no letter and no digit, escaped or not."""
    code = ord(character)
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    plain = r"\\*" + "".join(re.escape(chr(byte)) for byte in character.encode())
    if character == "\\":
        plain = r"\\+"
    return rf"(?:{plain}|\\+u(?i:{code:04x})|(?i:{percent})|&#(?:{code}|(?i:x{code:x}));)"


def _of_base64(core: str) -> str:
    """A pattern for a part of a text in base64, of either alphabet."""
    special = {"+": r"(?:[+-]|%2[Bb])", "/": r"(?:\\*/|_|%2[Ff])"}
    return "".join(special.get(one, one) for one in core)


def _in_base64(secret: bytes) -> Iterable[str]:
    """What is in base64 of every text with the secret in it, for each of the three places where it may begin."""
    for before in range(3):
        coded = base64.b64encode(bytes(before) + secret).decode()
        # A character of base64 has 6 bits; those that the neighbours of the secret share say nothing of it.
        yield coded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
