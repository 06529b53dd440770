"""The report, as its text is read out of the file again."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest
from pypdf import PdfReader

from adapter.documents import pdf
from adapter.documents.process import Output
from tests.formats.conformance import HOSTILE

HEAD: dict[str, Any] = {
    "title": "Report of events",
    "foot": "IdP Event Adapter 1",
    "madeAt": 1_700_000_000_000,
    "facts": [["Events", "3"], ["Which", "outcome is failure"]],
    "counts": [{"by": "By outcome", "rows": [["failure", 2], ["success", 1]]}],
    "total": 3,
    "note": "Times are UTC. The latest 1 events; 2 are not listed here.",
    "sign": ["Prepared by", "Reviewed by"],
}


def row(text: str = "anna logged in") -> dict[str, str]:
    return {
        "time": "2023-11-14 22:13:20Z",
        "outcome": "success",
        "sentence": text,
        "type": text,
        "source": text,
        "uid": "0b5f3a52-2a0e-5c0a-9a57-0f0f6a1c9e11",
    }


def made(*rows: dict[str, str], **head: Any) -> bytes:
    file = io.BytesIO()
    pdf.write(Output(file), {**HEAD, **head}, iter([b"\n".join(map(orjson.dumps, rows))]))
    return file.getvalue()


def pages(data: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]


def test_it_says_what_was_asked_and_how_many_there_are() -> None:
    first, second = pages(made(row()))
    for told in ("Report of events", "outcome is failure", "By outcome", "66.7%", "Prepared by: name", "signature"):
        assert told in first
    for told in ("anna logged in", "2023-11-14 22:13:20Z", "2 are not listed here"):
        assert told in second
    assert ("page 1 of 2" in first, "page 2 of 2" in second) == (True, True)


def test_the_same_report_has_the_same_bytes() -> None:
    assert made(row(), row("zoe")) == made(row(), row("zoe"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ευγενία Жанна Żółć Đặng", "Ευγενία Жанна Żółć Đặng"),
        ("山田太郎 王小明 김 ह", "山田太郎 王小明 김 \\u0939"),
        ("\U00012000 \U000e0001", "\\u12000 \\ue0001"),
        ("\x02n\x02", "\\u0002n\\u0002"),
    ],
)
def test_names_of_any_script_are_shown_or_stand_as_their_code(name: str, shown: str) -> None:
    assert shown in pages(made(row(name)))[1]


@pytest.mark.parametrize("name", ["עברית", "شهرزاد", "हिन्दी", "ไทย", "{nb}", "**x**", "<b>"])
def test_no_name_breaks_it(name: str) -> None:
    assert len(pages(made(row(name)))) == 2


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_changes_nothing_beside_it(text: str) -> None:
    given = {**HEAD, "facts": [["Which", text or "-"]]}
    found = pages(made(row(text), row(), **given))
    assert "anna logged in" in found[-1]
    assert f"page 1 of {len(found)}" in found[0]
    assert not any(set(page) & set("\x00\x1b\x07\u202e\u2066") for page in found)


def test_hundreds_of_events_are_on_numbered_pages() -> None:
    found = pages(made(*(row(f"person {number} logged in to the application of the company") for number in range(300))))
    assert len(found) > 6
    assert f"page {len(found)} of {len(found)}" in found[-1]
    assert "person 299 logged in" in found[-1]
