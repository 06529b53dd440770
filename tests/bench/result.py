"""What a row measured, what it should reach, and the table of all rows."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


class CannotMeasure(Exception):
    """A row could not be run; the text says why, and what would help."""


@dataclass(slots=True, frozen=True)
class Target:
    """What a ratio (or, without a floor, the product's own figure) should reach."""

    bound: float
    at_least: bool
    #: What the product's own figure may reach instead of that ratio.
    enough: float | None = None

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        instead = "" if self.enough is None else f", or {self.enough:,.0f}"
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{instead}"


@dataclass(slots=True, frozen=True)
class Result:
    """One line of the table: the runs of the product, each beside its own floor."""

    what: str
    unit: str
    product: Sequence[float]
    #: As many as the product's, measured in turn with them; empty where there is nothing to compare with.
    floor: Sequence[float] = ()
    #: ``None`` for what is only told.
    target: Target | None = None
    #: CPU seconds that 100,000 events cost, over all processes of the product; one for each run, or none.
    cpu: Sequence[float] = ()

    @property
    def ratios(self) -> list[float]:
        """Product by floor, pair by pair."""
        return [product / floor for product, floor in zip(self.product, self.floor, strict=bool(self.floor))]

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; ``None`` without one."""
        if self.target is None:
            return None
        enough = self.target.enough
        return self.target.met(median(self.ratios or self.product)) or (
            enough is not None and median(self.product) >= enough
        )

    def __str__(self) -> str:
        beside = f", {_spread(self.ratios)} of the floor" if self.floor else ""
        return f"{self.what}: {_spread(self.product)} {self.unit}{beside}"


def table(results: Iterable[Result]) -> str:
    """The results as Markdown."""
    lines = [
        "| what | floor | product | ratio | target | | CPU s per 100,000 events |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in results:
        verdict = {True: "met", False: "**missed**", None: ""}[one.met]
        cells = [
            one.what,
            f"{_spread(one.floor, several=False)} {one.unit}" if one.floor else "–",
            f"{_spread(one.product, several=not one.floor)} {one.unit}",
            _spread(one.ratios) if one.floor else "–",
            "" if one.target is None else str(one.target),
            verdict,
            _spread(one.cpu, several=False) if one.cpu else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], several: bool = True) -> str:
    """The median, and the smallest and largest if there are several."""
    middle = _number(median(values))
    if len(values) < 2 or not several:
        return middle
    return f"{middle} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine() -> str:
    """What it was measured on, in one line."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.processor() or "unknown CPU",
    )
    return (
        f"{os.cpu_count()} cores of {model}, {platform.python_implementation()} {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}"
    )


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
