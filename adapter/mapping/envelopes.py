"""Envelopes: JSON objects that hold events, as one table declares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from adapter.mapping.exact import NotJson, parse_json, write_json
from adapter.mapping.expressions import compile_condition
from adapter.mapping.language import Condition, Framing
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Key, Step, follow, parse_path, plain_keys
from adapter.mapping.slices import Mark, Pause, list_elements

#: Envelopes that are opened one inside another.
DEPTH = 4

#: Members of an envelope that are parsed to recognize it, bytes each; of a larger one only its kind is known.
_MEMBER = 64 * 1024

#: Stands in an answer for the time at which it is given.
_NOW = parse_path("@now")


class Envelopes:
    """The envelopes of one table."""

    def __init__(self, mapping: MappingFile) -> None:
        framings = [one for one in mapping.body if one.events is not None]
        self._kinds = [
            (compile_condition(mapping, one.when), HeldBy(plain_keys(one.events)), _answer(one)) for one in framings
        ]
        #: An object with none of these keys is no envelope.
        self.keys = frozenset(keys.names[0] for _, keys, _ in self._kinds)
        self._answers = any(one.answer for one in framings)
        paths = [path for one in framings for path in (one.events, *one.answer.values(), *paths_of(one.when)) if path]
        self._outline = Outline([parse_path(path) for path in paths])

    def opened(self, raw: bytes, value: dict[str, Any]) -> Iterator[bytes | Pause] | None:
        """The slices of the events in an envelope, and pauses; ``None`` if it is no envelope."""
        for fits, keys, _ in self._kinds:
            held = keys.held(value)
            if held is not None and fits(value):
                return keys.slices(raw, held)
        return None

    def opened_unparsed(self, raw: bytes) -> Iterator[bytes | Pause] | None:
        """The same of an object too large to be parsed as a whole: only what the table asks for is looked at, and a
        text that holds events is not opened."""
        outline = self._outline.of(raw)
        if outline is None:
            return None
        for fits, keys, _ in self._kinds:
            held = keys.held(outline)
            if held not in (None, "") and fits(outline):
                return keys.slices(raw, held)
        return None

    def answer(self, body: bytes, now: int) -> dict[str, Any] | None:
        """What the sender of an envelope wants to be told once its events are stored; ``None`` if nobody declared it.
        ``now``: epoch milliseconds."""
        if not self._answers:
            return None
        outline = self._outline.of(body)
        if outline is None:
            return None
        wanted = next((wanted for fits, _, wanted in self._kinds if fits(outline)), None)
        if not wanted:
            return None
        answer = {key: now if steps == _NOW else follow(outline, steps) for key, steps in wanted}
        return {key: one for key, one in answer.items() if one is not None}


class HeldBy:
    """The keys that lead to the events in an envelope."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._decode = [msgspec.json.Decoder(_structure([name])).decode for name in names]

    def held(self, value: Any) -> Any:
        """What an envelope holds there; ``None`` if it has nothing there."""
        for name in self.names:
            value = value.get(name) if value.__class__ is dict else None
        return value

    def slices(self, raw: bytes, held: Any) -> Iterator[bytes | Pause]:
        """The slices of the events there; ``held``: the same, parsed (or its outline)."""
        part: bytes | msgspec.Raw = raw
        try:
            for decode in self._decode:
                (part,) = msgspec.structs.astuple(decode(part))
            part = bytes(part)
            if part.startswith(b'"'):  # JSON inside a text
                part = msgspec.json.decode(part, type=str).strip().encode()
        except (ValueError, TypeError, RecursionError):
            # Only the standard library's parser takes it, so what that made of it is what there is.
            part = held.strip().encode() if held.__class__ is str else write_json(held)
        return list_elements(part) if part.startswith(b"[") else iter([part])


class Outline:
    """Reads of an object only the members on some paths, natively; all others cost no memory."""

    def __init__(self, paths: Iterable[tuple[Step, ...]]) -> None:
        below: dict[str, list[tuple[Step, ...]]] = {}
        for step, *rest in paths:
            if isinstance(step, Key):
                below.setdefault(step.name, []).extend([tuple(rest)] if rest else [])
        self._names = list(below)
        self._below = [Outline(rest) if rest else None for rest in below.values()]
        self._decode = msgspec.json.Decoder(_structure(self._names)).decode

    def of(self, raw: bytes | msgspec.Raw) -> dict[str, Any] | None:
        """The members, those parsed that are small; of large ones an object with what is on its paths, an empty list,
        or an empty text. ``None`` if it is no object, or none that the native parser takes."""
        try:
            found = msgspec.structs.astuple(self._decode(raw))
        except (msgspec.MsgspecError, RecursionError):
            return None
        outline: dict[str, Any] = {}
        for name, member, below in zip(self._names, found, self._below, strict=True):
            if member is msgspec.UNSET:
                continue
            with memoryview(member) as view:
                if len(view) <= _MEMBER:
                    try:
                        outline[name] = parse_json(bytes(view))
                    except NotJson:
                        return None
                elif view[0] == Mark.OBJECT:
                    outline[name] = (below.of(member) if below is not None else None) or {}
                else:
                    outline[name] = [] if view[0] == Mark.LIST else ""
        return outline


def _structure(names: Sequence[str]) -> type[msgspec.Struct]:
    """A structure with these members of an object, unparsed."""
    fields = [(f"m{number}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for number in range(len(names))]
    return msgspec.defstruct("Members", fields, rename={f"m{number}": name for number, name in enumerate(names)})


def paths_of(condition: Condition | None) -> Iterator[str]:
    """All paths that a condition looks at."""
    if condition is None:
        return
    yield from condition.has or ()
    yield from condition.lacks or ()
    yield from condition.requirements
    for one in condition.any_ or ():
        yield from paths_of(one)


def _answer(framing: Framing) -> list[tuple[str, tuple[Step, ...]]]:
    return [(key, parse_path(path)) for key, path in framing.answer.items()]
