"""Pages hold what the program has: links lead somewhere, and nothing that people use is left unsaid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapter.docs.commands import commands
from adapter.docs.settings import fields
from adapter.filter import PARAMETERS
from adapter.settings import Permission
from adapter.sinks.settings import KINDS
from tests.docs.pages import DOCS, PAGES, TOP
from tests.opened import login, opened

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link to a part of the page may name, as GitHub makes it of headings."""
    headings = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(page.read_text("utf-8"))]
    return {heading.replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        if target.startswith(("https://", "http://")):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [TOP / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = [link.partition("#")[0] for link in _LINK.findall(page.read_text("utf-8"))]
        waiting += [(page.parent / link).resolve() for link in links if link and ":" not in link]
    assert set(PAGES) - reached == set()


def test_every_setting_is_on_its_page() -> None:
    page = (DOCS / "settings.md").read_text("utf-8")
    assert [field for field in fields() if f"| `{field[1]}` |" not in page] == []


@pytest.mark.parametrize("kind", KINDS.names())
def test_every_kind_of_sink_has_its_part(kind: str) -> None:
    assert kind in anchors(DOCS / "sinks.md")


@pytest.mark.parametrize("permission", Permission)
def test_every_permission_is_explained(permission: str) -> None:
    assert f"\n| `{permission}` | " in (DOCS / "secure.md").read_text("utf-8")


def test_every_command_is_on_its_page() -> None:
    page = (DOCS / "command-line.md").read_text("utf-8")
    assert [name for name, _ in commands() if f"## `idp-adapter {name}`" not in page] == []


async def test_every_parameter_of_the_feed_is_on_its_page(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as service:
        _, document = await service.get("/openapi.json")
    operations = [document["paths"][path]["get"] for path in ("/events", "/events/export", "/events/{uid}")]
    names = {one["name"] for operation in operations for one in operation["parameters"] if one["in"] == "query"}
    page = (DOCS / "read-the-feed.md").read_text("utf-8")
    assert names >= set(PARAMETERS)
    assert sorted(name for name in names if not re.search(rf"`{name}[`=]", page)) == []


async def test_every_metric_is_on_its_page(tmp_path: Path) -> None:
    sink = {"name": "file", "kind": "file", "path": tmp_path / "out"}
    async with opened(tmp_path / "data", sinks=[sink]) as service:
        await service.post([login(1), {"type": "login please"}])
        async with service.session.get("/metrics") as response:
            text = await response.text()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    pages = (DOCS / "operate.md").read_text("utf-8")
    assert len(names) > 20
    assert sorted(name for name in names if f"`{name}`" not in pages) == []


async def test_every_path_is_on_some_page(tmp_path: Path) -> None:
    async with opened(tmp_path / "data") as service:
        _, document = await service.get("/openapi.json")
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    # Whatever there is below /auth is there without it, too.
    paths = [path.removeprefix("/auth") for path in document["paths"]]
    spoken = [re.sub("{source}|{provider}", "NAME", path).replace("{uid}", "UID") for path in paths]
    assert [path for path in spoken if path not in pages] == []
