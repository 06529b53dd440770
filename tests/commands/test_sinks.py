"""``idp-adapter sinks`` against a real service: what it shows, and that files of sinks are applied as they say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from adapter.commands.sinks import _show_all
from adapter.sink_management.written import as_toml, difference
from tests.commands.remote import Machine, Said
from tests.e2e.process import until
from tests.e2e.receiver import Receiver, receiver
from tests.opened import Opened, login, opened

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Opened]:
    async with opened(tmp_path / "data", outgoing={"allow": ["127.0.0.0/8"]}) as one:
        yield one


class Shell:
    """Commands that ask one service."""

    def __init__(self, machine: Machine, service: Opened) -> None:
        self._machine = machine
        self._service = service

    async def __call__(self, *words: str | Path, status: int = 0, input: str | None = None, **more: str) -> Said:
        environment = {"URL": self._service.service.url, "TOKEN": self._service.service.admin_token, **more}
        said = await self._machine.run("sinks", *words, input=input, **environment)
        assert said.status == status, said
        return said


@pytest.fixture
def sinks(tmp_path: Path, service: Opened, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(Machine(tmp_path / "config"), service)


def lines(said: Said) -> list[str]:
    """What a command wrote, without the log of the service, which runs in the same process here."""
    return [line for line in said.output.splitlines() if not line[:4].isdigit()]


def url(hook: Receiver) -> str:
    return f"http://127.0.0.1:{hook.port}/"


async def test_a_sink_lives_from_create_to_delete(sinks: Shell, hook: Receiver) -> None:
    assert "there are no sinks" in (await sinks("list")).output
    made = await sinks("create", "soc", "--to", url(hook), "--filter", "type=access.*", "--set", "window=4")
    assert "its secret, shown this once: whsec_" in made.output
    listed = (await sinks("list")).output
    assert "soc" in listed
    assert "log" in listed
    shown = (await sinks("show", "soc")).output
    assert tomllib.loads(shown[shown.index("[[sinks]]") :])["sinks"] == [
        {
            "name": "soc",
            "kind": "webhook",
            "url": url(hook),
            "filter": {"type": ["access.*"]},
            "secret": ["<kept>"],
            "window": 4,
        }
    ]
    assert "delivered after" in (await sinks("test", "soc")).output
    assert "soc: changed" in (await sinks("change", "soc", "--unset", "window", "--set", "timeout=3")).output
    assert "whsec_" in (await sinks("rotate", "soc", "--overlap", "10min")).output
    assert "1 replaced secret signs, too" in (await sinks("show", "soc")).output
    assert "paused" in (await sinks("pause", "soc")).output
    assert "running" in (await sinks("resume", "soc")).output
    assert "deleted" in (await sinks("delete", "soc", "--yes")).output
    assert "There is no sink 'soc'" in (await sinks("show", "soc", status=1)).error


async def test_settings_are_checked_before_they_are_saved(sinks: Shell, hook: Receiver) -> None:
    assert "delivered after" in (await sinks("check", "--to", url(hook))).output
    hook.status = 403
    said = await sinks("check", "--to", url(hook), status=1)
    assert "403" in said.output
    assert "window: Input should be" in (await sinks("check", "--to", url(hook), "--set", "window=0", status=1)).error
    assert json.loads((await sinks("list", "--json")).output)["sinks"] == []


FILE = """
[[sinks]]
name = "soc"
kind = "webhook"
url = "{url}"
secret = "${{SOC_SECRET}}"

[[sinks]]
name = "archive"
kind = "webhook"
url = "{url}a"
filter = {{ type = ["admin.*"] }}
"""


async def test_a_file_is_applied_with_what_differs_shown_and_twice_is_once(
    sinks: Shell, hook: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sinks.toml"
    file.write_text(FILE.format(url=url(hook)))
    assert "SOC_SECRET} stands for a variable" in (await sinks("apply", file, status=1)).error
    monkeypatch.setenv("SOC_SECRET", SECRET)
    said = await sinks("apply", file, "--dry-run")
    assert "+ soc" in said.output
    assert SECRET not in said.output
    assert "nothing was done" in (await sinks("apply", file, status=1)).error
    assert json.loads((await sinks("list", "--json")).output)["sinks"] == []
    said = await sinks("apply", file, "--yes")
    assert "sink soc: made" in said.output
    assert said.output.count("shown this once") == 1
    assert (await sinks("apply", file, "--yes")).output.strip() == "nothing to do"
    file.write_text(file.read_text().replace("admin.*", "access.*") + "window = 2\n")
    said = await sinks("apply", file, "--yes")
    assert lines(said) == [
        "~ archive",
        '  - filter = { type = ["admin.*"] }',
        '  + filter = { type = ["access.*"] }',
        "  + window = 2",
        "sink archive: changed",
    ]


async def test_what_was_exported_applies_to_nothing_new(sinks: Shell, hook: Receiver, tmp_path: Path) -> None:
    await sinks("create", "soc", "--to", url(hook), "--set", 'filter={ type = ["access.*"] }')
    await sinks("create", "two", "--to", url(hook), "--set", f"secret={SECRET}")
    for words in ((), ("--json",)):
        file = tmp_path / "sinks"
        said = await sinks("export", *words)
        assert "whsec" not in said.output
        file.write_text(said.output)
        assert (await sinks("apply", file, "--yes")).output.strip() == "nothing to do"
    file.write_text((await sinks("export", "two")).output)
    said = await sinks("apply", file, "--prune", "--yes")
    assert lines(said) == ["- soc", "sink soc: deleted"]
    await sinks("delete", "two", "--yes")
    refused = await sinks("apply", file, "--yes", status=1)
    assert "two: " in refused.error
    assert "<kept> stands for a secret that is stored here" in refused.error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[sinks]", "is neither TOML nor a JSON object"),
        ('{"sinks": 1}', "should hold [[sinks]] alone"),
        ("[server]\nport = 1\n", "should hold [[sinks]] alone, and holds server"),
        ('[[sinks]]\nname = "a"\n[[sinks]]\nname = "a"\n', "several sinks of the name a"),
        ('[[sinks]]\nname = "a"\nkind = "file"\npath = "/tmp/x"\n', "a: Bad sink: kind: writes on the service's own"),
    ],
)
async def test_a_file_that_is_wrong_changes_nothing(sinks: Shell, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "sinks.toml"
    file.write_text(text)
    assert said in (await sinks("apply", file, "--yes", status=1)).error


async def test_slips_are_told_with_what_is_right(sinks: Shell, hook: Receiver) -> None:
    assert "--to https://HOST/PATH" in (await sinks("create", "soc", status=1)).error
    await sinks("create", "soc", "--to", url(hook))
    unknown = "There is no sink 'sco'; there are: soc."
    for words in (
        ("show", "sco"), ("change", "sco", "--set", "window=1"), ("delete", "sco"), ("pause", "sco"), ("resume", "sco"),
        ("test", "sco"), ("rotate", "sco"), ("export", "sco"), ("attempts", "sco"), ("held", "sco"), ("dead", "sco"),
        ("replay", "sco"), ("resend", "sco", "x"), ("audit", "sco"),
    ):  # fmt: skip
        assert unknown in (await sinks(*words, status=1)).error, words
    assert "from 0 seconds to 90 days (90d)" in (await sinks("rotate", "soc", "--overlap", "91d", status=1)).error
    said = (await sinks("replay", "soc", "--type", "acess.LOGIN", "--dry-run")).error
    assert "type=acess.LOGIN: the catalogue has no such type; did you mean access.LOGIN" in said
    said = (await sinks("replay", "soc", "--where", "clinet=web", status=1)).error
    assert "there is no filter clinet; did you mean client" in said
    assert "--set attempts=all" in (await sinks("attempts", "soc")).error


async def test_stats_tell_how_a_receiver_has_answered(sinks: Shell, service: Opened, hook: Receiver) -> None:
    await sinks("create", "soc", "--to", url(hook), "--set", 'attempts="all"', "--set", 'on_4xx="dead"')
    assert "nothing of that since" in (await sinks("stats", "soc")).output
    hook.status = 422
    await service.post([login(1), login(2)])

    async def are_dead() -> bool:
        return bool((await service.get("/sinks/soc/dead"))[1]["count"] == 2)

    await until(are_dead)
    shown = lines(await sinks("stats", "soc", "--since", "1h", "--utc"))
    assert shown[0] == "soc: 2 attempts of 2 events"
    assert shown[1:3] == ["  outcomes: dead 2", "  statuses: 422 2"]
    assert shown[-1].split() == ["HOUR", "ATTEMPTS", "OUTCOMES", "HALF", "WITHIN", "95", "%", "WITHIN"]
    assert json.loads((await sinks("stats", "soc", "--json")).output.splitlines()[-1])["tries"]["attempts"] == 2
    assert "There is no sink 'sco'" in (await sinks("stats", "sco", status=1)).error


async def test_what_is_held_is_listed_with_its_next_try(sinks: Shell, service: Opened, hook: Receiver) -> None:
    await sinks("create", "soc", "--to", url(hook), "--set", "retry=[3600]")
    assert "nothing is held" in (await sinks("held", "soc")).output
    hook.status = 422
    [uid] = (await service.post([login(1)]))["uids"]

    async def is_held() -> bool:
        return bool((await service.get("/sinks/soc/held"))[1]["count"] == 1)

    await until(is_held)
    [one] = (await service.get("/sinks/soc/held"))[1]["held"]
    assert (one["uid"], one["type"], one["tries"], one["fault"]) == (uid, "access.LOGIN", 1, "receiver")
    assert one["dueAt"] > one["receivedAt"] + 3_000_000
    assert json.loads(lines(await sinks("held", "soc", "--json"))[-1]) == one
    assert uid in (await sinks("held", "soc")).output
    assert (await service.get("/sinks/soc/dead"))[1]["dead"] == []


@pytest.mark.parametrize("width", [60, 80])
def test_on_a_narrow_terminal_the_answer_stays_whole(width: int) -> None:
    answer = "the receiver answered 401: it refuses our credentials"
    sink = {
        "name": "soc", "kind": "webhook", "managed": "api", "state": "down", "lag": 5, "reason": None, "problem": None,
        "answer": answer, "counts": {"delivered": 1, "held": 2, "dead": 3},
    }  # fmt: skip
    console = Console(width=width, file=StringIO())
    _show_all([sink], console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in said.splitlines())
    shown = said.split()
    assert [word for word in answer.split() if word not in shown] == []


def test_a_sink_is_written_as_toml_reads_it() -> None:
    settings: dict[str, Any] = {
        "filter": {"type": ["a.*"], "details.x y": ['"\\\x7f\n\u202e']},
        "name": "soc",
        "retry": [0.5, 10],
        "names": True,
        "empty": {},
        "url": "https://ü.example/?a=b&c='d'",
    }
    assert tomllib.loads("\n".join(as_toml(settings)))["sinks"] == [settings]


def test_a_secret_that_changed_is_told_without_being_shown() -> None:
    before = {"settings": {"name": "soc", "secret": ["<kept>"]}}
    after = {"name": "soc", "settings": {"name": "soc", "secret": ["<kept>"]}, "changed": ["secret"]}
    assert difference(before, after) == [
        "~ soc",
        '  - secret = ["<kept>"]',
        '  + secret = ["<kept>"] (changed)',
    ]
