"""Read dataclasses of this package from their source, without importing the modules that define them."""

from __future__ import annotations

import ast
import builtins
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def declared(place: str) -> Any:
    """Return a dataclass with the fields of a dataclass: their types, defaults and descriptions, but no methods.

    This is what help texts need. The modules of makers import jobflow and pymatgen, which takes longer than help may
    take. Classes that are no dataclasses of this package are replaced by empty classes of the same name, and functions
    too.

    Parameters
    ----------
    place
        Where the dataclass is: ``module:Class``.

    Examples
    --------
    >>> from dataclasses import fields
    >>> maker = declared("alchemflows.flows.switching:SwitchingMaker")
    >>> {field.name: field.default for field in fields(maker)}["n_repeats"]
    4
    """
    module, _, name = place.partition(":")
    return _source(module).value(name)


@cache
def _source(module: str) -> _Source:
    return _Source(module)


class _Source:
    """The source of a module, whose names are evaluated when they are needed."""

    def __init__(self, module: str) -> None:
        spec = find_spec(module)
        text = spec.loader.get_source(module) if spec else None  # type: ignore[union-attr]
        if text is None:
            raise ModuleNotFoundError(f"there is no source of {module}", name=module)
        tree = ast.parse(text)
        self._module = module
        self._values: dict[str, Any] = {}
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self._assigned = {
            target.id: node
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self._imported = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def value(self, name: str) -> Any:
        """Return the value of a name of the module."""
        if name not in self._values:
            self._values[name] = self._evaluated(name)
        return self._values[name]

    def _evaluated(self, name: str) -> Any:
        if name in self._assigned:
            return self._run(self._assigned[name], name)
        if name in self._classes and _is_dataclass(self._classes[name]):
            return self._run(_without_methods(self._classes[name]), name)
        if name in self._imported:
            module, original = self._imported[name]
            package = module.partition(".")[0]
            if package == _PACKAGE:
                return _source(module).value(original)
            if package in sys.stdlib_module_names:
                return getattr(import_module(module), original)
        elif name not in self._classes and hasattr(builtins, name):
            return getattr(builtins, name)
        return type(name, (_Replaced,), {})

    def _run(self, node: ast.stmt, name: str) -> Any:
        """Run the statement that defines a name, and return its value."""
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - {name}
        namespace = {each: self.value(each) for each in used} | {"__name__": self._module}
        exec(compile(ast.Module([node], []), self._module, "exec", dont_inherit=True), namespace)
        return namespace[name]


class _Replaced:
    """Base of the classes that stand for others."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Accept the arguments of any class."""


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _without_methods(node: ast.ClassDef) -> ast.ClassDef:
    """Return a class with its docstring and its fields only."""
    body: list[ast.stmt] = [each for each in node.body if isinstance(each, ast.Expr | ast.AnnAssign)]
    kept = ast.ClassDef(node.name, node.bases, node.keywords, body, node.decorator_list)
    return ast.copy_location(kept, node)
