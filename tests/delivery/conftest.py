from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapter.log.protocol import Log
from adapter.log.sqlite import open_sqlite_log


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[Log]:
    async with open_sqlite_log(tmp_path / "log.sqlite", dictionary=b"") as log:
        yield log
