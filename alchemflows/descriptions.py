"""Descriptions of the fields of makers, as their docstrings have them: help texts and schemas take them from there."""

from __future__ import annotations

import inspect
import re

#: What marks words in docstrings: roles of Sphinx, and quotes.
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SECTION = re.compile(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w+\n-+\n|^\S[^\n]*\.$|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\w[\w, ]*)\n((?:(?:    .*)?\n)+)", re.MULTILINE)


def field_descriptions(kind: type) -> dict[str, str]:
    """Return the descriptions of a dataclass's fields by name, as plain text.

    A description is the first paragraph below the field's name in the section ``Parameters`` (or ``Attributes``) of
    the class's docstring, or of that of the class from which the field comes.

    Parameters
    ----------
    kind
        A class with a docstring in NumPy's style.

    Examples
    --------
    >>> from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
    >>> field_descriptions(ThermodynamicIntegrationMaker)["timestep_fs"]
    'Time step (fs).'
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _described(inspect.cleandoc(vars(base).get("__doc__") or ""))
    return found


def _described(docstring: str) -> dict[str, str]:
    found = {}
    for section in _SECTION.findall(docstring):
        for names, text in _ENTRY.findall(f"{section}\n"):
            paragraph = inspect.cleandoc(text).split("\n\n")[0]
            for name in names.split(", "):
                found[name] = _plain(paragraph)
    return found


def _plain(text: str) -> str:
    """Return a text in one line, without the marks of docstrings."""
    return " ".join(_ROLE.sub(r"\1", text).replace("`", "").split())
