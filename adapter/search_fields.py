"""What one event can be found by: its fields, and the words of its full text.

Filters test them in memory; the search keeps them. They are made of the event alone, without the catalogue: a type is
the one that the event has, and filters know its other names.
"""

from __future__ import annotations

import hashlib
import re
import socket
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

#: How the types of the adapter's own events begin; they are left out where nobody asks for them.
SYSTEM = "system."

#: Filter: the agreed details that it compares, any of them.
FOUND_DETAILS = {
    "method": ("login_method",),
    "factor": ("factor",),
    "idp": ("identity_provider", "identity_provider_name"),
    "device": ("device_id", "device_name"),
    "country": ("country",),
    "risk": ("risk_level",),
}


class _Who(Struct, gc=False, rename="camel"):
    client_id: str | None = None
    user_id: str | None = None
    ip_address: str | None = None
    username: str | None = None
    session_id: str | None = None


class _Origin(Struct, gc=False, rename="camel"):
    name: str
    provider: str
    native_type: str
    received_at: int


class _Event(Struct, gc=False, rename="camel"):
    """What is read of a unified event."""

    time: int
    type: str
    outcome: str
    source: _Origin
    id: str | None = None
    realm_id: str | None = None
    realm_name: str | None = None
    error: str | None = None
    reason: str | None = None
    auth_details: _Who | None = None
    details: dict[str, str] | None = None
    resource_path: str | None = None
    representation: str | None = None
    #: Of events of the API and of sinks that ask for names; never stored.
    looked_up: dict[str, str] | None = None


_read, _read_any = Decoder(_Event).decode, Decoder().decode
_NOBODY = _Who()


class SearchFields(Struct, frozen=True, gc=False):
    """What one event can be found by; what is unknown is ``None``."""

    #: When it happened and when it arrived, epoch milliseconds.
    time: int
    received_at: int
    type: str
    outcome: str
    reason: str | None
    provider: str
    source: str
    realm_id: str | None
    realm_name: str | None
    actor: str | None
    actor_names: tuple[str, ...]
    target: str | None
    target_names: tuple[str, ...]
    client: str | None
    #: As the provider wrote it, so far as one could be as long.
    address: str | None
    session: str | None
    #: The provider's own id of it.
    id: str | None
    event: _Event

    @property
    def ip(self) -> bytes | None:
        """16 bytes; an IPv4 address stands in ``::ffff:0:0/96``. Computed when asked for."""
        return None if self.address is None else address_bytes(self.address)

    def tokens(self, filter: str) -> list[str]:
        """The tokens of the details that one of `FOUND_DETAILS` compares; computed when asked for."""
        details = self.event.details or {}
        return [detail_token(filter, details[name]) for name in FOUND_DETAILS[filter] if name in details]

    @property
    def user(self) -> str | None:
        """Who acted, as it is counted: the name, or the id where there is none."""
        return self.actor_names[0] if self.actor_names else self.actor

    @property
    def own_name(self) -> str | None:
        """The name that the event says of the one whose id stands in ``authDetails``."""
        who = self.event.auth_details
        return None if who is None else who.username

    @property
    def own_email(self) -> str | None:
        """The e-mail address that the event says of the own account, where that is not the name."""
        details = self.event.details
        if not details or not self.type.startswith("access."):
            return None
        email = details.get("updated_email") or details.get("email")
        return None if email is None or "@" not in email or email == self.own_name else email

    @property
    def is_by_other_realm(self) -> bool:
        """Whether it says that who acted is of another realm; then his name is not that of somebody of this one."""
        realm = (self.event.details or {}).get("impersonator_realm")
        return realm is not None and self.realm_name is not None and realm not in (self.realm_name, self.realm_id)

    @property
    def changed_client(self) -> tuple[str, str] | None:
        """Id and name of the client that an admin event is about, where it says both; computed when asked for."""
        return _changed_client(self.event)

    @property
    def resource(self) -> str | None:
        """Which thing an admin event is about, as filters compare it: see `resource_text`. Computed when asked for."""
        path = self.event.resource_path
        return None if path is None else resource_text(path)

    @property
    def words(self) -> set[str]:
        """The words that ``q`` finds it by; computed when asked for."""
        return set(self.text.split())

    @property
    def text(self) -> str:
        """The same words, with blanks between them; some may stand there twice."""
        return _text(self.event)


def search_fields(event: bytes) -> SearchFields:
    """What a unified event (JSON) can be found by."""
    read = _read(event)
    who = read.auth_details or _NOBODY
    details = read.details or {}
    origin = read.source
    type = read.type
    address = who.ip_address
    actor, target = who.user_id, None
    actor_names = _names(who.username)
    target_names: tuple[str, ...] = ()
    if type.startswith("admin."):
        target = _user_in_path(read.resource_path) or details.get("userId")
        target_names = _names(details.get("username"))
    elif type.startswith("access.IMPERSONATE"):
        # Keycloak names the impersonated where the actor stands; the impersonator has only a name.
        actor, target = None, actor
        actor_names, target_names = _names(details.get("impersonator")), actor_names
    elif type.startswith("access."):
        actor_names = _names(who.username, details.get("username"))
        target = details.get("userId")  # whose account it was, where somebody else acted
    return SearchFields(
        read.time,
        origin.received_at,
        type,
        read.outcome,
        read.reason,
        origin.provider,
        origin.name,
        read.realm_id,
        read.realm_name,
        actor,
        actor_names,
        target,
        target_names,
        who.client_id,
        None if address is None else address[:100],
        who.session_id or details.get("code_id"),
        read.id,
        read,
    )


def _names(name: str | None, other: str | None = None) -> tuple[str, ...]:
    if name is None or name == other:
        return () if other is None else (other,)
    return (name,) if other is None else (name, other)


def folded(name: str) -> str:
    """A user's name as it is compared: its case does not matter, nor whether an accent is a character of its own."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def with_folded(values: Iterable[str]) -> frozenset[str]:
    """What an id or a folded name is one of, where one of these values is asked for."""
    values = frozenset(values)
    return values | frozenset(map(folded, values))


#: Characters of a resource path that filters compare, and so those of a value at most.
RESOURCE_LENGTH = 500
#: PostgreSQL stores no text with the one, and ranges of texts end with the other.
_NOT_STORED = str.maketrans({"\0": "\ufffd", "\U0010ffff": "\ufffd"})


def resource_text(path: str) -> str:
    """A resource path as it is compared: its case matters. A longer one than `RESOURCE_LENGTH` keeps a character more
    than a value has: so it is found by how it begins alone."""
    return path[: RESOURCE_LENGTH + 1].translate(_NOT_STORED)


_USER_IN_PATH = re.compile(r"(?:^|/)users/([^/]+)")


def _user_in_path(path: str | None) -> str | None:
    found = None if path is None else _USER_IN_PATH.search(path)
    return None if found is None else found[1]


_CLIENT_PATH = re.compile(r"clients/([^/]+)")


class _Client(Struct, gc=False, rename="camel"):
    client_id: str | None = None


_read_client = Decoder(_Client).decode


def _changed_client(event: _Event) -> tuple[str, str] | None:
    if event.representation is None or not event.type.startswith("admin.CLIENT-"):
        return None
    path = _CLIENT_PATH.fullmatch(event.resource_path or "")
    if path is None:
        return None
    try:
        name = _read_client(event.representation).client_id
    except (DecodeError, RecursionError):
        return None
    return None if name is None else (path[1], name)


# Addresses

#: In front of the four bytes of an IPv4 address.
MAPPED = bytes(10) + b"\xff\xff"


def address_bytes(text: str) -> bytes | None:
    """The 16 bytes of an address as a provider may write it (with a port, in brackets, with a zone), or ``None``."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        if ":" in text:
            return socket.inet_pton(socket.AF_INET6, text)
        return MAPPED + socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return None


# Words

#: In front of what stands among the words and is none: nobody can type it in a word.
_MARK = "\N{BROKEN BAR}"
#: Values of details that are longer, or have more than letters and digits, stand for themselves as a hash.
_PLAIN = 19


def detail_token(filter: str, value: str) -> str:
    """What a detail of one of `FOUND_DETAILS` is looked up by, among the words of the full text: there it costs a byte
    or two, a key of its own twenty. Equal for values that differ in their case alone."""
    text = folded(value[:_READ])
    if len(text) > _PLAIN or not (text.isascii() and text.isalnum()):
        text = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    return f"{_MARK}{filter[0]}{text}"


_WORD = re.compile(r"[^\W_]+")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d)?(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?")
#: Digits and letters taking turns: what a generator writes, not a person.
_RANDOM = re.compile(r"(?:\d+[a-z]+){3}|(?:[a-z]+\d+){3}")
#: Longer words are found by their beginning.
_LONGEST = 40
#: So much of each value is read for words, characters: a sender must not fill the index, or our memory, with one.
_READ = 1_000
#: So much of a representation is read, and so much of its words is kept, characters.
_PARSED, _REPRESENTATION = 65_536, 4_000
#: A generated token is at least this long.
_RANDOM_FROM = 10
#: How many values' words are remembered, and of values of which length.
_REMEMBERED, _SHORT = 8_192, 200


#: What nobody sees or types: soft hyphens, joiners, marks of direction.
_UNSEEN = dict.fromkeys([0xAD, 0x61C, *range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF])
#: Digits of other scripts.
_DIGIT = re.compile(r"[^\D0-9]")


def split_words(text: str) -> list[str]:
    """The words of a text, in order: runs of letters and digits of any script, case folded; digits are 0 to 9."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_UNSEEN))
        text = _DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
    return [word[:_LONGEST] for word in _WORD.findall(text.casefold())]


def _text(event: _Event) -> str:
    """The words that an event is found by with ``q``: type, error, native type, client, names, resource path, and
    what people would type of the details and of what was changed; not ids, tokens and times, which have filters of
    their own."""
    who = event.auth_details or _NOBODY
    name = who.username
    found = [_common_words(event.type, event.source.native_type, event.error, who.client_id)]
    if name is not None:
        found.append(_NAME_WORDS[name])
    if event.resource_path is not None:
        found.append(_TYPED_WORDS[event.resource_path])
    if event.details is not None:
        for key, value in event.details.items():
            words = _WORDS_OF[key]
            if words is not None and (value != name or words.found):
                found.append(words[value])
    if event.representation is not None:
        found.append(_representation_words(event.representation))
    return " ".join(found)


def _representation_words(text: str) -> str:
    """The words of what was changed: of JSON its keys and texts, of all else the text. Each once, since settings of a
    realm say the same names again and again, and so many characters at most."""
    if len(text) > _PARSED:
        text = text[:_PARSED]
    value: object = text
    with suppress(DecodeError, RecursionError):
        value = _read_any(text)
    found: dict[str, None] = {}
    room = _REPRESENTATION
    for one in _texts(value):
        for word in _TYPED_WORDS[one].split():
            if word not in found:
                room -= len(word) + 1
                if room < 0:
                    return " ".join(found)
                found[word] = None
    return " ".join(found)


def _texts(value: object) -> Iterator[str]:
    """Keys and texts of what was JSON, in order; however deep it is."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text:
                yield text
            case dict() as members:
                waiting += [one for pair in reversed(members.items()) for one in reversed(pair)]
            case list() as values:
                waiting += reversed(values)


class _Words(dict[str, str]):
    """The words of values, with blanks between them; those of short ones are remembered."""

    def __init__(self, read: Callable[[str], list[str]], *, found: bool = False) -> None:
        """``found``: a token is among them, by which a filter finds the event."""
        super().__init__()
        self._of = read
        self.found = found

    def __missing__(self, value: str) -> str:
        words = " ".join(self._of(value[:_READ]))
        if len(value) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[value] = words
        return words


def _name_words(text: str) -> list[str]:
    return split_words(_UUID.sub(" ", text))


def _typed_words(text: str) -> list[str]:
    text = _MOMENT.sub(" ", _UUID.sub(" ", text))
    return [word for word in split_words(text) if len(word) < _RANDOM_FROM or not _looks_generated(word)]


def _looks_generated(word: str) -> bool:
    # Ten or thirteen digits that begin with 1 are a timestamp of this age, in seconds or milliseconds.
    if word.isdecimal():
        return len(word) > 15 or (len(word) in (10, 13) and word[0] == "1")
    return len(word) > 30 or _RANDOM.search(word) is not None


def _no_words(text: str) -> list[str]:
    return []


def _found_words(filter: str, read: Callable[[str], list[str]]) -> _Words:
    return _Words(lambda text: [*read(text), detail_token(filter, text)], found=True)


_NAME_WORDS, _TYPED_WORDS = _Words(_name_words), _Words(_typed_words)


@lru_cache(maxsize=4_096)
def _common_words(type: str, native_type: str, error: str | None, client: str | None) -> str:
    typed = [*_typed_words(type), *_typed_words(native_type)]
    names = [*_name_words((error or "")[:_READ]), *_name_words((client or "")[:_READ])]
    return " ".join(dict.fromkeys([*typed, *names]))


class _WordsOf(dict[str, "_Words | None"]):
    """How the value of a detail is read for words, by its key."""

    #: Details whose words count whatever they look like.
    NAMING = frozenset({"username", "email", "previous_email", "updated_email", "impersonator"})
    #: Details that nobody looks for by a word: how a protocol was spoken, and what says nothing without its name.
    SILENT = frozenset(
        {
            "auth_method",
            "auth_type",
            "client_auth_method",
            "country",
            "device_managed",
            "device_type",
            "grant_type",
            "mfa",
            "proxy",
            "refresh_token_type",
            "response_mode",
            "response_type",
            "risk_level",
            "token_type",
        }
    )

    def __missing__(self, key: str) -> _Words | None:
        words: _Words | None = _TYPED_WORDS
        if key in self.NAMING:
            words = _NAME_WORDS
        elif key in self.SILENT or key.endswith("_id"):
            words = None
        for filter, names in FOUND_DETAILS.items():
            if key in names:
                words = _found_words(filter, _no_words if words is None else _typed_words)
        if len(self) < _REMEMBERED and len(key) <= _SHORT:
            self[key] = words
        return words


_WORDS_OF = _WordsOf()
