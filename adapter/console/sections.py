"""The console's sections, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.console import about, events, keys
from adapter.console.frame import Section

SECTIONS: Sequence[Section] = (
    events.SECTION,
    keys.SECTION,
    about.SECTION,
)
