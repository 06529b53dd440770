"""What the address of a page names: a sink or a source."""

from __future__ import annotations

import re

from adapter.console.visit import Visit
from adapter.errors import RequestError

#: Names of sinks, and of sources: they stand in paths as they are.
_SINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def sink_name(visit: Visit) -> str:
    """The sink that the address names.

    Raises:
        RequestError: 404, no sink can have this name.
    """
    return _named(visit, _SINK, "sink")


def source_name(visit: Visit) -> str:
    """The source that the address names. Raises: likewise."""
    return _named(visit, _SOURCE, "source")


def _named(visit: Visit, form: re.Pattern[str], what: str) -> str:
    name = visit.request.match_info["name"]
    if not form.fullmatch(name):
        raise RequestError(404, "Not found", f"There is no {what} {name[:100]!r}.")
    return name
