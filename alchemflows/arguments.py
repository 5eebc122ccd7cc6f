"""Check and convert the arguments of public functions; invalid ones are reported in one line."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, wraps
from pathlib import PurePath
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_type_hints

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from pymatgen.core import IStructure, Structure

from alchemflows.choices import suggestion
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


def checked_id(beginning: str) -> str:
    """Return the beginning of an identifier (UUID) of a job in lower case.

    Raises
    ------
    InvalidInputError
        If the text has other characters, or is too short.
    """
    lower = beginning.lower()
    if not re.fullmatch(rf"[0-9a-f-]{{{_MIN_ID},36}}", lower):
        raise InvalidInputError(
            f"{beginning!r} is not an ID: give at least {_MIN_ID} characters of an ID that `alchemflows results` lists"
        )
    return lower


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
        advice = "; read a file with alchemflows.read_structure(file).structure first"
    elif isinstance(value, Mapping):
        advice = "; convert a dictionary with Structure.from_dict first"
    raise InvalidInputError(
        f"{name} must be a pymatgen Structure or periodic ASE Atoms; got {shown(value)} of type "
        f"{type(value).__name__}{advice}"
    )


def first_problem(error: ValidationError) -> ErrorDetails:
    """Return the first error that pydantic found; a field that does not exist comes before one that is missing."""
    problems = error.errors()
    return next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])


def place_of(error: ValidationError) -> tuple[int | str, ...]:
    """Return the place of the first problem that pydantic found, as keys and list indices.

    A check of a whole model has no place of its own; its message begins with the name of a field.
    """
    first = first_problem(error)
    place = tuple(part for part in first["loc"] if part != "[key]")
    if not place and (named := re.match(r"(?:Value error, )?(\w+): ", first["msg"])):
        return (named.group(1),)
    return place


def problem_of(error: ValidationError, prefix: str = "", model: type[BaseModel] | None = None) -> str:
    """Return the first error that pydantic found as one line: the field, the problem and the value.

    Parameters
    ----------
    error
        The error.
    prefix
        Beginning of the name of the field.
    model
        Model that was validated; with it, a similar name is suggested for a field that does not exist.
    """
    first = first_problem(error)
    if first["type"] == "extra_forbidden":
        *parents, name = first["loc"]
        known = [] if model is None else _fields_at(model.model_json_schema(), parents)
        advice = f"; the fields are {', '.join(known)}" if known else ""
        advice = suggestion(str(name), known) or advice
        return f"{prefix}{'.'.join(map(str, first['loc']))}: there is no such field{advice}"
    # Parts with brackets are no fields: the key of a mapping, or one of several types that are allowed.
    place = prefix + ".".join(str(part) for part in first["loc"] if "[" not in str(part))
    message, marker, _ = first["msg"].removeprefix("Value error, ").partition(" object: Traceback")
    got = "" if first["type"] in ("missing", "value_error") else f"; got {shown(first['input'])}"
    if marker or message.startswith("Must provide "):  # monty's messages, one of them with a traceback
        message, got = f"must be a {message.partition(',')[0].split()[-1]}", f"; got {shown(first['input'])}"
    if first["type"] == "literal_error":
        got += suggestion(str(first["input"]), re.findall(r"'([^']*)'", first["ctx"]["expected"]))
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


def _fields_at(schema: Mapping[str, Any], place: Sequence[int | str]) -> list[str]:
    """Return the names of the fields at a place in values that a JSON schema describes."""
    definitions = schema.get("$defs", {})
    parts = [schema]
    for key in place:
        parts = [each for part in parts for each in _inner(part, key)]
        parts = [each for part in parts for each in _alternatives(part, definitions)]
    return [name for part in parts for name in part.get("properties", {})]


def _inner(part: Mapping[str, Any], key: int | str) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of the value of a key, or of an item of a list."""
    if key in part.get("properties", {}):
        yield part["properties"][key]
    elif "patternProperties" in part:
        yield from part["patternProperties"].values()
    else:
        yield from (part[name] for name in ("additionalProperties", "items") if isinstance(part.get(name), Mapping))


def _alternatives(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that a part of a JSON schema refers to, or that it is a union of."""
    if "$ref" in part:
        yield from _alternatives(definitions[part["$ref"].rpartition("/")[2]], definitions)
    elif "anyOf" in part:
        for each in part["anyOf"]:
            yield from _alternatives(each, definitions)
    else:
        yield part


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
