"""What stands around an event that a forwarder wrapped: kept beside the event, within bounds, and without secrets.

An envelope as it is kept is a list of JSON on one line, one object for each thing that the event was in, outermost
first: the ``forwarder``, its ``time`` (epoch milliseconds), its other ``members``, and ``cut`` where these are not
whole; or the ``head`` of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import re2

from adapter.known_secrets import REDACTED
from adapter.mapping.exact import parse_json, write_json
from adapter.mapping.redact import Redactor
from adapter.mapping.secret_names import Harmless, speaks_of_secret
from adapter.model import ENVELOPE_SIZE

#: Bytes of members; the rest is for what stands around them.
_ROOM = ENVELOPE_SIZE - 256
#: Characters of one text, and of one name, where not everything fits as it is; and levels that are looked into.
_TEXT, _NAME, _DEPTH = 512, 128, 8
#: Secrets by their form: signed tokens, credentials of a header, parameters and users of an address.
_SECRET = re2.compile(
    r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"
    r"|(?i:\b(?:bearer|splunk)\s+[\w.~+/=-]{8,}|\bbasic\s+[a-z0-9+/]{16,}=*)"
    r"|(?i:[?&][\w.-]*(?:token|key|secret|password|sig|signature|code|ticket)=[^&\s\"'\\]+)"
    r"|://[^/\s\"'@\\]+@"
)
#: No secret by its name, but whoever has it ends the subscription.
_POWERS = frozenset(("UnsubscribeURL",))


class Level:
    """One thing around events. Those that were in it together share what is kept of it."""

    def __init__(self, told: dict[str, Any], members: bytes = b"") -> None:
        """``told``: what is said of it; ``members``: JSON that follows this in the same object."""
        self._told = told
        self._whole = write_json(told)
        if members:
            self._whole = b"%b,%b}" % (self._whole[:-1], members)
        self._alone = b"[%b]" % self._whole

    def around(self, envelope: bytes) -> bytes:
        """What an event came in that came in this, and in it in an envelope (empty: in nothing)."""
        if not envelope:
            return self._alone
        room = ENVELOPE_SIZE - len(envelope) - 1
        one = self._whole
        if len(one) > room:
            one = write_json({**self._told, "cut": True})
        return b"[%b,%b" % (one, envelope[1:]) if len(one) <= room else envelope


class Surroundings:
    """What is kept of all that stands around the events of one table."""

    def __init__(self, redactor: Redactor | None) -> None:
        """``redactor``: the table's."""
        self._redactor = redactor
        self._harmless = Harmless(self._is_secret)

    def of_object(self, forwarder: str, time: int | None, value: dict[str, Any], names: Sequence[str]) -> Level:
        """A forwarder's object, without the events at these keys."""
        told: dict[str, Any] = {"forwarder": forwarder}
        if time is not None:
            told["time"] = time
        members = _without(value, names)
        return Level(told, self._members(members)) if members else Level(told)

    def of_line(self, head: str, time: int | None) -> Level:
        """The line that an object stood in, with what stood before it."""
        told: dict[str, Any] = {"head": _Fitting(self._redactor, self._is_secret).text(head)}
        if time is not None:
            told["time"] = time
        return Level(told)

    def _members(self, members: dict[str, Any]) -> bytes:
        """Members as they are kept, and whether something of them is missing for want of room."""
        try:
            written = write_json(members)
            if len(written) <= _ROOM and self._is_harmless(members, written.decode()):
                return b'"members":' + written
        except (ValueError, RecursionError):
            pass
        fitting = _Fitting(self._redactor, self._is_secret)
        return b'"members":%b%b' % (write_json(fitting.fit(members, 0)), b',"cut":true' if fitting.is_cut else b"")

    def _is_harmless(self, members: dict[str, Any], written: str) -> bool:
        """Whether nothing in an object looks like a secret or has a secret's name, and nothing is too deep to be looked
        into. ``written``: the same as JSON."""
        if _has_secret(written):
            return False
        # Without one of these no text has a name in it with a value behind; a backslash stands before quotes.
        redactor = self._redactor
        if redactor is not None and not ("=" in written or "\\" in written or "'" in written):
            redactor = None
        names: list[str] = []
        level: list[Any] = [members]
        for _ in range(_DEPTH):
            below: list[Any] = []
            for one in level:
                if one.__class__ is dict:
                    names += one
                    one = one.values()
                for value in one:
                    kind = value.__class__
                    if kind is dict or kind is list:
                        below.append(value)
                    elif redactor is not None and kind is str and redactor.redact_text(value) != value:
                        return False
            if not below:
                return self._harmless.has(names)
            level = below
        return False

    def _is_secret(self, name: str) -> bool:
        told = name[:_NAME]
        return told in _POWERS or speaks_of_secret(told) or (self._redactor is not None and self._redactor.hides(name))


def time_in(envelope: bytes) -> int | None:
    """When an event was forwarded, epoch milliseconds, as the innermost of what it came in says it."""
    if not envelope:
        return None
    times = [one.get("time") for one in parse_json(envelope)]
    return next((time for time in reversed(times) if time.__class__ is int), None)


def _without(value: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A copy without what stands at these keys, and without objects that held nothing else."""
    first = names[0]
    others = {**value}
    if len(names) > 1 and (inner := _without(value[first], names[1:])):
        others[first] = inner
    else:
        del others[first]
    return others


def _has_secret(text: str) -> bool:
    """Whether a text has a secret in it by its form. Most have nothing that one needs, and that is known at once."""
    folded = text.casefold()
    return (
        "=" in folded
        or "://" in folded
        or "eyj" in folded
        or "bearer" in folded
        or "basic" in folded
        or "splunk" in folded
    ) and _SECRET.search(text) is not None


class _Fitting:
    """Takes of members what has room, without secrets."""

    def __init__(self, redactor: Redactor | None, is_secret: Callable[[str], bool]) -> None:
        """``is_secret``: whether what stands under a name is."""
        self._redactor = redactor
        self._is_secret = is_secret
        self._room = _ROOM - 2
        self.is_cut = False

    def fit(self, value: Any, depth: int) -> Any:
        """The value, or what is left of it."""
        if value.__class__ not in (dict, list):
            return self._leaf(value)
        if depth == _DEPTH:
            self.is_cut = True
            return None
        self._room -= 2
        if isinstance(value, list):
            return [self.fit(one, depth + 1) for one in value if self._has_room(6)]
        return {
            name: REDACTED if self._hides(key, one) else self.fit(one, depth + 1)
            for key, one in value.items()
            if self._has_room(len(write_json(name := key[:_NAME])) + 16)
        }

    def text(self, text: str) -> str:
        """A text without secrets; of a long one the beginning."""
        if len(text) > _TEXT:
            text, self.is_cut = text[:_TEXT] + "…", True
        text = _SECRET.sub(REDACTED, text)
        return text if self._redactor is None else self._redactor.redact_text(text)

    def _leaf(self, value: Any) -> Any:
        if value.__class__ is str:
            value = self.text(value)
        size = len(write_json(value))
        if size > self._room:
            self.is_cut = True
            return None
        self._room -= size
        return value

    def _hides(self, key: str, value: Any) -> bool:
        if value in (None, "", True, False):
            return False
        return self._is_secret(key)

    def _has_room(self, size: int) -> bool:
        """Whether there is room for so many bytes more, which are then taken."""
        if size > self._room:
            self.is_cut = True
            return False
        self._room -= size
        return True
