"""Check texts from the command line and convert them to arguments of makers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import floor, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.output_file import check_writable

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from alchemflows.schemas.chemical_potentials import ChemicalPotentials, Given
    from alchemflows.schemas.optimization import Target
    from alchemflows.schemas.potential import Dtype, Kernels, PotentialSpec
    from alchemflows.schemas.structure import StructureRecord
    from alchemflows.structures.reading import ReadStructure

#: Parameters that are repeats of a cell along its axes.
REPEATS = ("supercell", "supercells", "sizes")
#: Largest number of values in a range.
_MOST = 1000


@contextmanager
def naming_options(options: Mapping[str, str]) -> Iterator[None]:
    """Name options in the errors of functions, instead of the arguments and fields that the options set.

    Parameters
    ----------
    options
        Options by name of the argument or field. A name without an underscore may also be a word of a sentence; it is
        replaced only at the beginning of an error.
    """
    try:
        yield
    except InvalidInputError as error:
        text = re.sub(r"^\w+|\b\w+_\w+", lambda word: options.get(word[0], word[0]), str(error))
        if text == str(error):
            raise
        raise InvalidInputError(text) from error


def dtype_of(name: str) -> Dtype:
    """Return a precision."""
    check_choice("dtype", name, ("float32", "float64"))
    return cast("Dtype", name)


def kernels_of(name: str) -> Kernels:
    """Return the kernels of a potential."""
    check_choice("kernels", name, ("built-in", "compiled", "cuequivariance"))
    return cast("Kernels", name)


def potential_of(
    name: str, dtype: str, device: str, head: str | None = None, kernels: str = "built-in"
) -> PotentialSpec:
    """Return a potential spec, after checking the precision, the kernels and the name of the potential.

    Raises
    ------
    InvalidInputError, PotentialError
        If the precision or the kernels are unknown, if the name is neither known nor a file, or if the package of the
        potential is not installed; the message names the extra to install.
    """
    from alchemflows.schemas.potential import PotentialSpec
    from alchemflows.schemas.potential_names import check_name

    check_name(name)
    found = kernels_of(kernels)
    return PotentialSpec(name=name, dtype=dtype_of(dtype), device=device, head=head, kernels=found)


def substitution_of(texts: list[str]) -> dict[str, str]:
    """Return a substitution from texts such as Pb:Sn."""
    pairs: dict[str, str] = {}
    for text in texts:
        source, colon, target = text.partition(":")
        if not colon or not source or not target:
            raise InvalidInputError(f"a substitution is written like Pb:Sn; got {text!r}")
        if source in pairs:
            raise InvalidInputError(f"{source} is substituted twice, by {pairs[source]} and {target}; give one of them")
        pairs[source] = target
    return pairs


def choices_of(texts: list[str]) -> dict[str, list[str]]:
    """Return the elements allowed on sites from texts such as Na:Li,Na,K."""
    choices: dict[str, list[str]] = {}
    for text in texts:
        element, colon, symbols = text.partition(":")
        if not colon or not element or not symbols:
            raise InvalidInputError(f"choices are written like Na:Li,Na,K; got {text!r}")
        if element in choices:
            raise InvalidInputError(f"the choices for {element} are given twice; give them once, such as Na:Li,Na,K")
        choices[element] = symbols.split(",")
    return choices


def targets_of(values: Sequence[str], least: Sequence[str], largest: Sequence[str]) -> list[Target]:
    """Return targets from texts such as a_A=4.1 or pressure_GPa=0:0.1, and from quantities to be extreme."""
    from alchemflows.schemas.optimization import Target

    targets = []
    for text in values:
        quantity, _, value = text.partition("=")
        wanted, colon, scale = value.partition(":")
        try:
            targets.append(Target(quantity=quantity, value=float(wanted), scale=float(scale) if colon else 1.0))
        except ValueError:  # pydantic's is one too
            raise InvalidInputError(
                "a target is written like a_A=4.1, or pressure_GPa=0:0.1 with the deviation that counts as one; "
                f"got {text!r}"
            ) from None
    targets += [Target(quantity=quantity, extremum="least") for quantity in least]
    return targets + [Target(quantity=quantity, extremum="largest") for quantity in largest]


def bounds_of(texts: Sequence[str], choices: Mapping[str, Sequence[str]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return bounds of shares from texts such as Sc=0:0.5, for all sites that may be that element."""
    bounds: dict[str, dict[str, tuple[float, float]]] = {element: {} for element in choices}
    for text in texts:
        symbol, _, limits = text.partition("=")
        low, _, high = limits.partition(":")
        try:
            limit = float(low), float(high)
        except ValueError:
            raise InvalidInputError(f"a bound is written like Sc=0:0.5; got {text!r}") from None
        bounded = [element for element, symbols in choices.items() if symbol in symbols]
        if not bounded:
            raise InvalidInputError(f"a bound needs an element named in --choose; got {text!r}")
        if any(symbol in bounds[element] for element in bounded):
            raise InvalidInputError(f"the bound of {symbol} is given twice; give it once")
        for element in bounded:
            bounds[element][symbol] = limit
    return bounds


def springs_of(texts: list[str]) -> dict[str, float]:
    """Return springs of elements from texts such as Fe:5.2."""
    springs: dict[str, float] = {}
    for text in texts:
        element, _, value = text.partition(":")
        try:
            spring = float(value)
        except ValueError:
            raise InvalidInputError(f"a spring is written like Fe:5.2; got {text!r}") from None
        if not element:
            raise InvalidInputError(f"a spring is written like Fe:5.2; got {text!r}")
        if element in springs:
            raise InvalidInputError(f"the spring of {element} is given twice; give it once")
        springs[element] = spring
    return springs


def with_repeats(arguments: list[str], parameters: Iterable[Any]) -> list[str]:
    """Return arguments in which repeats of a cell are written as their option expects: ``2 2 2`` or ``2x2x2``.

    Parameters
    ----------
    arguments
        Arguments of a command.
    parameters
        Its options; those named in :data:`REPEATS` are repeats of a cell.

    Raises
    ------
    InvalidInputError
        If an option is not followed by three numbers of at least 1.
    """
    wanted = {name: option.nargs for option in parameters if option.name in REPEATS for name in option.opts}
    found = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name not in wanted:
            found.append(word)
            continue
        if equals:
            rest.insert(0, value)
        found.append(name)
        if rest:
            numbers, rest = _three_repeats(name, rest)
            found += numbers if wanted[name] == 3 else ["x".join(numbers)]
    return found


def _three_repeats(option: str, words: list[str]) -> tuple[list[str], list[str]]:
    """Return three numbers of repeats at the beginning of the words behind an option, and the other words."""
    parts = re.split("[xX×]", words[0])
    used = 1 if len(parts) > 1 or not parts[0].isdigit() else 3
    numbers = parts if used == 1 else words[:3]
    if len(numbers) != 3 or not all(each.isdecimal() and int(each) > 0 for each in numbers):
        raise InvalidInputError(
            f"{option} must be three numbers of at least 1, such as 2 2 2 or 2x2x2; got {' '.join(words[:used])!r}"
        )
    return numbers, words[used:]


def supercell_of(text: str) -> tuple[int, int, int]:
    """Return repeats of a cell from a text such as 3x3x3, which :func:`with_repeats` has checked."""
    a, b, c = map(int, text.split("x"))
    return a, b, c


Temperature = TypeVar("Temperature", float, list[float], list[float] | None)


def checked_temperature(given: Temperature) -> Temperature:
    """Return the value of ``--temperature`` after checking it; typer calls this before the command.

    Raises
    ------
    InvalidInputError
        If a temperature is not a finite number above 0.
    """
    for value in given if isinstance(given, list) else [given]:
        if value is not None and not 0 < value < float("inf"):
            raise InvalidInputError(f"--temperature must be above 0 K; got {value:g}")
    return given


def phases_of(texts: list[str]) -> dict[str, Path]:
    """Return the files of phases from texts such as alpha=alpha.cif."""
    files: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise InvalidInputError(f"a phase is written like alpha=alpha.cif; got {text!r}")
        if name in files:
            raise InvalidInputError(f"two phases have the same name, {name}")
        files[name] = Path(path)
    return files


def references_of(texts: Sequence[str]) -> dict[str, Path]:
    """Return files of elemental crystals from texts such as K=K.cif."""
    files: dict[str, Path] = {}
    for text in texts:
        element, equals, path = text.partition("=")
        if not equals or not element or not path or element in files:
            raise InvalidInputError(f"a reference is written like K=K.cif, once for each element; got {text!r}")
        files[element] = Path(path)
    return files


def chemical_potentials_of(
    values: Sequence[str], references: Mapping[str, Structure], temperatures_K: Sequence[float]
) -> dict[float, ChemicalPotentials]:
    """Return the chemical potentials at each temperature.

    Parameters
    ----------
    values
        Texts such as Cl=-1.93, Cl=-1.93:0.01 with the standard error, or Cl@300=-1.93 for one temperature.
    references
        Crystals of pure elements by element.
    temperatures_K
        Temperatures of the run; a value without a temperature is accepted only if there is one.
    """
    from alchemflows.schemas.chemical_potentials import ChemicalPotentials

    known: dict[float, dict[str, Given]] = {temperature: {} for temperature in temperatures_K}
    for text in values:
        name, _, number = text.partition("=")
        element, at, condition = name.partition("@")
        value, colon, error = number.partition(":")
        try:
            temperature = float(condition) if at else temperatures_K[0]
            given: Given = (float(value), float(error)) if colon else float(value)
        except ValueError:
            raise InvalidInputError(
                f"a chemical potential is written like Cl=-1.93, Cl=-1.93:0.01 or Cl@300=-1.93; got {text!r}"
            ) from None
        if not at and len(temperatures_K) > 1:
            raise InvalidInputError(
                f"{text!r}: with several temperatures, write {element}@{temperature:g}={number} for each"
            )
        if temperature not in known:
            raise InvalidInputError(f"{text!r}: there is no run at {temperature:g} K")
        if element in known[temperature]:
            raise InvalidInputError(f"{text!r}: the chemical potential of {element} is given twice")
        known[temperature][element] = given
    return {temperature: ChemicalPotentials(each, references) for temperature, each in known.items()}


def sites_of(texts: Sequence[str]) -> dict[str, int]:
    """Return atoms by element from texts such as O=5."""
    sites: dict[str, int] = {}
    for text in texts:
        element, _, index = text.partition("=")
        if not index.isdigit() or not element or element in sites:
            raise InvalidInputError(f"a site is written like O=5, once for each element; got {text!r}")
        sites[element] = int(index)
    return sites


def waves_of(texts: list[str]) -> dict[str, tuple[float, ...]]:
    """Return orders from texts such as rocksalt=0.5,0.5,0.5."""
    waves: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        wave = _three_numbers(values)
        if not name or wave is None:
            raise InvalidInputError(f"an order is written like rocksalt=0.5,0.5,0.5; got {text!r}")
        if name in waves:
            raise InvalidInputError(f"the order {name} is given twice; give it once")
        waves[name] = wave
    return waves


def wave_vectors_of(texts: Sequence[str]) -> list[tuple[float, ...]]:
    """Return wave vectors from texts such as 0.5,0.5,0.5."""
    waves = [_three_numbers(text) for text in texts]
    if None in waves:
        raise InvalidInputError(f"a wave vector is written like 0.5,0.5,0.5; got {texts[waves.index(None)]!r}")
    return [wave for wave in waves if wave is not None]


def values_of(example: str, texts: Sequence[str]) -> dict[str, float]:
    """Return values of species from texts such as K=0.1.

    Parameters
    ----------
    example
        How the option is written, for errors.
    texts
        Texts from the command line.
    """
    values: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        species = name.strip()
        try:
            number = float(value)
        except ValueError:
            raise InvalidInputError(f"a value is written like {example}; got {text!r}") from None
        if not species or species in values:
            raise InvalidInputError(f"a value is written like {example}, once for each species; got {text!r}")
        values[species] = number
    return values


def exchanges_of(texts: Sequence[str]) -> dict[str, float]:
    """Return the chemical potentials of exchanges (eV) from texts such as 2 Ca -> Na + La, or 2 Ca -> Na + La=0.1."""
    return values_of("'2 Ca -> Na + La=0.1'", [text if "=" in text else f"{text}=0" for text in texts])


#: Examples of ranges, for options that are not temperatures.
_RANGES = {"--pressure": "0:2:0.5"}


def grid_of(option: str, texts: Sequence[str]) -> list[float]:
    """Return numbers from texts such as 300 or 300:600:25 (start, stop and step, both ends included), in order."""
    found: set[float] = set()
    for text in texts:
        parts = text.split(":")
        try:
            numbers = [float(part) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) == 1 and isfinite(numbers[0]):
            found.add(numbers[0])
            continue
        if len(numbers) != 3 or not all(map(isfinite, numbers)) or numbers[2] <= 0 or numbers[1] < numbers[0]:
            raise InvalidInputError(
                f"{option} is a number, or a range start:stop:step such as {_RANGES.get(option, '300:600:25')}, with "
                f"stop at least start and step above 0; got {text!r}"
            )
        start, stop, step = numbers
        n_steps = floor((stop - start) / step + 1e-9)
        if n_steps >= _MOST:
            raise InvalidInputError(f"{option} {text}: {n_steps + 1} values; at most {_MOST} are possible")
        found |= {round(start + k * step, 9) for k in range(n_steps + 1)}
    return sorted(found)


def _three_numbers(text: str) -> tuple[float, ...] | None:
    """Return three numbers from a text such as 0.5,0.5,0.5; None if it is another text."""
    try:
        numbers = tuple(float(value) for value in text.split(","))
    except ValueError:
        return None
    return numbers if len(numbers) == 3 else None


def read_structure(
    path: Path,
    supercell: tuple[int, int, int] = (1, 1, 1),
    *,
    block: str | None = None,
    ignore: Sequence[str] = (),
    occupancy_tolerance: float = 1.0,
) -> ReadStructure:
    """Read a structure, repeat its cell and print a summary on stderr."""
    from alchemflows.structures.parsed import check_losses
    from alchemflows.structures.reading import read_structure as read_file

    losses = check_losses(ignore)
    found = read_file(path, block=block, ignore=losses, occupancy_tolerance=occupancy_tolerance).repeated(supercell)
    show_record(path.name, found.record)
    return found


def show_record(name: str, record: StructureRecord) -> None:
    """Print the composition that was read, ignored information and notes on stderr."""
    print(f"{name}: {record.summary}", file=sys.stderr)
    for text in record.accepted:
        print(f"{name}: accepted: {text}", file=sys.stderr)
    for text in record.notes:
        print(f"{name}: note: {text}", file=sys.stderr)


def check_plot(plot: Path | None) -> None:
    """Raise an error if a figure cannot be written to a file.

    Raises
    ------
    InvalidInputError
        If its ending is not .png, .pdf or .svg, or it cannot be written there.
    """
    if plot is None:
        return
    if plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InvalidInputError(f"the figure must be a .png, .pdf or .svg file; got {plot.name!r}")
    check_writable(plot)
