"""What the page says of the events of an action is what story.yaml says."""

from __future__ import annotations

import re

from tests.docs.pages import DOCS
from tests.keycloak.test_scenarios import TABLE

_ROW = re.compile(r"^\| (?P<steps>[^|]+) \| (?P<events>`(?:access|admin)\.[^|]+) \|$", re.MULTILINE)


def told(step: str) -> str:
    """The events of a step, by the newest server, as the page writes them."""
    return ", ".join(
        f"`{row['type']}`"
        + (f" ({row['reason']})" if "reason" in row else "")
        + (f" {row['times']} times" if "times" in row else "")
        for row in TABLE[step]
        if "before" not in row
    )


def test_the_page_says_which_events_an_action_gives() -> None:
    said = {
        step: row["events"]
        for row in _ROW.finditer((DOCS / "connect-keycloak.md").read_text("utf-8"))
        for step in row["steps"].split("; ")
    }
    assert said == {step: told(step) for step in said}
    kinds = {row["type"] for rows in TABLE.values() for row in rows if row["type"].startswith("access.")}
    assert {kind for events in said.values() for kind in re.findall(r"`(access[^`]+)`", events)} == kinds
