from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.logfmt import parse_logfmt, write_logfmt


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        (
            'logger=authn.service t=2026-05-04T08:00:12.5Z level=info msg="Failed to authenticate request" status=401',
            {
                "logger": "authn.service",
                "t": "2026-05-04T08:00:12.5Z",
                "level": "info",
                "msg": "Failed to authenticate request",
                "status": "401",
            },
        ),
        (
            r'level=info msg="login successful: connector \"ldap\", username=\"anna\""',
            {"level": "info", "msg": 'login successful: connector "ldap", username="anna"'},
        ),
        ("url=https://id.example/cb?a=b&c=d x=", {"url": "https://id.example/cb?a=b&c=d", "x": ""}),
        ('a="" b=""', {"a": "", "b": ""}),
        ("login failed user=anna ok", {"user": "anna"}),
        ("a=1 a=2", {"a": "1"}),
        ('msg="cut off in the mid', {"msg": "cut off in the mid"}),
        ('msg="cut off \\', {"msg": "cut off "}),
        (r'a="\u00e9\n\x1b\ud83d\ude00\d"', {"a": "\u00e9\n\x1b\U0001f600d"}),
        (r'a="\ud83d" b="\U0010ffff\U00110000"', {"a": "\ufffd", "b": "\U0010ffff\\U00110000"}),
        ('a="x"y b=1', {"a": "x", "b": "1"}),
        ("user=Jos\u00e9\u00a0B b=1", {"user": "Jos\u00e9\u00a0B", "b": "1"}),
        ("no pairs here", {}),
        ("=x ==y", {}),
    ],
)  # fmt: skip
def test_pairs_are_read_as_loggers_write_them(line: str, pairs: dict[str, str]) -> None:
    assert parse_logfmt(line) == pairs


KEYS = st.text(st.characters(min_codepoint=0x21, exclude_characters='="', exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(KEYS, st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_was_written_is_read_back(pairs: dict[str, str]) -> None:
    line = write_logfmt(pairs)
    assert "\n" not in line
    assert parse_logfmt(line) == pairs


@given(st.text('ab="\\ u0'))
def test_any_line_is_read_without_an_error(line: str) -> None:
    parse_logfmt(line).values()


@pytest.mark.parametrize("part", ['a="', 'a="\\', "a=", 'a="x" ', "a", '"', "\\", 'a="\\"x ', " ="])
def test_a_line_of_half_a_megabyte_takes_no_longer_than_its_length(part: str) -> None:
    # Quadratic time would take minutes.
    parse_logfmt(part * (512 * 1024 // len(part)))
