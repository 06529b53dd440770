"""Timestamps as people write them: the same forms on the command line and over HTTP."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.timestamps import read_timestamp

#: 2026-05-02T10:30:00.250Z
NOW = 1_777_717_800_250
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("30m", NOW - HOUR // 2),
        ("-1h", NOW - HOUR),
        ("90s", NOW - 90_000),
        ("2w", NOW - 14 * 24 * HOUR),
        ("today", 1_777_680_000_000),
        ("yesterday", 1_777_680_000_000 - 24 * HOUR),
        ("99999w", 0),
        ("1767225600123", 1_767_225_600_123),
        ("2026-01-01T00:00Z", 1_767_225_600_000),
        ("2026-01-01 02:00:00,5+0200", 1_767_225_600_500),
    ],
)
def test_a_timestamp_is_fixed_or_counted_from_now(text: str, moment: int) -> None:
    assert read_timestamp(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5h", "1h30m", "+1h", "2026-05-01", "2026-05-01T08:30:00"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_timestamp(text, NOW)


@pytest.mark.parametrize("text", ["now", "1h", "today"])
def test_what_is_to_stay_the_same_is_not_counted_from_now(text: str) -> None:
    with pytest.raises(ValueError, match="no timestamp"):
        read_timestamp(text, None)


@given(st.text(max_size=40) | st.from_regex(r"-?[0-9]{1,20}[smhdwT:+.Z-]?[0-9]{0,6}"), st.integers(0, 1 << 50))
def test_any_text_is_a_moment_or_refused(text: str, now: int) -> None:
    with suppress(ValueError):
        assert read_timestamp(text, now) >= 0
