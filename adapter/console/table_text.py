"""The text with which an editor of a table begins."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapter.mapping.scalars import dump

_TYPES = re.compile(r"^types:[ \t]*(?:#.*)?$", re.MULTILINE)
_END = "\n"
_INDENT = re.compile(r"^([ ]+)\S", re.MULTILINE)


def row_text(native: str, row: Mapping[str, str] | None) -> str:
    """A row as it is written in a table; without ``row`` its type is left to be decided."""
    if row is not None:
        return dump({native: dict(row)}).rstrip("\n")
    return dump({native: {"type": ""}}).rstrip("\n").removesuffix("{type: ''}") + "{type: }"


def extension_of(provider: str, title: str) -> str:
    """A table of one's own that takes everything from a built-in one, whose place it takes."""
    named = {"provider": provider, "title": title, "extends": provider}
    return "".join(f"{word}: {dump([value], flow=True).strip()[1:-1]}\n" for word, value in named.items())


def with_row(text: str, row: str) -> str:
    """A table's text with one row more, behind those that stand at its top; where they are written in another way, the
    row comes as a comment at the end."""
    found = _TYPES.search(text)
    if found is None and re.search(r"^types:", text, re.MULTILINE):
        comment = "".join(f"# {line}\n" for line in ["one more of `types`:", *row.split("\n")])
        return f"{text.rstrip()}\n{comment}"
    if found is None:
        return f"{text.rstrip()}\ntypes:\n{_indented(row, '  ')}\n"
    at, end = found.end(), len(text)
    following = re.search(r"^[^\s#]", text[at:], re.MULTILINE)
    if following is not None:
        end = at + following.start()
    # Comments that stand as deep as `types` belong to what follows.
    inner = [line.end() for line in re.finditer(r"^[ ]+\S.*$", text[at:end], re.MULTILINE)]
    behind = at + inner[-1] if inner else at
    indent = _INDENT.search(text[at:end])
    written = _indented(row, indent[1] if indent else "  ")
    return f"{text[:behind]}\n{written}\n{text[behind:].removeprefix(_END)}"


def _indented(row: str, indent: str) -> str:
    return "\n".join(indent + line for line in row.split("\n"))
