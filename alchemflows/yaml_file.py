"""Read YAML files strictly: duplicate keys are errors, and strings do not turn into numbers, times or booleans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alchemflows.errors import InvalidInputError

#: Path to a value in a file: the keys and list indices that lead to it.
Place = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class YamlFile:
    """Content of a YAML file, with line numbers.

    Attributes
    ----------
    path
        Path of the file.
    content
        Dictionaries, lists, strings, numbers, booleans and None.
    lines
        Line number of each value, counted from 1.
    """

    path: Path
    content: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """Return file and line number of a value, or of the nearest enclosing value whose line is known."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}, line {self.lines.get(place, 1)}"


class _Loader(yaml.SafeLoader):
    """A loader that follows the core schema of YAML 1.2.

    PyYAML itself follows YAML 1.1: ``24:00:00`` is the number 86400, ``No`` is false, ``010`` is 8, ``1e3`` is a string
    and ``2026-01-01`` is a date. With this loader ``24:00:00``, ``No``, ``010`` and ``2026-01-01`` are strings, and
    ``1e3`` is a number.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (the attribute is defined by PyYAML)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    # Digits with leading zeros are strings: they are usually an account number or a label.
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark.

    Raises
    ------
    InvalidInputError
        If the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text; save it as UTF-8"
        raise InvalidInputError(f"{path} cannot be read: {reason}") from None


def read_yaml(path: Path, *, secret: bool = False) -> YamlFile:
    """Read a YAML file.

    Parameters
    ----------
    path
        The file.
    secret
        Whether the file may contain a password; error messages then name line numbers but quote no content.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, is not valid YAML, or contains a key twice in one mapping; the message names the
        file, the line and the key.
    """
    text = read_text(path)
    lines: dict[Place, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return YamlFile(path, None)
            lines.update(_places(loader, node, (), path, frozenset(), set()))
            content = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        reason = "" if secret else f": {getattr(error, 'problem', None) or getattr(error, 'reason', error)}"
        raise InvalidInputError(f"{path} is not valid YAML{where}{reason}") from None
    except InvalidInputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} cannot be read as YAML ({type(error).__name__})") from None
    return YamlFile(path, content, lines)


def _places(
    loader: _Loader, node: yaml.Node, place: Place, path: Path, around: frozenset[int], seen: set[int]
) -> Iterator[tuple[Place, int]]:
    """Yield the path and line number of every value; raise an error for duplicate or non-scalar keys."""
    yield place, node.start_mark.line + 1
    if id(node) in around:
        raise InvalidInputError(
            f"{path}, line {node.start_mark.line + 1}: a YAML alias refers to a value that contains it; remove it"
        )
    if id(node) in seen:  # an alias; its values keep the line numbers of its anchor
        return
    seen.add(id(node))
    around |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for k, item in enumerate(node.value):
            yield from _places(loader, item, (*place, k), path, around, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[Any, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise InvalidInputError(f"{path}, line {line}: a key must be a string or a number, not a list or mapping")
        key = "<<" if key_node.tag == _MERGE else loader.construct_object(key_node)
        name = key_node.value
        if key in first:
            raise InvalidInputError(
                f"{path}, line {line}: the key {'.'.join(map(str, (*place, name)))} is given twice, first in line "
                f"{first[key]}; remove one of them"
            )
        first[key] = line
        for inner, at in _places(loader, value_node, (*place, key), path, around, seen):
            yield inner, line if inner == (*place, key) else at
