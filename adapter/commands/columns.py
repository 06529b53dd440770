"""Tables that fit a terminal: wide cells are cut, and what matters less is left out, so that what matters stays."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapter.formats.text import harmless

#: Characters between two columns.
_GAP = 2
#: Lines of a cell that is wrapped.
_LINES = 4


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    heading: str
    cells: Sequence[Text]
    #: Characters that a cell may have at most, and those to which it may be cut on a narrow terminal.
    most: int
    least: int
    #: Which is left out first where there is no room: the highest; 0 never is.
    spare: int = 0
    wrapped: bool = False
    right: bool = False

    @property
    def wanted(self) -> int:
        """Characters that it takes where there is room."""
        return min(self.most, max(len(self.heading), *(cell.cell_len for cell in self.cells)))


def fitted(columns: Sequence[Column], width: int) -> Table:
    """A table of the columns that fits a width, if that is possible at all."""
    shown = list(columns)
    while _all([min(one.wanted, one.least) for one in shown]) > width and any(one.spare for one in shown):
        shown.remove(max(shown, key=lambda one: one.spare))
    widths = [one.wanted for one in shown]
    while _all(widths) > width:
        # The widest gives first.
        room = [(wide, number) for number, wide in enumerate(widths) if wide > shown[number].least]
        if not room:
            break
        widths[max(room)[1]] -= 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for one, wide in zip(shown, widths, strict=True):
        table.add_column(one.heading, width=wide, no_wrap=not one.wrapped, justify="right" if one.right else "left")
    for cells in zip(*(one.cells for one in shown), strict=True):
        table.add_row(*(_cut(cell, one, wide) for cell, one, wide in zip(cells, shown, widths, strict=True)))
    return table


def make_console() -> Console:
    """Where tables are written. In a pipe nothing is cut: what reads it does not care how wide a terminal would be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000)


def plain(text: str | None, style: str = "") -> Text:
    """Foreign text as a cell."""
    return Text(harmless(text or ""), style=style)


def _all(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _cut(cell: Text, column: Column, width: int) -> Text:
    cut = cell.copy()
    cut.truncate(min(column.most, width * _LINES if column.wrapped else width), overflow="ellipsis")
    cut.overflow = "fold" if column.wrapped else "ellipsis"
    return cut
