"""YAML in which a value is what is written: a scalar is a number, a truth value or null only where that, written again,
gives the same text; all else is text (``0010``, ``1.10``, ``12:30``, ``yes``, a date), and so is every key."""

from __future__ import annotations

import re
from collections.abc import Hashable
from decimal import Decimal
from typing import Any

import yaml

from adapter.mapping.exact import DIGITS_LIMIT

_TAG = "tag:yaml.org,2002:"


class _Whole:
    """Whole numbers of JSON, as long as any may be."""

    _written = re.compile(rf"0|-?[1-9][0-9]{{0,{DIGITS_LIMIT - 1}}}")

    def match(self, text: str) -> bool:
        return self._written.fullmatch(text) is not None


class _Fraction:
    """Numbers of JSON that are not whole, as they would be written again."""

    _written = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?")

    def match(self, text: str) -> bool:
        return self._written.fullmatch(text) is not None and repr(float(text)) == text


_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("merge", re.compile(r"^<<$"), "<"),
    ("null", re.compile(r"^(?:~|null|)$"), "~n"),
    ("bool", re.compile(r"^(?:true|false)$"), "tf"),
    ("int", _Whole(), "-0123456789"),
    ("float", _Fraction(), "-0123456789"),
)


class Loader(yaml.CSafeLoader):
    """See the module's text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012 - as the library declares it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        found: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
            found[key.value] = self.construct_object(value, deep=deep)
        return found


class _Dumper(yaml.SafeDumper):
    """Puts in quotes whatever this reader, or one of YAML 1.1, would not take for text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {  # noqa: RUF012 - as the library declares it
        first: list(resolvers) for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


for _kind, _pattern, _first in _KINDS:
    for _letter in [*_first, *([""] if _kind == "null" else [])]:
        Loader.yaml_implicit_resolvers.setdefault(_letter, []).append((_TAG + _kind, _pattern))
        if _kind in ("int", "float"):
            _Dumper.yaml_implicit_resolvers.setdefault(_letter, []).insert(0, (_TAG + _kind, _pattern))

#: What the library would break a line at, unless it stands in double quotes.
_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TAG + "str", value, style='"' if _BREAKS.search(value) else None)


_Dumper.add_representer(str, _text)
# A fraction of so many digits is none that would be read back.
_Dumper.add_representer(Decimal, lambda dumper, value: _text(dumper, str(value)))
_Dumper.add_representer(float, lambda dumper, value: dumper.represent_scalar(_TAG + "float", repr(value)))


def dump(value: Any, *, flow: bool = False) -> str:
    """A JSON value as YAML that reads as the same value; ``flow``: in one line, as it may stand within braces."""
    width, style = (1 << 30, True) if flow else (110, None)
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width, default_flow_style=style
    )
    return text
