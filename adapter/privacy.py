"""What a receiver is not to know of people: fields of an event are dropped, masked or hashed before a format sees it.

A value that goes from one field goes from all others, too: from ids inside paths, from JSON inside texts, from
sentences, in any case of its letters, and escaped as JSON, URLs and HTML do it. Where the value cannot be cut out, all
of the text goes. What says which event it is, what happened and where it came from stays as it is.
"""

from __future__ import annotations

import hmac
import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from html.entities import html5
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, NamedTuple, Self
from urllib.parse import unquote

import orjson
from pydantic import AfterValidator, Field, SecretStr, model_validator

from adapter.globs import glob_matches
from adapter.known_secrets import REDACTED
from adapter.section import Section

#: Characters that a value has at least which is looked for in other fields as a word of its own, and one that is looked
#: for anywhere, inside of words, too. In its own field a value of any length goes.
WORD, INSIDE = 3, 8
#: Values that are looked for in one event. Where there are more, they are not told from the rest of it: all texts go in
#: which one may stand.
MOST = 500
#: Characters of all values that are cut out of one text, and where they may be escaped; beyond that the text goes.
_CUT, _CUT_ESCAPED = 4096, 1024
#: Characters of a key.
KEY = 32

#: Texts of the event itself that may be named.
_TEXTS = ("id", "realmId", "realmName", "error", "resourcePath", "representation")
_OBJECTS = {
    "authDetails": ("realmId", "clientId", "userId", "ipAddress", "username", "sessionId"),
    "details": (),
    "lookedUp": ("actor", "target", "client", "realm", "resource"),
}
#: All that may be named, besides members of ``details`` and ``representation``, which may have any name.
FIELDS = (*_TEXTS, *(f"{name}.{member}" for name, members in _OBJECTS.items() for member in members))
#: Whose name a looked-up name is: what is done to the first of these that is named is done to it.
_NAMES_OF = {
    "lookedUp.actor": ("authDetails.username", "authDetails.userId"),
    "lookedUp.target": ("details.username", "details.userId"),
    "lookedUp.client": ("authDetails.clientId",),
    "lookedUp.realm": ("realmName", "realmId"),
}
#: A word of a program, as error or as the name of a detail: no sentence, and it stays. Or who logs in as "credentials"
#: would take the error from his failed login.
_CODE = re.compile(r"[a-z][a-z0-9_]*")


def _field(pattern: str) -> str:
    name = f"{pattern}.*" if pattern in _OBJECTS else pattern
    is_open = name.startswith(("details.", "representation.", "*")) and not name.endswith(".")
    if not is_open and not any(glob_matches(name, field) for field in FIELDS):
        raise ValueError(
            f"there is no field {pattern!r}, or it always stays; there are: {', '.join(FIELDS)}, details.NAME, "
            "representation.NAME (a member of its JSON, at any depth), with * for any characters"
        )
    return name


_Fields = tuple[Annotated[str, AfterValidator(_field)], ...]


class PrivacySettings(Section):
    """What a sink's receiver is not to know: names of fields, such as `authDetails.username`, `details.*` or
    `representation.email`. Of several that name a field the first counts: drop, hash, mask."""

    drop: _Fields = Field((), description="Fields that are left out")
    mask: _Fields = Field((), description="Fields of which a rest is kept: `z***@example.org`, `10.1.*.*`, `z***`")
    hash: _Fields = Field(
        (), description="Fields in whose place a pseudonym stands: the same for the same value, in this sink alone"
    )
    key: SecretStr | None = Field(
        None, min_length=KEY, description=f"What pseudonyms are made with: {KEY} characters or more, at random"
    )

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        if self.hash and self.key is None:
            raise ValueError("hash needs key, or key_file: a random text such as openssl rand -hex 32 gives")
        if self.key is not None and not self.hash:
            raise ValueError("key belongs to hash, which is missing")
        return self


class _Action(StrEnum):
    """What is done to a field; the stronger one first."""

    DROP = "drop"
    HASH = "hash"
    MASK = "mask"


class _Hidden(NamedTuple):
    """A value that is to stand nowhere, and what stands in its place."""

    value: str
    #: The same for all cases of its letters.
    folded: str
    instead: str

    def is_in(self, folded: str) -> bool:
        """Whether it stands in a text, folded as well."""
        return self.folded in folded if len(self.value) >= INSIDE else _has_word(folded, self.folded)


class Privacy:
    """What one sink's settings ask for, done to events."""

    def __init__(self, settings: PrivacySettings, sink: str) -> None:
        """``sink``: its name. The same key makes other pseudonyms for a sink of another name."""
        self._rules = [(action, pattern) for action in _Action for pattern in getattr(settings, action)]
        #: Whether a member of what stands in ``representation`` may be named.
        self._opens = any(pattern.startswith(("representation.", "*")) for _, pattern in self._rules)
        key = "" if settings.key is None else settings.key.get_secret_value()
        self._key = hmac.digest(key.encode(), sink.encode(), "sha256")
        # The same few people and fields come again and again.
        self._action = lru_cache(maxsize=4096)(self._find_action)
        self._pseudonym = lru_cache(maxsize=4096)(self._make_pseudonym)

    def apply(self, event: bytes) -> bytes:
        """An event (JSON) as the receiver may have it. Total for events of the unified model."""
        read: dict[str, Any] = orjson.loads(event)
        # First what is to be hidden, everywhere; then it goes from each text.
        asked: dict[tuple[str, str | None], _Action] = {}
        hidden: dict[str, _Action] = {}
        for name, member, value in _places(read):
            action = self._action(name if member is None else f"{name}.{member}")
            if action is not None:
                asked[name, member] = action
                _note(hidden, value, action)
        representation = read.get("representation")
        if self._opens and representation is not None and ("representation", None) not in asked:
            read["representation"] = self._opened(representation, hidden)
        is_crowded = len(hidden) > MOST
        found = [] if is_crowded else self._told(hidden)
        instead = {one.value: one.instead for one in found}
        looked_for = self._elsewhere(event, read, found, asked)

        def cleaned(text: str) -> str:
            return REDACTED if is_crowded else _without(text, looked_for) if looked_for else text

        changed: dict[str, Any] = {name: {} for name in _OBJECTS if read.get(name) == {}}
        for name, member, value in _places(read):
            action = asked.get((name, member))
            if action is _Action.DROP:
                continue
            if action is not None:
                value = self._pseudonym(value) if action is _Action.HASH else instead.get(value, "***")
            elif name != "error" or not _CODE.fullmatch(value):
                value = cleaned(value)
            if member is None:
                changed[name] = value
            else:
                if name == "details" and not _CODE.fullmatch(member):
                    member = cleaned(member)
                changed.setdefault(name, {})[member] = value
        written = {name: changed.get(name) if name in _TEXTS or name in _OBJECTS else one for name, one in read.items()}
        return orjson.dumps({name: one for name, one in written.items() if one is not None})

    def _elsewhere(
        self,
        event: bytes,
        read: dict[str, Any],
        found: Sequence[_Hidden],
        asked: Mapping[tuple[str, str | None], _Action],
    ) -> Sequence[_Hidden]:
        """Those of the values that may stand in other fields than those that were asked for: mostly none or one, which
        is told by counting."""
        if b"\\" in event or b"%" in event or b"&" in event:
            return found
        own = Counter(_folded(value) for name, member, value in _places(read) if (name, member) in asked)
        text = _folded(event.decode())
        return [one for one in found if text.count(one.folded) != own[one.folded]]

    def _find_action(self, name: str) -> _Action | None:
        for one in (name, *_NAMES_OF.get(name, ())):
            for action, pattern in self._rules:
                if glob_matches(pattern, one):
                    return action
        return None

    def _make_pseudonym(self, value: str) -> str:
        # The same for all cases and forms of its letters: who types a name does not always type it alike.
        return f"hash-{hmac.digest(self._key, _folded(value).encode(), 'sha256').hex()[:32]}"

    def _told(self, hidden: dict[str, _Action]) -> list[_Hidden]:
        """The values, longest first, each with what stands in its place."""
        told = []
        for value, action in sorted(hidden.items(), key=lambda one: (-len(one[0]), one[0])):
            match action:
                case _Action.DROP:
                    instead = REDACTED
                case _Action.HASH:
                    instead = self._pseudonym(value)
                case _Action.MASK:
                    instead = mask(value)
            told.append(_Hidden(value, _folded(value), instead))
        # What is kept of one value may be another one.
        return [
            one
            if hidden[one.value] is not _Action.MASK or not _hidden_in([_folded(one.instead)], told)
            else one._replace(instead="***")
            for one in told
        ]

    def _opened(self, text: str, hidden: dict[str, _Action]) -> str:
        """JSON in a text, with its members dropped, masked or hashed that are to be; their values are noted."""
        if text[:1] not in ("{", "["):
            return text
        try:
            value = json.loads(text)
            opened = self._member(value, None, hidden)
            return text if opened == value else _written(opened)
        except (ValueError, RecursionError):
            # Broken off, or too deep: where its members are is not known.
            return REDACTED

    def _member(self, value: Any, action: _Action | None, hidden: dict[str, _Action]) -> Any:
        """A value of JSON after what is to be done to it, or to its members."""
        if isinstance(value, dict):
            members = {}
            for name, one in value.items():
                own = self._action(f"representation.{name}")
                for text in _scalars(one) if own is _Action.DROP else ():
                    _note(hidden, text, _Action.DROP)
                if own is not _Action.DROP:
                    members[name] = self._member(one, own or action, hidden)
            return members
        if isinstance(value, list):
            return [self._member(one, action, hidden) for one in value]
        if action is None or value is None or isinstance(value, bool):
            return value
        text = str(value)
        _note(hidden, text, action)
        return self._pseudonym(text) if action is _Action.HASH else mask(text)


@lru_cache(maxsize=4096)
def mask(value: str) -> str:
    """What is kept of a value, for people to recognize: a part of an address or number of the network, or the first
    character; of 16 or more the first four. It holds no character that ends a text of JSON."""
    with suppress(ValueError):
        match ip_address(value):
            case IPv4Address():
                return ".".join([*value.split(".")[:2], "*", "*"])
            case IPv6Address() as address:
                return ":".join([*(part.lstrip("0") or "0" for part in address.exploded.split(":")[:3]), "*"])
    local, at, domain = value.rpartition("@")
    if at and local and re.fullmatch(r"[\w.-]+", domain):
        return f"{_beginning(local)}***@{domain}"
    return f"{_beginning(value)}***"


def _beginning(text: str) -> str:
    kept = 4 if len(text) >= 16 else 1 if len(text) >= WORD else 0
    return text[:kept] if text[:kept].isalnum() else ""


def _places(event: dict[str, Any]) -> Iterator[tuple[str, str | None, str]]:
    """Every text of an event that may be hidden, or may hold what is: its field, its member if it has some, and the
    text."""
    for name in _TEXTS:
        if (value := event.get(name)) is not None:
            yield name, None, value
    for name in _OBJECTS:
        for member, value in event.get(name, {}).items():
            yield name, member, value


def _note(hidden: dict[str, _Action], value: str, action: _Action) -> None:
    """A value is to stand nowhere; of several actions the strongest says what stands in its place."""
    before = hidden.get(value)
    if before is None or [*_Action].index(action) < [*_Action].index(before):
        hidden[value] = action


def _scalars(value: Any) -> Iterator[str]:
    """The texts and numbers in a value of JSON."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _scalars(one)
    elif isinstance(value, list):
        for one in value:
            yield from _scalars(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _written(value: Any) -> str:
    def dump(ascii: bool) -> str:
        return json.dumps(value, ensure_ascii=ascii, allow_nan=False, separators=(",", ":"))

    text = dump(ascii=False)
    # Half of a surrogate pair can stand in a text as an escape alone.
    return text if text.isascii() or not _SURROGATE.search(text) else dump(ascii=True)


def _folded(text: str) -> str:
    """What is the same for all cases and forms of the letters."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


_SURROGATE = re.compile("[\ud800-\udfff]")


def _levels(text: str) -> list[str] | None:
    """What a text says, as it is and with its escapes taken back, folded; ``None``: they are too deep for that."""
    if "\\" not in text and "%" not in text and "&" not in text:
        return [_folded(text)]
    unescaped = _unescaped(text)
    return None if unescaped is None else [*map(_folded, [text, *unescaped])]


def _has_word(text: str, word: str) -> bool:
    """Whether a word stands in a text by itself. Each is another person's, so that a pattern would be compiled for one
    text, which takes ten times as long."""
    at = text.find(word)
    while at >= 0:
        around = text[at - 1 : at] + text[at + len(word) : at + len(word) + 1]
        if not any(one.isalnum() or one == "_" for one in around):
            return True
        at = text.find(word, at + 1)
    return False


def _hidden_in(levels: Sequence[str], found: Sequence[_Hidden]) -> list[_Hidden]:
    """Those of the values that stand in a text."""
    return [one for one in found if len(one.value) >= WORD and any(one.is_in(level) for level in levels)]


def _without(text: str, found: Sequence[_Hidden]) -> str:
    """A text in which none of the values stands."""
    levels = _levels(text)
    if levels is None:
        return REDACTED
    here = _hidden_in(levels, found)
    if not here:
        return text
    values = tuple(one.value for one in here)
    instead = [one.instead for one in here]
    after = text
    size = sum(map(len, values))
    for pattern, most in ((_plain, _CUT), (_escaped, _CUT_ESCAPED)):
        if size > most:
            return REDACTED
        if after == values[0]:
            after = instead[0]  # as the pattern would have it; to compile one takes longer than all else
        else:
            after = pattern(values).sub(lambda match: instead[(match.lastindex or 1) - 1], after)
        if (levels := _levels(after)) is not None and not _hidden_in(levels, here):
            break
    else:
        return REDACTED
    # A number of JSON whose place a word has taken makes no JSON.
    return REDACTED if text[:1] in ("{", "[") and _is_json(text) and not _is_json(after) else after


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


#: How often a text may have been escaped; one that was more often goes as a whole.
_DEEP = 8
_JSON_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescaped(text: str) -> list[str] | None:
    """A text after each step of taking its escapes back; ``None``: there are too many for that."""
    steps = []
    for _ in range(_DEEP):
        before = text
        for step in (_json_unescaped, unquote, html.unescape):
            after = step(text)
            if after != text:
                text = after
                steps.append(text)
        if text == before:
            return steps
    return None


def _json_unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    text = _JSON_ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _SHORT.get(found[2], found[2]), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATE.search(text) else text


@lru_cache(maxsize=1024)
def _plain(values: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for the values as they are, each a group."""
    return _pattern([re.escape(value) for value in values], values)


@lru_cache(maxsize=64)
def _escaped(values: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for the values, each character escaped or not."""
    return _pattern(["".join(map(_of_character, value)) for value in values], values)


def _pattern(patterns: Sequence[str], values: Sequence[str]) -> re.Pattern[str]:
    # A word begins behind what is none, and behind an escape.
    begin = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2})|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))"
    return re.compile(
        "|".join(
            f"({pattern})" if len(value) >= INSIDE else rf"({begin}{pattern}(?!\w))"
            for pattern, value in zip(patterns, values, strict=True)
        ),
        re.IGNORECASE,
    )


#: Characters that have a name in HTML, and the names.
_ENTITIES: dict[str, list[str]] = {}
for _name, _one in html5.items():
    if _name.endswith(";"):
        _ENTITIES.setdefault(_one, []).append(_name[:-1])


@lru_cache(maxsize=4096)
def _of_character(character: str) -> str:
    """A pattern for one character as it is, or escaped."""
    code = ord(character)
    units = character.encode("utf-16-be")
    # Each level of JSON doubles the backslashes, and adds one. Bounded, so that a text of them costs no more.
    json_form = "".join(rf"\\{{1,31}}u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    percent = "".join(f"%(?:25){{0,{_DEEP}}}{byte:02x}" for byte in character.encode())
    numbers = [f"#0{{0,9}}{code}", f"#x0{{0,9}}{code:x}"]
    entity = f"&(?:amp;){{0,{_DEEP}}}(?:{'|'.join([*numbers, *_ENTITIES.get(character, [])])});"
    forms = [re.escape(character), json_form, percent, entity]
    short = next((name for name, one in _SHORT.items() if one == character), None)
    if short is not None:
        forms.append(rf"\\{{1,31}}{short}")
    elif character in '"\\/':
        forms.insert(0, rf"\\{{1,31}}{re.escape(character)}")
    return f"(?:{'|'.join(forms)})"
