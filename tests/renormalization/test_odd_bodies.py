"""Whatever bytes were stored, every table can be asked what it makes of them now."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.log.protocol import Stored
from adapter.mapping.body import JSON, NDJSON, NotReadable, UnknownMedia
from adapter.model import Entry
from adapter.renormalization.comparing import look_at
from adapter.renormalization.rereading import Rereader
from adapter.sources.intake import Source
from adapter.workbench.apply import apply
from adapter.workbench.compare import Verdict
from adapter.workbench.examples import RECEIVED_AT
from tests.mapping.built_in import PROVIDERS, cases, table

TABLES = {provider: table(provider) for provider in PROVIDERS}
SOURCES = {provider: Source(provider, provider, provider, TABLES) for provider in PROVIDERS}
FORM = "application/x-www-form-urlencoded"
RAWS = [(case.placed.example.body, case.placed.example.media) for case in cases()]


def pieces(raw: bytes) -> list[str]:
    """The names and texts of a body."""
    try:
        found = [orjson.loads(raw)]
    except orjson.JSONDecodeError:
        return []
    texts: list[str] = []
    while found:
        one = found.pop()
        if isinstance(one, dict):
            texts += one
            found += one.values()
        elif isinstance(one, list):
            found += one
        elif isinstance(one, str):
            texts.append(one)
    return texts


WORDS = st.sampled_from(sorted({piece for raw, _ in RAWS for piece in pieces(raw)})) | st.text(max_size=3)
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=8
)
KNOWN = st.sampled_from(RAWS)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body that a provider may have sent, or something that comes near, or nothing of the kind."""
    match draw(st.integers(0, 4)):
        case 0:
            return draw(st.binary(max_size=20))
        case 1:
            return as_json(draw(VALUES))
        case 2:
            raw, _ = draw(KNOWN)
            begin = draw(st.integers(0, len(raw)))
            return raw[:begin] + draw(st.binary(max_size=3)) + raw[begin + draw(st.integers(0, 20)) :]
        case 3:
            return b"[" * (depth := draw(st.integers(1, 3))) + draw(KNOWN)[0] + b"]" * depth
        case _:
            value = draw(VALUES)
            for key in draw(st.lists(WORDS, max_size=3)):
                value = {key: value, **draw(st.dictionaries(WORDS, LEAVES, max_size=3))}
            return as_json(value)


def as_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a number of more than 64 bits, a lone surrogate
        return repr(value).encode("utf-8", "replace")


MEDIA = st.sampled_from([JSON, *NDJSON, "text/plain", FORM, "application/cloudevents+json", "image/png"])


def stored(provider: str, raw: bytes, media: str, event: bytes | None) -> Stored:
    kind = None if event is None else str(orjson.loads(event)["type"])
    problem = "it was not readable" if event is None else None
    return Stored(Entry(1, bytes(16), 0, RECEIVED_AT, provider, kind, event, problem, None), raw, media, 1)


def some_event(provider: str, raw: bytes, media: str) -> bytes | None:
    """An event as the table once may have made it of this."""
    try:
        made = [one for one in apply(TABLES[provider], raw, RECEIVED_AT, media) if "type" in one]
    except (NotReadable, UnknownMedia):
        return None
    return orjson.dumps(made[0]) if made else None


@settings(deadline=None)
@given(raw=bodies(), media=MEDIA, provider=st.sampled_from(PROVIDERS))
@example(raw=b"[]", media=JSON, provider="keycloak")
@example(raw=b"", media=NDJSON[0], provider="keycloak")
def test_reading_again_never_fails(raw: bytes, media: str, provider: str) -> None:
    rereader = Rereader(SOURCES, TABLES)
    for event in {None, some_event(provider, raw, media)}:
        one = stored(provider, raw, media, event)
        again = rereader.read_one(one, one.entry, RECEIVED_AT)
        assert "fault of the adapter" not in (again.problem or "")
        assert (again.revision is None) is (again.verdict not in (Verdict.RECOVERED, Verdict.CORRECTED))


@settings(deadline=None)
@given(raw=bodies(), media=MEDIA, old=st.sampled_from(PROVIDERS), new=st.sampled_from(PROVIDERS))
@example(raw=b"[]", media=JSON, old="keycloak", new="keycloak")
@example(raw=b"\n", media=NDJSON[0], old="keycloak", new="onewelcome")
def test_comparing_two_tables_never_fails(raw: bytes, media: str, old: str, new: str) -> None:
    keys = {old: SOURCES[old].key}
    step = look_at(TABLES[old], TABLES[new], keys, [stored(old, raw, media, None)])
    assert step.counts.total() == 1
    assert not any("fault of the adapter" in line for one in step.samples for line in one.lines)
    if old == new:
        assert step.counts[Verdict.UNCHANGED] + step.counts[Verdict.QUARANTINED] == 1
        assert step.other_keys == 0
