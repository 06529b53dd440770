"""The score of a sender: one row for each behaviour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from tests.receivers.judging import State, Verdict


class Row(NamedTuple):
    """One behaviour, and how the sender did there."""

    name: str
    does: str
    url: str
    verdict: Verdict


class Score(NamedTuple):
    """All rows."""

    rows: tuple[Row, ...]

    def count(self, state: State) -> int:
        return sum(row.verdict.state is state for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "name": one.name,
                "does": one.does,
                "url": one.url,
                "state": str(one.verdict.state),
                "said": one.verdict.said,
            }
            for one in self.rows
        ]
        counts = {"passed": State.PASSED, "failed": State.FAILED, "notSeen": State.NOT_SEEN}
        return {"rows": rows, **{name: self.count(state) for name, state in counts.items()}}

    def as_table(self) -> str:
        cells = [
            ("", "receiver", "sender"),
            *((str(row.verdict.state), row.does, row.verdict.said) for row in self.rows),
        ]
        widths = [max(len(row[column]) for row in cells) for column in range(2)]
        lines = [f"{state:<{widths[0]}}  {does:<{widths[1]}}  {said}".rstrip() for state, does, said in cells]
        counts = ", ".join(f"{self.count(state)} {state}" for state in State)
        return "\n".join([*lines, "", counts])


def make_score(rows: Iterable[tuple[str, str, str, Verdict]]) -> Score:
    return Score(tuple(Row(*row) for row in rows))
