"""What an event's page has from other parts of the service: what an admin event changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.console.conftest import visiting
from tests.console.test_events import HOSTILE, Page
from tests.opened import login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")


def update(number: int, operation: str, representation: Any) -> dict[str, Any]:
    """What an administrator did to a user, as Keycloak's HTTP sender posts it."""
    return {
        "id": f"0f7b1a52-0002-4e0a-9a57-{number:012x}",
        "time": 1_700_000_000_000 + number * 1000,
        "realmId": "acme",
        "authDetails": {"realmId": "acme", "clientId": "admin-cli", "userId": "boss", "ipAddress": "203.0.113.9"},
        "operationType": operation,
        "resourceType": "USER",
        "resourcePath": "users/zoe",
        "representation": json.dumps(representation),
    }


async def test_what_an_admin_event_changed_is_told_field_by_field(tmp_path_factory: Any) -> None:
    before = {"username": "zoe", "email": "a@x", "enabled": True, **{text: text for text in HOSTILE}}
    after = {"username": "zoe", "email": "b@x", "firstName": "Zoe", **{text: text * 2 for text in HOSTILE}}
    async with opened(tmp_path_factory.mktemp("parts") / "data") as service, visiting(service) as visitor:
        await visitor.sign_in()
        events = [update(1, "CREATE", before), update(2, "UPDATE", after), update(3, "UPDATE", after), login(9)]
        created, updated, again, other = (await service.post(events))["uids"]
        _, text = await visitor.page(f"/ui/events/{updated}")
        assert f"/ui/events/{updated}/changes" in Page(text).links
        _, text = await visitor.page(f"/ui/events/{other}")
        assert f"/ui/events/{other}/changes" not in Page(text).links
        status, text = await visitor.page(f"/ui/events/{updated}/changes", **{"HX-Request": "true"})
        page = Page(text)
        assert status == 200
        assert 'email changed "a@x" "b@x"' in page.text
        assert "firstName added" in page.text or "firstName stated" in page.text
        assert "enabled not stated" in page.text
        assert f"/ui/events/{created}" in page.links
        assert not page.elements & {"img", "script", "title"} and "\u202e" not in page.text
        assert "1 field is as before" in page.text
        _, text = await visitor.page(f"/ui/events/{again}/changes")
        assert "No field changed." in Page(text).text or "not stated" in Page(text).text
        _, text = await visitor.page(f"/ui/events/{created}/changes")
        assert "No earlier event" in Page(text).text or "added" in Page(text).text
