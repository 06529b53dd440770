"""What is wrong with a text that is no YAML, in the words of who wrote it: the parser tells what it missed and where it
noticed, which is often another place than that of the slip."""

from __future__ import annotations

import re

import yaml

#: Characters of a line that are shown.
_SHOWN = 80
_KEY = re.compile(r"""\s*(?:- +)*(?:[^\s"'#{}\[\],&*!|>%@`-][^"'{}\[\]#]*?|"[^"]*"|'[^']*')\s*:(?:\s|$)""")
_NO_BLANK_AFTER_COLON = re.compile(r"""\s*(?:- +)*([\w.@-]+):([^\s:/].*)""")
_NO_BLANK_AFTER_DASH = re.compile(r"\s*-[^\s-]")
_TAB = re.compile(r" *\t[ \t]*[^\s#]")
_CURLED = "\u201c\u201d\u201e\u2018\u2019"


def plain_words(text: str, error: yaml.YAMLError) -> tuple[str, int | None, int | None]:
    """What is wrong with a text, and what would be right; and line and column (from 1), if they are known."""
    lines = text.split("\n")
    if isinstance(error, yaml.reader.ReaderError):
        # The parser counts bytes.
        before = text.encode()[: error.position].decode(errors="replace")
        line = before.count("\n")
        odd = error.character
        code = ord(odd) if isinstance(odd, str) else odd
        problem = f"the character U+{code:04X} may not stand in YAML; take it out"
        return _shown(problem, lines, line), line + 1, len(before.rpartition("\n")[2]) + 1
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error), None, None
    told = _told(lines, error)
    if told is None:
        mark = error.problem_mark
        told = f"{error.problem} (column {mark.column + 1})", mark.line, mark.column
    problem, line, column = told
    return _shown(problem, lines, line), line + 1, column + 1


def missing_blank(key: str, *, empty: bool) -> str | None:
    """What is wrong with an unquoted key that swallowed its value, as in ``{type:LOGIN}`` and ``signin:{type: LOGIN}``;
    ``None``: it is a key. ``empty``: it has no value."""
    found = _NO_BLANK_AFTER_COLON.fullmatch(key)
    if found is None or not (empty or found[2].startswith(("{", "[", '"', "'"))):
        return None
    return f"a blank is missing behind the colon of {key[:_SHOWN]!r}; write `{found[1]}: {found[2][:_SHOWN]}`"


def _shown(told: str, lines: list[str], at: int) -> str:
    line = lines[at].rstrip("\r") if at < len(lines) else ""
    written = line.replace("\t", "\\t")
    if not written.strip():
        return told
    return f"{told}; the line is: {written[:_SHOWN]}{'…' if len(written) > _SHOWN else ''}"


#: What is wrong, and in which line and column (from 0).
_Told = tuple[str, int, int]


def _told(lines: list[str], error: yaml.MarkedYAMLError) -> _Told | None:
    """What is wrong, if it is a slip that is known."""
    problem, mark = error.problem or "", error.problem_mark
    assert mark is not None
    at, column = mark.line, mark.column
    line = lines[at] if at < len(lines) else ""
    here = line[column : column + 1]
    begun = error.context_mark
    if _TAB.match(line) and (here == "\t" or "tab character" in problem or not line[:column].strip()):
        return "a tab indents this line; use blanks, as many as the lines beside it have", at, line.index("\t")
    match problem:
        case "found character that cannot start any token":
            return f"a value may not begin with {here}; put it in quotes", at, column
        case "found unexpected end of stream" if begun is not None:
            quote = lines[begun.line][begun.column]
            return f"the quote {quote} at column {begun.column + 1} is never closed", begun.line, begun.column
        case "found unknown escape character" | "did not find expected hexdecimal number":
            # What is no number is noticed behind the backslash and its letter.
            column -= 2 if "number" in problem else 0
            told = (
                f"in double quotes a backslash begins an escape, and that at column {column + 1} is none; put the text "
                "in single quotes, in which a backslash is itself"
            )
            return told, at, column
        case "found undefined alias" | "did not find expected alphabetic or numeric character":
            column = begun.column if begun is not None else column
            sign = lines[at][column]
            return (
                f"what begins with {sign} stands for an anchor, and there is none; put a text that does in quotes",
                at,
                column,
            )
        case "but found another document":
            return "a second document begins here (---); a file has one", at, column
        case "could not find expected ':'" if begun is not None:
            return _of_line(_no_key(lines, begun.line), lines, begun.line)
        case "did not find expected '-' indicator":
            what = "this line stands among the items of a list: begin it with `- `, or"
            return _of_line(_other_level(lines, at, what), lines, at)
        case "mapping values are not allowed in this context":
            return _second_colon(lines, at, column)
        case "did not find expected ',' or '}'" | "did not find expected ',' or ']'" if begun is not None:
            return _in_brackets(lines, at, column, begun)
        case "did not find expected key":
            return _no_place(lines, at, column)
    if problem.startswith("could not determine a constructor"):
        return "what begins with ! is a tag, and there are none; put a text that does in quotes", at, column
    return None


def _of_line(told: str, lines: list[str], at: int) -> _Told:
    """What is wrong with a line as a whole stands where its text begins."""
    return told, at, _indent(lines[at]) if at < len(lines) else 0


def _no_key(lines: list[str], at: int) -> str:
    """A line that was to be ``key: value``."""
    found = _NO_BLANK_AFTER_COLON.match(lines[at])
    if found is not None:
        return f"a blank is missing behind the colon: write `{found[1]}: …`"
    return "this line is no `key: value`"


def _second_colon(lines: list[str], at: int, column: int) -> _Told:
    before = lines[at][:column]
    if _KEY.match(before):
        value = lines[at].split(":", 1)[1].strip()
        if value[:1] in _CURLED:
            return f"{value[0]} is no quote of YAML; write \" or '", at, lines[at].index(value[0])
        return (
            f"the value has a colon with a blank behind it (column {column + 1}); put the value in quotes",
            at,
            column,
        )
    above = _above(lines, at)
    if above is not None and not _KEY.match(lines[above]):
        return _of_line(_no_key(lines, above), lines, above)
    if above is not None and _indent(lines[above]) < _indent(lines[at]):
        what = "this line is indented below one that has its value already:"
        return _of_line(_other_level(lines, at, what), lines, at)
    return "a colon with a blank behind it stands where no key can be; put the text in quotes", at, column


def _in_brackets(lines: list[str], at: int, column: int, begun: yaml.Mark) -> _Told:
    opened = lines[begun.line][begun.column]
    line = lines[at] if at < len(lines) else ""
    here = line[column : column + 1]
    if here in ("{", "["):
        return (
            f"a text with {here} in it needs quotes (column {column + 1}), or a comma is missing before it",
            at,
            column,
        )
    if at > begun.line and _indent(line) <= _indent(lines[begun.line]):
        return f"the {opened} at column {begun.column + 1} is never closed", begun.line, begun.column
    if at > begun.line:
        told = f"a comma is missing before this line, or the {opened} in line {begun.line + 1} is never closed"
        return _of_line(told, lines, at)
    if here == ":":
        return (
            f"there is a colon too many (column {column + 1}): put the text in quotes, or a comma before the key",
            at,
            column,
        )
    if here in ("}", "]"):
        right = "}" if opened == "{" else "]"
        return f"the {opened} at column {begun.column + 1} is closed with {here}; write {right}", at, column
    return f"a comma is missing before column {column + 1}, or the text before it needs other quotes", at, column


def _no_place(lines: list[str], at: int, column: int) -> _Told:
    """Something stands where a key was to begin: behind a value that is whole, or at an indentation of its own."""
    line = lines[at] if at < len(lines) else ""
    before = line[:column].rstrip()
    if before:
        if line[column] in "}]":
            return f"there is a {line[column]} too many (column {column + 1})", at, column
        if before[-1] in "}]":
            opened = "{" if before[-1] == "}" else "["
            told = f"a value that begins with {opened} ends with {before[-1]}; put a text that does not in quotes"
            return told, at, column
        if before[-1] in "\"'":
            told = (
                f"text stands behind the closing quote (column {column + 1}); within '…' a ' is written twice, within "
                '"…" a " needs a backslash'
            )
            return told, at, column
    above = _above(lines, at)
    if above is not None and _NO_BLANK_AFTER_DASH.match(lines[above]):
        return _of_line("a blank is missing behind the -", lines, above)
    if line.lstrip().startswith("- ") or line.strip() == "-":
        return _of_line(_other_level(lines, at, "this item of a list stands where none can be:"), lines, at)
    return _of_line(_other_level(lines, at, "this line is indented like none around it:"), lines, at)


def _other_level(lines: list[str], at: int, what: str) -> str:
    """A line at the wrong indentation, and those that it may have."""
    levels: dict[int, str] = {}
    for line in reversed(lines[:at]):
        told, indent = line.lstrip(), _indent(line)
        if told and not told.startswith("#") and all(indent < other for other in levels):
            levels[indent] = told
    # An item stands below other items, where there are any.
    items = [indent for indent, told in levels.items() if told.startswith("-")] if lines[at].lstrip()[:1] == "-" else []
    known = sorted({*(items or levels)} - {_indent(lines[at])})
    if not known:
        return f"{what} indent it as the lines that it belongs to"
    return f"{what} indent it by {' or '.join(map(str, known))} blanks, as the lines that it belongs to"


def _above(lines: list[str], at: int) -> int | None:
    """The line before that says anything."""
    said = (one for one in range(at - 1, -1, -1) if lines[one].strip() and not lines[one].lstrip().startswith("#"))
    return next(said, None)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
