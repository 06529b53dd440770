"""Damage to a log's file: which page belongs to which table, and pages that are overwritten."""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from pathlib import Path

PAGE = 4096


def pages_of(path: Path) -> dict[str, list[int]]:
    """The pages of each table and index of a log that is closed, its root first; overflow pages included."""
    connection = sqlite3.connect(path)
    try:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0"))
    finally:
        connection.close()
    content = path.read_bytes()
    found: dict[str, list[int]] = defaultdict(list)
    for name, root in roots.items():
        waiting = [root]
        while waiting:
            number = waiting.pop()
            found[name].append(number)
            page = content[(number - 1) * PAGE : number * PAGE]
            start = 100 if number == 1 else 0
            kind = page[start]
            if kind in (2, 5):
                cells = int.from_bytes(page[start + 3 : start + 5], "big")
                waiting.append(int.from_bytes(page[start + 8 : start + 12], "big"))
                for cell in range(cells):
                    at = int.from_bytes(page[start + 12 + 2 * cell : start + 14 + 2 * cell], "big")
                    waiting.append(int.from_bytes(page[at : at + 4], "big"))
    return found


def overwrite(path: Path, pages: list[int], chance: random.Random) -> None:
    """Put noise in the place of pages."""
    with path.open("r+b") as file:
        for number in pages:
            file.seek((number - 1) * PAGE)
            file.write(chance.randbytes(PAGE))


def overwrite_some(path: Path, share: float, chance: random.Random) -> None:
    """Put noise in the place of this share of all pages, wherever they are."""
    count = path.stat().st_size // PAGE
    overwrite(path, chance.sample(range(1, count + 1), int(count * share)), chance)
