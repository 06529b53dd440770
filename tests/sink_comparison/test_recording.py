"""A recording knows bodies again by what senders leave in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from adapter.sink_comparison.recording import Looked, Names, Rank, names_of, open_recording

BODY = {
    "id": "i-1",
    "uid": "u-1",
    "time": 1_700_000_000_000,
    "realmId": "acme",
    "type": "access.LOGIN",
    "authDetails": {"clientId": "web", "userId": "zoe", "ipAddress": "203.0.113.7", "sessionId": "s"},
}


def canonical(type: str) -> str:
    return type.replace("FEDERATED_IDENTITY_LINK", "SOCIAL_LINK")


def names(**changes: Any) -> Names:
    found = names_of(body(**changes), canonical)
    assert found is not None
    return found


def body(**changes: Any) -> bytes:
    return orjson.dumps({name: one for name, one in {**BODY, **changes}.items() if one is not None})


def entry(rank: int, position: int = 1, stage: str = "filtered", **changes: Any) -> Looked:
    return Looked(names(**changes), position, "uid", rank, stage, "why", None)


def test_forms_of_one_event_are_known_by_the_same() -> None:
    raw = {"time": BODY["time"], "type": "LOGIN", "realmId": "acme", "clientId": "web", "userId": "zoe",
           "ipAddress": "203.0.113.7", "id": "i-1"}  # fmt: skip
    of_raw = names_of(orjson.dumps(raw), canonical)
    assert of_raw is not None
    assert of_raw.weak == names().weak
    assert names(type="access.FEDERATED_IDENTITY_LINK").weak == names(type="access.SOCIAL_LINK").weak
    assert names(authDetails={**BODY["authDetails"], "userId": "max"}).weak != names().weak  # type: ignore[dict-item]
    admin = {"time": 1, "operationType": "CREATE", "resourceType": "USER", "resourcePath": "users/1"}
    assert names_of(orjson.dumps(admin), canonical).type == "admin.USER-CREATE"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"null",
        b"[1]",
        b"no",
        b'{"type":"access.LOGIN"}',
        b'{"time":"x","type":"a.b"}',
        b'{"time":1e30,"type":"a.b"}',
        b'{"time":9223372036854775808,"type":"a.b"}',
    ],
)
def test_what_is_no_event_is_counted(tmp_path: Path, line: bytes) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([line, b"", body()])
        assert (recording.told.bodies, recording.told.unreadable) == (1, 1)


def test_a_repeated_try_is_one_event(tmp_path: Path) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([body(), body(uid="u-2"), body(id=None), body(id=None), body(id=None, uid="u-9")])
        assert (recording.told.bodies, recording.told.repeated, recording.told.without_id) == (5, 3, 1)


def test_with_ids_on_both_sides_nothing_else_makes_two_events_one(tmp_path: Path) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([body()])
        assert recording.meet([entry(Rank.GOT, id="i-2", uid="other")]) == [False]
        assert recording.meet([entry(Rank.GOT, uid="other")]) == [True]


def test_without_ids_each_body_stands_for_one_entry(tmp_path: Path) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([body(id=None, uid="theirs-1"), body(id=None, uid="theirs-2")])
        found = [recording.meet([entry(Rank.GOT, uid=f"ours-{number}", id=f"i-{number}")]) for number in range(3)]
        assert found == [[True], [True], [False]]
        assert recording.count(Rank.GOT) == {"filtered": 2}


def test_the_entry_that_the_sink_has_counts_of_several(tmp_path: Path) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([body()])
        recording.meet([entry(Rank.NOT, 1), entry(Rank.GOT, 2, "delivered"), entry(Rank.NOT, 3)])
        assert recording.count(Rank.NOT) == {}
        assert [row["position"] for row in recording.first(Rank.GOT, 5)] == [2]


def test_what_happened_at_another_time_is_left_out(tmp_path: Path) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([body(id=str(time), uid=None, time=time) for time in (10, 20, 30)] + [body(time=None, id="x")])
        assert recording.span() == (10, 30)
        recording.keep(20, 30)
        assert recording.told.outside == 2
        assert recording.count(Rank.UNKNOWN) == {None: 2}


def test_nothing_is_left_in_the_folder_even_while_it_is_open(tmp_path: Path) -> None:
    with open_recording(tmp_path, canonical) as recording:
        recording.add([body(id=str(number), uid=str(number)) for number in range(5000)])
        assert [*tmp_path.iterdir()] == []
