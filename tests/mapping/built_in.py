"""The built-in tables and all their examples, as several tests use them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.table import Table, load_tables
from adapter.resources import mappings_path
from adapter.workbench.examples import RECEIVED_AT, Placed, outcome_of, read_examples

PROVIDERS = ["keycloak", "onewelcome", "magic-link", "audit-service", "okta", "zitadel", "auth0", "duo", "fusionauth"]


@dataclass(frozen=True)
class Case:
    """One example of one table."""

    provider: str
    placed: Placed

    def __str__(self) -> str:
        return f"{self.provider}/{self.placed.file.stem}: {self.placed.example.name}"

    @property
    def found(self) -> list[dict[str, Any]]:
        """What the table makes of it now."""
        return outcome_of(table(self.provider), self.placed.example)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The expected events, without what is quarantined or ignored."""
        return [one for one in self.placed.example.expect if "type" in one]


@cache
def catalogue() -> Catalogue:
    """The built-in catalogue."""
    return load_catalogue([mappings_path()])


def table(provider: str) -> Table:
    """A built-in table."""
    return _tables()[provider]


@cache
def _tables() -> dict[str, Table]:
    return dict(load_tables([mappings_path()]))


@cache
def cases() -> list[Case]:
    """Every example of every built-in table."""
    return [Case(provider, placed) for provider in PROVIDERS for placed in read_examples(mappings_path() / provider)]


def story(provider: str, name: str) -> list[dict[str, Any]]:
    """The events of one of a provider's stories, without what is ignored."""
    (case,) = [one for one in cases() if one.provider == provider and one.placed.example.name == name]
    return [one for one in case.found if "ignored" not in one]


def read(provider: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The unified event that a table makes of one raw event; the test fails where there is none."""
    values = table(provider).read(raw, RECEIVED_AT)
    event = values[0]
    assert isinstance(event, dict), values[4]
    return event


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys aside."""
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif value is not None:
        yield str(value)
