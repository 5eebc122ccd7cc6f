"""Check and convert the arguments of public functions; invalid ones are reported in one line."""

from __future__ import annotations

import dataclasses
import inspect
import re
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
#: Fewest characters of an ID that are searched for.
_MIN_ID = 4


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function or method so that its arguments are checked against its annotations when it is called.

    ASE Atoms are accepted as structures, NumPy arrays as sequences, and strings that contain numbers as numbers. The
    fields of a maker (a dataclass) are checked each time one of its methods is called, since they can be changed at
    any time.

    Raises
    ------
    InvalidInputError
        By the decorated function, if an argument or a field is invalid; the message names it and its value.
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


def check_id(beginning: str) -> None:
    """Raise an error if a text cannot be the beginning of an identifier (UUID) of a job.

    Raises
    ------
    InvalidInputError
        If it has other characters, or is too short.
    """
    if not re.fullmatch(rf"[0-9a-f-]{{{_MIN_ID},36}}", beginning):
        raise InvalidInputError(
            f"{beginning!r} is not an ID: give at least {_MIN_ID} characters of an ID that `alchemflows results` lists"
        )


def as_structure(value: Any, name: str = "structure") -> Structure:
    """Return a pymatgen Structure made from a Structure, an immutable IStructure or periodic ASE Atoms.

    Raises
    ------
    InvalidInputError
        If `value` is none of these, or if the Atoms are not periodic in three directions or have masses that differ
        from the standard atomic masses.
    """
    from ase import Atoms

    if isinstance(value, Structure):
        return value
    if isinstance(value, IStructure):
        return Structure.from_sites(list(value))
    if isinstance(value, Atoms):
        if not value.pbc.all() or abs(np.linalg.det(value.cell.array)) < 1e-6:
            raise InvalidInputError(
                f"{name}: the ASE Atoms are not periodic in three directions; set their cell and pbc=True"
            )
        if value.has("masses") and not np.allclose(value.get_masses(), Atoms(numbers=value.numbers).get_masses()):
            raise InvalidInputError(
                f"{name}: the ASE Atoms have custom masses, which are not supported; remove them with "
                "atoms.set_masses('defaults')"
            )
        from pymatgen.io.ase import AseAtomsAdaptor

        return AseAtomsAdaptor.get_structure(value)
    advice = ""
    if isinstance(value, str | PurePath):
        advice = "; read a file with Structure.from_file first"
    elif isinstance(value, Mapping):
        advice = "; convert a dictionary with Structure.from_dict first"
    raise InvalidInputError(
        f"{name} must be a pymatgen Structure or periodic ASE Atoms; got {shown(value)} of type "
        f"{type(value).__name__}{advice}"
    )


def problem_of(error: ValidationError, prefix: str = "") -> str:
    """Return the first error that pydantic found as one line: the field, the problem and the value."""
    first = error.errors()[0]
    place = prefix + ".".join(str(part) for part in first["loc"] if part != "[key]")
    message, marker, _ = first["msg"].removeprefix("Value error, ").partition(" object: Traceback")
    got = "" if first["type"] in ("missing", "value_error") else f"; got {shown(first['input'])}"
    if marker or message.startswith("Must provide "):  # monty's messages, one of them with a traceback
        message, got = f"must be a {message.partition(',')[0].split()[-1]}", f"; got {shown(first['input'])}"
    return " ".join(f"{place.strip('.')}: {message}{got}".removeprefix(": ").split())


def no_boolean(value: Any) -> Any:
    """Return a value unless it is a boolean; pydantic would read true and false as the numbers 1 and 0.

    Raises
    ------
    InvalidInputError
        If the value is a boolean.
    """
    if isinstance(value, bool | np.bool_):
        raise InvalidInputError(f"must be a number; got {value}")
    return value


def shown(value: Any) -> str:
    """Return the representation of a value for an error message: one line, shortened to 80 characters."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def number_checked(hint: Any) -> Any:
    """Return an annotation that rejects booleans if `hint` is a number; otherwise return `hint` unchanged."""
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
    """Return a function that checks a value against a type and converts it."""
    if hint is Structure:
        return lambda value: as_structure(value, name)
    if hint == Mapping[str, Structure]:
        return lambda value: {str(key): as_structure(each, f"{name}[{key!r}]") for key, each in _mapping(name, value)}
    hint = number_checked(hint)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint, config=_CONFIG)
    except PydanticUserError:  # pydantic models bring their own configuration
        adapter = TypeAdapter(hint)

    def check(value: Any) -> Any:
        try:
            return adapter.validate_python(_plain(value))
        except ValidationError as error:
            raise InvalidInputError(_message(name, error, value)) from None

    return check


def _message(name: str, error: ValidationError, value: Any) -> str:
    """Return the error message for an argument; if several types are allowed, list the requirement of each."""
    problems = error.errors()
    requirements = dict.fromkeys(problem["msg"].removeprefix("Value error, ") for problem in problems)
    if len(problems) == 1 or len(requirements) == 1:
        return problem_of(error, f"{name}." if problems[0]["loc"] else name)
    listed = "; or: ".join(requirements)
    return " ".join(f"{name}: {listed}; got {shown(value)} of type {type(value).__name__}".split())


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
    """Return a value with NumPy arrays and numbers converted to Python lists and numbers."""
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
