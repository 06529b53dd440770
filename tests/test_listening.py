import os
import socket
import tempfile

import pytest

from adapter.errors import ConfigError
from adapter.listening import listen, passed_sockets
from adapter.notify import notify
from adapter.settings import Server


def passed(one: socket.socket, monkeypatch: pytest.MonkeyPatch, process: int | None = None) -> int:
    """A copy of a socket, passed as systemd passes it; its descriptor."""
    monkeypatch.setenv("LISTEN_PID", str(process or os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    return os.dup(one.fileno())


def test_a_port_is_listened_on_as_it_is_asked_for() -> None:
    listening = listen("127.0.0.1", 0)
    try:
        port = listening.sockets[0].getsockname()[1]
        assert listening.url == f"http://127.0.0.1:{port}"
        assert [listening.fits(Server(port=asked)) for asked in (0, port, 1)] == [True, True, False]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"):
            listen("127.0.0.1", port)
        copy, *_ = listening.copies()
        copy.close()
        socket.create_connection(("127.0.0.1", port)).close()
    finally:
        listening.close()


def test_an_address_of_version_6_is_written_in_brackets() -> None:
    listening = listen("::1", 0)
    try:
        assert listening.url == f"http://[::1]:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def test_nothing_is_passed_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        os.close(passed(one, monkeypatch, process=1))
        assert passed_sockets(Server()) is None
        assert "LISTEN_FDS" not in os.environ


def test_what_is_passed_has_to_listen_and_to_be_reached_by_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent, pytest.raises(ConfigError, match="is no TCP socket that listens"):
        passed_sockets(Server(), first=passed(silent, monkeypatch))
    with socket.create_server(("0.0.0.0", 0)) as abroad:
        with pytest.raises(ConfigError, match="set behind_tls = true"):
            passed_sockets(Server(), first=passed(abroad, monkeypatch))
        taken = passed_sockets(Server(behind_tls=True), first=passed(abroad, monkeypatch))
        assert taken is not None
        assert taken.fits(Server(port=1))
        assert not taken.sockets[0].get_inheritable()
        taken.close()
    with (tmp_file := tempfile.TemporaryFile()), pytest.raises(ConfigError, match="is no socket"):
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        passed_sockets(Server(), first=tmp_file.fileno())


def test_a_supervisor_outside_of_the_file_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"idp-adapter-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert told.recv(100) == b"READY=1"
    notify("READY=1")  # nobody hears it
