"""What stands at the paths of many raw events, and which of them speaks for a field: by its name, by its values, and by
how many of the events have it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.known_secrets import REDACTED
from adapter.mapping.conversion import convert_time, epoch, ip, rfc3339
from adapter.mapping.language import Conversion, Lookup
from adapter.mapping.paths import escaped_key, scalar_text

#: Path: the values that stand there over all samples.
Columns = dict[str, list[Any]]

#: Ranks: below the first the whole name is one of the words, from the second on no word is in it.
PART, NONE = 100, 1000
#: Added where many events lack a value, or a type; and where values do not come as those of a field do.
_LACKING, _LACKING_TYPE, _UNLIKE = 40, 300, 60
#: So many values tell whether they come again.
_ENOUGH = 6
#: Characters of a value that names somebody or something.
_NAME = 128
#: Has values in it, or is longer than any name.
_PROSE = re.compile(rf'["=]|.{{{_NAME}}}').search

#: Words in the name of a key that speak for a field, best first.
WORDS: Mapping[str, tuple[str, ...]] = {
    "type": (
        "eventtype", "eventname", "eventkey", "eventcode", "type", "event", "action", "kind", "operation", "activity",
        "code", "name", "msg", "message",
    ),
    "time": (
        "timestamp", "eventtime", "occurred", "published", "createdat", "created", "time", "date", "when", "at", "ts",
        "t",
    ),
    "id": ("eventid", "eventuid", "uuid", "guid", "id"),
    "number": ("eventno", "recordno", "sequencenumber", "sequence", "seqno", "seq", "number", "no"),
    "user": (
        "userid", "user.id", "who.id", "actorid", "actor.id", "subject.id", "subject", "sub", "principal", "identityid",
        "user", "actor", "account", "who", "uid", "ruser", "remoteuser",
    ),
    "username": (
        "username", "login", "loginname", "email", "mail", "user.name", "preferredusername", "alternateid", "uname",
        "authuser",
    ),
    "mail": ("user", "account", "principal", "subject", "actor", "who"),
    "client": ("clientid", "client.id", "appid", "applicationid", "client", "application", "app", "service"),
    "ip": (
        "ipaddress", "clientip", "remoteip", "remoteaddr", "remoteaddress", "sourceip", "srcip", "clientaddr", "ip",
        "address", "rhost",
    ),
    "session": ("sessionid", "session.id", "sid", "session"),
    "realm": ("realmid", "tenantid", "tenant", "realm", "organization", "org", "domain"),
    "outcome": ("outcome", "result", "success", "succeeded", "ok", "status", "statuscode", "state"),
    "status": ("result", "status", "outcome", "category", "logger", "level"),
    "reason": (
        "failurereason", "errorcode", "error", "reason", "why", "cause", "failure", "errormessage", "errordescription",
    ),
}  # fmt: skip

#: Words under which people and clients stand: an id below one of them is not the event's.
_OWNERS = frozenset(word for what in ("user", "client", "session", "realm") for word in WORDS[what]) | {
    "person", "employee", "customer", "device",
}  # fmt: skip
#: Words under which people stand, and what they are numbered by there.
_PEOPLE = frozenset((
    "person", "employee", "customer", "member", "user", "actor", "account", "subject", "principal", "who", "by",
    "performer",
))  # fmt: skip
_NUMBERED = ("id", "no", "number", "uid", "key")
#: Words under which stands whom, or what, something was done to.
_OBJECTS = frozenset({"target", "targets", "object", "resource", "affected", "entity"})
#: Words that speak against a field: another moment, the other end of a connection, something of somebody.
_OTHERS: Mapping[str, frozenset[str]] = {
    "time": frozenset((
        "expires", "expiry", "expiration", "expire", "until", "birth", "valid", "last", "updated", "nbf",
    )),
    "ip": frozenset(("server", "dest", "dst", "destination", "local", "host", "proxy", "listen", "internal")),
    "type": frozenset((
        "level", "severity", "lvl", "outcome", "result", "status", "version", "host", "hostname", "logger", "source",
        "caller", "thread", "environment", "env", "facility", "category",
    )),
    **dict.fromkeys(("user", "username", "client", "session", "realm", "mail"), frozenset((
        "agent", "useragent", "type", "kind", "role", "group", "status", "state", "version", "count", "pool", "ip",
        "address", "port", "browser", "os", "locale", "agents", "time", "at",
    ))),
}  # fmt: skip
#: Fields whose words do not keep a path from being the type.
_FREE = ("type", "time", "outcome", "status")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

#: How times are written beside RFC 3339 and epochs.
_TIME_FORMS = (
    Conversion.RFC2822.value,
    Conversion.SYSLOG.value,
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y/%m/%d %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S.%f %Y",
    "%d.%m.%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p",
)
#: An arrival for times without a year: 2026-01-01T00:00:00Z.
_ARRIVAL = 1_767_225_600_000


def columns_of(samples: Sequence[Mapping[str, Any]]) -> Columns:
    """The columns of some events; what is empty, or redacted, is not there."""
    columns: Columns = {}
    for sample in samples:
        for path, value in leaves(sample):
            columns.setdefault(path, []).append(value)
    return columns


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What stands at the ends of a value's paths: scalars, and lists; not what begins with @."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            step = escaped_key(str(key))
            if step and not (step.startswith("@line") and not path):
                yield from leaves(inner, f"{path}.{step}" if path else step)
    elif value not in (None, "", [], REDACTED):
        yield path, value


@dataclass(frozen=True)
class Choice:
    """The path that speaks best for a field, and those that do, too, best first."""

    path: str
    others: list[str]


class Chooser:
    """Chooses paths for fields, none for two."""

    def __init__(self, columns: Columns, count: int) -> None:
        """``count``: the number of events."""
        self.columns = columns
        self.taken: dict[str, Choice] = {}
        self._count = count
        self._lists = {path for path, values in columns.items() if any(isinstance(one, list) for one in values)}

    def choose(self, what: str, fits: Callable[[list[Any]], bool]) -> str | None:
        """The path for a field of which all values fit; ``None``: there is none."""
        taken = {one.path for one in self.taken.values()}
        ranked = []
        for path, values in self.columns.items():
            if path in taken or path in self._lists:
                continue
            rank = rank_of(what, path)
            if rank is not None and fits(values):
                rank += self._against(what, values)
                # Of names that speak alike, the one that most samples have.
                ranked.append((rank, -len(values), len(path), path))
        if not ranked:
            return None
        (_, _, _, best), *others = sorted(ranked)
        self.taken[what] = Choice(best, [path for rank, _, _, path in others if what != "type" or rank < NONE])
        return best

    def _against(self, what: str, values: list[Any]) -> int:
        """How much speaks against a field in how its values come."""
        # A type that most events lack is that of some form of them.
        rank = int((_LACKING_TYPE if what == "type" else _LACKING) * (1 - len(values) / self._count))
        # Who acts, acts again; what is another one each time is the event's own.
        if what in ("user", "client", "realm") and len(values) >= _ENOUGH and len(set(map(str, values))) == len(values):
            rank += _UNLIKE
        return rank


def rank_of(what: str, path: str) -> int | None:
    """How well a path's name speaks for a field; smaller is better."""
    plain = path.lower().replace("_", "").replace("-", "")
    *above, last = plain.split(".")
    if what in ("id", "number") and not _OWNERS.isdisjoint((*above, last, last.removesuffix("id"))):
        return None
    runs = word_runs(path.rpartition(".")[2])
    if not _OTHERS.get(what, frozenset()).isdisjoint(runs):
        return None
    # Who did it, before whom it was done to.
    later = PART // 2 if what in ("user", "username") and not _OBJECTS.isdisjoint(above) else 0
    for rank, word in enumerate(WORDS[what]):
        if plain == word or last == word or plain.endswith("." + word):
            return rank + later
    if what == "user" and above and above[-1] in _PEOPLE and last in _NUMBERED:
        return len(WORDS[what]) + later
    for rank, word in enumerate(WORDS[what]):
        # What counts up is called so, and nothing more: a phone has a number, too.
        if what != "number" and word in runs:
            return PART + rank
    # Timestamps and addresses speak for themselves, whatever their name; and what comes again in every event may well
    # be its type, unless its name speaks for something else.
    others = (word for other, words in WORDS.items() if other not in _FREE for word in words)
    return NONE if what in ("time", "ip") or (what == "type" and last not in others) else None


def word_runs(name: str) -> set[str]:
    """The words of a name, and what some of them one after another make: `userId` has user, id and userid."""
    words = [word.lower() for word in _WORD.findall(name)]
    return {"".join(words[begin:end]) for begin in range(len(words)) for end in range(begin + 1, len(words) + 1)}


def names_type(columns: Columns) -> bool:
    """Whether the name of a key is a word for the type."""
    ranks = [rank_of("type", path) for path, values in columns.items() if not isinstance(values[0], list)]
    return any(rank is not None and rank < PART for rank in ranks)


# --- what values look like -----------------------------------------------------------------------------------------


def read_time(values: Sequence[Any]) -> str | None:
    """How all of some values are written as times; ``None``: they are none."""
    if all(rfc3339(value) is not None for value in values):
        return Conversion.RFC3339.value
    if all(not isinstance(value, bool) and epoch(value) is not None for value in values):
        return Conversion.EPOCH.value
    if not all(isinstance(value, str) for value in values):
        return None
    for form in _TIME_FORMS:
        lookup = Lookup.model_validate({"path": "time", "as": form})
        convert = convert_time(lookup)
        if all((convert(one, _ARRIVAL) if lookup.needs_arrival else convert(one)) is not None for one in values):
            return form
    return None


def may_be_types(values: Sequence[Any]) -> bool:
    """A type comes again, an id never does; in a handful of samples that cannot be told."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) or _PROSE(str(value)) for value in values):
        return False
    return len(set(values)) < len(values) or len(values) <= 3


def may_be_ids(values: Sequence[Any]) -> bool:
    """No two are the same, and all are texts or whole numbers."""
    if any(isinstance(value, bool) or not isinstance(value, str | int) for value in values):
        return False
    return len(set(map(str, values))) == len(values)


def may_be_name(values: Sequence[Any]) -> bool:
    """All name somebody or something: no truth, no address, and not as long as prose."""
    texts = [None if isinstance(value, bool) else scalar_text(value) for value in values]
    return all(one is not None and len(one) <= _NAME and one.count(" ") <= 3 and not is_address(one) for one in texts)


def are_mails(values: Sequence[Any]) -> bool:
    """Whether all are addresses of mail, by which somebody is called rather than known."""
    return all(isinstance(one, str) and "@" in one for one in values)


def is_address(value: Any) -> bool:
    """Whether a value is an address, perhaps with a port."""
    try:
        ipaddress.ip_address(ip(value) if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def is_list_of_objects(value: Any) -> bool:
    """Whether a value is a list that holds objects alone."""
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)
