"""Every route of every section: who is not signed in, who may not, and forms that are not ours, get nowhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from adapter.console.frame import Route, Section
from adapter.console.preferences import ROUTES as PREFERENCES
from adapter.console.sections import SECTIONS
from adapter.settings import Permission
from tests.console.conftest import Visitor, visiting
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: A section is missing where none stands above its pages.
ROUTES: list[tuple[Section | None, Route]] = [
    *((section, route) for section in SECTIONS for route in section.routes),
    *((None, route) for route in PREFERENCES),
    (None, Route("POST", "/ui/sign-out", PREFERENCES[0].handler)),
]
READING = [(section, route) for section, route in ROUTES if route.method == "GET"]
CHANGING = [(section, route) for section, route in ROUTES if route.method != "GET"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    # What no page needs.
    keys = [{"name": "app", "token": "app-token", "permissions": ["publish"]}]
    async with opened(tmp_path_factory.mktemp("routes"), keys=keys) as service:
        yield service


def name_of(given: Any) -> str:
    return f"{given.method} {given.path}" if isinstance(given, Route) else "-"


def address(route: Route) -> str:
    """Its path, with something for each part that varies."""
    return re.sub(r"\{(\w+)(?::([\w]+))?\}", lambda found: found[2] or "keycloak", route.path)


async def asked(visitor: Visitor, route: Route, data: Any = None, **headers: str) -> tuple[int, str, str]:
    """Status, where it leads to, and text of an answer."""
    async with visitor.session.request(
        route.method, address(route), data=data, headers=headers, allow_redirects=False
    ) as response:
        leads_to = response.headers.get("HX-Redirect") or response.headers.get("Location") or ""
        return response.status, leads_to, await response.text()


async def test_there_are_pages_and_forms() -> None:
    assert len(READING) > 30 and len(CHANGING) > 20
    assert {route.method for _, route in CHANGING} == {"POST"}


async def test_who_is_not_signed_in_is_led_to_it_and_back(console_service: Opened) -> None:
    async with visiting(console_service) as nobody:
        for _, route in ROUTES:
            page = "/ui/events?user=anna"
            wanted = address(route) if route.method == "GET" else page
            to = f"/ui/sign-in?next={re.sub('/', '%2F', wanted).replace('?', '%3F').replace('=', '%3D')}"
            if wanted == "/ui/":
                to = "/ui/sign-in"
            headers = {"Referer": f"{console_service.service.url}{page}"}
            assert await asked(nobody, route, **headers) == (303, to, ""), name_of(route)
            # The scripts of a page are led there, too.
            headers = {"HX-Request": "true", "HX-Current-URL": f"{console_service.service.url}{page}"}
            to = "/ui/sign-in?next=%2Fui%2Fevents%3Fuser%3Danna"
            assert await asked(nobody, route, **headers) == (204, to, ""), name_of(route)


async def test_who_lacks_the_permission_is_told_which(console_service: Opened) -> None:
    async with visiting(console_service) as visitor:
        await visitor.sign_in("app-token")
        csrf = await visitor.csrf()
        for section, route in ROUTES:
            if section is None or section.permission is None or route.path == "/ui/":
                continue
            status, _, text = await asked(visitor, route, {"csrf": csrf} if route.method == "POST" else None)
            assert status == 403, name_of(route)
            assert f"lacks the permission &#39;{section.permission.value}&#39;" in text, name_of(route)


@pytest.mark.parametrize("csrf", [None, "", "wrong", "\u202e"])
async def test_a_form_without_the_token_of_the_session_does_nothing(visitor: Visitor, csrf: str | None) -> None:
    for _, route in CHANGING:
        status, _, text = await asked(visitor, route, {} if csrf is None else {"csrf": csrf})
        assert (status, "not of this session" in text) == (403, True), name_of(route)
    assert (await visitor.page("/ui/about"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_a_form_of_another_site_does_nothing_whatever_it_knows(visitor: Visitor, headers: dict[str, str]) -> None:
    csrf = await visitor.csrf()
    for _, route in CHANGING:
        status, _, text = await asked(visitor, route, {"csrf": csrf}, **headers)
        assert (status, "not come from a page of ours" in text) == (403, True), name_of(route)


async def test_sections_ask_for_what_their_pages_need() -> None:
    """Pages of everybody tell nothing of events."""
    assert [section.title for section in SECTIONS if section.permission is None] == ["API", "About"]
    assert Permission.PUBLISH not in {section.permission for section in SECTIONS}
