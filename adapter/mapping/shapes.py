"""A table's shapes, each with what stands at the top of the file filled in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapter.mapping.language import Identity, Reading, Shape, value_paths
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import parse_path
from adapter.mapping.pattern import template_holes

#: What stands in a record of several events beside what was sent: its shape, chosen before it was divided, and a text
#: that stands for the content of the element that it is read for.
SHAPE = "@shape"
ELEMENT = "@element"


def merged_shapes(mapping: MappingFile) -> dict[str, Shape]:
    """The table's shapes with what stands at the top of the file filled in."""
    return {name: _merge(mapping, shape) for name, shape in (mapping.shapes or {"event": Shape()}).items()}


def _merge(mapping: Reading, shape: Shape) -> Shape:
    # A copy is not validated, as all that it is made of was: that would take ten times as long.
    return shape.model_copy(
        update={
            "type": shape.type if shape.type is not None else mapping.type,
            "error_suffix": shape.error_suffix if shape.error_suffix is not None else mapping.error_suffix,
            "each": shape.each if shape.each is not None else mapping.each,
            "fields": {**mapping.fields, **shape.fields},
            "identity": shape.identity if shape.identity is not None else mapping.identity,
            "actor": shape.actor or mapping.actor,
            "failed": shape.failed or mapping.failed,
            "inconclusive": shape.inconclusive or mapping.inconclusive,
            "reason": shape.reason if shape.reason is not None else mapping.reason,
            "types": {**mapping.types, **shape.types},
            "unknown": shape.unknown if shape.unknown is not None else mapping.unknown,
        }
    )


def key_parts(shape: Shape) -> list[Any]:
    """The values of a weak key of which one must be there: without the time that it rests on, a key would make one of
    all that somebody ever did."""
    weak = shape.identity.weak if isinstance(shape.identity, Identity) else None
    parts = [value for value in weak or [] if value != "@native"]
    times = value_paths(shape.fields.get("time"))
    return [value for value in parts if not times.isdisjoint(value_paths(value))] or parts


def shared_keys(shape: Shape, identity: Identity) -> Iterator[tuple[str, str]]:
    """Keys of an identity that would be the same for every element of a record, so that all but the first were lost,
    and what would be right."""
    assert shape.each is not None
    each = parse_path(shape.each)
    # What stands beside may come from the element.
    if any(parse_path(path)[: len(each)] == each for path in shape.beside):
        return

    def tells_apart(value: Any) -> bool:
        if isinstance(value, str):
            return value == ELEMENT or parse_path(value)[: len(each)] == each if value != "@native" else False
        if isinstance(value, list):
            return all(tells_apart(one) for one in value)
        if value.template is not None:
            return any(tells_apart(value.with_.get(hole, hole)) for hole in template_holes(value.template))
        return value.value is None and tells_apart(value.path)

    right = f"a value below {shape.each}, or {ELEMENT}, which stands for all that the element holds"
    if identity.strong is not None and not tells_apart(identity.strong):
        yield "strong", f"is the same for all elements of {shape.each}; use a template with {right}"
    if identity.weak and not any(tells_apart(value) for value in identity.weak):
        yield "weak", f"is the same for all elements of {shape.each}; add {right}"
