"""An extension of griffe for the API reference: all fields of a class, with the types and defaults of the running code.

Griffe reads source code without running it. It therefore knows neither the fields that a maker inherits nor the values
of default factories, and it shows no fields of pydantic models. For each dataclass and pydantic model of the package,
this extension writes a section with all fields. It also turns roles such as ``:class:`Name``` into links.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import griffe
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_SECTION = r"^{}\n-+\n.*?(?=^\w[\w ]*\n-+\n|\Z)"
_PARAMETERS = re.compile(_SECTION.format("Parameters"), re.MULTILINE | re.DOTALL)
_ATTRIBUTES = re.compile(_SECTION.format("Attributes"), re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^\w[\w ]*\n-+\n", re.MULTILINE)
_OTHERS = re.compile(r"^See :class:`\w+` for the other parameters\.\n+", re.MULTILINE)
_ENTRY = re.compile(r"^(\w[\w, ]*)\n((?:(?:    .*)?\n)+)", re.MULTILINE)
_ROLE = re.compile(r":\w+:`(~?)([\w.]+)`")
#: Longest default that is shown in full.
_MOST_LETTERS = 60


class Fields(griffe.Extension):
    """Rewrite the docstrings of a loaded package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Write the fields of its classes, then the links of all docstrings."""
        found = list(_objects(pkg))
        for each in found:
            if each.is_class and not each.name.startswith("_"):
                kind = pkgutil.resolve_name(each.path)
                if dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel):
                    each.docstring = _with_fields(each, kind)
        for each in found:
            if each.docstring is not None:
                each.docstring.value = _ROLE.sub(lambda role, scope=each: _link(role, scope), each.docstring.value)


def _objects(parent: griffe.Object) -> Iterator[griffe.Object]:
    for member in parent.members.values():
        if not member.is_alias and member.name not in ("__main__", "data"):
            yield member
            yield from _objects(member)


def _with_fields(found: griffe.Class, kind: type) -> griffe.Docstring:
    """Return the docstring of a class with a section of all its fields."""
    own = found.docstring.value if found.docstring else ""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        texts |= _described(inspect.cleandoc(vars(base).get("__doc__") or ""))
    title = "Parameters"
    if _ATTRIBUTES.search(own) or (issubclass(kind, BaseModel) and kind.__name__.endswith("Document")):
        title = "Attributes"
    lines = [f"{title}\n{'-' * len(title)}"]
    fields = _fields(kind)
    if title == "Parameters":
        found.set_member("__init__", _signature(fields, keywords=issubclass(kind, BaseModel)))
    for name, (default, text) in fields.items():
        shown = "" if default is None or title == "Attributes" else f", default: {default}"
        description = texts.get(name) or text or ""
        lines += [f"{name} : {_annotation(kind, name)}{shown}", *(f"    {line}" for line in description.splitlines())]
    section = "\n".join(lines) + "\n\n" if len(lines) > 1 else ""
    rest = _OTHERS.sub("", f"{own}\n")
    for old in (_PARAMETERS, _ATTRIBUTES):
        if old.search(rest):
            return griffe.Docstring(old.sub(lambda _: section, rest).strip(), parent=found)
    first = _HEADING.search(rest)
    k = first.start() if first else len(rest)
    return griffe.Docstring(f"{rest[:k].rstrip()}\n\n{section}{rest[k:]}".strip(), parent=found)


def _signature(fields: dict[str, tuple[str | None, str | None]], *, keywords: bool) -> griffe.Function:
    kind = griffe.ParameterKind.keyword_only if keywords else griffe.ParameterKind.positional_or_keyword
    own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    given = [griffe.Parameter(name, kind=kind, default=default) for name, (default, _) in fields.items()]
    return griffe.Function("__init__", parameters=griffe.Parameters(own, *given))


def _described(docstring: str) -> dict[str, str]:
    """Return the descriptions of parameters or attributes in a docstring."""
    found = {}
    for section in (*_PARAMETERS.findall(docstring + "\n"), *_ATTRIBUTES.findall(docstring + "\n")):
        for names, text in _ENTRY.findall(f"{section}\n"):
            found |= dict.fromkeys(names.split(", "), inspect.cleandoc(text))
    return found


def _fields(kind: type) -> dict[str, tuple[str | None, str | None]]:
    """Return the default, none if a value is required, and the description of each public field."""
    if issubclass(kind, BaseModel):
        return {
            name: (None if each.is_required() else _shown(each.default, each.default_factory), each.description)
            for name, each in kind.model_fields.items()
        }
    found = {}
    for each in dataclasses.fields(kind):
        factory = None if each.default_factory is dataclasses.MISSING else each.default_factory
        required = each.default is dataclasses.MISSING and factory is None
        if each.init and not each.name.startswith("_"):
            found[each.name] = (None if required else _shown(each.default, factory), None)
    return found


def _shown(default: Any, factory: Any) -> str:
    """Return a default as it is written in Python, an object by its class if that is long."""
    if factory is not None:
        try:
            default = factory()
        except TypeError:  # it needs the values of other fields
            return "..."
    if default in (PydanticUndefined, dataclasses.MISSING):
        return "..."
    if isinstance(default, partial):  # it is called when the field is first read
        default = default()
    text = repr(default)
    if len(text) <= _MOST_LETTERS and not text.startswith("<"):
        return text
    try:
        plain = default == type(default)()
    except (TypeError, ValueError):  # it has required arguments
        plain = False
    return f"{type(default).__name__}({'' if plain else '...'})"


def _annotation(kind: type, name: str) -> str:
    for base in kind.__mro__:
        if name in (known := vars(base).get("__annotations__", {})):
            return known[name] if isinstance(known[name], str) else inspect.formatannotation(known[name])
    raise KeyError(name)


def _link(role: re.Match[str], scope: griffe.Object) -> str:
    """Return a link to the object of a role, which is plain text if the reference does not contain the object."""
    name = role[2]
    try:
        path = name if name.startswith("alchemflows.") else scope.resolve(name)
    except griffe.NameResolutionError:
        path = name
    text = name.rpartition(".")[2] if role[1] else name
    return f'<autoref identifier="{path}" optional><code>{text}</code></autoref>'
