"""Kinds of something: files of a folder, each found by its name. A new one is one file; nothing else knows of it."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

#: Files that say what all kinds have in common.
_COMMON = {"protocol", "settings"}


class Kinds:
    """The kinds that a package holds."""

    def __init__(self, package: ModuleType, maker: str, what: str) -> None:
        """A kind is a file of ``package`` that defines the function ``maker``. ``what`` it is, for messages: ``kind of
        sink``."""
        self._package = package
        self._maker = maker
        self._what = what

    def names(self) -> list[str]:
        """All of them."""
        return list(_find(tuple(self._package.__path__), self._maker))

    def load(self, name: str) -> ModuleType:
        """The file of one.

        Raises:
            ValueError: there is no such one; the text names those there are.
        """
        if name not in self.names():
            raise ValueError(f"no {self._what} is called {name!r}; there are: {', '.join(self.names())}")
        return import_module(f"{self._package.__name__}.{name}")


@cache
def _find(folders: tuple[str, ...], maker: str) -> tuple[str, ...]:
    """Names of the files that define a function."""
    defines = re.compile(rf"^(async )?def {maker}\(", re.MULTILINE)
    files = [file for folder in folders for file in Path(folder).glob("[a-z]*.py") if file.stem not in _COMMON]
    return tuple(sorted(file.stem for file in files if defines.search(file.read_text("utf-8"))))
