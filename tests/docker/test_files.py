"""What docker/ holds is what Docker and Compose understand, and says of its services what it should.

No Docker runs here: the files are held against the linter of images and the schema of the Compose specification, and
what they start is started by tests/test_package.py and tests/keycloak.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent.parent.parent / "docker"
COMPOSE = sorted(FOLDER.glob("compose*.yaml"))
DOCKERFILES = sorted(FOLDER.rglob("Dockerfile"))
SERVICES = [
    pytest.param(file, name, id=f"{file.name}:{name}")
    for file in COMPOSE
    for name in yaml.safe_load(file.read_text())["services"]
]


def service(file: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())["services"][name]
    return found


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_the_linter_finds_nothing_in_a_dockerfile(file: Path) -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not published for this machine")
    done = subprocess.run([linter, "--no-color", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_files_keep_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_what_a_service_names_is_there(file: Path, name: str) -> None:
    one = service(file, name)
    whole = yaml.safe_load(file.read_text())
    for volume in one.get("volumes", ()):
        source = volume.split(":")[0]
        assert (FOLDER / source).is_file() if source.startswith(".") else source in whole["volumes"]
    assert set(one.get("depends_on", ())) <= set(whole["services"])
    build = one.get("build")
    if build is not None:
        assert (FOLDER / build["context"] / build.get("dockerfile", "Dockerfile")).is_file()


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_no_port_is_open_to_other_machines(file: Path, name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service(file, name).get("ports", ()))


@pytest.mark.parametrize(
    ("file", "name"),
    [one for one in SERVICES if one.values[1] != "keycloak"],  # Keycloak writes into its own folders
)
def test_what_runs_our_image_has_no_rights_and_a_read_only_file_system(file: Path, name: str) -> None:
    one = service(file, name)
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_no_secret_stands_in_a_file() -> None:
    realm = json.loads((FOLDER / "keycloak" / "realm.json").read_text())
    assert [one["secret"] for one in realm["clients"] if "secret" in one] == ["${EVENT_READER_SECRET}"]
    settings = tomllib.loads((FOLDER / "keycloak" / "adapter.toml").read_text())
    sections = [*settings["keys"], *settings["sources"], *settings["sinks"], settings["sources"][0]["pull"]]
    for section in sections:
        assert not {"token", "secret", "client_secret"} & set(section)


def test_secrets_are_made_once_and_differ(tmp_path: Path) -> None:
    script = FOLDER / "keycloak" / "make_secrets.py"
    made = []
    for _ in range(2):
        subprocess.run([sys.executable, script, tmp_path], check=True)
        made.append({file.name: file.read_text() for file in tmp_path.iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == {"webhook", "event-reader", "feed", "keycloak-admin", "receiver"}
    assert len(set(made[0].values())) == len(made[0])
    assert made[0]["receiver"].startswith("whsec_")
