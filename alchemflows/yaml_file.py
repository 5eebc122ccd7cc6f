"""YAML as it is written: no key twice, no text that silently becomes a number, a time or a truth value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alchemflows.errors import InvalidInputError

#: Where a value is in a file: the keys and the places in lists that lead to it.
Place = tuple[str | int, ...]

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class YamlFile:
    """What a YAML file holds.

    Attributes
    ----------
    path
        The file.
    content
        Dictionaries, lists, texts, numbers, booleans and None.
    lines
        Line of each value, counted from 1.
    """

    path: Path
    content: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """Return the file and the line of a value, or of the nearest value around it that has a line."""
        while place and place not in self.lines:
            place = place[:-1]
        return f"{self.path}, line {self.lines.get(place, 1)}"


class _Loader(yaml.SafeLoader):
    """A loader with the types of YAML 1.2's core schema.

    PyYAML's own follow YAML 1.1: ``24:00:00`` is the number 86400, ``No`` is false, ``010`` is 8, ``1e3`` is a text and
    ``2026-01-01`` a date. Here ``24:00:00``, ``No``, ``010`` and ``2026-01-01`` are texts, and ``1e3`` is a number.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own name)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    # A number with leading zeros is more often an account or a label than a number.
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


def read_yaml(path: Path, *, secret: bool = False) -> YamlFile:
    """Read a YAML file.

    Parameters
    ----------
    path
        The file.
    secret
        Whether the file may hold a password: errors then name lines, and quote nothing.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, is not YAML, or gives a key twice at any level; the message names the file, the line
        and the key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInputError(f"{path} cannot be read: {reason}") from None
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
        raise InvalidInputError(f"{path} is not YAML{where}{reason}") from None
    except InvalidInputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not YAML that can be read ({type(error).__name__})") from None
    return YamlFile(path, content, lines)


def _places(
    loader: _Loader, node: yaml.Node, place: Place, path: Path, around: frozenset[int], seen: set[int]
) -> Iterator[tuple[Place, int]]:
    """Yield the places of all values with their lines; refuse keys that are given twice or are no plain values."""
    yield place, node.start_mark.line + 1
    if id(node) in around:
        raise InvalidInputError(f"{path}, line {node.start_mark.line + 1}: an alias refers to what holds it")
    if id(node) in seen:  # an alias, whose values have the lines of its anchor
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
            raise InvalidInputError(f"{path}, line {line}: a key must be a single word or number")
        key = "<<" if key_node.tag == _MERGE else loader.construct_object(key_node)
        name = key_node.value
        if key in first:
            raise InvalidInputError(
                f"{path}, line {line}: the key {'.'.join(map(str, (*place, name)))} is given twice, first in line "
                f"{first[key]}; give each key once"
            )
        first[key] = line
        for inner, at in _places(loader, value_node, (*place, key), path, around, seen):
            yield inner, line if inner == (*place, key) else at
