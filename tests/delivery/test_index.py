"""An index of sinks finds for each entry those, and only those, whose selection takes it."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.delivery.index import Index
from adapter.delivery.select import Selection
from adapter.filter import KEYS_OF, Filter
from adapter.model import Entry
from tests.search.events import CATALOGUE

FEW = st.sampled_from(["acme", "Acme", "globex", "zoe", "Zoë", "u-1", "u-2"])
TYPES = st.sampled_from(
    ["access.LOGIN", "access.LOGIN_ERROR", "access.SOCIAL_LINK", "access.FEDERATED_IDENTITY_LINK",
     "access.IMPERSONATE", "admin.USER-CREATE", "admin.REALM-UPDATE", "custom.x", "system.SINK-DOWN"]
)  # fmt: skip
GLOBS = st.sampled_from(["*", "access.*", "admin.USER-*", "*_ERROR", "system.*"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "type": TYPES | GLOBS,
    "outcome": st.sampled_from(["success", "failure"]),
    "reason": st.sampled_from(sorted(CATALOGUE.reasons)[:3]),
    "reason_class": st.sampled_from(sorted(CATALOGUE.reason_classes)),
    "ip": st.sampled_from(["203.0.113.7", "203.0.113.0/24", "2001:db8::/32"]),
    "provider": st.sampled_from(["keycloak", "auth0"]),
    "source": st.sampled_from(["kc", "other"]),
    "country": st.sampled_from(["DE", "FR"]),
}
NAMES = (
    "realm",
    "user",
    "actor",
    "target",
    "client",
    "session",
    "id",
    "q",
    "method",
    "idp",
    "risk",
    "device",
    "factor",
)
VALUES |= dict.fromkeys(NAMES, FEW)
VALUES["resource"] = st.sampled_from(["users/u-1", "clients/x", "users/*", "*/x", "nothing"])

DETAILS = ("username", "userId", "impersonator", "login_method", "identity_provider", "identity_provider_name",
           "device_id", "country", "risk_level", "factor", "sink")  # fmt: skip


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=3, unique=True))
    given: dict[str, Any] = {}
    for name in names:
        said = f"not_{name}" if draw(st.integers(0, 3)) == 0 else name
        given[said] = draw(st.lists(VALUES[name], min_size=1, max_size=3))
    if draw(st.integers(0, 5)) == 0:
        given["from"] = "2023-11-14T22:13:20Z"
    return given


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    some = FEW | st.none()
    type = draw(TYPES | st.none())
    details = {name: value for name in DETAILS if (value := draw(some)) is not None}
    event = {
        "time": 1_700_000_000_000 + draw(st.integers(-1, 1)),
        "type": type,
        "outcome": draw(VALUES["outcome"]),
        "reason": draw(VALUES["reason"] | st.none()),
        "id": draw(some),
        "realmId": draw(some),
        "realmName": draw(some),
        "source": {"name": draw(VALUES["source"]), "provider": draw(VALUES["provider"]), "nativeType": "X",
                   "receivedAt": 0},
        "authDetails": {"userId": draw(some), "username": draw(some), "clientId": draw(some), "sessionId": draw(some),
                        "ipAddress": draw(st.sampled_from(["203.0.113.7", "2001:db8::1"]) | st.none())},
        "details": details,
        "resourcePath": draw(st.sampled_from(["users/u-1", "clients/x"]) | st.none()),
    }  # fmt: skip
    body = None if type is None else orjson.dumps(event)
    return Entry(1, bytes(16), draw(st.integers(0, 1)), 0, "kc", type, body, None, "X")


@settings(deadline=None)
@given(st.lists(st.tuples(filters(), st.booleans()), max_size=12), st.lists(entries(), max_size=8), st.data())
def test_it_finds_those_whose_selection_takes_an_entry(
    given: list[tuple[dict[str, Any], bool]], stretch: list[Entry], data: st.DataObject
) -> None:
    selections = {
        number: Selection(
            Filter.from_settings(filter, CATALOGUE), revisions=revisions, sink=["acme", "zoe"][number % 2]
        )
        for number, (filter, revisions) in enumerate(given)
    }
    index: Index[int] = Index()
    present: set[int] = set()
    for entry in stretch:
        # They come and go while entries are looked for.
        for number in data.draw(
            st.lists(st.sampled_from(sorted(selections)), unique=True) if selections else st.just([])
        ):
            if number in present:
                index.remove(number)
            else:
                index.add(number, selections[number])
            present ^= {number}
        takers = index.takers(entry)
        assert sorted(takers) == [number for number in sorted(present) if selections[number].select([entry])]
    assert set(index) == present


def test_every_condition_that_can_be_looked_up_is_tried_above() -> None:
    assert KEYS_OF.keys() - {"origin"} <= VALUES.keys()


class Counting(Selection):
    """Counts how often it is asked."""

    def __init__(self, **filter: Any) -> None:
        super().__init__(Filter.from_settings(filter, CATALOGUE))
        self.asked = 0

    def takes(self, *args: Any) -> bool:
        self.asked += 1
        return super().takes(*args)


def login(type: str = "access.LOGIN", **event: Any) -> Entry:
    body = {"time": 0, "type": type, "outcome": "success",
            "source": {"name": "kc", "provider": "keycloak", "nativeType": "X", "receivedAt": 0}, **event}  # fmt: skip
    return Entry(1, bytes(16), 0, 0, "kc", type, orjson.dumps(body), None, "X")


def asked(selections: list[Counting], entry: Entry) -> int:
    index: Index[int] = Index()
    for number, one in enumerate(selections):
        index.add(number, one)
    index.takers(entry)
    return sum(one.asked for one in selections)


def test_of_tenants_with_a_realm_each_one_is_asked() -> None:
    tenants = [
        Counting(realm=[f"r-{number}"], type=["access.*"], client=["console"], provider=["keycloak"])
        for number in range(1000)
    ]
    event = login(realmName="r-7", authDetails={"clientId": "console"})
    assert asked(tenants, event) <= 2  # the first one was told apart by something else
    assert asked(tenants, login(realmName="nobody's")) <= 3


def test_of_sinks_with_a_type_each_one_is_asked_even_if_they_share_a_realm() -> None:
    sinks = [Counting(realm=["acme"], type=[f"custom.t-{number}"]) for number in range(1000)]
    assert asked(sinks, login("custom.t-7", realmName="acme")) <= 2
    assert asked(sinks, login("custom.none", realmName="acme")) <= 2


def test_of_sinks_that_want_other_types_none_is_asked() -> None:
    assert asked([Counting(type=["admin.*"], not_user=[f"u-{number}"]) for number in range(100)], login()) == 0
