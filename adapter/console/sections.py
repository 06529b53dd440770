"""The console's sections, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.console import about, events, keys, live, mappings, openapi, overview, quarantine, sinks, sources
from adapter.console.frame import Section

SECTIONS: Sequence[Section] = (
    overview.SECTION,
    events.SECTION,
    live.SECTION,
    quarantine.SECTION,
    mappings.SECTION,
    sources.SECTION,
    sinks.SECTION,
    keys.SECTION,
    openapi.SECTION,
    about.SECTION,
)
