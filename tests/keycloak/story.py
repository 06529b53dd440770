"""A realm's day: what people, clients and an administrator do, step by step. What comes of it is in story.yaml."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from tests.e2e.process import until
from tests.keycloak.browser import Browser, browser, one_time_code
from tests.keycloak.mailbox import Mailbox
from tests.keycloak.server import Keycloak

APP = {"client_id": "app", "client_secret": "app-secret"}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


async def steps(keycloak: Keycloak, mails: Mailbox) -> AsyncIterator[str]:
    """Do all of it; each step's name before it is done."""
    for part in (tokens(keycloak), forms(keycloak, mails), credentials(keycloak), accounts(keycloak), admin(keycloak)):
        async for step in part:
            yield step


async def tokens(keycloak: Keycloak) -> AsyncIterator[str]:
    """Without any page: what applications ask for."""
    yield "login"
    _, token = await keycloak.login("alice", "alice-pw")
    yield "wrong password"
    await keycloak.login("alice", "wrong")
    yield "unknown user"
    await keycloak.login("nobody", "x")
    yield "refresh"
    _, token = await keycloak.token({"grant_type": "refresh_token", **APP, "refresh_token": token["refresh_token"]})
    yield "user info"
    await _ask(keycloak, "GET", "protocol/openid-connect/userinfo", token)
    yield "introspection"
    await _ask(keycloak, "POST", "protocol/openid-connect/token/introspect", form={**APP, "token": _of(token)})
    yield "token exchange"
    await keycloak.token(
        {"grant_type": EXCHANGE, **APP, "subject_token": _of(token), "subject_token_type": ACCESS_TOKEN}
    )
    yield "logout"
    await _ask(
        keycloak, "POST", "protocol/openid-connect/logout", form={**APP, "refresh_token": token["refresh_token"]}
    )
    yield "client login"
    await keycloak.token({"grant_type": "client_credentials", **APP})
    yield "client login, wrong secret"
    await keycloak.token({"grant_type": "client_credentials", **APP, "client_secret": "wrong"})


async def forms(keycloak: Keycloak, mails: Mailbox) -> AsyncIterator[str]:
    """In a browser: logging in, consent, registration, a forgotten password."""
    async with browser(keycloak) as alice:
        await alice.begin()
        yield "login by form, wrong password"
        await alice.fill_in(username="alice", password="wrong")
        yield "login by form, unknown user"
        await alice.fill_in(username="nobody", password="x")
        yield "login by form"
        code = await alice.fill_in(username="alice", password="alice-pw")
        yield "code to token"
        token = await _redeemed(keycloak, code)
        yield "code to token, used code"
        await _redeemed(keycloak, code)
        yield "single sign-on"
        await alice.begin()
        yield "consent refused"
        await alice.begin("shop")
        await alice.fill_in(cancel="")
        yield "consent given"
        await alice.begin("shop")
        await alice.fill_in(accept="")
        yield "logout in the browser"
        await _ask(keycloak, "GET", f"protocol/openid-connect/logout?id_token_hint={token.get('id_token')}")
    async with browser(keycloak) as mia:
        person = {"email": "mia@story.test", "firstName": "Mia", "lastName": "M"}
        await mia.begin(page="registrations")
        yield "registration, name taken"
        await mia.fill_in(username="alice", password="mia-pw", **person, **{"password-confirm": "mia-pw"})
        yield "registration"
        await mia.fill_in(username="mia", password="mia-pw", **person, **{"password-confirm": "mia-pw"})
    async with browser(keycloak) as mia:
        await mia.begin()
        await mia.follow("reset-credentials")
        yield "forgotten password, unknown user"
        await mia.fill_in(username="nobody")
    async with browser(keycloak) as mia:
        await mia.begin()
        await mia.follow("reset-credentials")
        yield "forgotten password"
        await mia.fill_in(username="mia")
        yield "new password by mail"
        await mia.open(await mails.link())
        await mia.fill_in(**{"password-new": "mia-2nd", "password-confirm": "mia-2nd"})


async def credentials(keycloak: Keycloak) -> AsyncIterator[str]:
    """One's own password and one-time codes."""
    async with browser(keycloak) as zoe:
        await _log_in(zoe, "zoe", "zoe-pw", kc_action="UPDATE_PASSWORD")
        yield "password change, not confirmed"
        await zoe.fill_in(**{"password-new": "zoe-2nd", "password-confirm": "other"})
        yield "password change"
        await zoe.fill_in(**{"password-new": "zoe-2nd", "password-confirm": "zoe-2nd"})
    async with browser(keycloak) as zoe:
        await _log_in(zoe, "zoe", "zoe-2nd", kc_action="CONFIGURE_TOTP")
        yield "one-time codes set up"
        secret = zoe.hidden("totpSecret")
        await zoe.fill_in(totp=one_time_code(secret, time.time()), userLabel="phone")
    async with browser(keycloak) as zoe:
        await _log_in(zoe, "zoe", "zoe-2nd")
        yield "login, wrong one-time code"
        await zoe.fill_in(otp="000000")
        yield "login with a one-time code"
        # Each code is good once, the one of the next half minute already.
        code = await zoe.fill_in(otp=one_time_code(secret, time.time() + 30))
        yield "code to token after it"
        token = await _redeemed(keycloak, code)
        yield "one-time codes removed"
        kinds = await _ask(keycloak, "GET", "account/credentials", token)
        (found,) = [one for kind in kinds if kind["type"] == "otp" for one in kind["userCredentialMetadatas"]]
        await _ask(keycloak, "DELETE", f"account/credentials/{found['credential']['id']}", token)


async def accounts(keycloak: Keycloak) -> AsyncIterator[str]:
    """One's own account and consents; and a lockout."""
    yield "login again"
    _, token = await keycloak.login("alice", "alice-pw")
    account = await _ask(keycloak, "GET", "account", token)
    yield "name change"
    await _ask(keycloak, "POST", "account", token, json={**account, "lastName": "Adams"})
    yield "e-mail change"
    await _ask(keycloak, "POST", "account", token, json={**account, "lastName": "Adams", "email": "al@story.test"})
    yield "consent revoked"
    await _ask(keycloak, "DELETE", "account/applications/shop/consent", token)
    yield "lockout"
    zoe = await _id(keycloak, "users", username="zoe")
    for failures in (1, 2, 3):
        await keycloak.login("zoe", "wrong")

        async def counted(failures: int = failures) -> bool:
            # Only after the answer, and of two at once one may go uncounted.
            found = await keycloak.admin("GET", f"/attack-detection/brute-force/users/{zoe}")
            return bool(found["disabled"] or (failures < 3 and found["numFailures"] >= failures))

        await until(counted)
    yield "login while locked out"
    await keycloak.login("zoe", "zoe-2nd")


async def admin(keycloak: Keycloak) -> AsyncIterator[str]:
    """What an administrator does."""
    ask = keycloak.admin
    zoe = await _id(keycloak, "users", username="zoe")
    yield "unlocked by an administrator"
    await ask("DELETE", f"/attack-detection/brute-force/users/{zoe}")
    yield "user created"
    await ask("POST", "/users", {"username": "bob", "enabled": True, "email": "bob@story.test"})
    bob = await _id(keycloak, "users", username="bob")
    yield "user changed"
    await ask("PUT", f"/users/{bob}", {"firstName": "Bob", "lastName": "B"})
    yield "password set by an administrator"
    await ask("PUT", f"/users/{bob}/reset-password", {"type": "password", "value": "bob-pw", "temporary": False})
    yield "role created"
    await ask("POST", "/roles", {"name": "auditor"})
    role = await ask("GET", "/roles/auditor")
    yield "role given"
    await ask("POST", f"/users/{bob}/role-mappings/realm", [role])
    yield "role taken away"
    await ask("DELETE", f"/users/{bob}/role-mappings/realm", [role])
    yield "group created"
    await ask("POST", "/groups", {"name": "staff"})
    group = await _id(keycloak, "groups", search="staff")
    yield "group joined"
    await ask("PUT", f"/users/{bob}/groups/{group}")
    yield "group left"
    await ask("DELETE", f"/users/{bob}/groups/{group}")
    yield "login of the new user"
    await keycloak.login("bob", "bob-pw")
    yield "logged out by an administrator"
    await ask("POST", f"/users/{bob}/logout")
    yield "impersonation"
    await ask("POST", f"/users/{bob}/impersonation")
    yield "user disabled"
    await ask("PUT", f"/users/{bob}", {"enabled": False})
    yield "login of a disabled user"
    await keycloak.login("bob", "bob-pw")
    yield "user deleted"
    await ask("DELETE", f"/users/{bob}")
    yield "group deleted"
    await ask("DELETE", f"/groups/{group}")
    yield "role deleted"
    await ask("DELETE", "/roles/auditor")
    yield "client created"
    await ask("POST", "/clients", {"clientId": "new", "secret": "new-secret"})
    client = await _id(keycloak, "clients", clientId="new")
    yield "client changed"
    await ask("PUT", f"/clients/{client}", {"clientId": "new", "name": "New"})
    yield "client's secret made anew"
    await ask("POST", f"/clients/{client}/client-secret")
    yield "client deleted"
    await ask("DELETE", f"/clients/{client}")
    yield "realm changed"
    await ask("PUT", "", {"displayName": "Story"})


async def _log_in(person: Browser, username: str, password: str, **query: str) -> str | None:
    await person.begin(**query)
    return await person.fill_in(username=username, password=password)


async def _redeemed(keycloak: Keycloak, code: str | None) -> dict[str, str]:
    """The tokens that the app gets for a code."""
    assert code is not None
    form = {"grant_type": "authorization_code", **APP, "code": code, "redirect_uri": "http://127.0.0.1/app"}
    _, token = await keycloak.token(form)
    return dict(token)


async def _ask(
    keycloak: Keycloak,
    method: str,
    path: str,
    token: dict[str, str] | None = None,
    *,
    form: dict[str, str] | None = None,
    json: Any = None,
) -> Any:
    """Ask below the realm, as who has a token: the answer's JSON, if it has any."""
    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {_of(token)}"
    url = f"{keycloak.url}/realms/{keycloak.realm}/{path}"
    async with keycloak.session.request(method, url, headers=headers, data=form, json=json) as response:
        return await response.json() if response.content_type == "application/json" else None


def _of(token: dict[str, str]) -> str:
    return token["access_token"]


async def _id(keycloak: Keycloak, kind: str, **query: str) -> str:
    """The id of the one that a question finds."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    (found,) = await keycloak.admin("GET", f"/{kind}?{text}&exact=true")
    return str(found["id"])
