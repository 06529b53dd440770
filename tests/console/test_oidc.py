"""Signing in at an issuer: the code flow with PKCE, what of its answers is taken, and that it is asked again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

import adapter.service
from adapter.keys.sessions import open_sessions
from adapter.log.memory import open_memory_log
from adapter.oidc import Issuer, Issuers, open_issuers
from adapter.outgoing.client import open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.settings import OidcIssuer
from adapter.sign_ins import AGAIN, Begun, SignIns, open_sign_ins
from adapter.sources.public_keys import FetchedKeys
from tests.api.issuer import AUDIENCE, Realm
from tests.console.conftest import Visitor, visiting
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENT, SECRET = "console", "a secret: with signs/"
ALLOW = {"allow": ["127.0.0.0/8"]}


@dataclass
class SigningIn:
    """A realm at which people sign in: whoever comes is zoe, and has these roles."""

    realm: Realm
    roles: list[str] = field(default_factory=lambda: ["view-events"])
    client: str = CLIENT
    #: What its tokens say otherwise.
    access: dict[str, Any] = field(default_factory=dict)
    id: dict[str, Any] = field(default_factory=dict)
    #: How it answers who wants a token; and what it was asked with.
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    codes: dict[str, URL] = field(default_factory=dict)
    refresh_tokens: list[str] = field(default_factory=list)
    #: What it was told of who signed out, and how it answers that.
    ended: list[dict[str, str]] = field(default_factory=list)
    ending: int = 204
    #: Nobody gets a token before it is set.
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()
        self.has_asked = asyncio.Event()

    def arrive(self, address: str) -> dict[str, str]:
        """Somebody comes with this address, and signs in: what he brings back."""
        url = URL(address)
        assert url.path == "/realms/acme/protocol/openid-connect/auth"
        assert url.query["code_challenge_method"] == "S256" and url.query["response_type"] == "code"
        code = f"code-{len(self.codes)}"
        self.codes[code] = url
        return {"code": code, "state": url.query["state"]}

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        self.has_asked.set()
        self.authorizations.append(request.headers.get("Authorization", ""))
        await self.open.wait()
        if self.status != 200:
            return web.json_response({"error": "invalid_grant"}, status=self.status)
        nonce = None
        if form["grant_type"] == "authorization_code":
            begun = self.codes.pop(form["code"], None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
            wanted = None if begun is None else begun.query["code_challenge"]
            if begun is None or challenge.decode().rstrip("=") != wanted:
                return web.json_response({"error": "invalid_grant"}, status=400)
            assert form["redirect_uri"] == begun.query["redirect_uri"]
            nonce = begun.query["nonce"]
        elif self.refresh_tokens[-1:] != [form["refresh_token"]]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.refresh_tokens.append(f"refresh-{len(self.refresh_tokens)}")
        said = {"typ": "ID", "aud": self.client, "azp": self.client, "nonce": nonce, "realm_access": None, **self.id}
        return web.json_response(
            {
                "access_token": self.realm.token(*self.roles, **{"azp": self.client, **self.access}),
                "id_token": self.realm.token(resource_access=None, **said),
                "refresh_token": self.refresh_tokens[-1],
            }
        )

    async def logout(self, request: web.Request) -> web.Response:
        self.ended.append({name: str(value) for name, value in (await request.post()).items()})
        self.authorizations.append(request.headers.get("Authorization", ""))
        return web.Response(status=self.ending)


@asynccontextmanager
async def signing_in() -> AsyncIterator[SigningIn]:
    app = web.Application()
    runner = web.AppRunner(app)
    one: SigningIn

    async def certs(request: web.Request) -> web.Response:
        return await one.realm.certs(request)

    async def token(request: web.Request) -> web.Response:
        return await one.token(request)

    async def logout(request: web.Request) -> web.Response:
        return await one.logout(request)

    app.router.add_post("/realms/acme/protocol/openid-connect/logout", logout)
    app.router.add_get("/realms/acme/protocol/openid-connect/certs", certs)
    app.router.add_post("/realms/acme/protocol/openid-connect/token", token)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        one = SigningIn(Realm(f"http://127.0.0.1:{runner.addresses[0][1]}", "acme"))
        yield one
    finally:
        await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="module")
async def acme() -> AsyncIterator[SigningIn]:
    async with signing_in() as one:
        yield one


def issuer_of(acme: SigningIn, **more: Any) -> dict[str, Any]:
    return {
        "issuer": acme.realm.issuer, "audience": AUDIENCE, "sign_in_client": CLIENT, "sign_in_secret": SECRET, **more,
    }  # fmt: skip


@pytest_asyncio.fixture(loop_scope="module")
async def service(acme: SigningIn, tmp_path: Path) -> AsyncIterator[Opened]:
    async with opened(tmp_path, oidc=[issuer_of(acme)], outgoing=ALLOW) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def zoe(service: Opened) -> AsyncIterator[Visitor]:
    async with visiting(service) as one:
        yield one


async def begin(visitor: Visitor, issuer: str, wanted: str = "/ui/about") -> str:
    """Where somebody is sent who begins to sign in."""
    query = {"issuer": issuer, "next": wanted}
    async with visitor.session.get("/ui/oidc/begin", params=query, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
        return response.headers["Location"]


async def back(visitor: Visitor, query: dict[str, str]) -> tuple[int, str]:
    """Status, and the place or the text, of what answers who comes back from an issuer."""
    headers = {"Sec-Fetch-Site": "cross-site"}
    url = visitor.session.get("/ui/oidc/callback", params=query, allow_redirects=False, headers=headers)
    async with url as response:
        return response.status, response.headers.get("Location") or await response.text()


async def test_who_signs_in_there_may_here_what_the_roles_say(zoe: Visitor, acme: SigningIn) -> None:
    _, text = await zoe.page("/ui/sign-in?next=/ui/about")
    assert "Sign in at acme" in text
    address = await begin(zoe, acme.realm.issuer)
    query = URL(address).query
    assert (query["client_id"], query["scope"]) == (CLIENT, "openid")
    assert query["redirect_uri"] == f"{zoe.service.service.url}/ui/oidc/callback"
    assert await back(zoe, acme.arrive(address)) == (303, "/ui/about")
    pair = base64.b64decode(acme.authorizations[0].removeprefix("Basic ")).decode()
    assert pair == "console:a%20secret%3A%20with%20signs%2F"
    status, text = await zoe.page("/ui/about")
    assert status == 200
    assert "zoe of acme" in text and "realms acme" in text
    assert (await zoe.page("/ui/keys"))[0] == 403
    # It is signed in once with a code, and once with what was remembered.
    assert (await back(zoe, {"code": "code-0", "state": query["state"]}))[0] == 400


@pytest.mark.parametrize("answer", [204, 400, 500])
async def test_who_signs_out_here_is_signed_out_there(zoe: Visitor, acme: SigningIn, answer: int) -> None:
    await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer)))
    acme.ending = answer
    status, text = await zoe.send("/ui/sign-out", {})
    assert (status, "Sign in" in text) == (200, True)
    assert acme.ended == [{"refresh_token": "refresh-0"}]
    assert acme.authorizations[-1] == acme.authorizations[0]
    # Here it is over, whatever the issuer says.
    assert "Sign in at acme" in (await zoe.page("/ui/about"))[1]


async def test_an_issuer_hears_of_nobody_else_who_signs_out(zoe: Visitor, acme: SigningIn) -> None:
    await zoe.sign_in()
    await zoe.send("/ui/sign-out", {})
    assert (acme.ended, acme.asked) == ([], [])


async def test_nobody_comes_back_who_was_not_sent(zoe: Visitor, acme: SigningIn, service: Opened) -> None:
    arrived = acme.arrive(await begin(zoe, acme.realm.issuer))
    async with visiting(service) as other:
        assert (await back(other, arrived))[0] == 400
        await begin(other, acme.realm.issuer)
        assert (await back(other, arrived))[0] == 400
    assert (await back(zoe, {**arrived, "state": "x"}))[0] == 400
    assert (await back(zoe, {"state": arrived["state"], "error": "access_denied"}))[0] == 403
    assert (await back(zoe, {**arrived, "code": "nothing"}))[0] == 403
    assert acme.asked[-1]["code"] == "nothing"
    assert (await back(zoe, arrived))[0] == 303


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("id", {"nonce": "another"}), ("id", {"aud": "elsewhere"}), ("id", {"exp": 1_700_000_000}),
        ("id", {"iss": "https://elsewhere.example"}), ("id", {"sub": "somebody-else"}),
        ("access", {"aud": "elsewhere"}), ("access", {"exp": 1_700_000_000}), ("access", {"typ": "ID"}),
        ("access", {"iss": "https://elsewhere.example"}), ("access", {"cnf": {"jkt": "x"}}),
    ],
)  # fmt: skip
async def test_tokens_of_other_sign_ins_are_not_taken(
    zoe: Visitor, acme: SigningIn, what: str, changes: dict[str, Any]
) -> None:
    setattr(acme, what, changes)
    status, text = await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer)))
    assert (status, "it did not confirm the sign-in" in text) == (403, True)
    assert [one for one in zoe.session.cookie_jar if one.key == "console"] == []


async def test_who_has_no_role_is_told_so(zoe: Visitor, acme: SigningIn) -> None:
    acme.roles = ["another-role"]
    acme.access = {"preferred_username": "<b>zoe</b>\u202e"}
    status, text = await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer)))
    assert (status, "no role of the client" in text) == (403, True)
    assert "<b>zoe" not in text and "\u202e" not in text


async def test_an_issuer_that_does_not_answer_is_told_of(zoe: Visitor, acme: SigningIn) -> None:
    acme.status = 500
    status, text = await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer)))
    assert (status, "does not answer as it should" in text) == (503, True)


async def test_the_adapters_own_client_serves_too(acme: SigningIn, tmp_path: Path) -> None:
    """Keycloak names in `aud` all whom a token is for, but who it is made for."""
    settings = issuer_of(acme, sign_in_client=AUDIENCE, sign_in_secret=None)
    acme.client = AUDIENCE
    acme.access = {"aud": "account"}
    async with opened(tmp_path, oidc=[settings], outgoing=ALLOW) as service, visiting(service) as zoe:
        assert (await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer))))[0] == 303
        assert (acme.asked[-1]["client_id"], acme.authorizations[-1]) == (AUDIENCE, "")
        # One that was made for another client is not taken for that.
        acme.access = {"aud": "account", "azp": "elsewhere"}
        assert (await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer))))[0] == 403


async def test_no_issuer_is_made_up(zoe: Visitor) -> None:
    async with zoe.session.get("/ui/oidc/begin", params={"issuer": "https://evil.example"}) as response:
        assert response.status == 404


async def test_settings_of_a_secret_without_its_client_are_refused() -> None:
    with pytest.raises(ValueError, match="sign_in_secret is the secret of sign_in_client"):
        OidcIssuer(issuer="https://id.example/realms/acme", audience="x", sign_in_secret="secret")
    one = OidcIssuer(
        issuer="https://id.example/realms/acme", audience="x", sign_in_client="y",
        jwks="http://localhost:8080/realms/acme/protocol/openid-connect/certs",
    )  # fmt: skip
    assert one.token_at == "http://localhost:8080/realms/acme/protocol/openid-connect/token"
    with pytest.raises(ValueError, match="where sign_in_client gets its tokens, must begin with https"):
        OidcIssuer(
            issuer="http://id.example/realms/acme", audience="x", sign_in_client="y", jwks="https://id.example/keys"
        )


@pytest.mark.parametrize("by", ["cookie", "bearer"])
async def test_keycloaks_paths_ask_the_issuer_again_too(
    acme: SigningIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Also where a Keycloak says who may read them: a session is of ours."""
    later, now = [0], adapter.service._now
    monkeypatch.setattr(adapter.service, "_now", lambda: now() + later[0])
    keycloak = {"url": acme.realm.issuer.partition("/realms/")[0]}
    async with opened(tmp_path, oidc=[issuer_of(acme)], outgoing=ALLOW, keycloak=keycloak) as service:
        await service.post([login(1, realmName="acme"), login(2, realmName="globex")])
        async with visiting(service) as zoe:
            await back(zoe, acme.arrive(await begin(zoe, acme.realm.issuer)))
            [token] = [one.value for one in zoe.session.cookie_jar if one.key == "console"]
            headers = {"X-CSRF": await zoe.csrf()} if by == "cookie" else {"Authorization": f"Bearer {token}"}

            async def read(realm: str) -> int:
                async with zoe.session.get(f"/admin/realms/{realm}/events", headers=headers) as response:
                    if response.status == 200:
                        assert [event["realmId"] for event in await response.json()] == ["realm-1"]
                    return response.status

            assert (await read("acme"), await read("globex")) == (200, 403)
            acme.status = 400
            assert await read("acme") == 200
            later[0] = int(AGAIN * 1000)
            assert await read("acme") == 401
            # Nor does the Keycloak get to see a key that was revoked.
            headers = {"Authorization": "Bearer idpa_revoked"}
            assert await read("acme") == 401


class Clock:
    """Epoch milliseconds that go on when they are told to; near the present, by which the realm's tokens go."""

    def __init__(self) -> None:
        self.now = int(time.time() * 1000)

    def __call__(self) -> int:
        return self.now


@asynccontextmanager
async def asking_again(acme: SigningIn, clock: Clock) -> AsyncIterator[tuple[SignIns, Any]]:
    settings = OidcIssuer.model_validate(issuer_of(acme))
    outgoing = OutgoingSettings.model_validate(ALLOW)
    async with (
        open_memory_log() as log,
        open_client(outgoing, connections=2, timeout=10) as client,
        open_sessions(log, now=clock, is_shared=False) as sessions,
    ):
        keys = FetchedKeys(client, URL(settings.keys_at), "acme")
        issuers = Issuers([Issuer(settings, keys)])
        yield SignIns(issuers, {settings.issuer: client}, sessions), sessions


async def signed_in(acme: SigningIn, sign_ins: SignIns) -> str:
    """The token of zoe's session."""
    begun = Begun.make(acme.realm.issuer)
    arrived = acme.arrive(sign_ins.address(begun, "https://adapter.example/ui/oidc/callback"))
    grant = await sign_ins.redeem(begun, arrived["code"], "https://adapter.example/ui/oidc/callback")
    _, token = await sign_ins.open(grant)
    return token


async def test_the_issuer_is_asked_again_and_what_it_says_then_counts(acme: SigningIn) -> None:
    clock = Clock()
    async with asking_again(acme, clock) as (sign_ins, sessions):
        token = await signed_in(acme, sign_ins)

        async def permissions() -> list[str] | None:
            session = sessions.find(token)
            if session is not None:
                await sign_ins.ask_again(session, token)
            session = sessions.find(token)
            found = None if session is None else sign_ins.principal(session.parent)
            return None if found is None else sorted(found.permissions)

        assert await permissions() == ["read"]
        assert len(acme.asked) == 1
        acme.roles = ["view-events", "publish-events"]
        assert await permissions() == ["read"]
        clock.now += int(AGAIN * 1000)
        assert await permissions() == ["ingest", "publish", "read"]
        assert await permissions() == ["ingest", "publish", "read"]
        assert [one["grant_type"] for one in acme.asked] == ["authorization_code", "refresh_token"]
        # Each time with what came the time before.
        clock.now += int(AGAIN * 1000)
        assert await permissions() is not None
        assert acme.asked[-1]["refresh_token"] == "refresh-1"


@pytest.mark.parametrize("why", ["locked out", "no role", "somebody else"])
async def test_who_has_no_place_there_any_more_is_out_here(acme: SigningIn, why: str) -> None:
    clock = Clock()
    async with asking_again(acme, clock) as (sign_ins, sessions):
        token = await signed_in(acme, sign_ins)
        clock.now += int(AGAIN * 1000)
        if why == "locked out":
            acme.status = 400
        elif why == "no role":
            acme.roles = []
        else:
            acme.access = {"sub": "another"}
        session = sessions.find(token)
        assert session is not None
        await sign_ins.ask_again(session, token)
        assert sessions.find(token) is None


async def test_an_issuer_that_is_away_ends_no_session_and_lets_nobody_in(acme: SigningIn) -> None:
    clock = Clock()
    async with asking_again(acme, clock) as (sign_ins, sessions):
        token = await signed_in(acme, sign_ins)
        clock.now += int(AGAIN * 1000)
        acme.status = 503
        session = sessions.find(token)
        assert session is not None
        with pytest.raises(Exception, match="does not answer as it should"):
            await sign_ins.ask_again(session, token)
        acme.status = 200
        await sign_ins.ask_again(session, token)
        assert sessions.find(token) is not None


async def test_what_an_issuer_gives_while_the_service_ends_is_kept(acme: SigningIn) -> None:
    """The refresh token that it was asked with is of no use any more."""
    clock = Clock()
    settings, outgoing = OidcIssuer.model_validate(issuer_of(acme)), OutgoingSettings.model_validate(ALLOW)
    async with (
        open_memory_log() as log,
        open_sessions(log, now=clock, is_shared=False) as sessions,
        open_issuers([settings], outgoing) as issuers,
    ):
        async with open_sign_ins(issuers, sessions, outgoing) as sign_ins:
            token = await signed_in(acme, sign_ins)
            clock.now += int(AGAIN * 1000)
            acme.open.clear()
            acme.has_asked.clear()
            session = sessions.find(token)
            assert session is not None
            asking = asyncio.create_task(sign_ins.ask_again(session, token))
            await acme.has_asked.wait()
            # Whoever asked has left.
            asking.cancel()
            asyncio.get_running_loop().call_soon(acme.open.set)
        async with open_sign_ins(issuers, sessions, outgoing) as sign_ins:
            renewed = sessions.find(token)
            assert renewed is not None and renewed.asked_at == clock.now
            clock.now += int(AGAIN * 1000)
            await sign_ins.ask_again(renewed, token)
            assert sessions.find(token) is not None


async def test_the_log_cannot_ask_in_anybodys_name(acme: SigningIn) -> None:
    async with asking_again(acme, Clock()) as (sign_ins, sessions):
        await signed_in(acme, sign_ins)
        [session] = sessions.all
        assert session.sealed and "refresh" not in session.sealed
        assert b"refresh" not in base64.b64decode(session.sealed)
