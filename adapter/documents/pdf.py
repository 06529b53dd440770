"""A report of a filter as PDF, for people who sign it: what was asked, by whom and when, how many events there are of
what, the first of them in words, and room for signatures.

Every text of an event is foreign: control characters and turned writing are written out, what no font has is shown as
its code, and long texts are cut, so nothing in an event changes what the page says beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import TTFFont

from adapter.documents.process import Output
from adapter.formats.text import harmless, shortened

#: What each text is cut to, characters.
LONGEST = 300
#: The same of what the report says of itself: filter and limits.
FACT = 10_000
_FONTS = Path(__file__).parent / "fonts"
#: Those with letters of every kind but the last one's, and that one for Chinese and Japanese.
_SANS, _CJK = "sans", "cjk"
#: Stands for the number of pages until it is known; no foreign text has it, since control characters are written out.
_PAGES = "\x02n\x02"
#: Letters that join, turn round or carry marks. Latin, Greek and Cyrillic ones stand side by side as they are, and a
#: text of these alone is printed several times faster without being shaped.
_JOINED = re.compile(r"[\u0300-\u036f\u0483-\u0489\u0590-\u1fff\u20d0-\u20ff\u2c00-\U0010ffff]")
_GREY, _BLACK, _LINE = (95, 95, 95), (0, 0, 0), (200, 200, 200)


class Report(FPDF):
    """Pages with what the report is at their foot."""

    def __init__(self, foot: str, made_at: datetime) -> None:
        super().__init__(format="A4")
        self._foot = foot
        self.set_creation_date(made_at)
        self.set_margins(15, 15)
        self.set_auto_page_break(True, 20)
        self.alias_nb_pages(_PAGES)
        self.add_font(_SANS, "", _FONTS / "DejaVuSans.ttf")
        self.add_font(_SANS, "B", _FONTS / "DejaVuSans-Bold.ttf")
        self._glyphs = self._letters(_SANS)

    def prepare(self, texts: Iterable[str]) -> None:
        """Load the second font if these texts have letters that the first lacks: it takes a second."""
        if any(ord(one) not in self._glyphs for text in texts for one in harmless(text[:FACT])):
            self.add_font(_CJK, "", _FONTS / "DroidSansFallback.ttf")
            self.set_fallback_fonts([_CJK], exact_match=False)
            self._glyphs |= self._letters(_CJK)

    def _letters(self, font: str) -> set[int]:
        found = self.fonts[font]
        assert isinstance(found, TTFFont)
        return set(found.cmap)

    def footer(self) -> None:
        self.set_y(-14)
        self.set_font(_SANS, size=7)
        self.set_text_color(*_GREY)
        self.cell(0, 5, self._foot)
        self.set_x(-45)
        self.cell(30, 5, f"page {self.page_no()} of {_PAGES}", align="R")
        self.set_text_color(*_BLACK)

    def shown(self, text: str, longest: int = LONGEST) -> str:
        """A foreign text as it can be printed."""
        text = harmless(shortened(text, longest))
        return "".join(one if ord(one) in self._glyphs else f"\\u{ord(one):04x}" for one in text)

    def shape(self, text: str) -> None:
        """Have what is printed next shaped if this text needs that."""
        self.set_text_shaping(_JOINED.search(text) is not None)

    def lines(self, height: float, text: str) -> None:
        """A text in as many lines as it takes."""
        self.shape(text)
        self.multi_cell(0, height, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_text_shaping(False)

    def heading(self, text: str) -> None:
        self.ln(4)
        self.set_font(_SANS, "B", 11)
        self.cell(0, 7, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_SANS, size=9)

    def facts(self, rows: list[list[str]]) -> None:
        """Names, and what they are."""
        for name, value in rows:
            top = self.get_y()
            if top > self.h - 30:
                self.add_page()
                top = self.get_y()
            self.set_text_color(*_GREY)
            self.cell(42, 5.5, name)
            self.set_text_color(*_BLACK)
            self.lines(5.5, self.shown(value, FACT))

    def counts(self, by: str, rows: list[tuple[str, int]], total: int) -> None:
        """How many events there are of each value."""
        self.set_font(_SANS, "B", 9)
        self.cell(0, 6, by, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_font(_SANS, size=9)
        for value, count in rows:
            shown = self.shown(value)
            self.shape(shown)
            self.cell(95, 5, shown)
            self.set_text_shaping(False)
            self.cell(28, 5, f"{count:,}", align="R")
            self.cell(24, 5, f"{count / total:.1%}", align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(2)

    def signatures(self, names: list[str]) -> None:
        """A line for each of those who sign, on one page."""
        if self.get_y() + 20 + 22 * len(names) > self.h - 20:
            self.add_page()
        self.heading("Signatures")
        for name in names:
            self.ln(14)
            y = self.get_y()
            for left, width, what in ((15, 75, f"{name}: name"), (95, 60, "signature"), (160, 35, "date")):
                self.line(left, y, left + width, y)
                self.set_xy(left, y + 1)
                self.set_font(_SANS, size=7)
                self.cell(width, 4, what)
            self.set_y(y + 5)


def write(output: Output, head: dict[str, Any], stretches: Iterator[bytes]) -> None:
    """Write the report. ``head``: ``title``, ``madeAt`` (epoch milliseconds), ``foot``, ``facts`` (pairs of texts),
    ``counts`` (``by``, and ``rows`` of value and count), ``total``, ``note`` (what is left out, if anything is), and
    ``sign`` (who). Stretches: JSON lines with ``time``, ``sentence``, ``type``, ``outcome``, ``source``, ``uid``."""
    events = [orjson.loads(line) for stretch in stretches for line in stretch.splitlines()]
    report = Report(head["foot"], datetime.fromtimestamp(head["madeAt"] / 1000, UTC))
    shown = [*head["facts"], *(event.values() for event in events)]
    shown += [[value for value, _ in one["rows"]] for one in head["counts"]]
    report.prepare(text for texts in shown for text in texts)
    report.set_title(head["title"])
    report.set_creator(head["foot"])
    report.set_lang("en")
    report.add_page()
    report.set_font(_SANS, "B", 16)
    report.cell(0, 10, head["title"], new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    report.set_font(_SANS, size=9)
    report.facts(head["facts"])
    report.heading("How many")
    for one in head["counts"]:
        report.counts(one["by"], one["rows"], head["total"])
    report.signatures(head["sign"])
    report.add_page()
    report.heading("Events")
    if head["note"]:
        report.lines(5.5, head["note"])
        report.ln(2)
    _events(report, events)
    output.write(report.output())


def _events(report: Report, events: list[dict[str, str]]) -> None:
    report.set_draw_color(*_LINE)
    for event in events:
        if report.get_y() > report.h - 36:
            report.add_page()
        report.set_font(_SANS, size=8)
        report.cell(41, 4.6, event["time"])
        report.cell(17, 4.6, event["outcome"])
        report.lines(4.6, report.shown(event["sentence"]))
        report.set_font(_SANS, size=6.5)
        report.set_text_color(*_GREY)
        report.set_x(73)
        told = f"{event['type']} · {event['source']} · {event['uid']}"
        report.lines(3.8, report.shown(told))
        report.set_text_color(*_BLACK)
        report.line(15, report.get_y() + 0.6, 195, report.get_y() + 0.6)
        report.ln(1.4)
