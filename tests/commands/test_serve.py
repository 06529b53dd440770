"""The command as people run it: a process of its own, a data folder, signals."""

import json
import os
import pty
import re
import shlex
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapter.__main__ import make_app
from adapter.commands.serve import sign_in_link
from tests.mapping.acme import MAPPING, RAW, write_example, write_table
from tests.opened import login, opened

COMMAND = [sys.executable, "-m", "adapter"]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IDP_ADAPTER_")}
    return {**kept, "COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb", **more}


def run(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=60
    )


def call(*arguments: str, folder: Path) -> Result:
    """The command in this process, which is quicker."""
    with chdir(folder):
        return CliRunner().invoke(
            make_app(arguments[0]), arguments, env={"COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"}
        )


@contextmanager
def serving(folder: Path, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """A service that listens, with its data in ``folder / data``; killed at the end if it still runs."""
    announcement = folder / "data" / "service.json"
    command = [*COMMAND, "serve", "--port", "0", "--data", "data", *arguments]
    with (folder / "out").open("w") as out, (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=out, stderr=log, text=True, start_new_session=True
        )
    try:
        for _ in range(6000):
            if announcement.exists() and "Ctrl-C" in (folder / "out").read_text():
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        else:
            raise AssertionError((folder / "log").read_text())
        yield process
    finally:
        process.kill()
        process.wait()


def post(folder: Path, events: Any, source: str = "keycloak") -> int:
    url = json.loads((folder / "data" / "service.json").read_text())["url"]
    token = json.loads((folder / "data" / "tokens.json").read_text())["sources"][source]
    request = urllib.request.Request(
        f"{url}/ingest/{source}",
        data=json.dumps(events).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        status: int = response.status
        return status


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose service runs and holds three logins."""
    folder = tmp_path_factory.mktemp("running")
    with serving(folder):
        post(folder, [login(number) for number in range(2)])
        post(folder, [login(9, type="LOGIN_ERROR", error="invalid_user_credentials", details={"username": "bob"})])
        yield folder


def test_it_says_where_to_post_and_with_which_token(folder: Path) -> None:
    said = (folder / "out").read_text()
    url = json.loads((folder / "data" / "service.json").read_text())["url"]
    tokens = json.loads((folder / "data" / "tokens.json").read_text())
    assert f"{url}/ingest/keycloak" in said
    assert tokens["admin"] in said
    assert tokens["sources"]["keycloak"] in said
    assert "kcadm.sh create" in said
    assert "kcadm.sh update events/config" in said


def test_it_prints_a_link_that_signs_in_to_the_console(folder: Path) -> None:
    url = json.loads((folder / "data" / "service.json").read_text())["url"]
    [link] = re.findall(rf"{url}/ui/sign-in/idpl_[\w-]+", (folder / "out").read_text())
    with urllib.request.urlopen(link, timeout=30) as response:
        assert "signs you in as <strong>admin</strong>" in response.read().decode()
    assert "idpl_" not in (folder / "log").read_text()


async def test_without_a_log_that_takes_anything_there_is_no_link(tmp_path: Path) -> None:
    data = {"folder": tmp_path, "commit_timeout": 1}
    async with opened(tmp_path, data=data) as service:
        with closing(sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await sign_in_link(service.service) is None
        _, page = await service.get("/events")
        assert page["events"] == []


def test_its_log_holds_no_token(folder: Path) -> None:
    tokens = json.loads((folder / "data" / "tokens.json").read_text())
    log = (folder / "log").read_text()
    assert '"listening"' in log
    assert not [token for token in [tokens["admin"], *tokens["sources"].values()] if token in log]


def test_its_data_is_for_its_owner_alone(folder: Path) -> None:
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "data" / "tokens.json").stat().st_mode) == 0o600


def test_a_second_service_on_the_folder_is_told_who_holds_it(folder: Path) -> None:
    second = run("serve", "--port", "0", "--data", "data", folder=folder)
    url = json.loads((folder / "data" / "service.json").read_text())["url"]
    assert second.returncode == 1
    assert "is in use by another idp-adapter" in second.stderr
    assert url in second.stderr


def test_events_are_listed_from_the_running_service(folder: Path) -> None:
    listed = call("events", "list", "--data", "data", folder=folder)
    assert listed.exit_code == 0, listed.stderr
    assert listed.stdout.count("access.LOGIN") == 3
    assert "failure: bad_credentials" in listed.stdout


def test_filters_narrow_the_list(folder: Path) -> None:
    listed = call("events", "list", "--data", "data", "--outcome", "failure", "--json", folder=folder)
    [event] = [json.loads(line) for line in listed.stdout.splitlines()]
    assert event["type"] == "access.LOGIN_ERROR"
    others = call("events", "list", "--data", "data", "--where", "not_outcome=failure", "--json", folder=folder)
    assert len(others.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("command", "slip"),
    [
        ("list", "--type=access.LOGN"),
        ("export", "--type=access.LOGN"),
        ("quarantine", "--provider=kaycloak"),
        ("renormalize", "--type=quarantine"),
    ],
)
def test_a_slip_is_told_beside_the_answer(folder: Path, command: str, slip: str) -> None:
    result = call("events", command, slip, "--data", "data", folder=folder)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{slip.removeprefix('--')}: ")
    assert "did you mean " in result.stderr


def test_one_event_is_shown_by_its_provider_s_id(folder: Path) -> None:
    result = call("events", "show", login(1)["id"], "--data", "data", folder=folder)
    assert json.loads(result.stdout)["time"] == login(1)["time"]


def test_one_event_is_shown_with_what_the_provider_sent(folder: Path) -> None:
    listed = call("events", "list", "--data", "data", "--outcome", "failure", "--json", folder=folder)
    uid = json.loads(listed.stdout)["uid"]
    shown = call("events", "show", uid, "--raw", "--data", "data", folder=folder)
    event = json.loads(shown.stdout)
    assert event["uid"] == uid
    assert event["raw"]["error"] == "invalid_user_credentials"


def test_what_is_quarantined_is_shown_with_its_problem_and_exactly_what_the_provider_sent(folder: Path) -> None:
    post(folder, {"no": 99999999999999999999999999})
    groups = call("events", "quarantine", "--data", "data", "--json", folder=folder)
    [sample] = json.loads(groups.stdout)["samples"]
    shown = call("events", "show", sample["uid"], "--raw", "--data", "data", folder=folder)
    assert shown.exit_code == 0, shown.stderr
    entry = json.loads(shown.stdout)
    assert entry["source"] == "keycloak"
    assert entry["problem"].startswith("no shape of the table fits")
    assert entry["raw"] == {"no": 99999999999999999999999999}
    assert "raw" not in json.loads(call("events", "show", sample["uid"], "--data", "data", folder=folder).stdout)


def test_watching_or_cancelling_when_nothing_is_under_way_says_so(folder: Path) -> None:
    done = call("events", "renormalize", "--type", "access.LOGOUT", "--data", "data", folder=folder)
    assert done.exit_code == 0, done.stderr
    for option in ("--watch", "--cancel"):
        again = call("events", "renormalize", option, "--data", "data", folder=folder)
        assert again.exit_code == 0, again.stderr
        assert again.stderr.strip() == "nothing is under way; this was the last one:"
        assert again.stdout == done.stdout


def test_events_are_exported_to_a_file(folder: Path) -> None:
    exported = call("events", "export", "--format", "csv", "-o", "out.csv", "--data", "data", folder=folder)
    assert exported.exit_code == 0, exported.stderr
    assert (folder / "out.csv").read_text().count("access.LOGIN") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["events", "list", "--outcome", "maybe"], "outcome='maybe' is not one of failure, success, unknown"),
        (["events", "list", "--where", "colour=red"], "--where colour=red: write NAME=VALUE; names are type, "),
        (
            ["events", "list", "--from", "tomorrow"],
            "--from tomorrow: not a timestamp; write a timestamp with",
        ),
        (["events", "renormalize", "--until", "2026-05-01"], "--until 2026-05-01: not a timestamp; "),
        (["events", "show", "nonsense"], "Not found: There is no event with this uid, "),
        (["events", "export", "-o", "nowhere/out.csv"], "nowhere/out.csv: cannot be written: No such file"),
    ],
)
def test_what_is_wrong_is_said_and_the_command_fails(folder: Path, arguments: list[str], message: str) -> None:
    refused = call(*arguments, "--data", "data", folder=folder)
    assert refused.exit_code == 1
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well_and_commands_then_open_the_folder_themselves(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path) as process:
        assert post(tmp_path, login(1)) == 202
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not (tmp_path / "data" / "service.json").exists()
    assert "Traceback" not in (tmp_path / "log").read_text()
    listed = run("events", "list", "--data", "data", "--json", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)["type"] == "access.LOGIN"
    assert listed.stderr == ""


def test_hangup_takes_up_changed_tables(tmp_path: Path) -> None:
    write_table(tmp_path / "own")
    write_example(tmp_path / "own")
    more = {"IDP_ADAPTER_MAPPINGS": '{"path": ["own"], "look_every": 0}'}
    with serving(tmp_path, **more) as process:
        assert post(tmp_path, RAW, "acme") == 202
        write_table(tmp_path / "own", MAPPING.replace("LOGIN", "LOGOUT"))
        write_example(tmp_path / "own", "access.LOGOUT")
        process.send_signal(signal.SIGHUP)
        for _ in range(600):
            if (tmp_path / "log").read_text().count('"listening"') == 2:
                break
            time.sleep(0.05)
        assert post(tmp_path, {**RAW, "id": "2"}, "acme") == 202
        listed = call("events", "list", "--data", "data", "--json", folder=tmp_path)
        assert process.poll() is None
    assert '"access.LOGIN"' in listed.stdout
    assert '"access.LOGOUT"' in listed.stdout


def test_a_terminal_that_is_closed_ends_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "serve", "--port", "0", "--data", "data"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdin=theirs, stdout=log, stderr=log, start_new_session=True
        )
    os.close(theirs)
    try:
        for _ in range(600):
            if "Ctrl-C" in (tmp_path / "log").read_text():
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.crash
def test_after_a_kill_the_folder_is_free_and_holds_what_was_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        assert post(tmp_path, login(1)) == 202
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
    with serving(tmp_path):
        listed = run("events", "list", "--data", "data", "--json", folder=tmp_path)
        assert len(listed.stdout.splitlines()) == 1


def test_with_examples_every_provider_has_something_to_look_at(tmp_path: Path) -> None:
    with serving(tmp_path, "--examples"):
        sources = json.loads((tmp_path / "data" / "tokens.json").read_text())["sources"]
        for name in sources:
            query = ("--where", f"provider={name}", "--json", "-n", "1")
            listed = call("events", "list", "--data", "data", *query, folder=tmp_path)
            assert json.loads(listed.stdout)["source"]["provider"] == name


def test_a_wrong_setting_ends_it_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "adapter.toml").write_text("[server]\nport = 99999\n")
    refused = run("serve", folder=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == "adapter.toml: server.port: Input should be less than or equal to 65535\n"


def test_configured_tokens_are_not_printed(tmp_path: Path) -> None:
    more = {
        "IDP_ADAPTER_AUTH__ADMIN_TOKEN": "configured-admin",
        "IDP_ADAPTER_SOURCES": '[{"name": "kc", "provider": "keycloak", "token": "configured-source"}]',
    }
    with serving(tmp_path, **more):
        said = (tmp_path / "out").read_text() + (tmp_path / "log").read_text()
        assert "/ingest/kc" in said
        assert "as bearer token, basic password or secret of the signature in X-Keycloak-Signature" in said
        # In single quotes the shell would send the dollar.
        assert 'curl -H "Authorization: Bearer $TOKEN" ' in said
        assert f"events list --data {tmp_path}/data" in said
        assert "configured-" not in said
        # Nor is a link, which is as good: the command for one is.
        assert "idpl_" not in said
        assert f"console link --data {tmp_path}/data" in said
        listed = run("events", "list", "--data", "data", folder=tmp_path, **more)
        assert listed.returncode == 0, listed.stderr


def test_the_command_that_it_names_works_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "own settings.toml").write_text('[auth]\nadmin_token = "configured-admin"\n')
    (tmp_path / "elsewhere").mkdir()
    with serving(tmp_path, "--config", "own settings.toml"):
        [said] = re.findall(r"idp-adapter (events list .*)", (tmp_path / "out").read_text())
        listed = run(*shlex.split(said), folder=tmp_path / "elsewhere")
    assert listed.returncode == 0, listed.stderr


def test_commands_on_a_folder_that_is_not_there_say_so(tmp_path: Path) -> None:
    refused = call("events", "list", "--data", "nowhere", folder=tmp_path)
    assert refused.exit_code == 1
    assert "nowhere: there is no such data folder" in refused.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("words", [("events", "list"), ("status",), ("events", "list", "--follow")])
def test_a_question_begins_no_log_in_a_folder_that_has_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "photos").mkdir()
    refused = call(*words, "--data", "photos", folder=tmp_path)
    assert refused.exit_code == 1
    assert "photos: there is no log in it; start with idp-adapter serve" in refused.stderr
    assert not [*(tmp_path / "photos").iterdir()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["serve", "events", "mapping"]),
        (["serve", "--help"], ["--config", "--host", "--port", "--data", "--examples", "For example", "Exit code"]),
        (["events", "list", "--help"], ["--type", "--outcome", "--where", "For example"]),
        (["events", "export", "--help"], ["--format", "--output", "For example"]),
    ],
)
def test_help_teaches(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    said = call(*arguments, folder=tmp_path)
    assert said.exit_code == 0
    assert not [word for word in words if word not in said.stdout]
