"""Tables that are saved into a log which several services share, so that all of them have the same ones.

Each text is a note by its digest, which never changes. One more note, the index, says which files there are, and of
which texts: whoever replaces it has saved. Each service holds the files in a folder, which is made from them.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from adapter.errors import NoteChanged, StoreError
from adapter.log.protocol import Note, Notes
from adapter.tables.saved import Change, read_text, write_text
from adapter.tasks import in_background

#: Under which name the log keeps the index, and what the names of texts begin with.
NOTE, TEXT = "mappings", "mapping-text "
#: Seconds between two looks at the index.
EVERY = 2.0

_log = structlog.get_logger("adapter.mapping")


class Index(msgspec.Struct, frozen=True):
    """Which files there are."""

    #: Digest of each file's text, by its path below the folder.
    files: dict[str, str] = {}


_decode = msgspec.json.Decoder(Index).decode


class SharedFiles:
    """Saves into the notes of a log; see `adapter.tables.saved.SavedFiles`."""

    def __init__(self, notes: Notes, folder: Path) -> None:
        """``folder``: where the files are held for this service; nothing else may lie in it."""
        self.into: Path = folder.absolute()
        self._notes = notes
        self._index = Index()
        self._version = 0
        self._turn = asyncio.Lock()

    async def refresh(self) -> Sequence[str]:
        """See `SavedFiles`; also puts the folder right."""
        async with self._turn:
            note = await self._notes.noted(NOTE)
            if note is None:
                return await asyncio.to_thread(_put, self.into, {}, {})
            if note.version == self._version:
                return ()
            try:
                index = _decode(note.text)
            except msgspec.MsgspecError:
                raise StoreError(f"the note {NOTE!r} of the log is not one that this version reads") from None
            changed = await self._put(index)
            self._index, self._version = index, note.version
            return changed

    async def save(self, change: Change) -> None:
        """See `SavedFiles`."""
        async with self._turn:
            files = dict(self._index.files)
            for file, text in change.texts.items():
                name = str(file.relative_to(self.into))
                if text is None:
                    files.pop(name, None)
                    continue
                files[name] = digest = _digest(text)
                with suppress(NoteChanged):  # it is there
                    await self._notes.keep(Note(TEXT + digest, text, 1))
            index = Index(files)
            await self._notes.keep(Note(NOTE, msgspec.json.encode(index).decode(), self._version + 1))
            await self._put(index)
            self._index, self._version = index, self._version + 1

    async def _put(self, index: Index) -> Sequence[str]:
        """Make the folder from an index; see `_put`."""
        present = await asyncio.to_thread(_digests, self.into)
        texts: dict[str, str] = {}
        for name, digest in index.files.items():
            if present.get(name) != digest:
                note = await self._notes.noted(TEXT + digest)
                if note is None:
                    raise StoreError(f"the log has no text for {name}, which it says was saved")
                texts[name] = note.text
        return await asyncio.to_thread(_put, self.into, index.files, texts)


@asynccontextmanager
async def followed(shared: SharedFiles, reload: Callable[[Sequence[str]], Awaitable[None]]) -> AsyncIterator[None]:
    """What others save is taken up while the context lasts: ``reload`` is told whose files are others now."""

    async def follow() -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                if changed := await shared.refresh():
                    await reload(changed)
            except (StoreError, OSError) as error:
                _log.warning("saved_tables_unknown", problem=str(error))

    async with in_background(follow(), "saved-tables"):
        yield


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def _digests(folder: Path) -> dict[str, str]:
    texts = {str(file.relative_to(folder)): read_text(file) for file in _files(folder)}
    return {name: _digest(text) for name, text in texts.items() if text is not None}


def _put(folder: Path, files: Mapping[str, str], texts: Mapping[str, str]) -> Sequence[str]:
    """Write the texts, and remove what is none of the files; the providers that differ, or ``types.yaml``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    changed = {name.split("/")[0] for name in texts}
    # Tables last: what they rest on is there by then.
    for name in sorted(texts, key=lambda one: one.endswith("/mapping.yaml")):
        write_text(folder / name, texts[name])
    for file in _files(folder):
        name = str(file.relative_to(folder))
        if name not in files:
            changed.add(name.split("/")[0])
            file.unlink()
    kept = {name.split("/")[0] for name in files}
    for one in folder.iterdir():
        if one.is_dir() and one.name not in kept:
            shutil.rmtree(one, ignore_errors=True)
    return sorted(changed)
