"""How long events are kept: the settings, as numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from adapter.errors import ConfigError
from adapter.filter import Filter, is_pattern
from adapter.globs import glob_matches
from adapter.mapping.catalogue import Catalogue
from adapter.quantities import bytes_of, is_size, seconds_of
from adapter.settings import StoreSettings

#: How much longer than the events themselves it is known what they were, and how long what a sink has not had is kept
#: beyond its time. Milliseconds.
PATIENCE = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Group:
    """Some types, and how long they are kept, milliseconds."""

    types: tuple[str, ...]
    keep: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What is kept, milliseconds from arrival; ``None``: for ever."""

    keep: int | None = None
    #: Most bytes of log and search.
    size: int | None = None
    groups: tuple[Group, ...] = ()
    raw: int | None = None
    identities: int | None = None

    @classmethod
    def of(cls, settings: StoreSettings) -> Policy:
        """What the settings say."""
        keep, size = settings.keep, None
        if keep is not None and is_size(keep):
            size, keep = bytes_of(keep), None
        return cls(
            keep=_milliseconds(keep),
            size=size,
            groups=tuple(Group(one.type, seconds_of(one.keep) * 1000) for one in settings.keep_types),
            raw=_milliseconds(settings.keep_raw),
            identities=_milliseconds(settings.keep_identities),
        )

    @property
    def removes(self) -> bool:
        """Whether anything is ever removed."""
        return any(value is not None for value in (self.keep, self.size, self.raw)) or bool(self.groups)

    @property
    def known(self) -> int | None:
        """How long events are known when they come again; ``None``: for ever, or as the size says."""
        if self.identities is not None:
            return self.identities
        return None if self.keep is None else max(self.keep, *[group.keep for group in self.groups], 0) + PATIENCE

    @property
    def digest(self) -> str:
        """What was removed by other rules is looked at anew."""
        rules = [self.keep, self.size, [(group.types, group.keep) for group in self.groups]]
        return hashlib.sha256(orjson.dumps(rules)).hexdigest()[:16]


def _milliseconds(period: str | None) -> int | None:
    return None if period is None else seconds_of(period) * 1000


def all_names(types: Sequence[str], catalogue: Catalogue) -> tuple[str, ...]:
    """Types and globs, with the other names that the catalogue knows for what they mean."""
    if patterns := [one for one in types if is_pattern(one)]:
        raise ConfigError(f"store.keep_types: {patterns[0]} is a pattern; types and globs are right here")
    (term,) = Filter.from_settings({"type": list(types)}, catalogue).terms
    wanted = Filter(catalogue, (term,))
    names: set[str] = set()
    for name in filter(wanted.may_match_type, catalogue.names):
        canonical = catalogue.canonical(name)
        names |= {name, canonical, *catalogue.aliases(canonical)}
    others = [name for name in names if not any(glob_matches(pattern, name) for pattern in term.values)]
    return (*term.values, *sorted(others))
