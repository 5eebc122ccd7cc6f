"""Options of commands that are fields of makers: their types, defaults and descriptions stand with the maker alone."""

from __future__ import annotations

import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import wraps
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

from alchemflows.choices import check_choice
from alchemflows.cli.configured import settings
from alchemflows.cli.inputs import checked_temperature, naming_options
from alchemflows.declarations import declared
from alchemflows.descriptions import field_descriptions
from alchemflows.errors import AlchemflowsWarning

if TYPE_CHECKING:
    from jobflow import Maker

M = TypeVar("M")
#: Fields whose options have another name: what a unit or a count adds to a name is left out on the command line.
SHORT = {
    "cell": "cell_freedom",
    "cell_steps": "n_cell_steps",
    "equilibration": "n_equilibration_steps",
    "friction": "friction_per_ps",
    "frames": "n_frames",
    "interval": "sample_interval_steps",
    "pressure": "pressure_GPa",
    "production": "n_production_steps",
    "relax": "relax_maker",
    "repeats": "n_repeats",
    "sampling": "n_sampling_steps",
    "starts": "n_starts",
    "switching": "n_switching_steps",
    "timestep": "timestep_fs",
    "windows": "n_windows",
}
#: Options that are not `--name`.
DECLARED = {
    "temperature": ("--temperature", "-T"),
    "crystal": ("--crystal/--diffusing",),
    "tolerance_meV_per_atom": ("--tolerance-mev-per-atom",),
}
#: Functions that check the values of options before the command.
CHECKS = {"temperature": checked_temperature}


#: Lengths with which any command ends soon (``ALCHEMFLOWS_SHORT``).
SHORT_LENGTHS: dict[str, int] = {
    "n_replicas": 2,
    "n_windows": 3,
    "attempts_per_sweep": 3,
    "n_equilibration_sweeps": 1,
    "n_production_sweeps": 4,
    "n_equilibration_steps": 6,
    "n_production_steps": 60,
    "sample_interval_steps": 10,
    "n_cell_steps": 60,
    "n_coexistence_temperatures": 2,
    "n_coexistence_replicas": 1,
    "n_coexistence_steps": 60,
    "n_heating_steps": 20,
    "n_sampling_steps": 40,
    "n_switching_steps": 10,
    "n_repeats": 2,
    "n_sweep_repeats": 2,
    "n_sweep_equilibration_steps": 6,
    "n_sweep_steps": 10,
    "n_random": 2,
    "n_sampled": 2,
    "n_sampling_sweeps": 8,
    "n_starts": 1,
}
#: Maximum number of steps of a relaxation with ``ALCHEMFLOWS_SHORT``.
SHORT_RELAXATION_STEPS = 10


@dataclass(frozen=True, eq=False)
class MakerOptions:
    """Options that are fields of a maker.

    A parameter of a command (:func:`grouped`) that is annotated with it gets the maker. The maker's module is imported
    when the command runs; its help is made from the source (:func:`~alchemflows.declarations.declared`).

    Attributes
    ----------
    place
        Where the maker is: ``module:Class``.
    names
        Names of the options.
    required
        Those that must be given.
    renamed
        Fields of options whose field is neither of the same name nor in :data:`SHORT`.
    texts
        Descriptions of options that set more, or something else, in a command than the description of the field says.
    """

    place: str
    names: tuple[str, ...]
    required: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def declared(self) -> Any:
        """The maker as it is declared: a dataclass with its fields."""
        return declared(self.place)

    def field_of(self, name: str) -> str:
        """Return the name of the field of an option."""
        there = {each.name for each in fields(self.declared)}
        return self.renamed.get(name) or (name if name in there else SHORT[name])

    def parameters(self) -> list[tuple[str, Any, Any]]:
        """Return name, annotation and default of each option, as typer takes them."""
        hints, texts = get_type_hints(self.declared), field_descriptions(self.declared)
        known = {each.name: each for each in fields(self.declared)}
        made = []
        for name in self.names:
            path = self.field_of(name)
            hint, default, choices = _option(hints[path], known[path])
            option = typer.Option(
                *DECLARED.get(name, ()),
                metavar=f"[{'|'.join(choices)}]" if choices else None,
                help=self.texts.get(name, texts[path]),
                callback=_one_of(name, choices) if choices else CHECKS.get(name),
            )
            made.append((name, Annotated[hint, option], inspect.Parameter.empty if name in self.required else default))
        return made

    def make(self, values: Mapping[str, Any]) -> Maker:
        """Return the maker for the values of the options."""
        given = {self.field_of(name): values[name] for name in self.names}
        hints = get_type_hints(self.declared)
        for path, value in list(given.items()):
            if _is_switch(hints[path]):
                del given[path]
                if not value:
                    given[path] = None
        maker: Maker = pkgutil.resolve_name(self.place)(**shortened(given))
        return with_short_relaxation(maker)


def shortened(lengths: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a maker, with short lengths instead of longer ones if ``ALCHEMFLOWS_SHORT`` is set.

    Shorter lengths are kept, so that the maker refuses wrong ones as without the variable.
    """
    if settings().short is None or not lengths.keys() & SHORT_LENGTHS:
        return dict(lengths)
    text = "ALCHEMFLOWS_SHORT is set: few steps are run, and the results are meaningless"
    warnings.warn(AlchemflowsWarning(text), stacklevel=1)
    short = {name: limit for name, limit in SHORT_LENGTHS.items() if name in lengths}
    return {
        **lengths,
        **{name: limit if (n := lengths[name]) is None else min(n, limit) for name, limit in short.items()},
    }


def with_short_relaxation(maker: M) -> M:
    """Return a maker whose relaxations end after a few steps if ``ALCHEMFLOWS_SHORT`` is set."""
    relaxation = getattr(maker, "relax_maker", None)
    if settings().short is None or relaxation is None:
        return maker
    return replace(maker, relax_maker=relaxation.shortened(SHORT_RELAXATION_STEPS))  # type: ignore[type-var]


def _option(hint: Any, known: Field) -> tuple[Any, Any, tuple[str, ...]]:
    """Return the type of an option, its default, and its choices if only some values are possible."""
    if _is_switch(hint):
        return bool, known.default_factory is not MISSING, ()
    if choices := choices_of(hint):
        return str, known.default, choices
    if get_origin(hint) is Sequence:  # a repeatable option
        return list[get_args(hint)[0]], known.default, ()  # type: ignore[misc]
    return hint, known.default, ()


def _one_of(name: str, choices: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that checks the value of an option with choices; typer calls it before the command."""

    def check(value: str) -> str:
        check_choice(f"--{name.replace('_', '-')}", value, choices)
        return value

    return check


def _is_switch(hint: Any) -> bool:
    """Tell whether a field holds a maker of its own or None: on the command line it is switched on or off."""
    kinds = set(get_args(hint))
    return NoneType in kinds and any(map(is_dataclass, kinds))


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the values of a type of literals, or of a union of such types; none for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    parts = [choices_of(part) for part in get_args(hint)]
    return tuple(choice for part in parts for choice in part) if parts and all(parts) else ()


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options: dataclasses, and makers (:class:`MakerOptions`).

    Typer sees their fields; the command gets the objects. Its options are put together when they are needed
    (:class:`~alchemflows.cli.once.App`).
    """

    @wraps(command)
    def later() -> None:
        """Stand for the command until it is needed."""

    del later.__wrapped__
    later.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
    later.__annotations__ = {}
    later.ungrouped = lambda: _ungrouped(command)  # type: ignore[attr-defined]
    return later


def _ungrouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options of its groups one by one."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[list[tuple[str, Any, Any]], Callable[[dict[str, Any]], Any]]] = {}
    options: list[tuple[str, Any, Any]] = []
    named = options_of_fields(hints.values())
    for name, parameter in inspect.signature(command).parameters.items():
        group = _group(hints[name])
        if group is None:
            options.append((name, hints[name], parameter.default))
        else:
            groups[name] = group
            options += group[0]

    @wraps(command)
    def ungrouped(**values: Any) -> None:
        made = {}
        for name, (own, make) in groups.items():
            made[name] = make({option: values.pop(option) for option, _, _ in own})
        with naming_options(named):
            command(**values, **made)

    signature = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, annotation, default in options
        ]
    )
    ungrouped.__signature__ = signature  # type: ignore[attr-defined]
    ungrouped.__annotations__ = {name: annotation for name, annotation, _ in options}
    return ungrouped


def options_of_fields(hints: Iterable[Any]) -> dict[str, str]:
    """Return options by the field of a maker that they set, for fields whose name is not a word, such as ``n_points``.

    Parameters
    ----------
    hints
        Annotations of the parameters of a command. If several makers have a field, all options that set it are named.
    """
    named: dict[str, list[str]] = {}
    for group in (part for hint in hints for part in getattr(hint, "__metadata__", ())):
        for name in group.names if isinstance(group, MakerOptions) else ():
            if "_" in (path := group.field_of(name)):
                named.setdefault(path, []).append(f"--{name.replace('_', '-').lower()}")
    return {path: " or ".join(options) for path, options in named.items()}


def _group(hint: Any) -> tuple[list[tuple[str, Any, Any]], Callable[[dict[str, Any]], Any]] | None:
    """Return the options of a group and what makes its object of their values; None for a single option."""
    if is_dataclass(hint):
        kind: Any = hint
        inner = get_type_hints(kind, include_extras=True)
        return [(each.name, inner[each.name], each.default) for each in fields(kind)], lambda values: kind(**values)
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, MakerOptions):
            return part.parameters(), part.make
    return None
