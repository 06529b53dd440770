"""The stories that each provider's own story example tells: ``python -m tests.people.golden`` writes them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.people.stories import Happening, Story, tell
from adapter.resources import mappings_path
from adapter.search_fields import search_fields

FOLDER = Path(__file__).parent / "golden"
PROVIDERS = sorted(path.parent.parent.name for path in mappings_path().glob("*/examples/01-story.yaml"))


@lru_cache
def catalogue() -> Catalogue:
    """That of the package."""
    return load_catalogue([mappings_path()])


def happening(uid: str, event: dict[str, Any], linked_by: str = "asked for") -> Happening:
    """One event of a timeline."""
    event = {**event, "source": {"receivedAt": 0, **event["source"]}}
    return Happening(uid, search_fields(orjson.dumps(event)), linked_by)


def happenings(provider: str) -> list[Happening]:
    """The events of a provider's story, in the order of time, numbered from 1 in that of the file."""
    with (mappings_path() / provider / "examples" / "01-story.yaml").open() as file:
        examples = yaml.safe_load(file)
    events: list[dict[str, Any]] = []
    for example in examples:
        expected = example["expect"]
        events += [one for one in (expected if isinstance(expected, list) else [expected]) if "type" in one]
    found = [happening(str(number), event) for number, event in enumerate(events, 1)]
    return sorted(found, key=lambda one: one.event.time)


def written(stories: list[Story]) -> str:
    """A line for each story: its kind, its events, its sentence, and how codes belong together."""
    lines = []
    for story in stories:
        uids = ",".join(one.uid for one in story.parts)
        ties = "".join(f" [code {one.made} shown in {one.shown}: {one.by}]" for one in story.ties)
        lines.append(f"{story.kind} {uids}: {story.sentence}{ties}\n")
    return "".join(lines)


def told(provider: str) -> str:
    return written(tell(happenings(provider), catalogue()))


if __name__ == "__main__":
    for name in PROVIDERS:
        (FOLDER / f"{name}.txt").write_text(told(name))
