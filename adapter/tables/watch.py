"""The folders of tables, looked at now and then: what changed there is taken up without a word from anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from adapter.tables.in_use import Tables
from adapter.tasks import in_background

_log = structlog.get_logger("adapter.mapping")

#: Stands for ``types.yaml`` beside the names of providers.
_TYPES = ""

#: What is remembered of a file to notice a change: its name, inode, size, and time of change in nanoseconds.
Mark = tuple[str, int, int, int]


@asynccontextmanager
async def watched(tables: Tables, known: Mapping[str, frozenset[Mark]], *, every: float) -> AsyncIterator[None]:
    """Keep tables up with their files while the context lasts. ``known``: the files as `look` found them before the
    tables were read, so that nothing changes unseen in between; ``every``: seconds between two looks; 0 for none."""
    if not every:
        yield
        return
    async with in_background(_watch(tables, known, every), "tables"):
        yield


async def _watch(tables: Tables, known: Mapping[str, frozenset[Mark]], every: float) -> None:
    last = known
    while True:
        await asyncio.sleep(every)
        try:
            now = await asyncio.to_thread(look, tables.folders)
            # What differs from look to look is still being written; files of one change are taken up together.
            settled = now == last
            last = now
            if settled and now != known:
                changed = {name for name in {*known, *now} if known.get(name) != now.get(name)}
                known = now
                await tables.reload(None if _TYPES in changed else changed)
        except Exception:  # the watch goes on, whatever one look meets
            _log.exception("table_look_failed")


def look(folders: Sequence[Path]) -> dict[str, frozenset[Mark]]:
    """The files behind each provider's table, its examples included, and behind the catalogue."""
    found: dict[str, set[Mark]] = {}
    for folder in folders:
        for pattern in ("types.yaml", "*/mapping.yaml", "*/examples/*.yaml"):
            for file in folder.glob(pattern):
                parts = file.relative_to(folder).parts
                with suppress(OSError):  # gone since
                    state = file.stat()
                    mark = (str(file), state.st_ino, state.st_size, state.st_mtime_ns)
                    found.setdefault(parts[0] if len(parts) > 1 else _TYPES, set()).add(mark)
    return {name: frozenset(marks) for name, marks in found.items()}
