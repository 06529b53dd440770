"""What a command says when its output cannot be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [("--help",), ("mapping", "schema"), ("mapping", "coverage", "okta")])
def test_a_full_disk_behind_the_output_is_told_in_a_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "adapter", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "the output cannot be written: No space left on device\n"
