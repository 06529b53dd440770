"""How raw events lie in runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapter.log.pieces import length_of, opened, piece_of, pieces_of
from adapter.log.protocol import Raw
from tests.log.entries import new_entry

_envelopes = st.binary(max_size=300).map(lambda one: one.replace(b"\n", b""))


@given(st.binary(max_size=300), st.sampled_from(["application/json", "text/plain", "text/x;a=b"]), _envelopes)
def test_a_raw_event_and_its_envelope_come_out_as_they_went_in(raw: bytes, media: str, envelope: bytes) -> None:
    piece, kind = piece_of(raw, media, envelope)
    assert opened(piece, kind) == Raw(raw, media, envelope)
    for size in (0, 1, len(raw), len(raw) + 1):
        assert opened(piece[: length_of(kind, size)], kind, size) == Raw(raw[:size], media, envelope)
    assert pieces_of([new_entry(raw=raw, media=media, envelope=envelope)]) == ([piece], [kind])


def test_what_came_in_nothing_lies_as_it_is() -> None:
    entries = [new_entry(raw=b"a"), new_entry(raw=b"b", envelope=b"[{}]"), new_entry(raw=b"c", media="text/plain")]
    pieces, media = pieces_of(entries)
    assert pieces == [b"a", b"[{}]\nb", b"c"]
    assert media == ["application/json", "application/json;enveloped", "text/plain"]


def test_the_forwarders_time_of_an_older_log_is_read_as_an_envelope() -> None:
    assert opened(b"line", "text/plain;time=1768381497000") == Raw(b"line", "text/plain", b'[{"time":1768381497000}]')
    assert opened(b"line", "text/plain;time=soon") == Raw(b"line", "text/plain;time=soon")
    assert opened(b"line", f"text/plain;time={'9' * 30}").envelope == b""
