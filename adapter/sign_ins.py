"""Signing in at an issuer (OpenID Connect, code flow with PKCE), and what it says later of who did.

The issuer is asked again every few minutes, with a refresh token: who is locked out there, or has lost a role, is out
here soon, and who is idle there for too long signs in anew. The log has the refresh token sealed with a key that the
session's own token makes, which is in the browser alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from yarl import URL

from adapter.errors import NoReply, RequestError
from adapter.keys.sessions import Sessions
from adapter.keys.stored_sessions import Parent, Session
from adapter.oidc import Issuer, Issuers, Told, principal_of, refusal_of, told_of_holder, verified
from adapter.outgoing.client import Client, open_client
from adapter.outgoing.settings import OutgoingSettings
from adapter.principal import Person, Principal
from adapter.settings import OidcIssuer
from adapter.sources.signed_token import Claims, is_meant, read_token

#: Seconds after which an issuer is asked again, and within which it has to answer.
AGAIN, TIMEOUT = 300.0, 10.0
#: Seconds that somebody who signs out, or the end of the service, waits for an issuer.
PATIENCE = 3.0
#: Bytes and lines of an issuer's answer.
_SIZE, _LINES = 256 * 1024, 20_000

_log = structlog.get_logger("adapter.oidc")


@dataclass(frozen=True, slots=True)
class Begun:
    """What is remembered of somebody who was sent to an issuer, until he is back."""

    issuer: str
    state: str
    nonce: str
    verifier: str

    @classmethod
    def make(cls, issuer: str) -> Begun:
        return cls(issuer, *(secrets.token_urlsafe(32) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Grant:
    """Who has signed in, and with what the issuer is asked again; empty: it gave nothing."""

    parent: Parent
    refresh_token: str = ""


class SignIns:
    """Signs in. Made by `open_sign_ins`."""

    def __init__(
        self,
        issuers: Issuers | None,
        clients: Mapping[str, Client],
        sessions: Sessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clients``: of the issuers at which people sign in, by their names; ``clock`` gives epoch seconds."""
        self._issuers = {} if issuers is None else {name: issuers.all[name] for name in clients}
        self._clients = clients
        self._sessions = sessions
        self._clock = clock
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def choices(self) -> list[OidcIssuer]:
        """Where people sign in."""
        return [one.settings for one in self._issuers.values()]

    def address(self, begun: Begun, redirect: str) -> str:
        """Where somebody is sent to sign in; ``redirect``: where the issuer sends him back to.

        Raises:
            RequestError: 404, nobody signs in there.
        """
        settings = self._issuer(begun.issuer).settings
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "client_id": str(settings.sign_in_client),
            "redirect_uri": redirect,
            "response_type": "code",
            "scope": "openid",
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{settings.sign_in_at}?{urlencode(query)}"

    async def redeem(self, begun: Begun, code: str, redirect: str) -> Grant:
        """Who the issuer says has signed in.

        Raises:
            RequestError: 403, it says of nobody that he may; 503, it does not answer.
        """
        issuer = self._issuer(begun.issuer)
        answer = await self._ask(
            issuer,
            {
                "grant_type": "authorization_code", "code": code, "redirect_uri": redirect,
                "code_verifier": begun.verifier,
            },
        )  # fmt: skip
        grant = None if answer is None else await self._granted(issuer, answer, begun.nonce)
        if grant is None:
            raise _refused(issuer.settings, "it did not confirm the sign-in")
        if not grant.parent.roles:
            what = f"no role of the client {issuer.settings.audience!r} lets {grant.parent.principal} do anything here"
            raise _refused(issuer.settings, what)
        return grant

    async def open(self, grant: Grant, address: str | None = None) -> tuple[Session, str]:
        """A session of who has signed in, and its token. ``address``: from where. Raises like `Sessions.open`."""
        principal = self.principal(grant.parent)
        assert principal is not None
        return await self._sessions.open(
            grant.parent,
            principal.name,
            "oidc",
            lambda token: _sealed(token, grant.refresh_token),
            address=address,
        )

    def principal(self, parent: Parent) -> Principal | None:
        """What the settings say now that somebody may who signed in at an issuer; ``None``: nobody signs in there."""
        issuer = self._issuers.get(parent.name)
        if issuer is None:
            return None
        found = principal_of(issuer.settings, Told(parent.roles, parent.principal, parent.person or Person()))
        return found if found.permissions else None

    async def ask_again(self, session: Session, token: str) -> None:
        """Ask the issuer of a session's parent, if it is time, whether all is as it was; the session of who has no
        place there any more is ended. However many ask at the same time, it is asked once.

        Raises:
            RequestError: 503, the issuer does not answer.
            StoreError: the log does not answer.
        """
        if session.parent.kind != "issuer" or 0 <= self._sessions.age(session) < AGAIN:
            return
        task = self._asking.get(session.id)
        if task is None:
            task = self._asking[session.id] = asyncio.create_task(self._renew(session, token))
            task.add_done_callback(partial(self._asked, session.id))
        await asyncio.shield(task)

    async def end(self, session: Session, token: str) -> None:
        """Tell the issuer of a session that has ended, so that it ends its own: or whoever sits there next would sign
        in without a password. Never fails: here the session is over in any case."""
        issuer = self._issuers.get(session.parent.name) if session.parent.kind == "issuer" else None
        refresh_token = _opened(token, session.sealed)
        if issuer is None or not refresh_token:
            return
        status = 0
        problem: str | None = f"no answer within {PATIENCE:g} s"
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                form = {"refresh_token": refresh_token}
                status, _, problem = await self._post(issuer, issuer.settings.sign_out_at, form)
        if not 200 <= status < 300:
            _log.warning("sign_out_not_told", issuer=issuer.settings.issuer, status=status, problem=problem)

    async def close(self) -> None:
        """Wait for what is asked: a refresh token that an issuer has taken is of no use any more, so the one that it
        gives instead has to be kept."""
        if tasks := set(self._asking.values()):
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _asked(self, id: str, task: asyncio.Task[None]) -> None:
        self._asking.pop(id, None)
        if not task.cancelled():
            task.exception()  # told to whoever asked, if anybody still waits

    async def _renew(self, session: Session, token: str) -> None:
        issuer, refresh_token = self._issuers.get(session.parent.name), _opened(token, session.sealed)
        grant = None
        if issuer is not None and refresh_token:
            answer = await self._ask(issuer, {"grant_type": "refresh_token", "refresh_token": refresh_token})
            grant = None if answer is None else await self._granted(issuer, answer, None)
        if grant is not None and grant.parent.roles and grant.parent.key == session.parent.key:
            sealed = _sealed(token, grant.refresh_token or refresh_token or "")
            await self._sessions.renew(session, grant.parent, sealed)
            return
        await self._sessions.look()
        present = self._sessions.find(token)
        # Another service may have been faster, and have used the refresh token up.
        if present is not None and present.asked_at == session.asked_at:
            _log.info("session_not_renewed", session=session.id, issuer=session.parent.name)
            await self._sessions.end(session.id, session.name)

    def _issuer(self, name: str) -> Issuer:
        """
        Raises:
            RequestError: 404, nobody signs in there.
        """
        found = self._issuers.get(name)
        if found is None:
            raise RequestError(404, "Not found", "Nobody signs in at this issuer; the settings name none such.")
        return found

    async def _ask(self, issuer: Issuer, form: dict[str, str]) -> dict[str, Any] | None:
        """What the issuer's token endpoint answers; ``None``: it refuses.

        Raises:
            RequestError: 503, it does not answer.
        """
        settings = issuer.settings
        status, body, problem = await self._post(issuer, settings.token_at, form)
        try:
            answer = json.loads(body) if body else None
        except (ValueError, RecursionError):
            answer = None
        if status == 200 and isinstance(answer, dict):
            return answer
        if status in (400, 401, 403) and isinstance(answer, dict):
            why = str(answer.get("error_description") or answer.get("error"))[:200]
            _log.warning("sign_in_refused_by_issuer", issuer=settings.issuer, status=status, why=why)
            return None
        _log.warning("issuer_not_reached", issuer=settings.issuer, status=status, problem=problem)
        detail = f"{settings.issuer} does not answer as it should; try again later."
        raise RequestError(503, "The issuer does not answer", detail, headers={"Retry-After": "30"})

    async def _post(self, issuer: Issuer, address: str, form: dict[str, str]) -> tuple[int, bytes, str | None]:
        """Status and body of what an issuer answers to its client; or 0, nothing, and why there is no answer."""
        settings, client = issuer.settings, self._clients[issuer.settings.issuer]
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        name = str(settings.sign_in_client)
        if settings.sign_in_secret is None:
            form["client_id"] = name
        else:
            pair = f"{quote(name, safe='')}:{quote(settings.sign_in_secret.get_secret_value(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            reply = await client.request("POST", URL(address), headers=headers, body=urlencode(form).encode())
        except NoReply as error:
            return 0, b"", str(error)
        return reply.status, reply.body, None

    async def _granted(self, issuer: Issuer, answer: dict[str, Any], nonce: str | None) -> Grant | None:
        """Who an answer of the token endpoint is about, if all of it is the issuer's; with a ``nonce`` its ID token
        has to have that."""
        access, id_token, refresh = (answer.get(one) for one in ("access_token", "id_token", "refresh_token"))
        if not isinstance(access, str) or (nonce is not None and not isinstance(id_token, str)):
            return None
        signed = read_token(access)
        claims = await verified(issuer, signed)
        if claims is None:
            return None
        settings, now = issuer.settings, self._clock()
        rule = issuer.rule
        if settings.sign_in_client == settings.audience == claims.get("azp"):
            # Keycloak names in `aud` all whom a token is for, but who it is made for.
            rule = rule.model_copy(update={"audience": None})
        refusal = refusal_of(rule, signed, claims, now)
        if refusal is None and claims.get("azp") != settings.sign_in_client:
            refusal = "it was made for another client"
        if refusal is None and nonce is not None:
            refusal = await self._id_refusal(issuer, str(id_token), claims, nonce, now)
        if refusal is not None:
            _log.warning("sign_in_refused", issuer=settings.issuer, why=refusal)
            return None
        told = told_of_holder(settings, claims)
        parent = Parent("issuer", settings.issuer, roles=told.roles, principal=told.name, person=told.person)
        return Grant(parent, refresh if isinstance(refresh, str) else "")

    async def _id_refusal(self, issuer: Issuer, text: str, access: Claims, nonce: str, now: float) -> str | None:
        """Why an ID token is not taken; ``None``: it is."""
        claims = await verified(issuer, read_token(text))
        rule = issuer.rule.model_copy(update={"audience": issuer.settings.sign_in_client})
        if claims is None or not is_meant(rule, claims, now) or "exp" not in claims:
            return "its ID token is not the issuer's, not for this client, or not valid now"
        said = claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
            return "its ID token is for another sign-in"
        return None if claims.get("sub") == access.get("sub") else "its ID token is somebody else's"


def _refused(settings: OidcIssuer, why: str) -> RequestError:
    return RequestError(403, "Not signed in", f"{settings.issuer}: {why}.")


def _sealed(token: str, text: str) -> str:
    nonce = secrets.token_bytes(12)
    return base64.b64encode(nonce + AESGCM(_key(token)).encrypt(nonce, text.encode(), None)).decode()


def _opened(token: str, sealed: str) -> str | None:
    """What was sealed for a session with this token; ``None``: it was for another."""
    try:
        packed = base64.b64decode(sealed, validate=True)
        return AESGCM(_key(token)).decrypt(packed[:12], packed[12:], None).decode()
    except (ValueError, InvalidTag):
        return None


def _key(token: str) -> bytes:
    return hmac.digest(token.encode("utf-8", "surrogateescape"), b"refresh token of a session", "sha256")


@asynccontextmanager
async def open_sign_ins(
    issuers: Issuers | None, sessions: Sessions, outgoing: OutgoingSettings, clock: Callable[[], float] = time.time
) -> AsyncIterator[SignIns]:
    """Those at the issuers whose settings name a client for it, while the context lasts.

    Raises:
        ConfigError: what they name cannot be used.
    """
    async with AsyncExitStack() as stack:
        clients = {}
        for name, one in ({} if issuers is None else issuers.all).items():
            if one.settings.sign_in_client is not None:
                opening = open_client(outgoing, connections=4, timeout=TIMEOUT, answer_size=_SIZE, answer_lines=_LINES)
                clients[name] = await stack.enter_async_context(opening)
        sign_ins = SignIns(issuers, clients, sessions, clock)
        try:
            yield sign_ins
        finally:
            await sign_ins.close()
