"""Files of users' own tables, saved: all of one change or nothing, whatever happens meanwhile.

A change is written down as a whole in the data folder first, in one file that is renamed into its place. From then on
it has happened: a start puts in place what a crash left undone. Afterwards that file is kept, with the texts of before.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, Field, ValidationError

from adapter.errors import ConfigError


@dataclass(frozen=True)
class Change:
    """A change of one provider's files, and who made it."""

    provider: str
    by: str
    #: Texts by where they are to stand; ``None``: there is to be no such file.
    texts: Mapping[Path, str | None]


class SavedFiles(Protocol):
    """Where tables are saved."""

    @property
    def into(self) -> Path | None:
        """The one folder below which they stand; ``None``: a table stays in the folder where it lies."""

    async def refresh(self) -> Sequence[str]:
        """Take up what others have saved meanwhile; the providers whose files are others now, ``types.yaml`` among
        them.

        Raises:
            StoreError: it is not known.
        """

    async def save(self, change: Change) -> None:
        """Save a change: all of it, or nothing.

        Raises:
            NoteChanged: somebody else has saved something since the last refresh; nothing was saved.
            StoreError: as `adapter.log.protocol.Notes.keep`.
            OSError: a file cannot be written.
        """


class Journal(BaseModel):
    """A change, as it is written down."""

    provider: str
    by: str
    at: int = Field(description="Epoch milliseconds")
    texts: dict[Path, str | None]
    #: The texts of the same files before.
    before: dict[Path, str | None]


class FolderFiles:
    """Saves into the folders of this machine; see `SavedFiles`."""

    into: Path | None = None

    def __init__(self, data: Path) -> None:
        """``data``: the data folder."""
        self._data = data

    async def refresh(self) -> Sequence[str]:
        """See `SavedFiles`; a folder is watched by itself."""
        return ()

    async def save(self, change: Change) -> None:
        """See `SavedFiles`."""
        await asyncio.to_thread(self._save, change)

    def _save(self, change: Change) -> None:
        finish_saving(self._data)  # what could not be put in place then
        before = {file: read_text(file) for file in change.texts}
        at = time.time_ns() // 1_000_000
        texts = dict(change.texts)
        journal = Journal(provider=change.provider, by=change.by, at=at, texts=texts, before=before)
        # So that what cannot be written is known before it is said to have happened.
        for file, text in texts.items():
            if text is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                _write(_beside(file), text)
        write_text(_journal(self._data), journal.model_dump_json())
        finish_saving(self._data)


def finish_saving(data: Path) -> str | None:
    """Put in place what the journal in a data folder says, if there is one; the provider.

    Raises:
        ConfigError: it cannot be read, or not be put in place; says what to do.
    """
    file = _journal(data)
    try:
        journal = Journal.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{file}: cannot be read ({type(error).__name__}); remove it, and look at the tables"
        ) from None
    try:
        # The table last: it is what others look for.
        for place in sorted(journal.texts, key=lambda one: one.name == "mapping.yaml"):
            text = journal.texts[place]
            if text is None:
                place.unlink(missing_ok=True)
            else:
                write_text(place, text)
        kept = data / "saved" / f"{journal.provider}.json"
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        file.replace(kept)
        _sync(data)
    except OSError as error:
        problem = f"{error.filename}: cannot be written: {error.strerror}"
        raise ConfigError(f"{problem}; a table was being saved there: make room for it, or remove {file}") from None
    return journal.provider


def write_text(file: Path, text: str) -> None:
    """Write a file as a whole, in the place of the one that is there; on the disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(file)
    _write(new, text)
    if file.exists():
        shutil.copymode(file, new)
    new.replace(file)
    _sync(file.parent)


def read_text(file: Path) -> str | None:
    """The text of a file; ``None`` if there is none."""
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _journal(data: Path) -> Path:
    return data / "saving.json"


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.new")


def _write(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
