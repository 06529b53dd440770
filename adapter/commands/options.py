"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path | None, typer.Option("--config", help="Settings file; default: adapter.toml if it is there.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; default: as in the settings.")]
