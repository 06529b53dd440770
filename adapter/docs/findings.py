"""``mapping-findings.md``: what the check of a table may say, by codes."""

from __future__ import annotations

from adapter.docs.markdown import code, table
from adapter.finding_codes import Code, Weight

_INTRODUCTION = """\
# What the check says

`idp-adapter mapping check` writes a line for each finding, as compilers do, so that editors find the place:

```text
mappings/shop/mapping.yaml:12:5: error: types.signin.type: 'LOGN' is no type of the catalogue (…) [unknown-type]
```

File, line and column (both from 1; the column counts characters), whether it is an error or a warning, what is wrong
and what would be right, and a code. A part of an object stands where its key does. What is about a file as a whole has
neither line nor column.

Over HTTP (`findings` of `POST /mappings/PROVIDER/check`, of what saving answers, of a refused table) each is an object
with `error`, `file`, `line`, `column`, `text` and `code`.

The text may change with any release. A code keeps its meaning; new ones may be added.

"""

_WEIGHTS = {
    Weight.REFUSED: (
        "What keeps a table from being used",
        "Errors. All that are in one file are told together; while there are any, nothing else is looked for.",
    ),
    Weight.ERROR: (
        "What is wrong with a table that can be used",
        "Errors. A running service does not take up such a table, and goes on with the one before.",
    ),
    Weight.FAULT: (
        "What the examples show to be wrong",
        "Errors to who checks or saves a table. A service that is running takes it all the same, and says so in its "
        "log, so that a table that ran before goes on.",
    ),
    Weight.WARNING: ("What should be looked at", "Warnings, with which the check is passed."),
}


def findings_page() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for weight, (title, meaning) in _WEIGHTS.items():
        rows = [(code(one.value), one.meaning) for one in Code if one.weight is weight]
        parts.append(f"## {title}\n\n{meaning}\n\n{table(['code', 'meaning'], rows)}\n")
    return "".join(parts).rstrip("\n") + "\n"
