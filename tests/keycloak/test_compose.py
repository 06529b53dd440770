"""What docker/compose.keycloak.yaml starts, started by hand: Keycloak, adapter and receiver with the same files; and
Keycloak's Admin Console, which reads events from the adapter by the documented rule of a proxy."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Page, Request, async_playwright, expect

from tests.e2e.process import Process, serving, until
from tests.keycloak.distribution import PUSHING, NotAvailable
from tests.keycloak.server import ADMIN, PASSWORD, Keycloak, free_ports, running

pytestmark = [pytest.mark.keycloak, pytest.mark.asyncio(loop_scope="module")]

TOP = Path(__file__).parents[2]
DEMO = TOP / "docker" / "keycloak"
MAGIC = "magic-source-token"


class Stand(NamedTuple):
    keycloak: Keycloak
    adapter: Process
    folder: Path
    #: Where a proxy stands in front of Keycloak.
    front: int
    #: What the receiver wrote.
    received: Path


def script(name: str, *words: object) -> list[str]:
    return [sys.executable, str(DEMO / name), *map(str, words)]


@contextmanager
def running_beside(words: list[str], output: Path) -> Iterator[None]:
    with output.open("wb") as file, subprocess.Popen(words, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.terminate()


def settings(folder: Path, keycloak: str, receiver: int) -> Path:
    """The file of the compose project with the addresses of this machine; beside it a second provider, and the realm
    that shows both."""
    text = (DEMO / "adapter.toml").read_text()
    for written, here in {
        "/secrets/": f"{folder}/secrets/",
        "http://keycloak:8080": keycloak,
        "receiver:9000": f"127.0.0.1:{receiver}",
        '"10.0.0.0/8"': '"10.0.0.0/8", "127.0.0.0/8"',
    }.items():
        assert written in text
        text = text.replace(written, here)
    file = folder / "adapter.toml"
    file.write_text(
        f'{text}\n[keycloak]\nurl = "{keycloak}"\n[keycloak.realms]\ndemo = ["keycloak", "magic"]\n'
        f'[[sources]]\nname = "magic"\nprovider = "magic-link"\ntoken = "{MAGIC}"\n'
    )
    return file


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("compose")
    (folder / "secrets").mkdir()
    await asyncio.to_thread(subprocess.run, script("make_secrets.py", folder / "secrets"), check=True)
    secret = {file.name: file.read_text().strip() for file in (folder / "secrets").iterdir()}
    listen, receiver, front = free_ports(3)
    service = yaml.safe_load((TOP / "docker" / "compose.keycloak.yaml").read_text())["services"]["keycloak"]
    variables = {
        **{
            name: value.replace("adapter:8282", f"127.0.0.1:{listen}") for name, value in service["environment"].items()
        },
        "WEBHOOK_SECRET": secret["webhook"],
        "EVENT_READER_SECRET": secret["event-reader"],
        "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
        "KC_HOSTNAME": f"http://127.0.0.1:{front}",
    }
    assert set(re.findall(r"export (\w+)=|\b(\w+)=\"\$\$", service["command"][0])) <= {
        ("", name) for name in variables
    } | {(name, "") for name in variables}
    try:
        async with running(PUSHING, folder, DEMO / "realm.json", **variables) as keycloak:
            file = settings(folder, keycloak.url, receiver)
            words = script("receiver.py", "--secret", folder / "secrets" / "receiver", "--port", receiver)
            with running_beside(words, folder / "received"):
                arguments = ["--config", str(file)]
                async with serving(folder / "data", port=listen, arguments=arguments) as adapter:
                    yield Stand(keycloak, adapter, folder, front, folder / "received")
    except NotAvailable as error:
        pytest.skip(str(error))


async def test_one_command_shows_a_login_in_the_feed_and_at_the_receiver(stand: Stand) -> None:
    url = f"http://127.0.0.1:{stand.adapter.port}"
    words = script(
        "login.py", "--keycloak", stand.keycloak.url, "--adapter", url, "--key", stand.folder / "secrets/feed"
    )
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    written, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    lines = [line for line in written.decode().splitlines() if line.startswith("{")]
    assert [re.findall(r'"type": "([\w.]+)"|"username": "(\w+)"', line) for line in lines] == [
        [("access.LOGIN_ERROR", ""), ("", "anna")],
        [("access.LOGIN", ""), ("", "anna")],
    ]

    def both() -> bool:
        said = stand.received.read_text()
        return all(f'received "access.{name}" "anna"' in said for name in ("LOGIN_ERROR", "LOGIN"))

    await until(both)


async def test_what_is_pulled_beside_the_webhook_is_the_same_event(stand: Stand) -> None:
    await stand.keycloak.login("anna", "annas-password", client="shop")

    async def has_read() -> bool:
        stored = await stand.keycloak.admin("GET", "/events?max=1000")
        events = await stand.adapter.events(realm="demo", type="access.*")
        last = await stand.adapter.metric("pull_last_timestamp_seconds", kind="events", realm="demo", source="keycloak")
        return len(stored) == len(events) and last * 1000 > max(one["time"] for one in stored)

    await until(has_read)


@pytest.fixture
def proxy(stand: Stand, tmp_path: Path) -> Iterator[str]:
    """nginx with the rule of the page; its address."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    page = (TOP / "docs" / "connect-keycloak.md").read_text()
    [rule] = re.findall(r"```nginx title=console.conf\n(.*?)```", page, re.DOTALL)
    rule = re.sub(r" +ssl_.*\n", "", rule).replace("listen 443 ssl", f"listen 127.0.0.1:{stand.front}")
    rule = rule.replace("ADAPTER", f"127.0.0.1:{stand.adapter.port}")
    rule = rule.replace("http://KEYCLOAK", stand.keycloak.url).replace("$host;", "$http_host;")
    paths = "".join(
        f"{one}_temp_path {tmp_path}/{one};\n" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; worker_processes 1;\nevents {{}}\n"
        f"http {{\naccess_log {tmp_path}/access.log;\n{paths}{rule}}}\n"
    )
    words = ["nginx", "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    with running_beside(words, tmp_path / "nginx.out"):
        yield f"http://127.0.0.1:{stand.front}"


@pytest_asyncio.fixture(loop_scope="module")
async def page() -> AsyncIterator[Page]:
    """A page of a browser without a window."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = await chromium.new_page()
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        await chromium.close()


async def test_the_admin_console_shows_events_of_every_provider_and_cannot_clear_them(
    stand: Stand, proxy: str, page: Page
) -> None:
    await stand.keycloak.login("anna", "annas-password", client="shop")
    await stand.keycloak.admin("POST", "/groups", {"name": "testers"})
    event = {
        "frontegg_id": "1b4e28ba-2fa1-4d2e-883f-000000000001",
        "eventType": "login.email_sent",
        "status": "info",
        "createdAt": "2026-01-14T09:30:02.118Z",
        "tenantId": "adf4c0a5-9a5e-4c51-a228-d008050c0e15",
        "userId": "35639902-a53d-44c3-9aea-066b06569f78",
        "ip": "203.0.113.80",
    }
    headers = {"Authorization": f"Bearer {MAGIC}"}
    async with stand.adapter.session.post("/ingest/magic", json=event, headers=headers) as response:
        assert response.status == 202
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/demo/events" in request.url else None)

    await page.goto(f"{proxy}/admin/master/console/#/demo/events/user-events")
    await page.fill("#username", ADMIN)
    await page.fill("#password", PASSWORD)
    await page.click("#kc-login")
    for text in ("SEND_OTP", "203.0.113.80", "LOGIN", "shop"):
        await expect(page.get_by_text(text).first).to_be_visible()
    await page.get_by_role("tab", name="Admin events").click()
    await expect(page.get_by_text("groups/").first).to_be_visible()

    before = len(await stand.adapter.events())
    token = await asked[-1].header_value("authorization")
    status = await page.evaluate(
        "(token) => fetch('/admin/realms/demo/events', {method: 'DELETE', headers: {authorization: token}})"
        ".then((answer) => answer.status)",
        token,
    )
    assert status == 403
    assert len(await stand.adapter.events()) >= before
