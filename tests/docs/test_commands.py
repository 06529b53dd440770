"""What pages say is done as they say it, and prints what they show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, TOP, Follower, blocks

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None, reason="the pages' commands need curl and bash"
)


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    follower = Follower(tmp_path)
    try:
        yield follower
    finally:
        follower.close()


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "docs/export.md",
        "docs/extend-mappings.md",
        "docs/map-log-lines.md",
        "docs/move-from-phasetwo.md",
        "docs/operate.md",
        "docs/quick-start.md",
        "docs/read-the-feed.md",
        "docs/sinks.md",
        "docs/write-a-mapping.md",
    ],
)
def test_a_page_does_what_it_says(follower: Follower, name: str) -> None:
    follower.follow(TOP / name)


@pytest.mark.heavy
def test_the_command_of_each_provider_stores_its_event(follower: Follower) -> None:
    follower.run("idp-adapter serve")
    tokens = json.loads((follower.folder / "adapter-data" / "tokens.json").read_text())["sources"]
    for page in sorted((DOCS / "providers").glob("[!R]*.md")):
        [event, *_] = [block.text for block in blocks(page) if block.language == "json"]
        [command] = [block.text for block in blocks(page) if block.language == "sh"]
        follower.write("event.json", event)
        answer = follower.run(command.replace("TOKEN", tokens[page.stem]).strip() + " --silent")
        assert json.loads(answer)["accepted"] == 1, f"{page.name}: {answer}"
