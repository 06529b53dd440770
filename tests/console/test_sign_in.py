"""Signing in: by a key or a link, with limited tries; what the session's cookie is good for, and what it is not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from adapter.browser import local_path
from adapter.console.tries import OF_ADDRESS
from tests.console.conftest import HTML, Visitor, visiting
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "keeper", "token": "keeper-token", "permissions": ["read", "keys"]},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("data"), keys=KEYS) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def anybody(service: Opened) -> AsyncIterator[Visitor]:
    """A browser whose person has not signed in."""
    async with visiting(service) as one:
        yield one


async def asked(visitor: Visitor, method: str, path: str, **more: Any) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an answer; nothing is followed."""
    async with visitor.session.request(method, path, allow_redirects=False, **more) as response:
        return response.status, dict(response.headers), await response.text()


async def test_the_beginning_leads_browsers_to_the_console_and_scripts_nowhere(anybody: Visitor) -> None:
    status, headers, _ = await asked(anybody, "GET", "/")
    assert (status, headers["Location"]) == (303, "/ui/")
    status, headers, _ = await asked(anybody, "GET", "/ui/")
    assert (status, headers["Location"]) == (303, "/ui/sign-in")
    for accept in ("application/json", "*/*"):
        status, headers, text = await asked(anybody, "GET", "/", headers={"Accept": accept})
        assert (status, headers["Content-Type"]) == (404, "application/problem+json"), text
    # Not even an error of the API is a page.
    for path in ("/events", "/nothing", "/sinks/nobody"):
        status, headers, _ = await asked(anybody, "GET", path)
        assert headers["Content-Type"].startswith("application/"), path


async def test_who_signs_in_with_a_key_lands_where_he_wanted_to(anybody: Visitor, service: Opened) -> None:
    status, headers, _ = await asked(anybody, "GET", "/ui/keys?limit=5&x=%26")
    assert status == 303
    _, text = await anybody.page(headers["Location"])
    [wanted] = re.findall(r'name="next" value="([^"]+)"', text)
    assert wanted == "/ui/keys?limit=5&amp;x=%26"
    form = {"token": service.service.admin_token, "next": "/ui/keys?limit=5&x=%26"}
    status, headers, _ = await asked(anybody, "POST", "/ui/sign-in", data=form)
    assert (status, headers["Location"]) == (303, "/ui/keys?limit=5&x=%26")
    status, text = await anybody.page("/ui/keys")
    assert status == 200
    assert "<h1>Keys</h1>" in text


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example/ui/", "https://evil.example/ui/", "/\\evil.example", "/ui/\\evil.example", "/ui/../keys",
        "javascript:alert(1)", "/keys", "/ui/\r\nSet-Cookie: a=b", "/ui/..", "", "ui/keys",
    ],
)  # fmt: skip
async def test_it_leads_to_no_other_place(anybody: Visitor, service: Opened, wanted: str) -> None:
    assert local_path(wanted) is None
    form = {"token": service.service.admin_token, "next": wanted}
    status, headers, _ = await asked(anybody, "POST", "/ui/sign-in", data=form)
    assert (status, headers["Location"]) == (303, "/ui/")


async def test_a_wrong_token_is_told_and_not_shown_again(anybody: Visitor) -> None:
    status, _, text = await asked(anybody, "POST", "/ui/sign-in", data={"token": "<wrong-token>"})
    assert status == 403
    assert "no token of a key that is known here" in text
    assert "wrong-token" not in text
    assert (await asked(anybody, "GET", "/ui/keys"))[0] == 303


async def test_the_cookie_is_for_no_script_and_no_other_site(anybody: Visitor, service: Opened) -> None:
    form = {"token": service.service.admin_token}
    _, headers, _ = await asked(anybody, "POST", "/ui/sign-in", data=form)
    name, _, rest = headers["Set-Cookie"].partition("=")
    assert name == "console"
    assert sorted(part.strip() for part in rest.split(";")[1:]) == [
        "HttpOnly", "Max-Age=28800", "Path=/", "SameSite=Lax",
    ]  # fmt: skip
    _, headers, _ = await asked(anybody, "POST", "/ui/sign-in", data=form, headers={"X-Forwarded-Proto": "https"})
    assert headers["Set-Cookie"].startswith("__Host-console=idps_")
    assert "Secure" in headers["Set-Cookie"]


async def test_a_link_signs_in_once_and_to_look_at_it_does_not_use_it_up(anybody: Visitor, service: Opened) -> None:
    link = await service.service.make_link()
    path = link.removeprefix(service.service.url)
    assert path.startswith("/ui/sign-in/idpl_")
    for _ in range(3):  # programs that show what a link leads to
        status, text = await anybody.page(path)
        assert (status, "signs you in as <strong>admin</strong>" in text) == (200, True)
    status, headers, _ = await asked(anybody, "POST", path)
    assert (status, headers["Location"]) == (303, "/ui/")
    assert (await anybody.page("/ui/keys"))[0] == 200
    async with visiting(service) as other:
        for method in ("GET", "POST"):
            status, _, text = await asked(other, method, path)
            assert (status, "This link is not valid" in text) == (404, True)


async def test_a_key_makes_a_link_with_its_own_rights(anybody: Visitor, service: Opened) -> None:
    headers = {"Authorization": "Bearer reader-token"}
    async with service.session.post("/console/links", headers=headers) as response:
        assert response.status == 201
        made = await response.json()
    assert made["name"] == "reader"
    await asked(anybody, "POST", made["url"].removeprefix(service.service.url))
    status, text = await anybody.page("/ui/about")
    assert status == 200
    # It has no section that it may not use, nor gets there by its address.
    assert "/ui/keys" not in text
    status, text = await anybody.page("/ui/keys")
    assert (status, "lacks the permission &#39;keys&#39;" in text) == (403, True)


async def test_a_link_is_made_by_no_session(anybody: Visitor, service: Opened) -> None:
    await anybody.sign_in()
    headers = {"X-CSRF": await anybody.csrf()}
    status, _, text = await asked(anybody, "POST", "/console/links", headers=headers)
    assert (status, "made with the token of a key" in text) == (403, True)


async def test_a_session_is_made_by_no_session(anybody: Visitor) -> None:
    await anybody.sign_in()
    [token] = [one.value for one in anybody.session.cookie_jar]
    status, _, _ = await asked(anybody, "POST", "/ui/sign-in", data={"token": token})
    assert status == 403


async def test_signing_out_ends_the_session_everywhere(anybody: Visitor, service: Opened) -> None:
    await anybody.sign_in()
    csrf = await anybody.csrf()
    [token] = [one.value for one in anybody.session.cookie_jar]
    assert (await service.get("/keys", token=token))[0] == 200
    status, headers, _ = await asked(anybody, "POST", "/ui/sign-out", data={"csrf": csrf})
    assert (status, headers["Location"]) == (303, "/ui/sign-in")
    assert "Max-Age=0" in headers["Set-Cookie"]
    assert (await service.get("/keys", token=token))[0] == 401
    assert (await asked(anybody, "GET", "/ui/keys"))[0] == 303


async def test_the_api_takes_the_cookie_of_our_own_pages_alone(anybody: Visitor, service: Opened) -> None:
    await anybody.sign_in("keeper-token")
    csrf = await anybody.csrf()

    async def status(method: str = "GET", path: str = "/keys", **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await asked(anybody, method, path, headers=given, json={} if method != "GET" else None))[0]

    assert await status(X_CSRF=csrf) == 200
    for site in ("cross-site", "same-site", "none"):
        assert await status(X_CSRF=csrf, Sec_Fetch_Site=site) == 401
    assert await status() == 401
    assert await status(X_CSRF=csrf[:-1] + "x") == 401
    assert await status("POST", "/console/links", X_CSRF="") == 401
    assert await status("DELETE", "/keys/nobody", X_CSRF=csrf, Sec_Fetch_Site="cross-site") == 401
    assert await status("DELETE", "/keys/nobody", X_CSRF=csrf) == 404
    # A bearer token beside it decides, also a wrong one.
    assert await status(X_CSRF=csrf, Authorization="Bearer reader-token") == 403
    assert await status(X_CSRF=csrf, Authorization="Bearer nobody") == 401
    # Older browsers say from which origin a form comes, and nothing else.
    url = service.service.url
    async with ClientSession(url, cookie_jar=anybody.session.cookie_jar) as old:
        for origin, wanted in ((url, 200), ("https://evil.example", 401), ("null", 401), (None, 401)):
            given = {"X-CSRF": csrf} if origin is None else {"X-CSRF": csrf, "Origin": origin}
            async with old.get("/keys", headers=given) as response:
                assert response.status == wanted, origin


async def test_events_are_followed_over_plain_http_too(anybody: Visitor, service: Opened) -> None:
    """There a browser says of a GET neither from which site nor from which origin it comes, but for localhost."""
    await anybody.sign_in()
    url = service.service.url
    async with ClientSession(url, cookie_jar=anybody.session.cookie_jar) as plain:
        for referer, wanted in (
            (f"{url}/ui/live?type=LOGIN", 200),
            ("http://evil.example/ui/live", 401),
            (f"http://evil.example/{url}", 401),
            ("http://[", 401),
            ("", 401),
            (None, 401),
        ):
            async with plain.get("/events/live", headers={} if referer is None else {"Referer": referer}) as response:
                assert response.status == wanted, referer
        # It proves no more than what the headers say that only browsers write.
        for says in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}, {"Origin": "http://evil.example"}):
            async with plain.get("/events/live", headers={"Referer": f"{url}/ui/live", **says}) as response:
                assert response.status == 401, says
        async with plain.get("/keys", headers={"Referer": f"{url}/ui/live"}) as response:
            assert response.status == 401


async def test_who_is_signed_out_when_a_form_is_sent_begins_at_the_first_page(anybody: Visitor) -> None:
    """The address of a form is no page to come back to."""
    for path in ("/ui/sign-out", "/ui/keys/new"):
        status, headers, _ = await asked(anybody, "POST", path, data={"name": "x"})
        assert (status, headers["Location"]) == (303, "/ui/sign-in")


async def test_forms_of_other_sites_do_nothing(anybody: Visitor, service: Opened) -> None:
    form = {"token": service.service.admin_token}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}):
        status, _, _ = await asked(anybody, "POST", "/ui/sign-in", data=form, headers=headers)
        assert status == 403
        path = (await service.service.make_link()).removeprefix(service.service.url)
        assert (await asked(anybody, "POST", path, headers=headers))[0] == 403
        assert (await asked(anybody, "POST", path))[0] == 303  # it was not used up
    await anybody.sign_in()
    csrf = await anybody.csrf()
    for given, headers in (
        ({"csrf": csrf}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": csrf[::-1]}, {}),
        ({}, {}),
        ({}, {"X-CSRF": "x"}),
    ):
        data = {"name": "x", "can": "read", **given}
        assert (await asked(anybody, "POST", "/ui/keys/new", data=data, headers=headers))[0] == 403
        assert (await asked(anybody, "POST", "/ui/sign-out", data=given, headers=headers))[0] == 403
    assert [one["name"] for one in (await service.get("/keys"))[1]["keys"]] == ["reader", "keeper"]
    assert (await anybody.page("/ui/keys"))[0] == 200


async def test_a_session_of_one_person_is_of_no_use_for_the_forms_of_another(service: Opened) -> None:
    async with visiting(service) as one, visiting(service) as other:
        await one.sign_in()
        await other.sign_in("keeper-token")
        status, _ = await other.send("/ui/keys/new", {"name": "x", "can": "read"}, csrf=await one.csrf())
        assert status == 403


async def test_keys_of_the_api_and_sessions_are_listed_apart(anybody: Visitor, service: Opened) -> None:
    await anybody.sign_in("keeper-token")
    _, keys = await service.get("/keys")
    assert {one["name"] for one in keys["keys"]} == {"reader", "keeper"}
    csrf = await anybody.csrf()
    _, _, _ = await asked(anybody, "GET", "/sessions", headers={"X-CSRF": csrf})
    _, found = await service.get("/sessions")
    [own] = [one for one in found["sessions"] if one["name"] == "keeper"][-1:]
    assert (own["by"], own["parent"], own["current"]) == ("key", "settings", False)
    assert own["expiresAt"] - own["createdAt"] == 8 * 3_600_000
    async with service.session.delete(f"/sessions/{own['id']}") as response:
        assert response.status == 200
    assert (await asked(anybody, "GET", "/ui/keys"))[0] == 303
    # The page's scripts are led there, too, and back to where they were.
    headers = {"HX-Request": "true", "HX-Current-URL": f"{service.service.url}/ui/keys?x=1"}
    status, found, _ = await asked(anybody, "GET", "/ui/keys", headers=headers)
    assert (status, found["HX-Redirect"]) == (204, "/ui/sign-in?next=%2Fui%2Fkeys%3Fx%3D1")


async def test_a_revoked_key_takes_its_sessions_with_it(anybody: Visitor, service: Opened) -> None:
    async with service.session.post("/keys", json={"name": "soc", "permissions": ["read", "keys"]}) as response:
        token = (await response.json())["token"]
    await anybody.sign_in(token)
    assert (await anybody.page("/ui/keys"))[0] == 200
    async with service.session.delete("/keys/soc") as response:
        assert response.status == 200
    assert (await asked(anybody, "GET", "/ui/keys"))[0] == 303


async def test_tries_are_limited(tmp_path: Path) -> None:
    async with opened(tmp_path, keys=KEYS, server={"behind_tls": True}) as service, visiting(service) as visitor:

        async def tried(address: str, token: str = "wrong-token") -> int:
            headers = {"X-Forwarded-For": f"203.0.113.1, {address}"}
            return (await asked(visitor, "POST", "/ui/sign-in", data={"token": token}, headers=headers))[0]

        # Those that succeed do not count.
        for _ in range(OF_ADDRESS + 1):
            assert await tried("198.51.100.1", "reader-token") == 303
        assert [await tried("198.51.100.1") for _ in range(OF_ADDRESS + 1)] == [403] * OF_ADDRESS + [429]
        assert await tried("198.51.100.1", "reader-token") == 429
        assert await tried("198.51.100.2", "reader-token") == 303
        path = "/ui/sign-in/idpl_" + "x" * 43
        headers = {"X-Forwarded-For": "198.51.100.1"}
        status, found, text = await asked(visitor, "POST", path, headers=headers)
        assert (status, "Too many tries" in text) == (429, True)
        assert int(found["Retry-After"]) > 0
        # One customer's network of IPv6 is one address.
        assert [await tried(f"2001:db8::{one:x}") for one in range(OF_ADDRESS + 1)][-1] == 429


async def test_a_prefix_and_the_public_address_are_heeded(tmp_path: Path) -> None:
    server = {"public_url": "https://sec.example/idp/"}
    async with opened(tmp_path, keys=KEYS, server=server) as service, visiting(service) as visitor:
        assert (await service.service.make_link()).startswith("https://sec.example/idp/ui/sign-in/idpl_")
        status, headers, _ = await asked(visitor, "GET", "/")
        assert (status, headers["Location"]) == (303, "/idp/ui/")
        status, headers, _ = await asked(visitor, "GET", "/ui/keys")
        assert (status, headers["Location"]) == (303, "/idp/ui/sign-in?next=%2Fui%2Fkeys")
        _, text = await visitor.page("/ui/sign-in")
        addresses = re.findall(r'\s(?:href|src|action)="([^"]+)"', text)
        assert addresses and all(one.startswith("/idp/ui/") for one in addresses)
        form = {"token": "keeper-token", "next": "/ui/keys"}
        status, headers, _ = await asked(visitor, "POST", "/ui/sign-in", data=form)
        assert (status, headers["Location"]) == (303, "/idp/ui/keys")
        # With a path the name of the cookie cannot promise that it is for all of the host.
        assert headers["Set-Cookie"].startswith("__Secure-console=")
        assert "Path=/idp/" in headers["Set-Cookie"] and "Secure" in headers["Set-Cookie"]
        cookie = headers["Set-Cookie"].partition(";")[0]
        status, headers, text = await asked(visitor, "GET", "/ui/keys", headers={"Cookie": cookie, **HTML})
        assert status == 200
        addresses = re.findall(r'\s(?:href|src|action)="([^"#]+)"', text)
        assert len(addresses) > 10
        assert [one for one in addresses if not one.startswith("/idp/ui/")] == []
        assert "https://sec.example/idp/keys" in text  # the question as a command


async def test_every_page_says_what_browsers_may_do_with_it(anybody: Visitor) -> None:
    await anybody.sign_in()
    for path in ("/ui/sign-in", "/ui/keys", "/ui/about", "/ui/nothing", "/ui/sign-in/idpl_x"):
        status, headers, text = await asked(anybody, "GET", path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        # Nothing in the page would need more than that.
        assert not re.search(r"<style|<script(?![^>]*\ssrc=)| style=| on[a-z]+=", text), path
        assert (status >= 400) == ("nothing" in path or "idpl_x" in path)


async def test_static_files_are_kept_and_are_what_their_address_says(anybody: Visitor) -> None:
    _, text = await anybody.page("/ui/sign-in")
    [path] = re.findall(r'href="([^"]+console\.css)"', text)
    status, headers, body = await asked(anybody, "GET", path)
    assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in headers["Cache-Control"]
    assert "--accent" in body
    digest = path.split("/")[3]
    for wrong in (
        path.replace(digest, "0" * 16), f"/ui/static/{digest}/..%2f..%2fpages.py", f"/ui/static/{digest}/pages.py",
        f"/ui/static/{digest}/%2e%2e", "/ui/static/x/vendor.json",
    ):  # fmt: skip
        status, _, body = await asked(anybody, "GET", wrong)
        assert status in (303, 404) and "import" not in body, wrong
