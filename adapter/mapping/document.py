"""YAML documents that remember where everything in them stands, so that every complaint can name its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from adapter.errors import MappingError
from adapter.finding_codes import Code
from adapter.mapping.complaints import Problem, complaints
from adapter.mapping.scalars import Loader, dump
from adapter.mapping.yaml_faults import missing_blank, plain_words

Model = TypeVar("Model", bound=BaseModel)


#: How deep a document may be nested, and how many parts it may have: far more than a table needs, and little enough
#: that a text which somebody tries out over HTTP costs no more than its share.
DEPTH_LIMIT = 100
PARTS_LIMIT = 1_000_000


#: Texts that stand for those of files, which need not be there; ``None`` for one that is not to be there.
Texts = Mapping[Path, str | None]
NO_TEXTS: Texts = MappingProxyType({})


def is_there(file: Path, texts: Texts) -> bool:
    """Whether there is such a file, or a text for it."""
    return texts[file] is not None if file in texts else file.is_file()


def read_text(file: Path, texts: Texts = NO_TEXTS) -> str:
    """What a file holds, or the text that stands for it.

    Raises:
        MappingError: it cannot be read, or is not UTF-8.
    """
    text = texts.get(file)
    try:
        return file.read_text(encoding="utf-8") if text is None else text
    except OSError as error:
        raise MappingError(f"cannot be read: {error.strerror}", file=file, code=Code.NOT_READABLE) from error
    except UnicodeDecodeError as error:
        raise MappingError("is not UTF-8 text", file=file, code=Code.NOT_READABLE) from error


@dataclass(frozen=True)
class Spot:
    """Where in a text a value stands: what to replace, and what to write before the value."""

    start: int
    end: int
    key: str
    #: How far the keys beside it are indented.
    indent: int
    #: Whether it stands within braces.
    flow: bool


class Document:
    """One parsed YAML file: its value, and where each part of it stands."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.text = text
        try:
            _refuse_deep(file, text)
            self._weigh(self._node, {})
            # Of the parts that are there already: to read the text once more takes longer than this.
            self.value: Any = None if self._node is None else Loader("").construct_document(self._node)
        except yaml.YAMLError as error:
            problem, line, column = plain_words(text, error)
            told = f"not valid YAML: {problem}"
            raise MappingError(told, file=file, line=line, column=column, code=Code.YAML) from error
        except ValueError as error:
            raise MappingError(f"not valid YAML: {error}", file=file, code=Code.YAML) from error

    @classmethod
    def read(cls, file: Path, texts: Texts = NO_TEXTS) -> Document:
        """Read a file, or the text that stands for it.

        Raises:
            MappingError: it cannot be read, is not UTF-8, or is not YAML.
        """
        return cls(file, read_text(file, texts))

    @cached_property
    def _node(self) -> yaml.Node | None:
        """The file's parts with their places; made again when they are asked for after `forget_places`."""
        return yaml.compose(self.text, Loader=Loader)

    def forget_places(self) -> None:
        """Give back the memory of what only complaints need: of a table in use, several megabytes."""
        self.__dict__.pop("_node", None)

    def line(self, place: Sequence[str | int]) -> int | None:
        """Line (from 1) of the part at ``place``, or of the nearest part around it."""
        return self.position(place)[0]

    def position(self, place: Sequence[str | int]) -> tuple[int, int] | tuple[None, None]:
        """Line and column (both from 1, in characters) of the part at ``place``, or of the nearest part around it: of
        its key, if it has one."""
        node = self._node
        if node is None:
            return None, None
        mark = node.start_mark
        for step in place:
            found = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                        mark, found = key.start_mark, value
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
                mark = found.start_mark
            if found is None:
                continue  # pydantic names union members in its places; they are not in the file
            node = found
        return mark.line + 1, mark.column + 1

    def spot(self, place: Sequence[str | int], key: str) -> Spot:
        """Where the value of a key stands, or would stand, in the object at ``place``.

        Raises:
            KeyError: there is no object.
        """
        node = self._node
        for step in place:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
            elif isinstance(node, yaml.MappingNode):
                node = next((value for one, value in node.value if one.value == str(step)), None)
        if not isinstance(node, yaml.MappingNode) or not node.value:
            raise KeyError(place)
        indent = node.value[0][0].start_mark.column
        held = next((value for one, value in node.value if one.value == key), None)
        if node.flow_style:
            if held is not None:
                return Spot(held.start_mark.index, held.end_mark.index, "", indent, flow=True)
            end = node.end_mark.index - 1
            return Spot(end, end, f", {dump(key).splitlines()[0]}: ", indent, flow=True)
        if held is None:
            end = self._end(node.value[-1][1])
            before = "" if self.text[end - 1] == "\n" else "\n"
            return Spot(end, end, f"{before}{' ' * indent}{key}:", indent, flow=False)
        named = next(one for one, _ in node.value if one.value == key)
        start, end = self.text.index(":", named.end_mark.index) + 1, self._end(held)
        # What is said beside the value, or above it, stays.
        below = held.start_mark.line > named.end_mark.line
        beside = self.text[start:].partition("\n")[0] if below else self.text[held.end_mark.index : end].rstrip("\n")
        return Spot(start, end, beside if beside.lstrip().startswith("#") else "", indent, flow=False)

    def _end(self, node: yaml.Node) -> int:
        """Where a part of a block ends: behind its line."""
        end: int = node.end_mark.index
        start: int = node.start_mark.index
        lines = self.text[start:end].split("\n")
        # A block's end mark stands where the next part begins, behind comments that belong to that.
        while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
            lines.pop()
        found = self.text.find("\n", start + len("\n".join(lines)))
        return len(self.text) if found < 0 else found + 1

    def error(self, problem: Problem) -> MappingError:
        """A complaint about a part."""
        return self.errors([problem])

    def errors(self, problems: Iterable[Problem]) -> MappingError:
        """Several complaints as one, in order of their lines."""
        placed = [(self.position(one.place), one) for one in problems]
        # In one line the order stays: a wrong word is told before that the right one is missing.
        placed.sort(key=lambda one: one[0][0] or 0)
        return self._error(*placed[0], others=[self._error(*one) for one in placed[1:]])

    def _error(
        self,
        position: tuple[int, int] | tuple[None, None],
        problem: Problem,
        others: Sequence[MappingError] = (),
    ) -> MappingError:
        name = ".".join(map(str, problem.place))
        text = f"{name}: {problem.text}" if name else problem.text
        line, column = position
        return MappingError(text, file=self.file, line=line, column=column, code=problem.code, others=others)

    def read_as(
        self,
        model: type[Model],
        wrong: Iterable[Problem] = (),
        *,
        odd: Iterable[Problem] = (),
    ) -> Model:
        """The file's value as a model. ``wrong``: what else is wrong with it; ``odd``: what would
        not keep it from being used, and is told with what does.

        Raises:
            MappingError: it does not fit; all that does not is told.
        """
        problems = list(wrong)
        try:
            read = model.model_validate(self.value)
        except ValidationError as error:
            problems += complaints(error, model, self.value)
        if problems:
            raise self.errors([*problems, *odd])
        return read

    def _weigh(self, node: yaml.Node | None, known: dict[int, int]) -> int:
        """How many parts there are in a part, those behind aliases counted each time. ``known``: of nodes seen before;
        0 while one is being weighed.

        Raises:
            MappingError: too many, it holds itself, or a key stands twice in one place.
        """
        if node is None:
            return 0
        weight = known.get(id(node))
        if weight is not None:
            if weight == 0:
                raise self._at(node, "an alias stands inside what it stands for", Code.TOO_LARGE)
            return weight
        known[id(node)] = 0
        weight = 1
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in seen:
                        problem = f"duplicate key '{key.value}': it stands in line {seen[key.value]}, too; keep one"
                        raise self._at(key, problem, Code.DUPLICATE_KEY)
                    seen[key.value] = key.start_mark.line + 1
                    if ":" in key.value and not key.style:
                        empty = isinstance(value, yaml.ScalarNode) and value.start_mark.index == value.end_mark.index
                        missing = missing_blank(key.value, empty=node.flow_style and empty)
                        if missing is not None:
                            raise self._at(key, f"not valid YAML: {missing}", Code.YAML)
                weight += 1 + self._weigh(value, known)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                weight += self._weigh(value, known)
        if weight > PARTS_LIMIT:
            problem = f"with its aliases written out it has more than {PARTS_LIMIT} parts"
            raise self._at(node, problem, Code.TOO_LARGE)
        known[id(node)] = weight
        return weight

    def _at(self, node: yaml.Node, problem: str, code: Code) -> MappingError:
        mark = node.start_mark
        return MappingError(problem, file=self.file, line=mark.line + 1, column=mark.column + 1, code=code)


def _refuse_deep(file: Path, text: str) -> None:
    """Refuse what is nested so deeply that the parser would run out of its stack, and end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                problem = f"is nested more than {DEPTH_LIMIT} deep"
                mark = event.start_mark
                line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
                raise MappingError(problem, file=file, line=line, column=column, code=Code.TOO_LARGE)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
