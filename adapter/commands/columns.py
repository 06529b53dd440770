"""Tables that fit a terminal: wide cells are cut, and what matters less is left out, so that what matters stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Layout:
    """Which columns there is room for, and how wide each is; tables of one layout stand in line."""

    widths: Mapping[str, int]

    def table(self, columns: Sequence[Column], *, headed: bool = True) -> Table:
        """A table of those of the columns that have their place."""
        shown = [one for one in columns if one.heading in self.widths]
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=headed)
        for one in shown:
            wide = self.widths[one.heading]
            table.add_column(one.heading, width=wide, no_wrap=not one.wrapped, justify="right" if one.right else "left")
        for cells in zip(*(one.cells for one in shown), strict=True):
            table.add_row(*(_cut(cell, one, self.widths[one.heading]) for cell, one in zip(cells, shown, strict=True)))
        return table


def fitted(columns: Sequence[Column], width: int) -> Table:
    """A table of the columns that fits a width, if that is possible at all."""
    return layout(columns, width).table(columns)


def layout(columns: Sequence[Column], width: int) -> Layout:
    """How the columns fit a width, if that is possible at all."""
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
    return Layout({one.heading: wide for one, wide in zip(shown, widths, strict=True)})


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
