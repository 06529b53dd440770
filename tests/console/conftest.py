"""The console as people see it: a real service with the examples of every provider, and a real browser.

A test module that uses these fixtures has ``pytestmark = pytest.mark.asyncio(loop_scope="module")``. Asks for
``browser`` alone are skipped where no Chromium is; ``visitor`` needs none.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, CookieJar
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, Response, async_playwright, expect

from adapter.commands.serve import post_examples
from tests.opened import Opened, opened

#: Whatever else the machine does. Milliseconds.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)
TOP = Path(__file__).parent.parent.parent
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_SCREENSHOTS = "--console-screenshots"
#: What a browser says of itself with each request of one of our pages.
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}

#: Where pages are looked at: width and height, and the theme that the system asks for.
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
THEMES = ("light", "dark")
#: Of which views there are pictures in docs/images, by page; of all others the first one.
PICTURES = {
    "": [("desktop", "light")],
    "overview": [("desktop", "light"), ("phone", "dark")],
    "events": [("desktop", "light"), ("phone", "dark")],
    "person": [("desktop", "light"), ("phone", "dark")],
    "playground": [("desktop", "light"), ("desktop", "dark")],
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(_SCREENSHOTS, action="store_true", help="write the pictures of the console into docs/images")


@dataclass
class Visitor:
    """A browser without a screen: it keeps cookies, and says where its requests come from."""

    service: Opened
    session: ClientSession

    async def sign_in(self, token: str | None = None) -> None:
        """Sign in with a key; the administrator's where none is given."""
        data = {"token": token or self.service.service.admin_token}
        async with self.session.post("/ui/sign-in", data=data, allow_redirects=False) as response:
            assert response.status == 303, await response.text()

    async def page(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a page."""
        async with self.session.get(path, headers=headers) as response:
            return response.status, await response.text()

    async def send(
        self, path: str, form: Mapping[str, str | Sequence[str]], *, csrf: str | None = None, **headers: str
    ) -> tuple[int, str]:
        """Status and text of what answers a form, after where it leads to; with the token of the session's forms
        where none is given."""
        given = [(name, one) for name, value in form.items() for one in ([value] if isinstance(value, str) else value)]
        data = [*given, ("csrf", await self.csrf() if csrf is None else csrf)]
        async with self.session.post(path, data=data, headers=headers) as response:
            return response.status, await response.text()

    async def csrf(self) -> str:
        """The token of the session's forms."""
        _, text = await self.page("/ui/about")
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        assert found is not None, text
        return found[1]


@asynccontextmanager
async def visiting(service: Opened) -> AsyncIterator[Visitor]:
    """Somebody who has not signed in."""
    jar = CookieJar(unsafe=True)
    async with ClientSession(service.service.url, headers=HTML, cookie_jar=jar) as session:
        yield Visitor(service, session)


@dataclass
class Console:
    """A page of a browser that is signed in as the administrator."""

    page: Page
    url: str
    service: Opened
    #: What was wrong in the page, as its log says, and what it asked for.
    problems: list[str]
    asked: list[str]

    async def open(self, path: str) -> Response:
        """Show a page."""
        response = await self.page.goto(self.url + path)
        assert response is not None
        return response


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_settings() -> dict[str, Any]:
    """Further settings of the service of `console`; a test module that needs some has a fixture of this name."""
    return {}


async def _posted_examples(run: Path) -> Path:
    """The data folder of a service that has the example events of every provider: made once in a run, in its folder, by
    whichever process of the tests needs it first."""
    folder, begun = run / "examples", run / "examples-begun"
    with (run / "examples.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            shutil.rmtree(begun, ignore_errors=True)
            async with opened(begun) as service:
                await post_examples(service.service)
            begun.rename(folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console_service(
    tmp_path_factory: pytest.TempPathFactory, console_settings: dict[str, Any]
) -> AsyncIterator[Opened]:
    """A service with the example events of every provider, for all tests of a module."""
    base = tmp_path_factory.getbasetemp()
    examples = await _posted_examples(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    folder = shutil.copytree(examples, tmp_path_factory.mktemp("console") / "data")
    async with opened(folder, **console_settings) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _cookies(console_service: Opened) -> list[dict[str, Any]]:
    """The cookies of a session of the administrator's."""
    async with visiting(console_service) as visitor:
        await visitor.sign_in()
        return [
            {"name": one.key, "value": one.value, "url": console_service.service.url, "httpOnly": True}
            for one in visitor.session.cookie_jar
        ]


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(console_service: Opened) -> AsyncIterator[Visitor]:
    """The administrator, who has signed in."""
    async with visiting(console_service) as visitor:
        await visitor.sign_in()
        yield visitor


@asynccontextmanager
async def seen(
    browser: Browser, service: Opened, cookies: Sequence[Any], size: str = "desktop", theme: str = "light", **how: Any
) -> AsyncIterator[Console]:
    """A page of its own in the browser, with these cookies."""
    width, height = SIZES[size]
    context: BrowserContext = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        timezone_id="Europe/Berlin",
        **how,
    )
    context.set_default_timeout(PATIENCE)
    await context.add_cookies([*cookies])
    page = await context.new_page()
    problems: list[str] = []
    asked: list[str] = []
    page.on("console", lambda one: problems.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield Console(page, service.service.url, service, problems, asked)
    await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def console(browser: Browser, console_service: Opened, _cookies: list[dict[str, Any]]) -> AsyncIterator[Console]:
    """A page at 1280 pixels, light; it may log no error, and asks nobody but the service."""
    async with seen(browser, console_service, _cookies) as one:
        yield one
        assert [text for text in one.problems if "Content Security Policy" in text or "Error" in text] == []
        foreign = [url for url in one.asked if not url.startswith((one.url, "data:", "blob:"))]
        assert foreign == []


@pytest_asyncio.fixture(loop_scope="module", params=[(size, theme) for size in SIZES for theme in THEMES])
async def each_console(
    request: pytest.FixtureRequest, browser: Browser, console_service: Opened, _cookies: list[dict[str, Any]]
) -> AsyncIterator[Console]:
    """A page at each size in each theme."""
    size, theme = request.param
    async with seen(browser, console_service, _cookies, size, theme) as one:
        yield one


async def _check_accessibility(page: Page) -> None:
    """axe-core finds nothing serious or critical."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text("utf-8"))
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        (one["id"], node["target"], node["failureSummary"])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == [], json.dumps(serious, indent=1)


@pytest.fixture
def check_accessibility() -> Callable[[Page], Awaitable[None]]:
    """``await check_accessibility(page)``: axe-core finds nothing serious or critical in the page."""
    return _check_accessibility


@pytest.fixture
def screenshot(request: pytest.FixtureRequest) -> Callable[[Page, str], Awaitable[None]]:
    """``await screenshot(page, "events")``: with the option ``--console-screenshots`` the page's picture is written
    into docs/images/console-events-*.png, by size and theme, for the views in `PICTURES`; without it nothing is."""

    async def take(page: Page, name: str) -> None:
        if not request.config.getoption(_SCREENSHOTS, default=False):
            return
        width = page.viewport_size["width"] if page.viewport_size else 0
        size = next((one for one, (its, _) in SIZES.items() if its == width), str(width))
        theme = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
        if (size, theme) not in PICTURES.get(name, PICTURES[""]):
            return
        folder = TOP / "docs" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        taken = Image.open(BytesIO(await page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
        # A page has few colours beside the edges of letters: with these alone a picture takes half of the bytes.
        colours = sorted(taken.getcolors(taken.width * taken.height) or [], reverse=True)[:256]
        palette = Image.new("P", (1, 1))
        palette.putpalette([part for _, colour in colours if isinstance(colour, tuple) for part in colour])
        few = taken.quantize(palette=palette, dither=Image.Dither.NONE)
        few.save(folder / f"console-{name}-{size}-{theme}.png", optimize=True)

    return take


async def is_within_width(page: Page) -> bool:
    """Whether nothing of the page has to be scrolled to sideways, but in a box of its own."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
