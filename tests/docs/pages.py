"""Pages read as people read them: their links, their files, and their commands, which are run."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parent.parent.parent
DOCS = TOP / "docs"

PAGES = [TOP / "README.md", TOP / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

#: The ports that pages show: the service's, and a receiver's.
PORTS = ("8282", "9292")

_FENCE = re.compile(r"^```(?P<language>\w*)(?: title=(?P<title>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``title`` names the file that it is."""

    language: str
    title: str | None
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(one["language"], one["title"], one["text"]) for one in _FENCE.finditer(page.read_text("utf-8"))]


def steps(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        size = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\\n"))
        yield "".join(lines[:size]).strip(), "".join(lines[size:])


class Follower:
    """Does what pages say, in a folder of its own; a service that they start runs until the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {shown: _free_port() for shown in PORTS}
        commands = folder / ".bin"
        commands.mkdir()
        for name, arguments in (("idp-adapter", "-m adapter"), ("python3", "")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            (commands / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("IDP_ADAPTER_")}
        self._environment = {
            **kept,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(TOP),
            "XDG_CONFIG_HOME": str(folder / ".config"),
            "IDP_ADAPTER_SERVER__PORT": self._ports[PORTS[0]],
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "TZ": "UTC",
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._shell = ""

    def follow(self, page: Path) -> None:
        """Write the page's files, run its commands, and hold what they print against what the page shows."""
        for block in blocks(page):
            if block.title is not None:
                self.write(block.title, block.text)
            elif block.language == "console":
                for command, shown in steps(block):
                    self._hold(command, self.run(command), shown)

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._here(text), "utf-8")

    def run(self, command: str) -> str:
        """What a command prints; one that assigns a variable is remembered, one that serves goes on."""
        # What make does before it starts the service, takes minutes and the network.
        command = command.replace("make run", "idp-adapter serve --examples")
        if command.startswith("idp-adapter serve") or command.endswith(" &"):
            return self._start(command.removesuffix(" &"))
        assigned = re.match(r"(?:export )?([A-Z_]+)=", command)
        if assigned is not None:
            # Its value is remembered, not the command: that would run once more before each one that follows.
            done = self._ran(f"{command}\ndeclare -p {assigned[1]}")
            assert done.returncode == 0, done.stderr.decode()
            self._shell += done.stdout.decode()
            return ""
        done = self._ran(command)
        return self._shown((done.stdout + done.stderr).decode())

    def close(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGINT)
        for process in self._running:
            try:
                process.wait(60)
            finally:
                process.kill()

    def _ran(self, command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{self._shell}{self._here(command)}"],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            timeout=120,
        )

    def _start(self, command: str) -> str:
        out = self.folder / f".out{len(self._running)}"
        with out.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self._here(command)}"],
                cwd=self.folder,
                env={**self._environment, "IDP_ADAPTER_LOG__LEVEL": "warning", "PYTHONUNBUFFERED": "1"},
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        ready = "Ctrl-C" if "serve" in command else "ready"
        deadline = time.monotonic() + 300
        while ready not in (said := out.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, f"{command}:\n{said}"
            time.sleep(0.05)
        return self._shown(said)

    def _hold(self, command: str, printed: str, shown: str) -> None:
        pattern = r"\s*".join(
            ".*?".join(re.escape(part) for part in line.strip().split("…"))
            for line in shown.splitlines()
            if line.strip()
        )
        if pattern:
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), (
                f"$ {command}\n{printed}\n--- the page shows\n{shown}"
            )

    def _here(self, text: str) -> str:
        for shown, port in self._ports.items():
            text = text.replace(shown, port)
        return text

    def _shown(self, text: str) -> str:
        for shown, port in self._ports.items():
            text = text.replace(port, shown)
        return text.replace(str(self.folder), "…")


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
