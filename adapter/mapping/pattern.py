"""Patterns and templates of mapping files. Patterns run in time linear in the text, whatever the pattern and the text:
both may come from strangers."""

from __future__ import annotations

import re
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20


def compile_pattern(text: str) -> Any:
    """A compiled pattern (RE2 syntax: no look-around, no back references) with ``search`` and ``fullmatch``.

    Raises:
        ValueError: it is not one; the message says why.
    """
    try:
        return re2.compile(text, options=_OPTIONS)
    except re2.error as error:
        problem = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"not a pattern of RE2 syntax: {problem}") from error


def template_holes(template: str) -> list[str]:
    """The paths in a template's braces, in order.

    Raises:
        ValueError: a brace has no other one.
    """
    if re.search(r"[{}]", _HOLE.sub("", template)):
        raise ValueError(f"a brace without the other one, or with nothing between them, in {template!r}")
    return _HOLE.findall(template)


_HOLE = re.compile(r"\{([^{}]+)\}")
