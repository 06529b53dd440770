"""One record into many events: a record that holds a list of results is read once for each of them, as if the element
stood in the list's place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from adapter.mapping.exact import write_json_sorted
from adapter.mapping.expressions import compile_condition
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import plain_keys
from adapter.mapping.shapes import ELEMENT, SHAPE, merged_shapes

#: Bytes that the events of one record may take together, each with the whole record kept beside it.
KEPT_LIMIT = 8 << 20


#: What stands for the content of an element that is not there.
_NOTHING = "none"


class TooMany(ValueError):
    """A record holds more events than can be kept; the message says how many, and what would be right."""


class Elements:
    """The lists of one table's records."""

    def __init__(self, mapping: MappingFile) -> None:
        self._shapes = [
            (name, shape.each, plain_keys(shape.each), compile_condition(mapping, shape.when, shape.actor))
            for name, shape in merged_shapes(mapping).items()
        ]

    def divide(self, value: dict[str, Any], size: int) -> list[tuple[str | None, dict[str, Any]]]:
        """Where each element stands in a record of ``size`` bytes, and the record as it is read for it; once without
        a place if there is no element, and none where nothing is to be divided.

        Raises:
            TooMany: it holds more than can be kept.
        """
        for name, path, keys, fits in self._shapes:
            if not fits(value):
                continue
            if not keys:
                return []
            held = _at(value, keys)
            if held is None or held == []:
                return [(None, {**value, SHAPE: name, ELEMENT: _NOTHING})]
            elements = held if held.__class__ is list else [held]
            if len(elements) > 1 and len(elements) * size > KEPT_LIMIT:
                raise TooMany(
                    f"{path} holds {len(elements)} events, and {size} bytes are kept with each of them: "
                    f"more than {KEPT_LIMIT} together; have fewer sent in one"
                )
            return [
                (f"{path}[{number}]", {**_replaced(value, keys, element), SHAPE: name, ELEMENT: told})
                for number, (element, told) in enumerate(zip(elements, _contents(elements), strict=True))
            ]
        return []


def _contents(elements: Iterable[Any]) -> Iterator[str]:
    """A text for each element that stands for what it holds, in whatever record and order it comes; equal ones are
    numbered."""
    seen: dict[str, int] = {}
    for element in elements:
        told = hashlib.sha256(write_json_sorted(element)).hexdigest()
        number = seen[told] = seen.get(told, 0) + 1
        yield told if number == 1 else f"{told}.{number}"


def _at(value: Any, keys: tuple[str, ...]) -> Any:
    """What stands at these keys; ``None`` where no object has them."""
    for key in keys:
        if value.__class__ is not dict:
            return None
        value = value.get(key)
    return value


def _replaced(value: dict[str, Any], keys: tuple[str, ...], element: Any) -> dict[str, Any]:
    """A copy with the element at these keys; what is not on the way there is shared."""
    first, *rest = keys
    return {**value, first: _replaced(value[first], tuple(rest), element) if rest else element}
