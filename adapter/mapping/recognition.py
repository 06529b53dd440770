"""Whether a table knows an object: one of its shapes fits, and finds a native type in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from adapter.mapping.by_keys import ByKeys, needed_keys
from adapter.mapping.envelopes import paths_of
from adapter.mapping.expressions import compile_condition, compile_value, entries
from adapter.mapping.language import Identity, Shape, value_paths
from adapter.mapping.language import Mapping as MappingFile
from adapter.mapping.paths import Key, follow, parse_path, plain_keys
from adapter.mapping.shapes import merged_shapes

#: What the problem of an object begins with whose keys are written in another case than the vendor's.
OTHER_CASE = "keys in another case than the vendor's"


class Recognition:
    """The objects that one table knows."""

    def __init__(self, mapping: MappingFile) -> None:
        #: An object with none of these keys is none of them.
        self._keys = _first_keys(mapping)
        shapes = merged_shapes(mapping).values()
        self._shapes = ByKeys([(needed_keys(mapping, shape.when), _Shape(mapping, shape)) for shape in shapes])

    def knows(self, value: dict[str, Any]) -> bool:
        """Whether the table reads an object itself, though perhaps no row fits its native type."""
        if self._keys is not None and self._keys.isdisjoint(value):
            return False
        for shape in self._shapes.of(value):
            if shape.fits(value):
                return shape.native(value) is not None
        return False


class _Shape:
    """One shape of a table: whether an object has it, and the native type in such an object. Most tables are never
    asked, so nothing is compiled before."""

    def __init__(self, mapping: MappingFile, shape: Shape) -> None:
        self._mapping = mapping
        self._shape = shape

    @cached_property
    def fits(self) -> Callable[[dict[str, Any]], bool]:
        return compile_condition(self._mapping, self._shape.when, self._shape.actor)

    @cached_property
    def native(self) -> Callable[[dict[str, Any]], str | None]:
        each, beside = plain_keys(self._shape.each), [parse_path(path) for path in self._shape.beside]
        native = compile_value(self._mapping, self._shape.type)
        if not each and not beside:
            return native

        def inside(value: dict[str, Any]) -> str | None:
            if each and each[0] in value:
                value = {**value, each[0]: _first(value[each[0]], each[1:])}
            if beside:
                found = [entries(follow(value, path)) for path in beside]
                value = {**value, **{key: one for inner in found for key, one in inner.items()}}
            return native(value)

        return inside


def _first_keys(mapping: MappingFile) -> frozenset[str] | None:
    """The keys of which one leads to the native type of each object of a table; ``None``: none need be there."""
    shapes = merged_shapes(mapping).values()
    if not all(value_paths(shape.type) for shape in shapes):
        return None
    paths = {path for shape in shapes for path in (*value_paths(shape.type), *shape.beside)}
    sources = mapping.aliases.values()
    paths.update(path for one in sources for path in ([one] if isinstance(one, str) else one))
    steps = [parse_path(path)[0] for path in paths]
    return frozenset(step.name for step in steps if isinstance(step, Key))


class Spelling:
    """Keys that one table reads, written in another case, as some pipelines write all keys."""

    def __init__(self, mapping: MappingFile, others: Iterable[str]) -> None:
        """``others``: keys that mean something else."""
        names = {*_names(mapping)}
        taken = {*names, *others}
        self._right = {
            wrong: name
            for name in sorted(names)
            for wrong in (name.lower(), name.upper(), name[:1].swapcase() + name[1:])
            if wrong not in taken
        }
        #: An object with none of these keys has no key in another case.
        self.keys = frozenset(self._right)

    def corrected(self, value: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
        """An object with its keys as the table reads them, and what is wrong with them; ``None``: nothing is."""
        wrong = {key: right for key in value if (right := self._right.get(key)) is not None and right not in value}
        if not wrong:
            return None
        # The longest names tell most.
        told = sorted(wrong.items(), key=lambda pair: -len(pair[0]))[:3]
        said = ", ".join(f"{key!r} should be {right!r}" for key, right in told)
        more = "" if len(wrong) <= 3 else f", and {len(wrong) - 3} more"
        problem = f"{OTHER_CASE}: {said}{more}; have whatever forwards the events leave their keys as they are"
        return {wrong.get(key, key): one for key, one in value.items()}, problem


def _names(mapping: MappingFile) -> Iterator[str]:
    """The keys by which objects of a table are recognized and known."""
    for shape in merged_shapes(mapping).values():
        for path in _paths(shape):
            step = parse_path(path)[0]
            if isinstance(step, Key) and not step.name.startswith("@"):
                yield step.name


def _paths(shape: Shape) -> Iterator[str]:
    yield from value_paths(shape.type)
    yield from paths_of(shape.when)
    if isinstance(shape.identity, Identity):
        yield from value_paths(shape.identity.strong)
        for value in shape.identity.weak or []:
            yield from value_paths(value) - {"@native"}


def _first(held: Any, keys: tuple[str, ...]) -> Any:
    """What stands at these keys with the first of its elements in the place of a list."""
    if not keys:
        return held[0] if held.__class__ is list and held else held
    if held.__class__ is not dict or keys[0] not in held:
        return held
    return {**held, keys[0]: _first(held[keys[0]], keys[1:])}
