"""What pages say is done as they say it, and prints what they show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, Follower

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
@pytest.mark.parametrize("name", ["quick-start.md", "write-a-mapping.md", "read-the-feed.md", "sinks.md", "operate.md"])
def test_a_page_does_what_it_says(follower: Follower, name: str) -> None:
    follower.follow(DOCS / name)
