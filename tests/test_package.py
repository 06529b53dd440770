"""What is built is what was written: the wheel, installed elsewhere, is the whole program."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.opened import login

TOP = Path(__file__).parent.parent


def test_every_package_is_in_the_wheel() -> None:
    listed = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = [".".join(file.parent.relative_to(TOP).parts) for file in (TOP / "adapter").rglob("__init__.py")]
    assert sorted(listed) == sorted([*found, "adapter._mappings", "adapter._schemas"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = folder / "wheels"
    source = folder / "source"
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

    home = folder / "environment"
    venv.create(home)
    pip += ["--python", str(home / "bin" / "python")]
    subprocess.run([sys.executable, *pip, "install", "--no-deps", "--no-compile", wheel], check=True)
    # What it needs, by its own word, is the same as here: to fetch, unpack and compile it once more takes a minute.
    [packages] = home.glob("lib/python*/site-packages")
    [built] = distributions(name="idp-event-adapter", path=[str(packages)])
    for needed in needs(built):
        for name in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            if not (packages / name).exists():
                (packages / name).symlink_to(str(needed.locate_file(name)))
    subprocess.run([sys.executable, *pip, "check"], check=True)
    return home


def needs(one: Distribution, extras: Iterable[str] = ("",), known: set[str] | None = None) -> Iterator[Distribution]:
    """The distributions that one requires, as they are installed here, and those that these require."""
    known = set() if known is None else known
    for text in one.requires or ():
        required = Requirement(text)
        if required.marker is not None and not any(required.marker.evaluate({"extra": extra}) for extra in extras):
            continue
        if str(required) not in known:
            known.add(str(required))
            found = distribution(required.name)
            yield found
            yield from needs(found, ["", *required.extras], known)


def bare(**more: str) -> dict[str, str]:
    """This environment without what is set for tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("IDP_ADAPTER_")}
    return {**inherited, "PYTHONPATH": "", **more}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def announced(data: Path) -> str:
    """The address of the service with this data folder, once it serves."""
    announcement = data / "service.json"
    for _ in range(600):
        if announcement.exists():
            break
        time.sleep(0.1)
    return str(json.loads(announcement.read_text())["url"])


@pytest.mark.heavy
def test_the_wheel_in_a_fresh_environment_serves(home: Path, tmp_path: Path) -> None:
    command = home / "bin" / "idp-adapter"
    environment = bare()

    checked = subprocess.run(
        [command, "mapping", "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "keycloak" in checked.stdout

    with subprocess.Popen(
        [command, "serve", "--port", "0", "--data", "data"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            url = announced(tmp_path / "data")
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


#: Makes the file system read-only but for two folders, takes all rights away, and runs the rest.
CONFINED = """
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t tmpfs tmpfs "$2"
mount -o remount,bind,ro /
shift 2
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of the last stage of a Dockerfile and their arguments."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE))
    found = [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]
    last = max(number for number, (word, *_) in enumerate(found) if word == "FROM")
    return [(word, rest) for word, rest in found[last:]]


@pytest.mark.heavy
def test_what_the_image_says_serves_on_a_read_only_file_system(home: Path, tmp_path: Path) -> None:
    """The image's variables, command and health check, without any right, as compose.yaml confines them."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    image = instructions(TOP / "docker" / "Dockerfile")
    said = dict(image)
    assert said["USER"].isdecimal(), "Kubernetes takes no name for 'not root'"
    assert said["VOLUME"] == said["WORKDIR"] == "/data"
    data, temporary = tmp_path / "data", tmp_path / "tmp"
    data.mkdir()
    temporary.mkdir()
    port = free_port()
    variables = dict(word.split("=", 1) for word in said["ENV"].split())
    assert variables.pop("PATH").startswith("/opt/adapter/bin:")
    environment = {
        **bare(),
        **{name: value.replace("/data", str(data)) for name, value in variables.items()},
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "IDP_ADAPTER_SERVER__BEHIND_TLS": "true",
        "IDP_ADAPTER_SERVER__PORT": str(port),
    }
    command = [*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])]
    check = json.loads(said["HEALTHCHECK"].partition("CMD")[2].replace(said["EXPOSE"], str(port)))
    confined = ["unshare", "--mount", "sh", "-euc", CONFINED, "sh", str(data), str(temporary)]
    with subprocess.Popen([*confined, *command], cwd=data, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            announced(data)
            checked = subprocess.run([*confined, *check], cwd=data, env=environment, check=False, timeout=60)
            assert checked.returncode == 0
            tokens = json.loads((data / "tokens.json").read_text())
            request = urllib.request.Request(f"http://127.0.0.1:{port}/events")
            request.add_header("Authorization", f"Bearer {tokens['admin']}")
            with urllib.request.urlopen(request, timeout=30) as response:
                assert response.status == 200
        finally:
            process.terminate()
            assert process.wait(60) == 0
