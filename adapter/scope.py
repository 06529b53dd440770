"""What somebody may see: the events of some realms, sources and providers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from adapter.filter import OF_SCOPE, Filter, Term

#: The name of a source, as the settings have it; it holds no slash.
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RealmOf(NamedTuple):
    """A realm, by its name or id."""

    #: Name of the source that has it; ``None``: whichever has.
    source: str | None
    name: str

    def __str__(self) -> str:
        if self.source is None:
            return f"*/{self.name}" if "/" in self.name else self.name
        return f"{self.source}/{self.name}"


def read_realm(text: str) -> RealmOf:
    """A realm as the settings have it: ``REALM``, of whichever source, or ``SOURCE/REALM``. A realm with a slash in it
    is written with its source, or as ``*/REALM``.

    Raises:
        ValueError: it is none; says what is right.
    """
    source, slash, name = text.partition("/")
    if not slash:
        source, name = "*", text
    if not name.strip() or name == "*":
        raise ValueError(f"{text!r} names no realm; REALM or SOURCE/REALM is right, and all of a source are `sources`")
    if source == "*":
        return RealmOf(None, name)
    if _SOURCE.fullmatch(source) is None:
        raise ValueError(f"{text!r}: {source!r} is no name of a source; a realm with a slash in it is */{text}")
    return RealmOf(source, name)


@dataclass(frozen=True, slots=True)
class Scope:
    """A limit to some events: those of one of the realms, of one of the sources, and of one of the providers; ``None``:
    of any. It goes by what events say themselves. ``Scope()`` is no limit."""

    realms: frozenset[RealmOf] | None = None
    sources: frozenset[str] | None = None
    providers: frozenset[str] | None = None

    @property
    def is_limited(self) -> bool:
        """Whether it leaves anything out."""
        return self != Scope()

    def bound(self, filter: Filter) -> Filter:
        """The same filter of what is in scope alone. What is known of ids and names beyond it does not count either."""
        terms = []
        if self.realms is not None:
            terms.append(_term(OF_SCOPE, {f"{one.source or ''}/{one.name}" for one in self.realms}))
        if self.sources is not None:
            terms.append(_term("source", self.sources))
        if self.providers is not None:
            terms.append(_term("provider", self.providers))
        return replace(filter, terms=(*filter.terms, *terms)) if terms else filter

    def has_source(self, source: str, providers: Mapping[str, str]) -> bool:
        """Whether all that a source sends is in scope, also what has no event and so no realm. ``providers``: of each
        configured source."""
        if self.realms is not None or (self.sources is not None and source not in self.sources):
            return False
        return self.providers is None or providers.get(source) in self.providers

    def has_provider(self, provider: str, providers: Mapping[str, str]) -> bool:
        """Whether a configured source in scope is of this provider. ``providers``: as above."""
        return any(one == provider and self.has_source(source, providers) for source, one in providers.items())

    def told(self) -> dict[str, list[str]]:
        """Its limits, for people and programs."""
        realms = None if self.realms is None else map(str, self.realms)
        limits = {"realms": realms, "sources": self.sources, "providers": self.providers}
        return {name: sorted(values) for name, values in limits.items() if values is not None}

    def __str__(self) -> str:
        return "; ".join(f"{name} {', '.join(values)}" for name, values in self.told().items()) or "everything"


def read_scope(told: Mapping[str, Iterable[str] | None]) -> Scope:
    """The scope of which `Scope.told` tells this: of ``realms``, ``sources`` and ``providers`` those that are limited.

    Raises:
        ValueError: one of the realms is none.
    """
    realms, sources, providers = (told.get(name) for name in ("realms", "sources", "providers"))
    return Scope(
        None if realms is None else frozenset(map(read_realm, realms)),
        None if sources is None else frozenset(sources),
        None if providers is None else frozenset(providers),
    )


#: No limit.
EVERYTHING = Scope()


def _term(name: str, values: set[str] | frozenset[str]) -> Term:
    return Term(name, False, tuple(sorted(values)), exact=True)
