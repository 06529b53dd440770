"""The table of what was tried and what happened, in Markdown, for those who read the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MB = 1_000_000


class Row(NamedTuple):
    """One attack, its bound, and what happened."""

    group: str
    attack: str
    bound: str
    #: How often each status came back; 0: no answer.
    answers: dict[int, int]
    #: Seconds, 99th percentile: while it lasted, and in the idle run before.
    health: float
    idle_health: float
    neighbour: float
    idle_neighbour: float
    #: The same of how late a process was woken that only waits: what the machine adds.
    late: float
    #: Bytes, all processes: before, the most, and afterwards.
    before: int
    peak: int
    after: int
    #: Acknowledged events that were not found afterwards.
    lost: int


_HEADS = (
    "attack",
    "bound",
    "answers",
    "`/healthz` p99, ms (idle)",
    "neighbour's post p99, ms (idle)",
    "the machine's own p99, ms",
    "memory before, MB",
    "at most",
    "afterwards",
    "lost",
)


def markdown(rows: Iterable[Row]) -> str:
    """The table, sorted by group and attack."""
    lines = [_line(_HEADS), _line(["---"] * 3 + ["---:"] * 7)]
    for row in sorted(rows, key=lambda one: (one.group, one.attack)):
        answers = ", ".join(f"{status or 'none'} × {count:,}" for status, count in sorted(row.answers.items()))
        lines.append(
            _line(
                [
                    f"{row.group}: {row.attack}",
                    row.bound,
                    answers or "–",
                    f"{row.health * 1000:.0f} ({row.idle_health * 1000:.0f})",
                    f"{row.neighbour * 1000:.0f} ({row.idle_neighbour * 1000:.0f})",
                    f"{row.late * 1000:.0f}",
                    f"{row.before / MB:.0f}",
                    f"{row.peak / MB:.0f}",
                    f"{row.after / MB:.0f}",
                    str(row.lost),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def write_table(rows: Iterable[Row], file: Path) -> None:
    """Write the table to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(markdown(rows), "utf-8")


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
