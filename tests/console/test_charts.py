"""Pictures that the service draws: what they show, where they lead, and that no text breaks out of them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from adapter.console.charts import Bar, Part, bars, line, portion, round_up

HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J\"'&"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(markup).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def drawn(*columns: Bar) -> ElementTree.Element:
    return parsed(bars(columns, id="c", title="Events", description="All of them"))


def test_each_part_of_a_bar_is_as_high_as_its_number_and_leads_to_its_events() -> None:
    picture = drawn(
        Bar("Monday", [Part("failure", 20, "/f"), Part("success", 80, "/s")]),
        Bar("Tuesday", [Part("success", 10, "/t")]),
    )
    links = {one.get("href"): one for one in picture.iter(f"{SVG}a")}
    heights = {href: float(one[0].get("height", "")) for href, one in links.items()}
    assert heights == {"/f": 20, "/s": 80, "/t": 10}
    # They stand on each other.
    tops = {href: float(one[0].get("y", "")) for href, one in links.items()}
    assert tops == {"/f": 80, "/s": 0, "/t": 90}
    assert links["/f"].get("aria-label") == "Monday: 20 failure"
    assert links["/f"].findtext(f"{SVG}rect/{SVG}title") == "Monday: 20 failure"


def test_what_is_there_can_be_seen_and_what_is_not_is_not_drawn() -> None:
    picture = drawn(
        Bar("a", [Part("failure", 1, "/one"), Part("success", 0, "/none")]), Bar("b", [Part("success", 10**6, "/")])
    )
    [one] = [link for link in picture.iter(f"{SVG}a") if link.get("href") == "/one"]
    assert float(one[0].get("height", "")) >= 1
    assert "/none" not in [link.get("href") for link in picture.iter(f"{SVG}a")]


def test_what_was_not_counted_is_not_shown_as_nothing() -> None:
    picture = drawn(Bar("a", None), Bar("b", []))
    [uncounted] = list(picture.iter(f"{SVG}rect"))
    assert uncounted.get("class") == "chart-uncounted"
    assert uncounted.findtext(f"{SVG}title") == "a: not counted"


def test_a_picture_says_what_it_is() -> None:
    picture = drawn()
    assert picture.get("aria-labelledby") == "c-title c-desc"
    assert [picture.findtext(f"{SVG}title"), picture.findtext(f"{SVG}desc")] == ["Events", "All of them"]


def test_foreign_text_stays_text() -> None:
    part = Part("failure", 1, f"/ui/events?user={HOSTILE}")
    markup = bars([Bar(HOSTILE, [part])], id="c", title=HOSTILE, description=HOSTILE)
    assert "<script>" not in markup
    assert not {"\u202e", "\x1b"} & set(re.sub(r'href="[^"]*"', "", markup))
    assert '"alert' not in markup
    parsed(re.sub("[\x1b\u202e\r\n]", "", str(markup)))


def test_a_line_has_gaps_where_there_is_no_share_and_shows_a_single_one() -> None:
    picture = parsed(line([0.0, 0.5, None, 1.0], id="r", title="Rate", description="…"))
    assert [one.get("points") for one in picture.iter(f"{SVG}polyline")] == [
        "5.00,100.00 15.00,50.00",
        "33.50,0.00 36.50,0.00",
    ]


@pytest.mark.parametrize(
    ("number", "top"), [(0, 1), (1, 1), (3, 5), (11, 20), (50, 50), (51, 100), (4_321_000, 5_000_000)]
)
def test_an_axis_ends_at_a_number_that_reads_well(number: int, top: int) -> None:
    assert round_up(number) == top


def test_a_portion_never_leaves_its_place() -> None:
    for part, whole, width in ((1, 2, "50.00"), (3, 2, "100.00"), (-1, 2, "0.00"), (1, 0, "0.00")):
        assert f'width="{width}"' in portion(part, whole)
