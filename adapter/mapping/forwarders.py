"""What forwarders wrap events in, whatever table reads them: ``mappings/envelopes.yaml``."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from adapter.mapping.by_keys import ByKeys, needed_keys
from adapter.mapping.conversion import epoch, rfc3339
from adapter.mapping.document import Document
from adapter.mapping.envelopes import DEPTH, HeldBy, Outline, paths_of
from adapter.mapping.expressions import compile_condition
from adapter.mapping.language import Condition, Keys, Path, Pattern
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Key, follow, parse_path, plain_keys
from adapter.mapping.pattern import compile_pattern
from adapter.mapping.slices import Pause
from adapter.resources import mappings_path

#: What a source may say beside the name of a forwarder: whatever is recognized, or nothing, is opened.
AUTO = "auto"
NONE = "none"

#: Characters of a line in which what a forwarder wrote before it is looked for.
_HEAD = 4096


class _Word(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Envelope(_Word):
    """An object of JSON around an event, or around several."""

    when: Condition | None = Field(None, description="How it is recognized; none: by what it holds alone")
    events: Keys | None = Field(None, description="Where the event stands, or the list of them; may be a text")
    base64: bool = Field(False, description="The text there is in base64")
    time: Path | None = Field(None, description="The forwarder's time: that of an event that says none itself")
    first: bool = Field(False, description="Opened although the table could read the object itself")
    sure: bool = Field(False, description="Nothing else writes such objects: also lines to be passed over are in them")
    problem: str | None = Field(None, description="Instead of events: why there are none")

    @model_validator(mode="after")
    def _whole(self) -> Envelope:
        if (self.events is None) == (self.problem is None):
            raise ValueError("needs either `events` or `problem`")
        if self.problem is not None and not (self.when and self.when.has):
            raise ValueError("`problem` needs `when` with `has`: a key by which the object is found")
        return self


class Forwarder(_Word):
    """One way in which events are forwarded."""

    title: str = Field(description="Its name for people")
    page: str | None = Field(None, description="Where its form is documented")
    json_: list[Envelope] = Field(default_factory=list, alias="json", description="The objects it makes of events")
    lines: list[Pattern] = Field(
        default_factory=list, description="What it writes before a line of text; the first group is its time"
    )


class _File(RootModel[dict[Annotated[str, Field(pattern="^[a-z][a-z0-9-]*$")], Forwarder]]):
    """``envelopes.yaml``."""


class Wrap:
    """An envelope, ready to use."""

    def __init__(self, forwarder: str, envelope: Envelope) -> None:
        #: Its name.
        self.forwarder = forwarder
        #: The keys that lead to the events; none where there are none, for this reason.
        self.names = plain_keys(envelope.events)
        self.problem = envelope.problem
        self.held_by = HeldBy(self.names) if self.names else None
        #: Keys that each such object has.
        self.needed = needed_keys(_NO_TABLE, envelope.when).union(self.names[:1])
        #: One of them, by which such an object is known to be worth a look.
        self.key = self.names[0] if self.names else min(self.needed)
        self.first = envelope.first
        self.sure = envelope.sure
        self._base64 = envelope.base64
        self._fits = compile_condition(_NO_TABLE, envelope.when)
        self._time = None if envelope.time is None else parse_path(envelope.time)
        told = (envelope.events, envelope.time, *paths_of(envelope.when))
        #: All paths that are looked at.
        self.paths = [parse_path(path) for path in told if path is not None]

    def holds(self, value: dict[str, Any]) -> Any:
        """What such an object holds, if it is one: an object, a list, or the bytes of a text; else ``None``."""
        held = value if self.held_by is None else self.held_by.held(value)
        if held is None or held == "" or not self._fits(value):
            return None
        if held.__class__ is list and held and held[0].__class__ is int:
            held = _bytes(held)
        elif held.__class__ is str:
            held = held.encode("utf-8", "replace")
        if self._base64:
            return _decoded(held) if held.__class__ is bytes else None
        return held if held.__class__ in (dict, list, bytes) else None

    def time(self, value: dict[str, Any]) -> int | None:
        """The forwarder's time in such an object, epoch milliseconds."""
        if self._time is None:
            return None
        told = follow(value, self._time)
        found = epoch(told)
        return rfc3339(told) if found is None else found


class Wraps:
    """Some envelopes, in the order in which they are tried."""

    def __init__(self, wraps: Sequence[Wrap]) -> None:
        self._by_keys = ByKeys([(one.needed, one) for one in wraps])
        #: An object with none of these keys is none of them.
        self.keys = frozenset(one.key for one in wraps)

    def of(self, value: dict[str, Any]) -> Iterator[tuple[Wrap, Any]]:
        """Those that an object may be, and what it holds as such; none twice in one place."""
        if self.keys.isdisjoint(value):
            return
        seen: set[tuple[str, ...]] = set()
        for one in self._by_keys.of(value):
            if one.names in seen:
                continue
            held = one.holds(value)
            if held is not None:
                seen.add(one.names)
                yield one, held


class Unwrapping:
    """What is opened: of one forwarder, of all, or nothing."""

    def __init__(self, wraps: Sequence[Wrap] = (), heads: Sequence[str] = (), *, told: bool = False) -> None:
        self.wraps = Wraps(wraps)
        #: Those of objects that a table could read itself.
        self.first = Wraps([one for one in wraps if one.first])
        #: Whether its source says that events come so: then what is inside is what there is.
        self.told = told
        #: Whether anything is opened.
        self.opens = bool(wraps or heads)
        self._head = compile_pattern(f"^(?:{'|'.join(heads)})") if heads else None
        self._outline = Outline([path for one in wraps for path in one.paths])

    def opened_unparsed(self, raw: bytes) -> Iterator[bytes | Pause] | None:
        """The slices of a list of events in an object too large to be parsed as a whole, and pauses; ``None`` if it
        is no envelope of a list."""
        outline = self._outline.of(raw)
        for one, held in () if outline is None else self.wraps.of(outline):
            if held.__class__ is list and one.held_by is not None:
                return one.held_by.slices(raw, held)
        return None

    def head(self, line: str) -> tuple[int, int | None] | None:
        """Where a line begins behind what a forwarder wrote before it, and the time of that, epoch milliseconds;
        ``None``: there is nothing."""
        if self._head is None:
            return None
        begin, at = 0, None
        for _ in range(DEPTH):
            found: Any = self._head.search(line[begin : begin + _HEAD])
            if found is None or found.end() == 0:
                break
            begin += found.end()
            told = rfc3339(next((one for one in found.groups() if one is not None), None))
            at = at if told is None else told
        return (begin, at) if begin else None


class Forwarders:
    """All forwarders that are known."""

    def __init__(self, document: Document) -> None:
        self.by_name = document.read_as(_File).root
        #: Changes whenever the file does.
        self.digest = hashlib.sha256(document.text.encode()).hexdigest()
        self._wraps = {name: [Wrap(name, one) for one in by.json_] for name, by in self.by_name.items()}
        wraps = [one for some in self._wraps.values() for one in some]
        #: Keys that mean something in one of the envelopes.
        self.keys = frozenset(path[0].name for one in wraps for path in one.paths if isinstance(path[0], Key))
        self._known: dict[str, Unwrapping] = {NONE: Unwrapping()}

    def unwrapping(self, name: str) -> Unwrapping:
        """What is opened for a source that says `AUTO`, `NONE`, or the name of a forwarder."""
        if name not in self._known:
            names = [*self.by_name] if name == AUTO else [name]
            self._known[name] = Unwrapping(
                [wrap for one in names for wrap in self._wraps[one]],
                [head for one in names for head in self.by_name[one].lines],
                told=name != AUTO,
            )
        return self._known[name]


@cache
def load_forwarders() -> Forwarders:
    """The forwarders of the file that comes with the adapter, read once.

    Raises:
        MappingError: the file does not fit.
    """
    return Forwarders(Document.read(mappings_path() / "envelopes.yaml"))


def forwarder_names() -> list[str]:
    """What a source may say of how its events come: `AUTO`, `NONE`, or one of the forwarders."""
    return [AUTO, NONE, *load_forwarders().by_name]


def _decoded(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _bytes(numbers: list[Any]) -> bytes | None:
    """The bytes that a list of numbers stands for, as systemd writes text that is no UTF-8."""
    try:
        return bytes(numbers)
    except (ValueError, TypeError):
        return None


#: Conditions of envelopes are no table's: the texts that mean that there is no value are the usual ones.
_NO_TABLE = MappingFile(provider="forwarders", title="Forwarders", identity="none")
