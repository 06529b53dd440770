"""The page of the HTTP interface: all that `/openapi.json` has, found by its words, with commands that work."""

from __future__ import annotations

import asyncio
import re
from html import unescape

import pytest
from playwright.async_api import expect

from tests.console.conftest import Console, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CODE = re.compile(r'<div class="code"><pre tabindex="0"><code>(.*?)</code>', re.DOTALL)


async def test_every_operation_is_listed_and_has_a_page(visitor: Visitor) -> None:
    async with visitor.service.session.get("/openapi.json") as response:
        document = await response.json()
    status, text = await visitor.page("/ui/api")
    assert status == 200
    for path, methods in document["paths"].items():
        for page in methods.values():
            name = page["operationId"]
            assert f'href="/ui/api/{name}"' in text, path
            status, shown = await visitor.page(f"/ui/api/{name}")
            assert (status, unescape(page["summary"]) in unescape(shown)) == (200, True), path


async def test_an_operation_is_found_by_its_words(visitor: Visitor) -> None:
    _, text = await visitor.page("/ui/api?q=EXPORT+get+manifest")
    assert re.findall(r'href="/ui/api/(\w+)"', text) == ["get_events_export"]
    _, text = await visitor.page("/ui/api?q=nothing-has-this")
    assert "No operation has all these words" in text


async def test_words_that_are_looked_for_are_text(visitor: Visitor) -> None:
    status, text = await visitor.page("/ui/api?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert (status, "<script>alert" in text) == (200, False)


async def test_there_is_no_page_of_an_operation_that_there_is_not(visitor: Visitor) -> None:
    assert (await visitor.page("/ui/api/nothing"))[0] == 404


@pytest.mark.parametrize("name", ["get_events", "get_events_export", "post_keys", "get_events_counts", "get_status"])
async def test_its_command_works(visitor: Visitor, name: str) -> None:
    _, text = await visitor.page(f"/ui/api/{name}")
    found = _CODE.search(text)
    assert found is not None
    command = unescape(found[1])
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f'{command} --silent --output /dev/null --write-out "%{{http_code}}"',
        stdout=asyncio.subprocess.PIPE, env={"TOKEN": visitor.service.service.admin_token, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    status, _ = await process.communicate()
    assert status.decode() in ("200", "201"), command


async def test_the_list_narrows_while_one_types(console: Console) -> None:
    await console.open("/ui/api")
    await console.page.keyboard.press("/")
    await console.page.keyboard.type("manifest")
    rows = console.page.locator("#operations tr[data-row]")
    await expect(rows).to_have_count(1)
    assert "/events/export" in await rows.inner_text()
    assert console.page.url.endswith("q=manifest")
