"""Changing the sinks of the log: made, replaced, changed, deleted, paused, resumed, and their secrets rotated.

A change is one transaction: the sink's note, and the event ``system.CONFIG-SINK-…`` that says who changed what of it.
Whoever changes a sink names the version that he saw, or the present one is meant; of two who change it at once one
does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from pydantic import SecretStr

from adapter.delivery.health import State
from adapter.delivery.loop import reader_name
from adapter.delivery.standing import Decided, Standing
from adapter.delivery.tail import NEAR
from adapter.errors import ConfigError, NoteChanged, RequestError, unknown_sink
from adapter.hints import Hints
from adapter.known_secrets import KnownSecrets
from adapter.log.protocol import NewEntry, Note, Store
from adapter.mapping.catalogue import Catalogue
from adapter.model import Outcome
from adapter.outgoing.guard import make_guard
from adapter.outgoing.settings import OutgoingSettings
from adapter.sealing import Sealing, SealingError
from adapter.section import secrets_of
from adapter.sink_management.checking import (
    check_address,
    check_filter,
    check_name,
    check_signature,
    make_secret,
    patched,
    read_given,
    said_in_vain,
    secrets_said,
)
from adapter.sink_management.live import LiveSinks
from adapter.sink_management.stored import PREFIX, Retiring, StoredSink, given_of, has_secret, shown
from adapter.sink_management.trying import Tested, send_test
from adapter.sinks import signing
from adapter.sinks.settings import SinkSettings
from adapter.system_events import system_event

#: So often a change is tried again that somebody else's came before.
_TRIES = 5
#: Seconds for which a replaced secret stays valid where nothing else is said, and the most.
OVERLAP, LONGEST_OVERLAP = 86_400.0, 90 * 86_400.0
#: Replaced secrets of a sink that are valid at the same time, at most: each signs every post.
MOST_RETIRING = 8
#: Seconds to wait for what a deleted sink of the same name leaves behind.
PATIENCE = 15.0
#: Seconds to wait until a change has taken effect here: a receiver that hangs may keep the old delivery for longer.
TAKEN_UP = 2.0
#: Most sinks of a log.
MOST = 10_000

_log = structlog.get_logger("adapter.sinks")


@dataclass(frozen=True, slots=True)
class Made:
    """A sink as it is after a change."""

    sink: StoredSink
    #: Whether there was none of its name, and whether anything has changed.
    is_new: bool = False
    has_changed: bool = True
    #: Names of the settings that have changed.
    changed: Sequence[str] = ()
    #: A secret that was made for it: told once, and never again.
    secret: str | None = None
    #: What looks like a slip.
    warnings: Sequence[str] = ()


class SinkManagement:
    """Changes the sinks of the log."""

    def __init__(
        self,
        log: Store,
        live: LiveSinks,
        sealing: Sealing,
        catalogue: Callable[[], Catalogue],
        hints: Hints,
        outgoing: OutgoingSettings,
        known_secrets: KnownSecrets,
        *,
        now: Callable[[], int],
    ) -> None:
        """``now`` gives epoch milliseconds."""
        self._log = log
        self._live = live
        self._sealing = sealing
        self._catalogue = catalogue
        self._hints = hints
        self._outgoing = outgoing
        self._known_secrets = known_secrets
        self._now = now

    async def put(
        self, name: str, given: Mapping[str, Any], by: str, *, may_know: bool, match: str | None = None,
        only_new: bool = False, is_paused: bool = False, dry_run: bool = False, beside: Mapping[str, Any] | None = None,
    ) -> Made:  # fmt: skip
        """Make a sink, or have the one of this name be as is said. ``match``: the version that is to be replaced, as
        `tag` gives it; ``only_new``: there must be none; ``is_paused``: a new one waits to be resumed; ``dry_run``:
        nothing is changed; ``beside``: see `StoredSink`, ``None``: as it is.

        Raises:
            RequestError: it cannot be; says why.
            StoreError: the log does not answer.
        """
        check_name(name)
        for _ in range(_TRIES):
            stored = await self._find(name)
            if stored is not None and only_new:
                raise RequestError(409, "There already", f"there is a sink {name!r}; change it, or take another name")
            self._match(stored, match)
            settings, secret = read_given(given, name, stored)
            # Another interface says itself which issuer a caller may name.
            warnings = await self._check(settings, stored, may_know, may_sign=beside is not None)
            if dry_run:
                made = self._made(stored, settings, by, beside=beside)
                # Whether a secret is the one that is stored is for nobody to find out by asking.
                said = () if may_know or stored is None else secrets_said(given)
                return replace(made, changed=sorted({*made.changed, *said}), warnings=warnings)
            known = _ours(settings, stored, secret, may_know=may_know)
            replaced = await self._replace(stored, settings, by, known=known, is_paused=is_paused, beside=beside)
            if replaced is not None:
                return replace(replaced, secret=secret, warnings=warnings)
        raise _busy(name)

    async def patch(
        self, name: str, patch: Mapping[str, Any], by: str, *, may_know: bool, match: str | None = None
    ) -> Made:
        """Change some settings of a sink, as a merge patch. Raises: as `put`."""
        for _ in range(_TRIES):
            stored = self._readable(await self._there(name))
            self._match(stored, match)
            settings, _ = read_given(patched(stored.given, patch), name, stored)
            warnings = await self._check(settings, stored, may_know)
            made = await self._replace(stored, settings, by, known=_ours(settings, stored, None, may_know=may_know))
            if made is not None:
                return replace(made, warnings=warnings)
        raise _busy(name)

    async def delete(self, name: str, by: str, *, force: bool, match: str | None = None) -> dict[str, int]:
        """Delete a sink, with its place and with what is held for it; what it had not sent, as `left`. Without
        ``force`` only one that has nothing left to send. Raises: as `put`."""
        for _ in range(_TRIES):
            stored = await self._there(name)
            self._match(stored, match)
            left = await self._left_in_the_end(name)
            if not force and any(left.values()):
                said = ", ".join(f"{count} {what}" for what, count in left.items() if count)
                raise RequestError(
                    409,
                    "Not empty",
                    f"the sink {name!r} has {said}, which would not be sent any more; force=1 deletes it all the same",
                    held=left["held"],
                    dead=left["dead"],
                    undelivered=left["undelivered"],
                )
            event = self._event("DELETED", name, by, {})
            if await self._append(event, Note(PREFIX + name, "", stored.version + 1)):
                _log.info("sink_deleted", sink=name, by=by, **left)
                await self._live.take(name)
                await self._live.taken_up(name, TAKEN_UP, is_new=False)
                return left
        raise _busy(name)

    async def rotate(
        self,
        name: str,
        by: str,
        *,
        overlap: float,
        secret: str | None,
        may_know: bool = False,
        match: str | None = None,
    ) -> Made:
        """Give a sink a new secret beside the one it has, which stays valid for ``overlap`` seconds. Raises: as
        `put`."""
        for _ in range(_TRIES):
            stored = self._readable(await self._there(name))
            self._match(stored, match)
            present = stored.given.get("secret")
            if not present:
                raise RequestError(
                    409, "Nothing to rotate", f"the sink {name!r} signs with no secret; PATCH gives it one"
                )
            now = self._now()
            if overlap and len(stored.valid(now)) >= MOST_RETIRING:
                detail = f"{MOST_RETIRING} secrets that were replaced are valid still; wait for their end, or overlap 0"
                raise RequestError(409, "Too many", detail)
            until = now + round(overlap * 1000)
            parts = [one if isinstance(one, Mapping) else {"secret": one} for one in present]
            made = secret or (make_private_key() if all(map(_is_private_key, parts)) else make_secret())
            # v1 and v1a are verified apart: secrets of the other kind go on as they are.
            is_key = made.startswith("whsk_")
            others = [one for one in parts if _is_private_key(one) is not is_key]
            settings, _ = read_given({**stored.given, "secret": [SecretStr(made), *others]}, name, stored)
            replaced = [
                Retiring(one["secret"], min(until, _end(one, until))) for one in parts if _is_private_key(one) is is_key
            ]
            retiring = (*(one for one in replaced if one.until > now), *stored.valid(now)) if overlap else ()
            try:
                replace(stored, given=given_of(settings), retiring=retiring).settings(now)
            except ValueError:
                detail = (
                    "its signature takes one secret, so the old one cannot stay valid beside the new one; overlap 0"
                    " replaces it at once"
                )
                raise RequestError(409, "No overlap", detail) from None
            known = (made,) if secret is None or may_know else ()
            after = await self._replace(stored, settings, by, retiring=retiring, event="ROTATED", known=known)
            if after is not None:
                return replace(after, secret=None if secret else made)
        raise _busy(name)

    async def stand(self, name: str, by: str, *, is_paused: bool) -> Standing:
        """Pause a sink, or resume it: also one that stopped. Raises: as `put`."""
        if name not in self._live.configured:
            await self._there(name)
        state, reason = (Decided.PAUSED, "paused") if is_paused else (Decided.RUNNING, "resumed")
        return await self._live.standings.change(name, state=state, reason=reason, by=by, now=self._now())

    async def test(self, name: str, by: str) -> Tested:
        """Send a test event to a sink. Raises: as `put`."""
        configured = self._live.configured.get(name)
        if configured is None:
            return await send_test(
                self._readable(await self._there(name)).settings(self._now()), self._outgoing, self._live.token_key, by
            )
        if not type(configured).by_api:
            detail = f"the sink {name!r} keeps what it is given, and a test event would stay in it"
            raise RequestError(409, "Cannot be tested", detail)
        return await send_test(configured, self._outgoing, self._live.token_key, by)

    async def check(
        self, given: Mapping[str, Any], by: str, *, may_know: bool, send: bool
    ) -> tuple[Made, Tested | None]:
        """What would come of settings, and of a test event. Raises: as `put`."""
        name = check_name(given.get("name", "check"))
        stored = await self._find(name) if name not in self._live.configured else None
        settings, secret = read_given(given, name, stored)
        warnings = await self._check(settings, stored, may_know)
        now = self._now()
        made = Made(StoredSink(name, "", 0, now, by, now, by, given_of(settings)), secret=secret, warnings=warnings)
        return made, await send_test(settings, self._outgoing, self._live.token_key, by) if send else None

    async def left(self, name: str) -> dict[str, int]:
        """What a sink has not sent: ``held``, ``dead``, and entries of the log that it has not come to."""
        owned = self._live.deliveries.get(name)
        delivery = None if owned is None else owned.present
        if delivery is not None:
            shot = delivery.snapshot()
            return {"held": shot.counts.held, "dead": shot.counts.dead, "undelivered": shot.lag}
        progress = await self._log.progress(reader_name(name))
        if progress is None:
            return {"held": 0, "dead": 0, "undelivered": 0}
        undelivered = await self._not_come_to(name, progress.cursor)
        return {"held": progress.held, "dead": progress.dead, "undelivered": undelivered}

    async def _not_come_to(self, name: str, cursor: int) -> int:
        """Entries behind a place that is stored; none if the sink gets nothing of them: then it is stored seldom."""
        head = self._log.head
        settings = next((one for one in self._live.settings() if one.name == name), None)
        if settings is None or head - cursor > NEAR:
            return max(0, head - cursor)
        try:
            selection = self._live.selection(settings)
        except ConfigError:
            return max(0, head - cursor)
        position = cursor
        while position < head:
            entries = await self._log.read(position, until=head)
            if selection.select(entries):
                return head - cursor
            position = entries[-1].position if entries else head
        return 0

    async def _left_in_the_end(self, name: str) -> dict[str, int]:
        """The same, once a sink that keeps up has come to what was appended a moment ago."""
        for _ in range(20):
            left = await self.left(name)
            owned = self._live.deliveries.get(name)
            delivery = None if owned is None else owned.present
            if not left["undelivered"] or (delivery is not None and delivery.snapshot().state is not State.RUNNING):
                break
            await asyncio.sleep(0.05)
        return left

    async def _find(self, name: str) -> StoredSink | None:
        """The sink of this name, as the log has it now.

        Raises:
            RequestError: 409, it is one of the settings; 503, one that was deleted is not gone yet.
        """
        if name in self._live.configured:
            detail = f"the sink {name!r} stands in adapter.toml; change it there, and reload"
            raise RequestError(409, "Of the settings", detail)
        await self._live.take(name)
        if not await self._live.gone(name, PATIENCE):
            detail = f"a sink {name!r} was deleted a moment ago, and is still being closed; try again"
            raise RequestError(503, "Not gone yet", detail, headers={"Retry-After": "2"})
        return self._live.stored.get(name)

    async def _there(self, name: str) -> StoredSink:
        """
        Raises:
            RequestError: 404, there is none; and as `_find`.
        """
        if name not in self._live.configured:
            await self._live.take(name)
            if name not in self._live.stored:
                raise unknown_sink(name, self._live.names())
        stored = await self._find(name)
        assert stored is not None
        return stored

    def _readable(self, stored: StoredSink) -> StoredSink:
        if stored.problem is not None:
            raise RequestError(409, "Not readable", stored.problem)
        return stored

    def _match(self, stored: StoredSink | None, match: str | None) -> None:
        """
        Raises:
            RequestError: 412, it is not the version that the caller has seen.
        """
        if match is None or (stored is not None and match in ("*", tag(stored))):
            return
        headers = {} if stored is None else {"ETag": f'"{tag(stored)}"'}
        detail = "the sink has changed since it was read, or is not there; read it again, and make the change there"
        raise RequestError(412, "Precondition failed", detail, headers=headers)

    async def _check(
        self, settings: SinkSettings, stored: StoredSink | None, may_know: bool, *, may_sign: bool = False
    ) -> list[str]:
        """``may_sign``: whoever asks has seen to whose tokens sign what is sent."""
        check_signature(settings, stored, may_know=may_know or may_sign)
        warnings = [*said_in_vain(settings, stored), *check_filter(settings, self._catalogue(), self._hints)]
        return [*warnings, *await check_address(settings, make_guard(self._outgoing), may_know=may_know)]

    async def _replace(
        self,
        stored: StoredSink | None,
        settings: SinkSettings,
        by: str,
        *,
        retiring: tuple[Retiring, ...] | None = None,
        event: str | None = None,
        beside: Mapping[str, Any] | None = None,
        known: Sequence[str] = (),
        is_paused: bool = False,
    ) -> Made | None:
        """Keep the settings of a sink; ``None``: somebody else has changed it meanwhile. ``known``: those of its
        secrets that are ours to redact in what is sent (`StoredSink.redacted`); ``is_paused``: a new one begins so."""
        if stored is None and len(self._live.stored) >= MOST:
            raise RequestError(409, "Too many", f"there are {MOST} sinks, which is the most; delete one")
        made = self._made(stored, settings, by, retiring, beside)
        if not made.has_changed:
            return made
        sink = made.sink.redacting(known)
        if made.is_new:
            sink = replace(sink, begins_paused=is_paused)
        made = replace(made, sink=sink)
        try:
            if has_secret(sink.beside) or any(True for _ in secrets_of(settings)):
                await self._sealing.prepare()
                self._known_secrets.add(*known)
            note = sink.note(self._sealing)
        except SealingError as error:
            raise RequestError(409, "No key", str(error)) from None
        name = event or ("CREATED" if stored is None else "CHANGED")
        if not await self._append(self._event(name, sink.name, by, {"changed": ", ".join(made.changed)}), note):
            return None
        _log.info(f"sink_{name.lower()}", sink=sink.name, by=by, changed=made.changed)
        if made.is_new and is_paused:
            await self._live.begin_paused(sink)
        await self._live.take(sink.name)
        await self._live.taken_up(sink.name, TAKEN_UP, is_new=made.is_new)
        return made

    def _made(
        self,
        stored: StoredSink | None,
        settings: SinkSettings,
        by: str,
        retiring: tuple[Retiring, ...] | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> Made:
        """A sink as it would be with these settings."""
        given, now = given_of(settings), self._now()
        if stored is None:
            id = f"snk_{secrets.token_hex(10)}"
            sink = StoredSink(settings.name, id, 1, now, by, now, by, given, beside=beside or {})
            return Made(sink, is_new=True, changed=sorted(given.keys() - {"name"}))
        before, kept = stored.given, stored.retiring if retiring is None else retiring
        if retiring is None and kept and not _signs_with(replace(stored, given=given, problem=None), now):
            kept = ()
        changed = sorted(name for name in {*before, *given} if before.get(name) != given.get(name))
        if beside is None:
            beside = stored.beside if stored.problem is None else {}  # its secrets cannot be read either
        if not changed and kept == stored.retiring and stored.problem is None and beside == stored.beside:
            return Made(stored, has_changed=False)
        version = stored.version + 1
        sink = replace(
            stored, version=version, changed_at=now, changed_by=by, given=given, retiring=kept, problem=None,
            beside=beside,
        )  # fmt: skip
        return Made(sink, changed=changed)

    async def _append(self, event: NewEntry, note: Note) -> bool:
        try:
            await self._log.append([event], note)
        except NoteChanged:
            return False
        return True

    def _event(self, what: str, name: str, by: str, details: Mapping[str, str]) -> NewEntry:
        said = {"sink": name, **details}
        return system_event(f"CONFIG-SINK-{what}", self._now(), said, outcome=Outcome.SUCCESS, username=by)


def tag(sink: StoredSink) -> str:
    """By which a version of a sink is known."""
    return f"{sink.id}.{sink.version}"


def settings_shown(sink: StoredSink) -> dict[str, Any]:
    """The settings of a sink, without its secrets."""
    found = shown(sink.given)
    assert isinstance(found, dict)
    return found


def _busy(name: str) -> RequestError:
    return RequestError(409, "Changed meanwhile", f"the sink {name!r} is changed by others all the time; try again")


def _ours(settings: SinkSettings, stored: StoredSink | None, made: str | None, *, may_know: bool) -> list[str]:
    """Which secrets of a sink are redacted in what is sent to us: one that was made, and those that are said now by
    the administrator (``may_know``)."""
    before = set(() if stored is None else stored.secrets())
    said = [one for one in secrets_of(settings) if one not in before] if may_know else []
    return [*said, *([made] if made is not None else [])]


def make_private_key() -> str:
    """A new Ed25519 key, of the form of Standard Webhooks."""
    return signing.make_secret("whsk", secrets.token_bytes)


def _is_private_key(one: Mapping[str, Any]) -> bool:
    return bool(one["secret"].get_secret_value().startswith("whsk_"))


def _end(one: Mapping[str, Any], otherwise: int) -> int:
    """When a secret ends, epoch milliseconds."""
    until = one.get("until")
    return otherwise if until is None else int(datetime.fromisoformat(until).timestamp() * 1000)


def _signs_with(stored: StoredSink, now: int) -> bool:
    """Whether the sink signs with a secret, and its signature has room for those that were replaced."""
    try:
        stored.settings(now)
    except ValueError:
        return False
    return bool(stored.given.get("secret"))
