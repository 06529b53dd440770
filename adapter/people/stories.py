"""Stories: what several events tell together. Pure.

One login is one story, however many events its provider sends of it: the steps that lead to it, the failed tries
before it, what follows it at once. A failed login that no success follows is one, too, and so is a one-time code with
those who showed it. What is part of no story stays as itself. Every event is in one story and in no other.

Which place a type has stands beside its meaning (`Step` in the catalogue). Events belong together within a source, and
where they share a session, a correlation id or a user id. A name says nothing of a failure: whoever failed under a name
alone need not be the one who has it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from adapter.formats.text import counted, harmless, lasting, shortened
from adapter.mapping.catalogue import Catalogue, Step
from adapter.mapping.sentence import sentence, text_of, value_of
from adapter.search_fields import SearchFields, folded

MINUTE = 60_000
#: How long before a login, or a try, a step that belongs to it may have been, milliseconds.
STEPS = 10 * MINUTE
#: How long before a success a failed try is told with it.
TRIES = 30 * MINUTE
#: How long after a login something follows it at once.
AFTER = MINUTE
#: How long a one-time code is looked for, where it does not say when it ends.
CODES = 15 * MINUTE
#: No story goes on over such a silence.
SILENCE = TRIES
#: Logins of one key that are remembered for what follows them.
_REMEMBERED = 8
#: Addresses of failed tries that are told.
_ADDRESSES = 10

Kind = Literal["login", "failed_login", "code", "event"]
Session = Literal["new", "single sign-on"]
Key = tuple[str, ...]


class Happening(NamedTuple):
    """One event of a timeline."""

    uid: str
    event: SearchFields
    #: Why it is on this timeline.
    linked_by: str


class Tie(NamedTuple):
    """A one-time code that was shown, and the one that was made."""

    shown: str
    #: uid of the event by which it was made or sent; ``None``: it is not among these events.
    made: str | None
    #: How they belong together.
    by: str
    outcome: str


@dataclass(slots=True)
class Story:
    """Some events that tell one thing."""

    kind: Kind
    #: The event that it is told by.
    told_by: Happening
    #: In the order of time.
    parts: list[Happening]
    tries: list[Happening] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    session: Session | None = None
    sentence: str = ""

    @property
    def time(self) -> int:
        """When it happened, epoch milliseconds: of the event that it is told by."""
        return self.told_by.event.time

    @property
    def begin(self) -> int:
        return self.parts[0].event.time

    @property
    def end(self) -> int:
        return self.parts[-1].event.time

    @property
    def actor(self) -> str | None:
        """The id of who acted, where one of its events says it."""
        said = (one.event.actor for one in (self.told_by, *reversed(self.parts)))
        return next((one for one in said if one is not None), None)

    @property
    def linked_by(self) -> list[str]:
        """Why its events are on this timeline, each reason once."""
        return list(dict.fromkeys(one.linked_by for one in self.parts))

    @property
    def addresses_of_tries(self) -> list[str]:
        """Where the failed tries came from, each once."""
        found = dict.fromkeys(one.event.address for one in self.tries if one.event.address is not None)
        return [harmless(one) for one in found][:_ADDRESSES]

    def detail(self, *names: str) -> str | None:
        """What the event that it is told by says under one of these details, or else one of the others."""
        for one in (self.told_by, *reversed(self.parts)):
            details = one.event.event.details or {}
            for name in names:
                if details.get(name):
                    return details[name]
        return None

    @property
    def method(self) -> str | None:
        """How somebody logged in, in the first place, where that is said."""
        if (said := self.detail("login_method")) is not None:
            return said
        passed = {one.event.type for one in self.parts if one.event.outcome == "success"}
        if "access.VALIDATE_PASSWORD" in passed:
            return "password"
        vouched = {"access.IDENTITY_PROVIDER_LOGIN", "access.IDENTITY_PROVIDER_RESPONSE"}
        return "federated" if not passed.isdisjoint(vouched) else None

    @property
    def factor(self) -> str | None:
        """The further proof, where one is said: of the login, or of its steps that did not fail."""
        good = [self.told_by, *(one for one in reversed(self.parts) if one.event.outcome != "failure")]
        said = ((one.event.event.details or {}).get("factor") for one in good)
        return next((one for one in said if one and one != "password"), None)

    @property
    def device(self) -> str | None:
        """What somebody used, as a text for people."""
        if (name := self.detail("device_name")) is not None:
            return _short(name)
        program, system = self.detail("browser"), self.detail("os", "device_model")
        if program is not None or system is not None:
            return _short(" on ".join(one for one in (program, system) if one is not None))
        agent = self.detail("user_agent")
        return None if agent is None else _short(agent)

    @property
    def place(self) -> str | None:
        """Where the address lies, as the provider says."""
        found = [one for one in (self.detail("city"), self.detail("country")) if one is not None]
        return _short(", ".join(found)) if found else None


def tell(
    happenings: Sequence[Happening], catalogue: Catalogue, known: Collection[tuple[str, str]] = frozenset()
) -> list[Story]:
    """The stories of some events, which are in the order of time; in that order, too. ``known``: source and session of
    logins before these."""
    telling = _Telling(happenings, catalogue, known)
    stories = telling.tell()
    for story in stories:
        story.sentence = _sentence(story, catalogue)
    return stories


class _Telling:
    def __init__(
        self, happenings: Sequence[Happening], catalogue: Catalogue, known: Collection[tuple[str, str]]
    ) -> None:
        self._all = happenings
        self._times = [one.event.time for one in happenings]
        self._steps = [_step(one.event, catalogue) for one in happenings]
        self._keys = [list(_keys(one.event)) for one in happenings]
        self._taken: set[int] = set()
        #: What may become a part of a login to come, by what it may be known by.
        self._open: dict[Key, list[int]] = {}
        #: Logins, by the same.
        self._logins: dict[Key, list[tuple[int, Story]]] = {}
        self._sessions = set(known)
        self._stories: list[Story] = []

    def tell(self) -> list[Story]:
        for number, step in enumerate(self._steps):
            failed = self._all[number].event.outcome == "failure"
            if step is None:
                continue
            if step is Step.LOGIN and not failed:
                self._log_in(number)
            elif not failed and self._follows(number, step):
                continue
            elif step is not Step.AFTER:
                for key in self._keys[number]:
                    self._open.setdefault(key, []).append(number)
        for number, step in enumerate(self._steps):
            if step is Step.LOGIN and number not in self._taken:
                self._fail(number)
        for number, step in enumerate(self._steps):
            if step is Step.CODE and number not in self._taken:
                self._show(number)
        for number, one in enumerate(self._all):
            if number not in self._taken:
                self._stories.append(Story("event", one, [one]))
        place = {one.uid: number for number, one in enumerate(self._all)}
        for story in self._stories:
            story.parts.sort(key=lambda one: place[one.uid])
            story.ties = list(_ties(story, [self._steps[place[one.uid]] for one in story.parts]))
        self._stories.sort(key=lambda story: place[story.told_by.uid])
        return self._stories

    def _log_in(self, number: int) -> None:
        login = self._all[number]
        before = self._before(number, TRIES)
        tries = [one for one in before if self._steps[one] is Step.LOGIN]
        begun = [login.event.time, *(self._all[one].event.time for one in tries)]
        steps = [
            one
            for one in before
            if self._steps[one] is not Step.LOGIN
            and any(0 <= time - self._all[one].event.time <= STEPS for time in begun)
        ]
        story = self._make("login", number, [*tries, *steps])
        failed = [one for one in steps if self._all[one].event.outcome == "failure"]
        story.tries = [self._all[one] for one in (tries or failed)]
        session = login.event.session
        if session is not None:
            known = (login.event.source, session)
            story.session = "single sign-on" if known in self._sessions else "new"
            self._sessions.add(known)
        elif (login.event.event.details or {}).get("login_method") == "token":
            story.session = "single sign-on"
        for key in self._keys[number]:
            logins = self._logins.setdefault(key, [])
            logins.append((number, story))
            del logins[:-_REMEMBERED]

    def _follows(self, number: int, step: Step) -> bool:
        """Take what follows a login into its story; whether it does."""
        one = self._all[number]
        if step in (Step.AFTER, Step.AROUND):
            keys, within = self._keys[number], AFTER
        else:
            # A further proof in the same session.
            keys, within = [key for key in self._keys[number] if key[0] == "session"], AFTER
        for key in keys:
            for place, story in reversed(self._logins.get(key, ())):
                login = self._all[place].event
                is_his = one.event.actor is None or story.actor in (None, one.event.actor)
                if is_his and one.event.time - login.time <= within and _fits(login, one.event, client=True):
                    story.parts.append(one)
                    self._taken.add(number)
                    return True
        return False

    def _fail(self, number: int) -> None:
        steps = [one for one in self._before(number, STEPS) if self._steps[one] is not Step.LOGIN]
        self._make("failed_login", number, steps)

    def _show(self, number: int) -> None:
        """A code that is part of no login: how it was made, sent and shown."""
        code = self._all[number]
        after = [
            one
            for one in self._shared(number, _ends(code.event))
            if self._steps[one] in (Step.CODE, Step.CODE_CHECK)
            and _is_of_one_code(code.event, self._all[one].event)
            and _fits(code.event, self._all[one].event, client=False)
        ]
        after = self._of_one_user(number, after)
        checks = [one for one in after if self._steps[one] is Step.CODE_CHECK]
        # A code that is made later is another one.
        made = [one for one in after if self._all[one].event.type == code.event.type and _is_making(code.event)]
        if made:
            after = [one for one in after if one < made[0]]
            checks = [one for one in checks if one < made[0]]
        if not after:
            return
        shown = checks[-1] if checks else number
        story = self._make("code", shown, [one for one in (number, *after) if one != shown])
        story.tries = [self._all[one] for one in checks if self._all[one].event.outcome == "failure" and one != shown]

    def _make(self, kind: Kind, number: int, others: Iterable[int]) -> Story:
        numbers = sorted({number, *others})
        self._taken.update(numbers)
        story = Story(kind, self._all[number], [self._all[one] for one in numbers])
        self._stories.append(story)
        return story

    def _before(self, number: int, within: int) -> list[int]:
        """What is open and belongs to an event, before it."""
        event = self._all[number].event
        since = bisect_left(self._times, event.time - within)
        found = {
            one
            for key in self._keys[number]
            for one in _between(self._open.get(key, ()), since, number)
            if one not in self._taken
            and (self._steps[one] is Step.LOGIN or _fits(event, self._all[one].event, client=False))
        }
        return self._of_one_user(number, sorted(found))

    def _of_one_user(self, number: int, others: Sequence[int]) -> list[int]:
        """Those of some events that are not of another user than an event, or where it names none than the last of
        them."""
        said = (self._all[one].event.actor for one in (number, *reversed(others)))
        user = next((one for one in said if one is not None), None)
        return [one for one in others if self._all[one].event.actor in (None, user)]

    def _shared(self, number: int, until: int) -> list[int]:
        """What is open and shares a key with an event, after it, and is not taken; ``until``: epoch milliseconds."""
        end = bisect_right(self._times, until)
        found = {one for key in self._keys[number] for one in _between(self._open.get(key, ()), number + 1, end)}
        return sorted(found - self._taken)


def _between(numbers: Sequence[int], first: int, end: int) -> Sequence[int]:
    """Those of some ascending numbers from the first one on, up to the end."""
    return numbers[bisect_left(numbers, first) : bisect_left(numbers, end)]


def _ties(story: Story, steps: Sequence[Step | None]) -> Iterator[Tie]:
    """Each code that was shown, with how it was made; ``steps``: of the story's events."""
    codes = [one for one, step in zip(story.parts, steps, strict=True) if step is Step.CODE]
    for one, step in zip(story.parts, steps, strict=True):
        if step is not Step.CODE_CHECK:
            continue
        related = (one.event.event.details or {}).get("related_event_id")
        by_id = None if related is None else next((code for code in codes if code.event.id == related), None)
        if by_id is not None:
            yield Tie(one.uid, by_id.uid, "the id that it names", one.event.outcome)
            continue
        before = [
            code
            for code in codes
            if code.event.time <= one.event.time <= _ends(code.event) and _is_of_one_code(code.event, one.event)
        ]
        # The latest one that was made, or else sent.
        made = max(before, key=lambda code: (_is_making(code.event), code.event.time), default=None)
        if made is not None:
            yield Tie(one.uid, made.uid, "the latest code before it", one.event.outcome)
        elif related is not None:
            yield Tie(one.uid, None, f"it names {_short(related)}, which is not among these", one.event.outcome)


def _is_making(event: SearchFields) -> bool:
    return event.type == "access.CREATE_OTP"


def _step(event: SearchFields, catalogue: Catalogue) -> Step | None:
    # What somebody does to another one's account is no step of his own login.
    if event.target is not None or not event.type.startswith("access."):
        return None
    known = catalogue.known(catalogue.canonical(event.type))
    return None if known is None else known.step


def _keys(event: SearchFields) -> Iterator[Key]:
    """By what an event is known to belong to another one."""
    source = event.source
    if event.session is not None:
        yield ("session", source, event.session)
    correlation = (event.event.details or {}).get("correlation_id")
    if correlation is not None:
        yield ("correlation", source, correlation)
    if event.actor is not None:
        if event.reason != "unknown_user":
            yield ("id", source, event.actor)
    elif event.outcome != "failure":
        for name in event.actor_names:
            yield ("name", source, event.realm_id or event.realm_name or "", folded(name))


def _fits(login: SearchFields, step: SearchFields, *, client: bool) -> bool:
    """Whether nothing says that a step is of another login: another session or user, and of what follows another
    client."""
    pairs = [(login.session, step.session), (login.actor, step.actor)]
    if client:
        pairs.append((login.client, step.client))
    return all(one is None or other is None or one == other for one, other in pairs)


def _is_of_one_code(code: SearchFields, other: SearchFields) -> bool:
    """Whether nothing says that an event is about another code."""
    one, two = code.event.details or {}, other.event.details or {}
    return all(name not in one or name not in two or one[name] == two[name] for name in ("factor", "otp_purpose"))


def _ends(code: SearchFields) -> int:
    """Until when a code may be shown, epoch milliseconds; a try after its end is of it, too, for a while."""
    said = (code.event.details or {}).get("otp_expiration", "")
    stated = int(said) if said.isascii() and said.isdecimal() and len(said) < 15 else 0
    return code.time + CODES if stated <= code.time else max(min(stated, code.time + SILENCE), code.time + CODES)


# Sentences

_METHODS = {
    "password": "by password",
    "passkey": "by passkey",
    "code": "by a one-time code",
    "link": "by a mailed link",
    "certificate": "by certificate",
    "kerberos": "by Kerberos",
    "social": "by a social account",
    "federated": "through another identity provider",
    "token": "by a token",
}
_FACTORS = {
    "otp": "a one-time code",
    "sms": "a code by SMS",
    "voice": "a call",
    "phone": "a code by phone",
    "email": "a code or link by e-mail",
    "push": "a push",
    "webauthn": "a security key",
    "biometric": "a biometric proof",
    "certificate": "a certificate",
    "device": "a known device",
    "question": "a security question",
    "recovery_code": "a recovery code",
}


def _sentence(story: Story, catalogue: Catalogue) -> str:
    if story.kind == "code":
        return _of_code(story)
    text = text_of(sentence(story.told_by.event, catalogue))
    said = _of_login(story) if story.kind == "login" else []
    return f"{text}: {', '.join(said)}" if said else text


def _of_login(story: Story) -> list[str]:
    """What a login's events tell together, besides that it took place."""
    said: list[str] = []
    if story.session is not None:
        said.append("new session" if story.session == "new" else "single sign-on")
    said += proof_of(story.method, story.factor)
    if story.device is not None:
        said.append(f"on {story.device}")
    if story.tries:
        said.append(_after(story))
    return said


def proof_of(method: str | None, factor: str | None) -> list[str]:
    """How somebody proved who he is, as words of a sentence."""
    by = [] if method is None else [_METHODS.get(method, f"by {_short(method)}")]
    if factor is not None:
        of_factor = _FACTORS.get(factor, _short(factor))
        by = [f"{by[0]} and {of_factor}"] if by else [f"with {of_factor}"]
    return by


def _after(story: Story) -> str:
    tries = story.tries
    text = f"after {counted(len(tries), 'failed try') if len(tries) == 1 else f'{len(tries)} failed tries'}"
    seconds = (story.time - min(one.event.time for one in tries)) / 1_000
    text += f" within {lasting(seconds)}"
    own = story.told_by.event.address
    others = [one for one in story.addresses_of_tries if own is None or one != harmless(own)]
    return text + (f" from {', '.join(others)}" if others else "")


def _of_code(story: Story) -> str:
    first, shown = story.parts[0].event, story.told_by.event
    factor = story.detail("factor")
    what = _FACTORS.get(factor, "a one-time code") if factor is not None else "a one-time code"
    who = next(filter(None, (value_of(one.event, "username") for one in story.parts)), "someone")
    purpose = story.detail("otp_purpose")
    text = f"{what[:1].upper()}{what[1:]} for {who}"
    if purpose is not None:
        text += f" ({_short(purpose.lower().replace('_', ' '))})"
    done = ["made"] if any(_is_making(one.event) for one in story.parts) else []
    done += ["sent"] if any(one.event.type == "access.SEND_OTP" for one in story.parts) else []
    if story.ties:
        took = lasting((shown.time - first.time) / 1_000)
        reason = value_of(shown, "reason")
        because = "" if reason is None else f" ({reason})"
        told = {"failure": f"refused{because}", "success": f"accepted after {took}"}
        done.append(told.get(shown.outcome, f"shown after {took}"))
    text += f" was {', '.join(done[:-1])} and {done[-1]}" if len(done) > 1 else f" was {''.join(done) or 'used'}"
    return text + (f", {_after(story)}" if story.tries else "")


def _short(text: str) -> str:
    return harmless(shortened(text, 80))
