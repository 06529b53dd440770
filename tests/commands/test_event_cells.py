"""What a list of events says of whom and what an event is about."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.formats.event_cells import is_marked, what_was_changed, which_client, who_acted

ZOE = "54d850b6-c44d-4a7c-b1d2-71bd7f5a3045"


def admin(type: str, path: str | None, **more: Any) -> dict[str, Any]:
    event = {"type": f"admin.{type}", "authDetails": {}, "details": {}, "resourcePath": path, **more}
    return {name: value for name, value in event.items() if value is not None}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            admin("USER-ACTION", f"users/{ZOE}/reset-password", details={"userId": ZOE, "action": "reset-password"}),
            f"{ZOE}: reset-password",
        ),
        (
            admin(
                "USER-ACTION", f"users/{ZOE}/logout", details={"userId": ZOE, "action": "logout"},
                lookedUp={"target": "zoe"},
            ),
            "zoe*: logout",
        ),
        (
            admin(
                "REALM_ROLE_MAPPING-CREATE", f"users/{ZOE}/role-mappings/realm",
                details={"userId": ZOE, "username": "zoe", "role": '["auditor","admin"]'},
            ),
            "zoe: auditor, admin",
        ),
        (
            admin(
                "GROUP_MEMBERSHIP-CREATE", f"users/{ZOE}/groups/{ZOE}",
                details={"userId": ZOE, "username": "zoe", "group": "staff"},
            ),
            "zoe: staff",
        ),
        (
            admin("USER-DELETE", f"users/{ZOE}/consents/{ZOE}", details={"userId": ZOE, "username": "zoe"}),
            "zoe: consents/…",
        ),
        (admin("USER-UPDATE", f"users/{ZOE}", details={"userId": ZOE, "username": "zoe"}), "zoe"),
        (admin("CLIENT-UPDATE", f"clients/{ZOE}", representation='{"clientId":"shop","name":"Shop"}'), "clients/shop"),
        (admin("CLIENT-UPDATE", f"clients/{ZOE}", representation="[" * 100_000), f"clients/{ZOE}"),
        (admin("CLIENT-ACTION", f"clients/{ZOE}/client-secret", lookedUp={"resource": "shop"}),
         "clients/shop*/client-secret"),
        (admin("REALM_ROLE-CREATE", "roles/auditor"), "roles/auditor"),
        (admin("REALM-UPDATE", None, representation='{"displayName":"Acme","realm":"acme"}'), "acme"),
        (admin("REALM-ACTION", "logout-all"), "logout-all"),
        ({"type": "access.LOGIN", "authDetails": {"userId": ZOE}, "details": {}}, ""),
    ],
)  # fmt: skip
def test_it_says_whom_and_what(event: dict[str, Any], said: str) -> None:
    assert what_was_changed(event) == said


def test_a_name_that_the_event_does_not_carry_is_marked() -> None:
    event = {
        "type": "access.LOGOUT",
        "authDetails": {"userId": ZOE, "clientId": "c-1"},
        "lookedUp": {"actor": "zoe", "client": "shop"},
    }
    assert (who_acted(event), which_client(event)) == ("zoe*", "shop*")
    event["authDetails"] = {"userId": ZOE, "username": "Zoe"}
    assert who_acted(event) == "Zoe"
    assert is_marked(event)
    assert not is_marked({**event, "lookedUp": {"realm": "acme"}})
