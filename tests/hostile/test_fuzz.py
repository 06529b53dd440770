"""Fuzzing in short: the seeds, what was found before, and inputs that hypothesis makes, the same ones each time.
``make fuzz`` does it for an hour, guided by what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.seeds import seeds
from tests.hostile.targets import TARGETS, run

pytestmark = pytest.mark.hostile

#: What fuzzing found, a file each: the target's name, a dash, and any name.
FOUND = sorted(file for file in (Path(__file__).parent / "found").iterdir() if file.suffix == ".bin")

SHORT = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

#: Pieces that mean something to somebody; what is joined of them gets further than noise.
PIECES = [
    *"{}[]:,\"\\'=&%+*\n -",
    "\\u0041", "\\ud800", "\\\"", "\ufeff", "\0", "\U0001f600", "null", "true", "1", "-1", "1e999", "9" * 400,
    '"id":"a"', '"type":"LOGIN"', '"type":', '"events":[', '"results":[', '"data":', '"records":', '"Message":',
    '"representation":"', '"password":"x"', '"time":1', '"event_type_id":101', '"eventType":"a"', '"specversion":"1"',
    '"Type":"Notification"', '"event_payload":"e30="', 'type="LOGIN", realmId=', "json=", "a=", "[" * 70,
    '{"a":' * 70,
    "}" * 70, "provider: acme\n", "types:\n", "  a: {type: LOGIN}\n", "&a ", "*a", "<<: ", "[server]\n", "port = ",
    "ip=10.0.0.0/8", "q=a*", "from=2026-05-01T08:30:00Z",
]  # fmt: skip


def joined(pieces: list[str | bytes]) -> bytes:
    return b"".join(one if isinstance(one, bytes) else one.encode() for one in pieces)


INPUTS = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda choice, rest: choice + rest,
        st.binary(max_size=2),
        st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=3)), max_size=40).map(joined),
    ),
)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    for seed in seeds(target):
        run(target, seed)


@pytest.mark.parametrize("target", TARGETS)
def test_inputs(target: str) -> None:
    @SHORT
    @given(INPUTS)
    def check(data: bytes) -> None:
        run(target, data)

    check()


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_what_was_found(file: Path) -> None:
    run(file.name.partition("-")[0], file.read_bytes())
