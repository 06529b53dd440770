"""The console's sections, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.console import about, events, keys, live, mappings, openapi, overview, people, quarantine, sinks, sources
from adapter.console.frame import Section

SECTIONS: Sequence[Section] = (
    overview.SECTION,
    events.SECTION,
    live.SECTION,
    people.SECTION,
    quarantine.SECTION,
    mappings.SECTION,
    sources.SECTION,
    sinks.SECTION,
    keys.SECTION,
    openapi.SECTION,
    about.SECTION,
)


def sections_of(*, has_people: bool) -> Sequence[Section]:
    """Those of a service. ``has_people``: whether its settings let it tell of people."""
    return [one for one in SECTIONS if has_people or one is not people.SECTION]
