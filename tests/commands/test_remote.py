"""Commands that ask a service elsewhere: which one, with which token, and what they say when that does not work."""

from __future__ import annotations

import json
import os
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.commands.remote import Machine, Said, behind_tls
from tests.opened import Opened, login, opened
from tests.outgoing.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = [
    {"name": "reader", "token": "reader-token", "permissions": ["read"]},
    {"name": "scraper", "token": "scraper-token", "permissions": ["metrics"]},
]
LIST = ("events", "list", "--json")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    async with opened(tmp_path_factory.mktemp("service") / "data", keys=KEYS) as one:
        await one.post([login(1), login(2), login(3, type="LOGIN_ERROR", error="invalid_user_credentials")])
        yield one


@pytest.fixture
def url(service: Opened) -> str:
    return service.service.url


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.chdir(tmp_path)
    return Machine(tmp_path / "config")


def ids(output: str) -> list[str]:
    return [json.loads(line)["id"] for line in output.splitlines()]


ALL = [login(number)["id"] for number in (1, 2, 3)]


async def test_an_address_and_a_token_are_all_that_is_needed(machine: Machine, url: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("reader-token\n")
    for options, environment, given in (
        (("--url", url, "--token", "reader-token"), {}, None),
        (("--url", url, "--token-file", tmp_path / "token"), {}, None),
        (("--url", f"{url}/", "--token-file", "-"), {}, "reader-token\n"),
        (("--url", url), {"TOKEN": "reader-token"}, None),
        ((), {"URL": url, "TOKEN": "reader-token"}, None),
        (("--token-file", tmp_path / "token"), {"URL": url}, None),
        (("--token", "reader-token"), {"URL": url, "TOKEN": "another"}, None),
        ((), {"URL": url, "TOKEN_FILE": str(tmp_path / "token")}, None),
    ):
        said = await machine.run(*LIST, *options, input=given, **environment)
        assert (said.status, ids(said.output)) == (0, ALL), said


@pytest.mark.parametrize(
    "words",
    [
        ("events", "show", ALL[0]),
        ("events", "export"),
        ("events", "count", "--by", "user"),
        ("events", "quarantine"),
        ("store", "keep", "--dry-run"),
        ("mapping", "coverage", "keycloak", "--arrived"),
        ("events", "renormalize", "--dry-run"),
    ],
    ids=" ".join,
)
async def test_every_command_that_asks_a_service_asks_any(machine: Machine, service: Opened, words: tuple[str]) -> None:
    said = await machine.run(*words, URL=service.service.url, TOKEN=service.service.admin_token or "")
    assert said.status == 0, said
    assert said.output


async def test_a_saved_search_is_used_by_its_name(machine: Machine, service: Opened) -> None:
    async def run(*words: str) -> Said:
        return await machine.run(*words, URL=service.service.url, TOKEN=service.service.admin_token or "")

    assert "No searches are saved" in (await run("searches", "list")).output
    assert "give either --query, or filters" in (await run("searches", "save", "mine")).error
    slip = await run("searches", "save", "mine", "--query", "type=LOGIN&outcom=failure")
    assert (slip.status, "at character 12: 'outcom' is no filter" in slip.error) == (1, True)
    assert (await run("searches", "save", "mine", "--type", "LOGIN", "--from", "7000d")).status == 0
    assert json.loads((await run("searches", "show", "mine", "--json")).output)["query"] == "type=LOGIN&from=7000d"
    assert "type=LOGIN&from=7000d" in (await run("searches", "list")).output
    assert ids((await run(*LIST, "--search", "mine")).output) == ALL[:2]
    assert ids((await run(*LIST, "--search", "mine", "--type", "LOGIN_ERROR")).output) == ALL[2:]
    assert (await run("searches", "delete", "mine")).status == 0
    gone = await run(*LIST, "--search", "mine")
    assert (gone.status, "no saved search 'mine'" in gone.error) == (1, True)


async def test_a_login_is_tried_kept_for_its_owner_alone_and_used(machine: Machine, url: str) -> None:
    said = await machine.run("login", "--url", url, input="reader-token\n")
    assert said.status == 0, said
    assert stat.S_IMODE(machine.logins.stat().st_mode) == 0o600
    assert "reader-token" not in said.output + said.error
    assert ids((await machine.run(*LIST)).output) == ALL
    assert f"commands ask {url}/" in (await machine.run("login", "--status")).output
    assert (await machine.run("logout")).status == 0
    assert "reader-token" not in machine.logins.read_text()
    assert "there is no such data folder" in (await machine.run(*LIST)).error


async def test_a_token_that_is_not_known_is_not_kept(machine: Machine, url: str) -> None:
    said = await machine.run("login", "--url", url, input="wrong-token\n")
    assert said.status == 1
    assert "this token is not known there (401)" in said.error
    assert not machine.logins.exists()


async def test_of_several_logins_one_is_used_and_each_can_be_named(machine: Machine, url: str, tmp_path: Path) -> None:
    async with opened(tmp_path / "other") as other:
        await other.post([login(9)])
        token = other.service.admin_token
        await machine.run("login", "--url", url, "--name", "one", input="reader-token")
        await machine.run("login", "--url", other.service.url, "--name", "two", input=token)
        for words, environment, expected in (
            ((), {}, [login(9)["id"]]),
            (("--login", "one"), {}, ALL),
            ((), {"LOGIN": "one"}, ALL),
            (("--login", "two"), {"LOGIN": "one"}, [login(9)["id"]]),
            (("--url", url), {}, ALL),  # its token is known
        ):
            said = await machine.run(*LIST, *words, **environment)
            assert ids(said.output) == expected, said
        await machine.run("login", "--use", "one")
        assert ids((await machine.run(*LIST)).output) == ALL
    assert "no login is called three; there are: one, two" in (await machine.run(*LIST, "--login", "three")).error


async def test_an_option_comes_before_the_environment_a_login_and_this_machine(
    machine: Machine, url: str, tmp_path: Path
) -> None:
    async with opened(tmp_path / "here") as here:
        await here.post([login(7)])
    await machine.run("login", "--url", url, input="reader-token")
    own = [login(7)["id"]]
    assert ids((await machine.run(*LIST, "--data", tmp_path / "here")).output) == own
    assert ids((await machine.run(*LIST, DATA__FOLDER=str(tmp_path / "here"))).output) == own
    assert ids((await machine.run(*LIST)).output) == ALL
    there = await machine.run(*LIST, URL="http://127.0.0.1:1", TOKEN="x")
    assert "127.0.0.1:1: Connection refused; does the service run there?" in there.error


async def test_a_login_file_that_others_may_read_is_refused(machine: Machine, url: str) -> None:
    await machine.run("login", "--url", url, input="reader-token")
    machine.logins.chmod(0o640)
    said = await machine.run(*LIST)
    assert said.status == 1
    assert f"others may read or write it; change that: chmod 600 {machine.logins}" in said.error


@pytest.mark.parametrize(
    "content",
    [
        '{"logins": {}, "used": [1]}',
        '{"logins": {"a": {"url": 1, "token": "t", "ca": null}}, "used": "a"}',
        '{"logins": {"a": {"url": "https://id.example/", "token": "t", "ca": 1}}, "used": "a"}',
        "[]",
        "",
    ],
)
async def test_a_login_file_that_is_not_ours_is_told(machine: Machine, content: str) -> None:
    machine.logins.parent.mkdir(parents=True)
    machine.logins.write_text(content)
    machine.logins.chmod(0o600)
    said = await machine.run(*LIST)
    assert said.status == 1
    assert f"{machine.logins}: cannot be read: " in said.error
    assert "remove it, and log in again" in said.error


async def test_a_command_that_reads_settings_says_which_even_after_a_login(machine: Machine, url: str) -> None:
    await machine.run("login", "--url", url, input="reader-token")
    said = await machine.run("sources", "check", "kc")
    assert said.status == 1
    assert "Those of the service are named by --config, on its machine" in said.error


@pytest.mark.parametrize(
    "options, environment, message",
    [
        (("--url", "URL"), {}, "there is no token for it; log in: idp-adapter login --url"),
        (("--token", "x"), {}, "belong to --url, which is missing"),
        (("--token", "x", "--data", "data"), {"URL": "http://127.0.0.1:1"}, "belong to --url, which is missing"),
        ((), {"TOKEN": "x"}, "IDP_ADAPTER_TOKEN is set, but not whose"),
        (("--url", "URL", "--token", "two words"), {}, "--token: holds no token"),
        (("--url", "id.example"), {}, "id.example: not the address of a service; write https://HOST"),
        (("--url", "https://anna:secret@id.example"), {}, "without a user and a password"),
        (("--url", "URL", "--token", "scraper-token"), {}, "lacks the permission 'read'"),
        (("--url", "URL", "--token", "x"), {}, "this token is not known there (401)"),
        (("--url", "http://no-such-host.invalid", "--token", "x"), {}, "no-such-host.invalid: there is no such host"),
        (("--url", "HTTPS", "--token", "x"), {}, "if it is plain http there, write http://"),
    ],
)
async def test_what_is_wrong_is_said(
    machine: Machine, url: str, options: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    places = {"URL": url, "HTTPS": url.replace("http:", "https:")}
    said = await machine.run(*LIST, *(places.get(one, one) for one in options), **environment)
    assert said.status == 1
    assert message in said.error
    assert "secret" not in said.error
    assert not said.output


async def test_a_token_of_the_environment_goes_to_its_own_service_alone(machine: Machine, url: str) -> None:
    said = await machine.run(*LIST, "--url", url, URL="http://127.0.0.1:1", TOKEN="reader-token")
    assert "there is no token for it" in said.error


async def test_a_redirect_is_told_and_not_followed(machine: Machine, url: str) -> None:
    asked: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Authorization"))
        raise web.HTTPFound(f"{url}{request.path_qs}")

    app = web.Application()
    app.router.add_get("/{path:.*}", elsewhere)
    async with TestServer(app) as server:
        said = await machine.run(*LIST, "--url", str(server.make_url("/")), "--token", "reader-token")
    assert said.status == 1
    assert f"answers that it is elsewhere: {url}/events" in said.error
    assert asked == ["Bearer reader-token"]


async def test_what_is_no_service_is_told(machine: Machine) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    async with TestServer(app) as server:
        said = await machine.run(*LIST, "--url", str(server.make_url("/")), "--token", "x")
    assert said.status == 1
    assert "what came is no JSON; is this the address of an idp-adapter?" in said.error


async def test_a_service_below_a_path_is_asked_there(machine: Machine, url: str) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.json_response({"events": [], "next": None})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        await machine.run(*LIST, "--url", str(server.make_url("/idp/adapter/")), "--token", "x")
    assert paths == ["/idp/adapter/events"]


async def test_plain_http_to_another_machine_is_warned_of(machine: Machine) -> None:
    said = await machine.run(*LIST, "--url", "http://no-such-host.invalid", "--token", "x")
    assert "plain http: the token and the events can be read on the way" in said.error


async def test_a_private_authority_is_trusted_when_it_is_named_and_no_other(
    machine: Machine, url: str, tmp_path: Path
) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ours.sign("localhost"))
    port = URL(url).port
    assert port is not None
    async with behind_tls(port, context) as tls:
        there = ("--url", f"https://localhost:{tls}")
        for trusted in ((), ("--ca", others.file)):
            said = await machine.run(*LIST, *there, *trusted, TOKEN="reader-token")
            assert said.status == 1
            assert "its certificate is not trusted" in said.error
        named = await machine.run(*LIST, *there, "--ca", ours.file, TOKEN="reader-token")
        assert ids(named.output) == ALL, named
        said = await machine.run("login", *there, "--ca", ours.file, input="reader-token")
        assert said.status == 0, said
        assert ids((await machine.run(*LIST)).output) == ALL
        other_name = await machine.run(*LIST, "--url", f"https://127.0.0.1:{tls}", "--ca", "ours.pem", TOKEN="x")
        assert "its certificate is not trusted" in other_name.error
    assert "no-such.pem" in (await machine.run(*LIST, *there, "--ca", "no-such.pem", TOKEN="x")).error


async def test_a_file_of_another_user_is_left_alone(machine: Machine, url: str) -> None:
    if os.geteuid():
        pytest.skip("needs root, to give a file to another user")
    await machine.run("login", "--url", url, input="reader-token")
    os.chown(machine.logins, 12345, 12345)
    assert "there is no such data folder" in (await machine.run(*LIST)).error
