"""Read the descriptions of the fields of makers from their docstrings, for help texts and schemas."""

from __future__ import annotations

import inspect
import re

#: A role of Sphinx, with the name that it refers to.
_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")
_SECTION = re.compile(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w+\n-+\n|^\S[^\n]*\.$|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\w[\w, ]*)\n((?:(?:    .*)?\n)+)", re.MULTILINE)


def field_descriptions(kind: type) -> dict[str, str]:
    """Return the descriptions of a dataclass's fields by name, as plain text.

    A description is the first paragraph below the name of the field in the section ``Parameters`` (or ``Attributes``)
    of the docstring of the class, or of the base class that defines the field.

    Parameters
    ----------
    kind
        A dataclass with a NumPy-style docstring.

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
    """Return a text as one line, without roles and backticks."""
    return " ".join(_ROLE.sub(r"\1", text).replace("`", "").split())
