"""What the console's pages use of others is what was published, with its licences, and can be made again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parent.parent.parent
VENDOR = TOP / "adapter" / "console" / "vendor"


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    """Files and packages, as vendor.json has them."""
    found: dict[str, Any] = json.loads((VENDOR / "vendor.json").read_text())
    return found


def test_each_file_is_listed_with_its_hash(listed: dict[str, Any]) -> None:
    made = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in VENDOR.glob("*.min.*")}
    assert made == {name: file["sha256"] for name, file in listed["files"].items()}


def test_each_package_has_one_exact_version_and_a_licence_that_lets_us_hand_it_on(listed: dict[str, Any]) -> None:
    wanted = json.loads((VENDOR / "package.json").read_text())["dependencies"]
    assert {name: one["version"] for name, one in listed["packages"].items()} == wanted
    assert {one["license"] for one in listed["packages"].values()} <= {"MIT", "0BSD", "BSD-2-Clause", "ISC"}
    texts = (VENDOR / "LICENSES.txt").read_text()
    for name, one in listed["packages"].items():
        assert f"{name} {one['version']} ({one['license']})\n" in texts


def test_no_file_asks_the_network_for_anything() -> None:
    for file in VENDOR.glob("*.min.*"):
        text = file.read_text()
        assert "sourceMappingURL" not in text
        assert "@import" not in text
        assert 'from"http' not in text
        assert "import(" not in text


@pytest.mark.heavy
def test_it_can_be_made_again_byte_for_byte(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (Debian: apt-get install npm)")
    shutil.copy(VENDOR / "package.json", tmp_path)
    install = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
    if "ENOTFOUND" in installed.stderr or "ECONNREFUSED" in installed.stderr:
        pytest.skip("npm reaches no registry")
    assert installed.returncode == 0, installed.stderr
    made = tmp_path / "made"
    made.mkdir()
    subprocess.run(["node", VENDOR / "build.mjs", tmp_path / "node_modules", made], check=True)
    assert {file.name for file in made.iterdir()} == {
        "LICENSES.txt",
        "vendor.json",
        *(f.name for f in VENDOR.glob("*.min.*")),
    }
    for file in made.iterdir():
        assert file.read_bytes() == (VENDOR / file.name).read_bytes()
