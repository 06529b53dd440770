"""Where the data that ships with the package lies: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def mappings_path() -> Path:
    """Folder of the built-in mapping tables and of ``types.yaml``."""
    return _find("mappings")


def schemas_path() -> Path:
    """Folder of the JSON Schemas."""
    return _find("schemas")


def _find(name: str) -> Path:
    inside = _PACKAGE / f"_{name}"
    return inside if inside.is_dir() else _PACKAGE.parent / name
