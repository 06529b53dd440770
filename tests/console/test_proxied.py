"""The console behind nginx as the docs have it: TLS ends there, the service lies under a path, and nginx asks it over
HTTP/1.0, as it does where nothing else is said."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from adapter.console.sections import SECTIONS
from tests.e2e.process import until
from tests.keycloak.server import free_ports
from tests.opened import Opened, login, opened
from tests.outgoing.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Milliseconds, for a machine that has much else to do.
expect.set_options(timeout=60_000)


class Proxied(NamedTuple):
    service: Opened
    #: Where browsers find it.
    url: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proxied(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxied]:
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    folder = tmp_path_factory.mktemp("proxied")
    certificate, key = Authority(folder).sign("localhost")
    [port] = free_ports(1)
    url = f"https://localhost:{port}/tools/idp"
    server: dict[str, Any] = {"public_url": url, "behind_tls": True}
    async with opened(folder / "data", server=server, audit={}) as service:
        paths = "".join(
            f"{one}_temp_path {folder}/{one};\n" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\nevents {{}}\nhttp {{\n"
            f"access_log {folder}/access.log;\n{paths}server {{\nlisten 127.0.0.1:{port} ssl;\n"
            f"ssl_certificate {certificate}; ssl_certificate_key {key};\nlocation /tools/idp/ {{\n"
            f"proxy_pass {service.service.url}/;\nproxy_http_version 1.0;\nproxy_set_header Connection keep-alive;\n"
            "proxy_set_header Host $host;\nproxy_set_header X-Forwarded-Proto $scheme;\n"
            "proxy_set_header X-Forwarded-For $remote_addr;\nproxy_buffering off;\n}\n}\n}\n"
        )
        words = [nginx, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
        process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
        try:
            await until(lambda: listens(port))
            yield Proxied(service, url)
        finally:
            process.terminate()
            await process.wait()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, proxied: Proxied) -> AsyncIterator[Page]:
    context = await browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(60_000)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("response", lambda one: wrong.append(f"{one.status} {one.url}") if one.status >= 400 else None)
    page.on("request", lambda one: None if one.url.startswith(proxied.url + "/") else wrong.append(one.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.goto(f"{proxied.url}/ui/live?realm=proxied")
    await page.get_by_label("Token of a key").fill(proxied.service.service.admin_token)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{proxied.url}/ui/live?realm=proxied")
    yield page
    await context.close()
    assert wrong == []


async def test_the_cookie_is_for_this_path_over_tls_alone(page: Page) -> None:
    [cookie] = [one for one in await page.context.cookies() if "console" in one["name"]]
    assert (cookie["name"], cookie["path"]) == ("__Secure-console", "/tools/idp/")
    assert cookie["secure"] and cookie["httpOnly"]


async def test_each_section_opens_and_forms_are_taken(page: Page, proxied: Proxied) -> None:
    for section in SECTIONS:
        await page.get_by_role("navigation", name="Sections").get_by_role("link", name=section.title).click()
        await expect(page).to_have_url(f"{proxied.url}{section.path}")
        await expect(page.locator("main h1")).to_be_visible()
    await page.get_by_label("Theme").select_option("dark")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(page).to_have_url(f"{proxied.url}{SECTIONS[-1].path}")


async def test_events_come_live_are_opened_and_are_had_as_a_file(page: Page, proxied: Proxied) -> None:
    await expect(page.locator("[data-live-state]")).to_contain_text("Live:")
    [uid] = (await proxied.service.post(login(1, realmId="proxied")))["uids"]
    await page.locator("[data-live-list] > li a").click()
    await expect(page).to_have_url(f"{proxied.url}/ui/events/{uid}")
    await page.goto(f"{proxied.url}/ui/events?realm=proxied")
    await expect(page.get_by_role("region", name="By outcome")).to_be_visible()
    await page.locator("a[data-drawer]").click()
    await expect(page.locator("#events-drawer")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.locator("summary", has_text="Export").click()
    async with page.expect_download() as coming:
        await page.get_by_role("link", name="CSV", exact=True).click()
    file: Path = await (await coming.value).path()
    assert uid in await asyncio.to_thread(file.read_text)

    # Who read that is known, by the address that the proxy says.
    async def is_told() -> bool:
        _, found = await proxied.service.get("/events", type="system.AUDIT-EXPORT")
        return [one["authDetails"]["ipAddress"] for one in found["events"]] == ["127.0.0.1"]

    await until(is_told)
