"""A sink as the log keeps it: one note for each, with the settings as they were given, and their secrets sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from adapter.log.protocol import Note
from adapter.sealing import SEALED, Sealing, SealingError
from adapter.sinks.settings import SinkSettings, read_sink_settings

#: What the names of the notes begin with.
PREFIX = "sink "
#: After which time of nothing but failures one is stopped that says nothing of it.
DISABLE_AFTER = "5d"
#: Stands for a secret in what is shown, and in what is sent for one that is to stay as it is.
KEPT = "<kept>"


@dataclass(frozen=True, slots=True)
class Retiring:
    """A secret that was replaced, and is valid until then, epoch milliseconds."""

    secret: SecretStr
    until: int


@dataclass(frozen=True, slots=True)
class StoredSink:
    """One sink of the log."""

    name: str
    #: Made up when the sink was; one that is made anew with the same name has another.
    id: str
    #: Of its note: grows with each change.
    version: int
    #: Epoch milliseconds, and names of principals.
    created_at: int
    created_by: str
    changed_at: int
    changed_by: str
    #: The settings as they were given, without defaults: JSON with `SecretStr` in it.
    given: Mapping[str, Any]
    retiring: tuple[Retiring, ...] = ()
    #: Why its secrets cannot be read; they are sealed still in ``given`` then.
    problem: str | None = None
    #: What another interface than that of sinks keeps with a sink that was made there: JSON with `SecretStr` in it.
    beside: Mapping[str, Any] = field(default_factory=dict)
    #: Digests of those of its secrets that nothing which is stored may hold: those that were made here, or said by the
    #: administrator. Of any other one who says it would decide what is blanked in the events of all.
    redacted: tuple[str, ...] = ()
    #: It sends nothing from its beginning on, until somebody resumes it.
    begins_paused: bool = False

    @property
    def kind(self) -> str:
        return str(self.given.get("kind"))

    def settings(self, now: int) -> SinkSettings:
        """The settings that count: with those of the replaced secrets that are still valid. ``now``: epoch
        milliseconds.

        Raises:
            ValueError: they are none that this version takes; the text holds no secret.
        """
        values = {"disable_after": DISABLE_AFTER, **self.given}
        if kept := self.valid(now):
            values["secret"] = [*values.get("secret", ()), *(one.secret for one in kept)]
        return read_sink_settings(values)

    def valid(self, now: int) -> tuple[Retiring, ...]:
        """The replaced secrets that are still valid."""
        return tuple(one for one in self.retiring if one.until > now)

    def redacting(self, secrets: Sequence[str]) -> StoredSink:
        """This sink, with those of its secrets redacted, too; what is none of its own any more is not."""
        digests = {*self.redacted, *map(_digest, secrets)}
        kept = {_digest(one) for one in self.secrets()}
        return replace(self, redacted=tuple(sorted(digests & kept)))

    def secrets(self) -> list[str]:
        """Every secret that it has, those that were replaced included; none where they cannot be read."""
        if self.problem is not None:
            return []
        return [*secrets_in(self.given), *(one.secret.get_secret_value() for one in self.retiring)]

    def redacted_secrets(self) -> list[str]:
        """Those of its secrets that nothing which is stored may hold."""
        known = set(self.redacted)
        return [one for one in self.secrets() if _digest(one) in known]

    def note(self, sealing: Sealing) -> Note:
        """As it is kept.

        Raises:
            SealingError: its secrets cannot be sealed.
        """
        tree = {
            "id": self.id,
            "createdAt": self.created_at,
            "createdBy": self.created_by,
            "changedAt": self.changed_at,
            "changedBy": self.changed_by,
            "settings": self.given,
            "retiring": [{"secret": one.secret, "until": one.until} for one in self.retiring],
            **({"beside": self.beside} if self.beside else {}),
            "redacted": self.redacted,
            "beginsPaused": self.begins_paused,
        }
        name = PREFIX + self.name
        return Note(name, orjson.dumps(sealing.seal(name, tree)).decode(), self.version)


def read_stored(note: Note, sealing: Sealing) -> StoredSink | None:
    """The sink of a note; ``None``: it was deleted, and what it leaves behind is not gone yet."""
    if not note.text:
        return None
    tree, problem = orjson.loads(note.text), None
    try:
        tree = sealing.open(note.name, tree)
    except SealingError as error:
        problem = str(error)
    sink = StoredSink(
        note.name.removeprefix(PREFIX),
        tree["id"],
        note.version,
        tree["createdAt"],
        tree["createdBy"],
        tree["changedAt"],
        tree["changedBy"],
        tree["settings"],
        tuple(Retiring(one["secret"], one["until"]) for one in tree["retiring"]) if problem is None else (),
        problem,
        tree.get("beside", {}),
        tuple(tree.get("redacted", ())),
        tree.get("beginsPaused", False),
    )
    # One of a version that did not keep whose they are: all of them, as then.
    return sink if "redacted" in tree else sink.redacting(sink.secrets())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def link_notes(sink: str) -> str:
    """What the names of the notes of a sink's links begin with (`adapter.sink_management.links`)."""
    return f"sink-link {sink} "


def given_of(settings: SinkSettings) -> dict[str, Any]:
    """The settings that were given for a sink, as `StoredSink.given` has them."""
    tree = _tree(settings)
    assert isinstance(tree, dict)
    return {"kind": settings.kind, **tree, "name": settings.name}


def shown(tree: Any) -> Any:
    """JSON of what is given, with `KEPT` for each secret."""
    match tree:
        case SecretStr():
            return KEPT
        case Mapping():
            if set(tree) == {SEALED}:
                return KEPT
            return {name: shown(one) for name, one in tree.items()}
        case list() | tuple():
            return [shown(one) for one in tree]
    return tree


def has_secret(tree: Any) -> bool:
    """Whether a secret is anywhere in it."""
    return any(True for _ in _secrets(tree))


def secrets_in(tree: Any) -> list[str]:
    """Every secret in it."""
    return [one.get_secret_value() for one in _secrets(tree)]


def _secrets(tree: Any) -> Iterator[SecretStr]:
    match tree:
        case SecretStr():
            yield tree
        case Mapping():
            for one in tree.values():
                yield from _secrets(one)
        case list() | tuple():
            for one in tree:
                yield from _secrets(one)


def _tree(value: Any) -> Any:
    """What of a model was set, as JSON with `SecretStr` in it."""
    match value:
        case SecretStr():
            return value
        case BaseModel():
            fields = type(value).model_fields
            return {fields[name].alias or name: _tree(getattr(value, name)) for name in sorted(value.model_fields_set)}
        case Mapping():
            return {str(name): _tree(one) for name, one in value.items()}
        case list() | tuple():
            return [_tree(one) for one in value]
        case set() | frozenset():
            return sorted(_tree(one) for one in value)
    return to_jsonable_python(value)
