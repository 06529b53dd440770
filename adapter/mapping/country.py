"""Countries by their codes of ISO 3166-1: ``mappings/countries.yaml``."""

from __future__ import annotations

import re
from functools import cache

from adapter.mapping.document import Document
from adapter.resources import mappings_path

_CODE = re.compile("[A-Z]{2}")


def country_code(text: str) -> str | None:
    """The code of two letters of a country that is written so, by its code of three letters, or by a name of it in
    English; ``None``: there is no such country."""
    return _codes().get(text.strip().casefold())


def is_country_code(text: str) -> bool:
    """Whether a text has the form of such a code. New ones may come, and some are kept for whoever wants them (XK)."""
    return _CODE.fullmatch(text) is not None


@cache
def _codes() -> dict[str, str]:
    """Code, or name, in small letters: the code."""
    listed = Document.read(mappings_path() / "countries.yaml").value
    return {name.casefold(): code for code, names in listed.items() for name in (code, *names)}
