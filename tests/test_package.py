"""What is built is what was written: the wheel, installed elsewhere, is the whole program."""

import json
import os
import subprocess
import sys
import time
import tomllib
import urllib.request
import venv
from pathlib import Path

import pytest

from tests.opened import login

TOP = Path(__file__).parent.parent


def test_every_package_is_in_the_wheel() -> None:
    listed = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [".".join(file.parent.relative_to(TOP).parts) for file in (TOP / "adapter").rglob("__init__.py")]
    assert sorted(listed) == sorted([*found, "adapter._mappings", "adapter._schemas"])


@pytest.mark.heavy
def test_the_wheel_in_a_fresh_environment_serves(tmp_path: Path) -> None:
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = tmp_path / "wheels"
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=TOP, capture_output=True, text=True
    )
    assert files.returncode == 0, files.stderr
    for name in files.stdout.splitlines():
        if name.startswith(("adapter/", "mappings/", "schemas/", "pyproject.toml", "README.md")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((TOP / name).read_bytes())
    subprocess.run([sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", wheels, source], check=True)
    [wheel] = wheels.glob("*.whl")

    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    subprocess.run([home / "bin" / "python", *pip, "install", wheel], check=True)
    command = home / "bin" / "idp-adapter"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IDP_ADAPTER_")}
    environment["PYTHONPATH"] = ""

    checked = subprocess.run(
        [command, "mapping", "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "keycloak" in checked.stdout

    with subprocess.Popen(
        [command, "serve", "--port", "0", "--data", "data"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            announcement = tmp_path / "data" / "service.json"
            for _ in range(600):
                if announcement.exists():
                    break
                time.sleep(0.1)
            url = json.loads(announcement.read_text())["url"]
            with urllib.request.urlopen(f"{url}/readyz", timeout=10) as response:
                assert response.status == 200
            tokens = json.loads((tmp_path / "data" / "tokens.json").read_text())
            request = urllib.request.Request(f"{url}/ingest/keycloak", data=json.dumps(login(1)).encode())
            request.add_header("Authorization", f"Bearer {tokens['sources']['keycloak']}")
            request.add_header("Content-Type", "application/json")
            with urllib.request.urlopen(request, timeout=10) as response:
                assert response.status == 202
            request = urllib.request.Request(f"{url}/events")
            request.add_header("Authorization", f"Bearer {tokens['admin']}")
            with urllib.request.urlopen(request, timeout=30) as response:
                [event] = json.loads(response.read())["events"]
            assert event["type"] == "access.LOGIN"
        finally:
            process.terminate()
            assert process.wait(60) == 0
