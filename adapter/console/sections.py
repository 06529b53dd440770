"""The console's sections, in the order of the navigation."""

from __future__ import annotations

from collections.abc import Sequence

from adapter.console import about, keys
from adapter.console.frame import Section

SECTIONS: Sequence[Section] = (
    keys.SECTION,
    about.SECTION,
)
