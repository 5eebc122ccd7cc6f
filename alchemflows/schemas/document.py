"""Stored documents and their schema versions; older documents are migrated when they are read.

To change the schema of a kind of document, write a migration step from its current version::

    @migration("RelaxDocument", 1)
    def _energy_per_cell(content):
        content["energy_eV"] = content.pop("energy")
        return content

The current version of that kind is then 2. Steps are never removed, nor the example of each version in `tests/data`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any, Self, overload

from monty.json import MontyDecoder
from pydantic import BaseModel, Field, model_validator

from alchemflows.errors import DocumentVersionError
from alchemflows.schemas.provenance import demo_note

Step = Callable[[dict[str, Any]], dict[str, Any]]

#: Steps by the kind of document (its class name) and the version that they start from.
MIGRATIONS: dict[tuple[str, int], Step] = {}


def migration(kind: str, version: int) -> Callable[[Step], Step]:
    """Register a function that converts the fields of a document from one version to the next.

    Parameters
    ----------
    kind
        Name of the document's class.
    version
        Version that the function starts from.
    """

    def register(step: Step) -> Step:
        MIGRATIONS[kind, version] = step
        return step

    return register


def current_version(kind: str) -> int:
    """Return the version of a kind of document that this release writes: 1 without steps, else 1 + the last step."""
    return 1 + max((version for name, version in MIGRATIONS if name == kind), default=0)


def migrated(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a document in the current version; fields without a version count as current.

    Raises
    ------
    DocumentVersionError
        If the document has a newer version, or one that is no longer supported.
    """
    current = current_version(kind)
    version = content.get("schema_version", current)
    if isinstance(version, float) and version.is_integer():
        version = int(version)  # the MongoDB shell writes numbers as doubles
    if not isinstance(version, int) or isinstance(version, bool):
        raise DocumentVersionError(f"{kind}: schema_version must be a whole number; got {version!r}")
    if version > current:
        raise DocumentVersionError(
            f"{kind} has schema version {version}, but this alchemflows reads versions up to {current}; "
            f"install a newer alchemflows: {_release(content)}"
        )
    fields = dict(content)
    for step in range(version, current):
        if (kind, step) not in MIGRATIONS:
            raise DocumentVersionError(
                f"{kind} has schema version {version}, which this alchemflows no longer reads; use an older release"
            )
        fields = MIGRATIONS[kind, step](fields)
    return fields | {"schema_version": current}


def decoded(stored: Any) -> Any:
    """Return stored content decoded as for jobs, with all documents, also nested ones, in the current version.

    Raises
    ------
    DocumentVersionError
        As :func:`migrated`.
    """
    return MontyDecoder().process_decoded(stored)


def without_marks(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored document without the keys that monty added."""
    return {name: value for name, value in stored.items() if not name.startswith("@")}


class Document(BaseModel):
    """Base of stored documents.

    Whenever a document is read (by jobflow, by :func:`decoded` or :meth:`read`, or within another document), an older
    version is migrated, and a newer one raises :class:`DocumentVersionError`.
    """

    schema_version: int = Field(
        1, description="schema version of this kind of document; older ones are migrated on reading"
    )

    @model_validator(mode="before")
    @classmethod
    def _current(cls, content: Any) -> Any:
        return migrated(cls.__name__, content) if isinstance(content, Mapping) else content

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of those fields that are numbers or texts, or consist of numbers; and of the verdict."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name == "verdict":
                yield name, value.status
            elif isinstance(value, float):
                yield name, float(f"{value:.6g}")
            elif isinstance(value, str | int) and name != "schema_version":
                yield name, value
            elif isinstance(value, BaseModel) and not isinstance(value, Document):
                parts = dict(value)
                if parts and all(isinstance(part, float) for part in parts.values()):
                    yield name, {part: float(f"{number:.6g}") for part, number in parts.items()}

    def _repr_html_(self) -> str:
        """Return a table of the fields for notebooks."""
        fields = ((escape(name), escape(repr(value))) for name, value in self.__repr_args__())
        rows = "".join(f"<tr><td>{name}</td><td>{text}</td></tr>" for name, text in fields)
        note = demo_note(self)
        below = "" if note is None else f"<p>{escape(note)}</p>"
        return f"<b>{type(self).__name__}</b><table>{rows}</table>{below}"

    @overload
    @classmethod
    def read(cls, stored: None) -> None: ...

    @overload
    @classmethod
    def read(cls, stored: Self | Mapping[str, Any]) -> Self: ...

    @classmethod
    def read(cls, stored: Self | Mapping[str, Any] | None) -> Self | None:
        """Return a document from a document or a dictionary, as stores and jobs provide them; None for None.

        Raises
        ------
        DocumentVersionError
            As :func:`migrated`.
        """
        if isinstance(stored, Mapping):
            return cls.model_validate(without_marks(stored))
        return stored


def _release(content: Mapping[str, Any]) -> str:
    """Return the command that installs a release able to read a document, if known at least the one that wrote it."""
    made = content.get("provenance")
    versions = made.get("versions") if isinstance(made, Mapping) else getattr(made, "versions", None)
    release = (versions or {}).get("alchemflows")
    return f'pip install "alchemflows>={release}"' if release else "pip install --upgrade alchemflows"
