"""Samples of a provider's raw events: JSON, envelopes around lists of it, or the lines of a log."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.errors import MappingError
from adapter.mapping.body import TEXT, deeper_than
from adapter.mapping.exact import NotJson, parse_json
from adapter.mapping.forwarders import AUTO, Wrap, Wraps, load_forwarders
from adapter.mapping.keyvalue import parse_keyvalue
from adapter.mapping.logfmt import parse_logfmt
from adapter.mapping.paths import follow, parse_path
from adapter.workbench.columns import columns_of, is_list_of_objects, leaves, names_type, read_time

#: Levels in a sample; an event that is deeper would be quarantined anyway.
_MAX_DEPTH = 64
#: Pairs that a line has at least, if it is one of them.
_PAIRS = 2
#: The first pair of a line of pairs with commas between them.
_FIRST_PAIR = re.compile(r"(?:^|\s)([A-Za-z_][A-Za-z0-9_.\-]*)=")
#: A value in quotes, in which quotes are escaped.
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"')
_NEXT_PAIR = re.compile(r", [A-Za-z_][A-Za-z0-9_.\-]*=")


@dataclass(frozen=True)
class Samples:
    """The raw events that a draft is made from."""

    events: list[dict[str, Any]]
    #: Path of the list in which they stood, if the samples were envelopes around them.
    envelope: str | None = None
    #: Of the lines of a log: the line of each event, and what a table says of them under `body`, if anything.
    lines: tuple[str, ...] = ()
    framing: Mapping[str, Any] | None = None
    #: Lines in which nothing of that form is found.
    others: int = 0


def read_samples(body: bytes, file: Any) -> Samples:
    """The events of a JSON list, of one JSON object, or of a line of JSON each, be they the events or envelopes around
    lists of them; or of the lines of a log: JSON behind something, logfmt, or pairs with commas between them.
    ``file``: what to call them.

    Raises:
        MappingError: they are none of these; says where.
    """
    try:
        parsed = parse_json(body)
    except NotJson:
        if body.lstrip()[:1] not in (b"{", b"["):
            return _read_log(body.decode("utf-8", "replace").splitlines(), file)
        values = _json_lines(body, file)
        lines = True
    else:
        values = list(enumerate(parsed, 1)) if isinstance(parsed, list) else [(1, parsed)]
        lines = False
    for number, value in values:
        unfit = _unfit(value)
        if unfit is not None:
            where = "" if lines else f"sample {number} "
            raise MappingError(where + unfit, file=file, line=number if lines else None)
    samples, texts = _forwarded([value for _, value in values])
    if texts and not samples:
        return _read_log(texts, file)
    envelope = _envelope(samples)
    if envelope is None:
        return Samples(samples)
    steps = parse_path(envelope)
    return Samples([event for sample in samples for event in follow(sample, steps)], envelope)


def _forwarded(values: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The events that forwarders wrapped in something of theirs, the other values as they are, and the lines of text
    that were wrapped."""
    forwarders = load_forwarders().by_name
    wraps = Wraps([Wrap(name, one) for name, by in forwarders.items() for one in by.json_ if one.when is not None])
    events: list[dict[str, Any]] = []
    texts: list[str] = []
    for value in values:
        for wrap, held in wraps.of(value):
            inner = held
            if isinstance(held, bytes):
                try:
                    inner = parse_json(held)
                except NotJson:
                    inner = held.decode("utf-8", "replace")
            inside = inner if isinstance(inner, list) else [inner]
            if inside and all(isinstance(one, dict) and _unfit(one) is None for one in inside):
                events += inside
                break
            if wrap.sure and isinstance(inner, str):
                texts.append(inner)
                break
        else:
            events.append(value)
    return events, texts


def _json_lines(body: bytes, file: Any) -> list[tuple[int, Any]]:
    values = []
    for number, line in enumerate(body.splitlines(), 1):
        try:
            values += [(number, parse_json(line))] if line.strip() else []
        except NotJson as error:
            problem = f"neither JSON as a whole nor a line of JSON: {error}"
            raise MappingError(problem, file=file, line=number) from None
    return values


def _unfit(value: Any) -> str | None:
    """Why a value is no sample."""
    if not isinstance(value, dict):
        return "is no JSON object; give one for each event"
    return f"is nested deeper than {_MAX_DEPTH} levels" if deeper_than(value, _MAX_DEPTH) else None


def _envelope(samples: Sequence[Mapping[str, Any]]) -> str | None:
    """Where in all the samples a list of events stands: the only list of objects in each, whose elements say when they
    happened, and of which type if what is around them does."""
    inside = [[path for path, value in leaves(sample) if is_list_of_objects(value)] for sample in samples]
    if not inside or len(inside[0]) != 1 or any(paths != inside[0] for paths in inside):
        return None
    [path] = inside[0]
    steps = parse_path(path)
    around = columns_of(samples)
    for element in (element for sample in samples for element in follow(sample, steps)):
        own = columns_of([element])
        if not any(read_time(values[:1]) is not None for values in own.values()):
            return None
        if names_type(around) and not names_type(own):
            return None
    return path


# --- logs ----------------------------------------------------------------------------------------------------------


def _read_log(lines: Sequence[str], file: Any) -> Samples:
    """The events in the lines of a log, in the form that most of them have."""
    said = [line for line in lines if line.strip()]
    head = load_forwarders().unwrapping(AUTO).head
    rests = [line[(head(line) or (0, None))[0] :] for line in said]
    forms = [dict(_forms(rest)) for rest in rests]
    counts = Counter(form for found in forms for form in found)
    if not said:
        return Samples([])
    if not counts:
        problem = (
            "neither JSON, nor logfmt, nor pairs with commas between them; for other lines write a table by hand, with "
            "`body: [{media: text/plain, lines: {pattern: '^(?P<time>\\S+) (?P<user>\\S+)'}}]`"
        )
        raise MappingError(problem, file=file, line=lines.index(said[0]) + 1)
    # JSON holds pairs now and then, and pairs with commas between them are those of logfmt, too.
    form = max(counts, key=lambda one: (counts[one], _ORDER.index(one)))
    chosen = [number for number, found in enumerate(forms) if form in found and _unfit(found[form]) is None]
    framing: dict[str, Any] | None = {"media": TEXT, "lines": form}
    if form == "json":
        framing = None  # what any table takes
    elif form == "keyvalue":
        firsts = dict.fromkeys(first[1] for one in chosen if (first := _FIRST_PAIR.search(rests[one])))
        names = "|".join(map(re.escape, firsts))
        framing = {"media": TEXT, "lines": form, "find": rf"(?:^|\s)({f'(?:{names})' if len(firsts) > 1 else names}=)"}
    return Samples(
        [{**forms[one][form], "@line": rests[one]} if framing else forms[one][form] for one in chosen],
        lines=tuple(said[one] for one in chosen),
        framing=framing,
        others=len(said) - len(chosen),
    )


#: Which form counts where as many lines have one as another.
_ORDER = ("logfmt", "keyvalue", "json")


def _forms(line: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The forms that a line may have, and the event in each."""
    begin = line.find("{")
    if begin >= 0:
        try:
            value = parse_json(line[begin:])
        except NotJson:
            value = None
        if isinstance(value, dict) and value:
            yield "json", value
    first = _FIRST_PAIR.search(line)
    if first is not None and _NEXT_PAIR.search(_QUOTED.sub("", line) if '\\"' in line else line):
        pairs = parse_keyvalue(line[first.start(1) :])
        if len(pairs) >= _PAIRS:
            yield "keyvalue", {**pairs}
        return
    words = parse_logfmt(line)
    if len(words) >= _PAIRS:
        yield "logfmt", {**words}
