import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapter.errors import ConfigError
from adapter.folder import announced, in_use, lock_folder, make_tokens, read_tokens, service_url


def test_a_second_holder_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path), announced(tmp_path, "http://127.0.0.1:8282"):
        with pytest.raises(ConfigError) as caught, lock_folder(tmp_path):
            pass
        assert str(caught.value) == (
            f"{tmp_path}: is in use by another idp-adapter (process {os.getpid()}, listening on "
            "http://127.0.0.1:8282); stop it, take its place (serve --take-over), or use another folder"
        )


def test_the_folder_is_free_again_when_its_holder_ends(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)
    with lock_folder(tmp_path):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    principal = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, pathlib; from adapter.folder import lock_folder\n"
            "with lock_folder(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    assert principal.stdout is not None
    with principal:
        principal.stdout.readline()
        assert in_use(tmp_path)
        principal.kill()
    assert not in_use(tmp_path)


def test_where_a_killed_service_listened_is_forgotten(tmp_path: Path) -> None:
    left_behind = '{"url": "http://127.0.0.1:1", "process": 1}'
    (tmp_path / "service.json").write_text(left_behind)
    with lock_folder(tmp_path):
        assert service_url(tmp_path) is None


def test_a_folder_that_nobody_ever_used_is_not_in_use(tmp_path: Path) -> None:
    assert not in_use(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used as data folder"), lock_folder(tmp_path / "file" / "data"):
        pass


def test_the_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "data"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_generated_tokens_are_for_their_owners_eyes_only(tmp_path: Path) -> None:
    make_tokens(tmp_path, admin=True, sources=["keycloak"])
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600


def test_a_tokens_file_that_others_can_read_is_closed_again(tmp_path: Path) -> None:
    make_tokens(tmp_path, admin=True, sources=[])
    (tmp_path / "tokens.json").chmod(0o644)
    make_tokens(tmp_path, admin=True, sources=[])
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600


def test_tokens_are_generated_once(tmp_path: Path) -> None:
    first = make_tokens(tmp_path, admin=True, sources=["keycloak"])
    again = make_tokens(tmp_path, admin=True, sources=["keycloak", "okta"])
    assert again.admin == first.admin
    assert again.sources["keycloak"] == first.sources["keycloak"]
    assert len({again.admin, *again.sources.values()}) == 3
    assert read_tokens(tmp_path) == again


def test_no_administrators_token_is_made_where_one_is_set(tmp_path: Path) -> None:
    assert make_tokens(tmp_path, admin=False, sources=["keycloak"]).admin is None


def test_a_broken_tokens_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tokens\.json: cannot be read: .*; remove it to have it made anew"):
        make_tokens(tmp_path, admin=True, sources=[])


def test_a_service_is_announced_as_long_as_it_listens(tmp_path: Path) -> None:
    assert service_url(tmp_path) is None
    with announced(tmp_path, "http://127.0.0.1:1"):
        assert service_url(tmp_path) == "http://127.0.0.1:1"
        assert json.loads((tmp_path / "service.json").read_text())["process"] == os.getpid()
    assert service_url(tmp_path) is None
