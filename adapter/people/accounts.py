"""Which accounts are one person's, and why an event is on somebody's timeline. Pure: what is known is given.

Ids link within a source. Names link where an event of the same source and realm says whose id goes with them, or that
somebody got in under them. An account's e-mail address links across sources, where the settings let it. What was only
tried never links: a failure under a name alone, and whatever a provider says of a user that it does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from adapter.formats.text import harmless, shortened
from adapter.search.linking import KnownName
from adapter.search_fields import SearchFields, folded

#: Accounts that are joined, and names of these that are looked for, at most: those that were seen last.
LIMIT = 100
#: An address that more accounts of one source have is nobody's own.
_SHARED = 5


class Account(NamedTuple):
    """An account at a provider."""

    source: str
    id: str


@dataclass(slots=True)
class Person:
    """Accounts that are taken for one person's."""

    #: The id, name or address that was asked for; ``None``: an account was.
    asked: str | None
    #: Why each account is one of them.
    accounts: dict[Account, str] = field(default_factory=dict)
    #: Names of these, as they are compared, by source and realm.
    names: dict[tuple[str, str | None, str | None, str], str] = field(default_factory=dict)
    #: Of each address, as it is compared, the sources of the accounts that have it.
    emails: dict[str, list[str]] = field(default_factory=dict)
    #: As they were written last.
    shown: dict[Account, str] = field(default_factory=dict)
    #: The accounts that have what was asked for themselves.
    direct: list[Account] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """What is looked for as an id."""
        known = {account.id for account in self.accounts}
        if self.asked is None:
            return sorted(known)
        # What is only known as a name need not be looked for as an id.
        is_name = any(key[3] == folded(self.asked) for key in self.names)
        return sorted(known if is_name and known else {*known, self.asked})

    @property
    def all_names(self) -> list[str]:
        """What is looked for as a name."""
        own = [] if self.asked is None else [folded(self.asked)]
        return sorted({*own, *(key[3] for key in self.names), *self.emails})

    def link(self, event: SearchFields) -> str | None:
        """Why an event is this person's; ``None``: it is not."""
        if event.reason == "unknown_user":
            return None  # the provider says that there is nobody
        for id in (event.actor, event.target):
            if id is None:
                continue
            why = self.accounts.get(Account(event.source, id))
            if why is not None:
                return why
            if id == self.asked:
                return _of_id(Account(event.source, id))
        if event.outcome == "failure":
            return None  # a name that was tried
        alone = [
            *(event.actor_names if event.actor is None else ()),
            *(event.target_names if event.target is None else ()),
        ]
        for name in map(folded, alone):
            if (why := self._by_name(event, name)) is not None:
                return why
        return None

    def _by_name(self, event: SearchFields, name: str) -> str | None:
        for (source, realm_id, realm_name, known), why in self.names.items():
            if (
                known == name
                and source == event.source
                and _is_same((realm_id, realm_name), (event.realm_id, event.realm_name))
            ):
                return why
        if self.asked is not None and name == folded(self.asked):
            return f"username {_told(self.asked)} in source {event.source}"
        if name in self.emails:
            return f"e-mail {_told(name)} of accounts in {_listed([*self.emails[name], event.source])}"
        return None


def of_account(account: Account) -> Person:
    """The person who has an account."""
    return Person(None, {account: _of_id(account)})


def begin(asked: str, rows: Sequence[KnownName]) -> Person:
    """The accounts that have this id, this name or this address; ``rows``: what is known of it."""
    person = Person(asked)
    text = folded(asked)
    for row in _latest(rows):
        account = Account(row.source, row.id)
        if row.id == asked:
            why = _of_id(account)
        elif folded(row.name) == text:
            what = "e-mail" if row.is_email else "username"
            why = f"{what} {_told(row.name)} of userId {_told(row.id)} in source {row.source}"
        else:
            continue
        if len(person.accounts) < LIMIT and account not in person.accounts:
            person.accounts[account] = why
            person.direct.append(account)
    return person


def is_one(person: Person, *, emails: bool) -> bool:
    """Whether what was asked for names one person; ``emails``: whether addresses link accounts."""
    if len(person.direct) < 2:
        return True
    of_source = Counter(one.source for one in person.direct)
    return emails and is_address(person.asked or "") and max(of_source.values()) <= _SHARED


def describe(person: Person, rows: Sequence[KnownName], *, emails: bool) -> None:
    """Take in the names of the accounts; ``rows``: what is known of their ids; ``emails``: whether their addresses
    link to others."""
    for row in _latest(rows):
        account = Account(row.source, row.id)
        if account not in person.accounts or len(person.names) >= LIMIT:
            continue
        if not row.is_email:
            why = f"username {_told(row.name)} of userId {_told(row.id)} in source {row.source}"
            person.names.setdefault((row.source, row.realm_id, row.realm_name, folded(row.name)), why)
            person.shown.setdefault(account, row.name)
        if emails and is_address(row.name):
            sources = person.emails.setdefault(folded(row.name), [])
            if row.source not in sources:
                sources.append(row.source)


def join(person: Person, rows: Sequence[KnownName]) -> list[Account]:
    """Take in the accounts that have one of the addresses, in whatever source; ``rows``: what is known of these.
    Returns the accounts that came in."""
    came: list[Account] = []
    having: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        having.setdefault((row.source, folded(row.name)), set()).add(row.id)
    for row in _latest(rows):
        address = folded(row.name)
        sources = person.emails.get(address)
        account = Account(row.source, row.id)
        if sources is None or account in person.accounts or len(person.accounts) >= LIMIT:
            continue
        if len(having[row.source, address]) > _SHARED:
            continue
        if row.source not in sources:
            sources.append(row.source)
        person.accounts[account] = f"e-mail {_told(row.name)} of accounts in {_listed(sources)}"
        came.append(account)
    return came


def is_address(name: str) -> bool:
    """Whether a name is an e-mail address."""
    local, _, domain = name.rpartition("@")
    return bool(local) and "." in domain and not any(one.isspace() for one in name)


def _latest(rows: Iterable[KnownName]) -> list[KnownName]:
    return sorted(rows, key=lambda row: (-row.last, row))


def _is_same(one: tuple[str | None, str | None], other: tuple[str | None, str | None]) -> bool:
    """Whether two realms, by id and name, are one."""
    if one[0] is not None and other[0] is not None:
        return one[0] == other[0]
    return one == other or (one[1] is not None and one[1] == other[1])


def _of_id(account: Account) -> str:
    return f"userId {_told(account.id)} in source {account.source}"


def _listed(names: Iterable[str]) -> str:
    return " and ".join(dict.fromkeys(map(_told, names)))


def _told(text: str) -> str:
    return harmless(shortened(text, 120))
