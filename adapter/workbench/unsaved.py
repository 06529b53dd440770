"""Files of a table as somebody would have them: texts that stand for those on the disk, or take their places."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from adapter.mapping.document import Texts
from adapter.mapping.table import table_file
from adapter.resources import mappings_path

#: Characters of one text: many times what the largest table has.
TEXT_LIMIT = 1_000_000
#: Files that are sent at once.
FILES_LIMIT = 200

MAPPING, TYPES = "mapping.yaml", "types.yaml"

_NAME = re.compile(r"types\.yaml|examples/[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.yaml")


class Unsaved(BaseModel):
    """A table as it would be. What is not said stays as its files are."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"mapping": "extends: keycloak\nprovider: acme\ntitle: Acme\n"}]},
    )

    mapping: str | None = Field(None, max_length=TEXT_LIMIT, description="The text of mapping.yaml")
    files: dict[str, str | None] = Field(
        default_factory=dict,
        max_length=FILES_LIMIT,
        description="Texts of examples/NAME.yaml, and of the folder's types.yaml; null: there is to be no such file",
    )


def refuse_names(files: Mapping[str, str | None]) -> None:
    """Refuse files that a table has not.

    Raises:
        ValueError: says which, and what is right.
    """
    for name, text in files.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                f"files: {name[:150]!r} is no file of a table; there are {TYPES} and examples/NAME.yaml, with letters, "
                "digits, '.', '_' and '-' in NAME"
            )
        if text is not None and len(text) > TEXT_LIMIT:
            raise ValueError(f"files: {name} has more than {TEXT_LIMIT} characters")


def is_own(file: Path) -> bool:
    """Whether a table's file is a user's, and does not come with the adapter."""
    return file.parent.parent != mappings_path()


def place_of(folders: Sequence[Path], provider: str) -> Path:
    """The provider's file, or where it would be put: built-in tables are not changed but hidden by the user's own."""
    file = table_file(provider, folders)
    if file is None or not is_own(file):
        first = folders[0]
        file = (_own_folder() if first == mappings_path() else first) / provider / MAPPING
    return file


def _own_folder() -> Path:
    """The folder of a user's own tables that the settings do not name yet. In a checkout of the adapter ``mappings`` is
    that of the built-in ones."""
    own = Path("mappings")
    return Path("own-mappings") if own.resolve() == mappings_path().resolve() else own


def texts_of(folders: Sequence[Path], provider: str, unsaved: Unsaved, *, into: Path | None = None) -> Texts:
    """The files that this would be, by where they would stand: below ``into``, where the present ones are taken along,
    or else where the table lies."""
    present = table_file(provider, folders)
    home = place_of(folders, provider).parent if into is None else into / provider
    texts: dict[Path, str | None] = {}
    if present is not None and is_own(present) and present.parent != home:
        for name, file in _files(present.parent).items():
            if name != TYPES:
                texts[home / name] = _text(file)
    if unsaved.mapping is not None:
        texts[home / MAPPING] = unsaved.mapping
    for name, text in unsaved.files.items():
        texts[(home.parent if name == TYPES else home) / name] = text
    return texts


def texts_without(folder: Path) -> Texts:
    """The files of a table's folder, as if they were not there."""
    return {file: None for name, file in _files(folder).items() if name != TYPES}


def present_texts(folders: Sequence[Path], provider: str, *, into: Path | None = None) -> dict[str, str]:
    """The texts of a table's files by name, and of the ``types.yaml`` beside its folder, or in ``into`` if tables are
    saved there; empty if there is no table."""
    file = table_file(provider, folders)
    if file is None:
        return {}
    # Types of one's own lie where a table of one's own would.
    files = {**_files(file.parent), TYPES: (into or place_of(folders, provider).parent.parent) / TYPES}
    return {name: _text(one) for name, one in files.items() if one.is_file()}


def version_of(texts: Mapping[str, str]) -> str:
    """Stands for these texts: another one if any of them is another."""
    parts = [part for name in sorted(texts) for part in (name, texts[name])]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _files(folder: Path) -> dict[str, Path]:
    examples = {f"examples/{file.name}": file for file in sorted((folder / "examples").glob("*.yaml"))}
    return {MAPPING: folder / MAPPING, TYPES: folder.parent / TYPES, **examples}


def _text(file: Path) -> str:
    # As it is: a text that is no UTF-8, or has breaks of another system, has a version, too.
    return file.read_bytes().decode("utf-8", "surrogateescape")
