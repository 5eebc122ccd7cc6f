"""What the public functions are given from Python: converted where the meaning is plain, else refused in one line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import PurePath
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_type_hints

import numpy as np
from pydantic import BeforeValidator, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pymatgen.core import IStructure, Structure

from alchemflows.errors import InvalidInputError

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
_LONGEST = 80


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function or method check what it is given against its annotations, before it does anything.

    A structure may be ASE Atoms, arrays are sequences, and texts of numbers are numbers. The fields of a maker, which
    is a dataclass, are checked when one of its methods is called, since they may be set at any time.

    Raises
    ------
    InvalidInputError
        By the decorated function: in one line, naming the argument or field and what it got.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs)
        adapters = _adapters(function)
        for name, value in given.arguments.items():
            if name in adapters:
                given.arguments[name] = adapters[name](value)
            elif name == "self" and dataclasses.is_dataclass(value):
                given.arguments[name] = _with_checked_fields(value)
        return function(*given.args, **given.kwargs)

    return wrapper


def as_structure(value: Any, name: str = "structure") -> Structure:
    """Return a pymatgen structure from one, or from periodic ASE Atoms.

    Raises
    ------
    InvalidInputError
        If it is neither, or if the Atoms are not periodic in three directions or have masses of their own.
    """
    from ase import Atoms

    if isinstance(value, Structure):
        return value
    if isinstance(value, IStructure):
        return Structure.from_sites(list(value))
    if isinstance(value, Atoms):
        if not value.pbc.all() or abs(np.linalg.det(value.cell.array)) < 1e-6:
            raise InvalidInputError(
                f"{name}: the ASE Atoms are not periodic in three directions; a crystal has a cell and pbc=True"
            )
        if value.has("masses") and not np.allclose(value.get_masses(), Atoms(numbers=value.numbers).get_masses()):
            raise InvalidInputError(f"{name}: the ASE Atoms have masses of their own, which a structure does not keep")
        from pymatgen.io.ase import AseAtomsAdaptor

        return AseAtomsAdaptor.get_structure(value)
    advice = ""
    if isinstance(value, str | PurePath):
        advice = "; read the file first, with Structure.from_file"
    elif isinstance(value, Mapping):
        advice = "; Structure.from_dict makes one of a dictionary"
    raise InvalidInputError(
        f"{name} must be a pymatgen Structure or periodic ASE Atoms; got {shown(value)} of type "
        f"{type(value).__name__}{advice}"
    )


def problem_of(error: ValidationError, prefix: str = "") -> str:
    """Return the first problem that pydantic found, in one line: the field, what is wrong, and what was given."""
    first = error.errors()[0]
    place = prefix + ".".join(str(part) for part in first["loc"] if part != "[key]")
    message, marker, _ = first["msg"].removeprefix("Value error, ").partition(" object: Traceback")
    got = "" if first["type"] in ("missing", "value_error") else f"; got {shown(first['input'])}"
    if marker or message.startswith("Must provide "):  # monty's messages, one of them with a traceback
        message, got = f"a {message.partition(',')[0].split()[-1]} is needed", f"; got {shown(first['input'])}"
    return " ".join(f"{place.strip('.')}: {message}{got}".removeprefix(": ").split())


def no_boolean(value: Any) -> Any:
    """Refuse true and false where a number is meant; pydantic would take them for 1 and 0.

    Raises
    ------
    InvalidInputError
        If the value is a boolean.
    """
    if isinstance(value, bool | np.bool_):
        raise InvalidInputError(f"a number is needed; got {value}")
    return value


def shown(value: Any) -> str:
    """Return a value for an error message, in one line and not longer than that."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def number_checked(hint: Any) -> Any:
    """Return a type that refuses booleans, if it is one of numbers; else the type as it is."""
    kinds = set(get_args(hint) or (hint,)) - {type(None)}
    return Annotated[hint, BeforeValidator(no_boolean)] if kinds and kinds <= {int, float} else hint


@cache
def _adapters(function: Any) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(function, include_extras=True)
    return {name: _adapter(name, hint) for name, hint in hints.items() if name != "return"}


@cache
def _field_adapters(kind: Any) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _adapter(field.name, hints[field.name]) for field in dataclasses.fields(kind)}


def _adapter(name: str, hint: Any) -> Callable[[Any], Any]:
    """Return what checks and converts a value of a type."""
    if hint is Structure:
        return lambda value: as_structure(value, name)
    if hint == Mapping[str, Structure]:
        return lambda value: {str(key): as_structure(each, f"{name}[{key!r}]") for key, each in _mapping(name, value)}
    hint = number_checked(hint)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=_CONFIG)
    except PydanticUserError:  # models have a configuration of their own
        adapter = TypeAdapter(hint)

    def check(value: Any) -> Any:
        try:
            return adapter.validate_python(_plain(value))
        except ValidationError as error:
            raise InvalidInputError(_said(name, error, value)) from None

    return check


def _said(name: str, error: ValidationError, value: Any) -> str:
    """Return the problem of an argument; where several types are possible, what each of them asks for."""
    problems = error.errors()
    asked = dict.fromkeys(problem["msg"].removeprefix("Value error, ") for problem in problems)
    if len(problems) == 1 or len(asked) == 1:
        return problem_of(error, f"{name}." if problems[0]["loc"] else name)
    return " ".join(f"{name}: {'; or: '.join(asked)}; got {shown(value)} of type {type(value).__name__}".split())


def _mapping(name: str, value: Any) -> list[tuple[Any, Any]]:
    if not isinstance(value, Mapping):
        raise InvalidInputError(
            f"{name} must map names to structures; got {shown(value)} of type {type(value).__name__}"
        )
    return list(value.items())


def _with_checked_fields(maker: Any) -> Any:
    changed = {}
    for name, check in _field_adapters(maker.__class__).items():
        value = getattr(maker, name)
        new = check(str(value) if isinstance(value, PurePath) else value)
        if new is not value:
            changed[name] = new
    return dataclasses.replace(maker, **changed) if changed else maker


def _plain(value: Any) -> Any:
    """Return arrays and numbers of NumPy as Python's own."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is list:
        return [_plain(item) for item in value]
    if type(value) is tuple:
        return tuple(_plain(item) for item in value)
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return value
