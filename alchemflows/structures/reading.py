"""The one reader of structure files: command line, campaigns and Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monty.io import zopen
from pymatgen.core import Lattice, Structure
from pymatgen.io.registry import get_structure_format

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.structure import Loss, StructureRecord
from alchemflows.structures.cif import read_cif
from alchemflows.structures.formula import formula_of, vacancies_of
from alchemflows.structures.images import read_image
from alchemflows.structures.parsed import Parsed, check_losses, heard
from alchemflows.structures.poscar import INVENTED, read_poscar
from alchemflows.structures.species import (
    element_of,
    fixed_atoms,
    occupancy_sum_message,
    sum_tolerance,
    understood,
)

#: Formats of pymatgen that may hold several images, of which it takes one without a word; ASE has them all.
_SEVERAL = ("vasprun", "xsf")


@dataclass(frozen=True)
class ReadStructure:
    """A structure and the record of what was understood.

    Attributes
    ----------
    structure
        The structure: elements without oxidation states, occupancies whose sums are 1 where they miss it by rounding
        only, no site properties.
    record
        Its composition, with vacancies, where it came from, and notes.
    """

    structure: Structure
    record: StructureRecord

    def repeated(self, supercell: Sequence[int]) -> ReadStructure:
        """Return the structure repeated along its three cell vectors.

        Raises
        ------
        InvalidInputError
            If a number of repeats is not at least 1.
        """
        if len(supercell) != 3 or min(supercell) < 1:
            raise InvalidInputError(f"a supercell repeats the cell at least once along each axis; got {supercell}")
        a, b, c = (int(n) for n in supercell)
        return ReadStructure(self.structure * (a, b, c), self.record.model_copy(update={"supercell": (a, b, c)}))


def read_structure(
    path: str | Path,
    *,
    block: str | int | None = None,
    ignore: Iterable[Loss] = (),
    occupancy_tolerance: float = 1.0,
) -> ReadStructure:
    """Read a structure file and check that nothing in it is lost.

    All that pymatgen or ASE reads can be read. What the parser said is in the notes of the record.

    Parameters
    ----------
    path
        CIF, POSCAR, extended XYZ, pymatgen's JSON, or another format of pymatgen or ASE.
    block
        Which data block (CIF: name or number from 1) or image (number from 1, or ``last``) is read, of several.
    ignore
        Losses that are accepted: ``fixed-atoms``, ``formula``, ``hydrogens``, ``masses``, ``occupancies``, ``symbols``
        or ``symmetry``.
    occupancy_tolerance
        Occupancies of a site that sum to at most this are rescaled to 1; sums that exceed 1 by rounding only always
        are.

    Returns
    -------
    ReadStructure
        The structure and its record.

    Raises
    ------
    InvalidInputError
        If the file does not exist or cannot be read, has several structures and none is chosen, holds isotopes or
        symbols of no element, or if anything is lost that is not ignored; the message names the file.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import read_structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> _ = salt.to("NaCl.cif")
    >>> read = read_structure("NaCl.cif")
    >>> read.record.summary
    'NaCl, 8 sites, no vacancies'
    """
    file = Path(path).expanduser()
    accepted = check_losses(ignore)
    if not occupancy_tolerance >= 1:
        raise InvalidInputError(
            f"an occupancy tolerance is a sum of occupancies, at least 1; got {occupancy_tolerance}"
        )
    if not file.is_file():
        raise InvalidInputError(f"no structure file {str(file)!r}")
    try:
        parsed = _parsed(file, block, occupancy_tolerance)
        read = _examined(parsed, accepted, occupancy_tolerance)
    except InvalidInputError as error:
        raise InvalidInputError(f"{file}: {error}") from error
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return ReadStructure(read.structure, read.record.model_copy(update=source))


def structure_of(content: Mapping[str, Any] | Structure, *, ignore: Iterable[Loss] = ()) -> ReadStructure:
    """Check a structure of pymatgen, or its dictionary, as :func:`read_structure` checks a file.

    Raises
    ------
    InvalidInputError
        As there.
    """
    notes: list[str] = []
    with heard(notes):
        try:
            structure = content if isinstance(content, Structure) else Structure.from_dict(dict(content))
        except Exception as error:  # whatever a wrong dictionary meets
            said = f"{type(error).__name__}: {error}"
            raise InvalidInputError(f"the dictionary is no structure of pymatgen: {said}") from error
    return _examined(Parsed(structure, "pymatgen (dictionary)", notes=notes), check_losses(ignore), 1.0)


def _parsed(file: Path, block: str | int | None, largest_sum: float) -> Parsed:
    """Return what the parser for this file makes of it."""
    try:
        kind = get_structure_format(filename=str(file)).name
    except ValueError:
        kind = ""
    if kind in ("cif", "mcif"):
        return _guarded(lambda: read_cif(_text(file), block, largest_sum), "pymatgen")
    if kind == "poscar":
        _check_single(block)
        return _guarded(lambda: read_poscar(_text(file)), "pymatgen")
    if not kind or kind in _SEVERAL:
        return read_image(file, block)
    try:
        parsed = _guarded(lambda: _with_pymatgen(file, kind), "pymatgen")
    except InvalidInputError as error:
        try:
            return read_image(file, block)
        except InvalidInputError as other:
            raise InvalidInputError(f"{error}; {other}") from other
    _check_single(block)
    return parsed


def _with_pymatgen(file: Path, kind: str) -> Parsed:
    notes: list[str] = []
    with heard(notes):
        structure = Structure.from_file(str(file))
    if any(INVENTED in note for note in notes):
        raise InvalidInputError("it names no elements, and any would be invented")
    return Parsed(structure, f"pymatgen ({kind})", notes=notes)


def _guarded(read: Any, library: str) -> Parsed:
    try:
        return read()
    except InvalidInputError:
        raise
    except Exception as error:  # each parser fails in its own way
        lines = " ".join(str(error).split())
        raise InvalidInputError(f"{library} cannot read it: {type(error).__name__}: {lines}") from error


def _check_single(block: str | int | None) -> None:
    if block is not None and str(block) not in ("1", "last"):
        raise InvalidInputError(f"there is no block or image {block} in it: it has one structure")


def _text(file: Path) -> str:
    with zopen(str(file), "rt", encoding="utf-8", errors="replace") as stream:
        return str(stream.read())


def _examined(parsed: Parsed, accepted: tuple[Loss, ...], largest_sum: float) -> ReadStructure:
    """Return a structure whose sites are understood, after losses are refused or accepted."""
    structure = parsed.structure
    if not len(structure):
        raise InvalidInputError("it has no atoms")
    if not np.isfinite(structure.frac_coords).all() or not structure.lattice.volume > 0:
        raise InvalidInputError("a coordinate or the cell is no finite number, or the cell has no volume")
    if not all(structure.lattice.pbc):
        raise InvalidInputError(f"it is not periodic along all three directions (pbc {structure.lattice.pbc})")
    notes, losses = list(parsed.notes), list(parsed.losses)
    sites = [_occupancy(structure, index, largest_sum, notes) for index in range(len(structure))]
    fixed = fixed_atoms(structure)
    if fixed:
        losses.append(
            (
                "fixed-atoms",
                f"selective dynamics fixes {len(fixed)} of {len(structure)} atoms (the first is site {fixed[0]}), "
                "which the dynamics cannot do",
            )
        )
    notes += _unused(structure)
    refused = [(kind, text) for kind, text in losses if kind not in accepted]
    if refused:
        kinds = " ".join(f"--ignore {kind}" for kind in dict.fromkeys(kind for kind, _ in refused))
        texts = list(dict.fromkeys(text for _, text in refused))
        more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
        raise InvalidInputError(
            f"{'; '.join(texts[:3])}{more}. Correct the file, or accept it as it is read with {kinds} (ignore=...)"
        )
    record = StructureRecord(
        block=parsed.block,
        reader=parsed.reader,
        formula=formula_of(sites),
        n_sites=len(sites),
        n_atoms=round(sum(sum(occupancy.values()) for occupancy in sites), 6),
        vacancies=vacancies_of(sites),
        accepted=list(dict.fromkeys(text for _, text in losses)),
        notes=list(dict.fromkeys(notes)),
    )
    clean = Structure(Lattice(structure.lattice.matrix), sites, structure.frac_coords)
    return ReadStructure(clean, record)


def _occupancy(structure: Structure, index: int, largest_sum: float, notes: list[str]) -> dict[str, float]:
    """Return what a site holds, its sum 1 where it misses 1 by rounding or exceeds it as accepted."""
    site = structure[index]
    where = f"site {index}" + (f" ({site.label})" if site.label else "")
    given: dict[str, float] = {}
    for species, fraction in site.species.items():
        symbol = element_of(species, where)
        given[symbol] = given.get(symbol, 0.0) + float(fraction)
    total = sum(given.values())
    tolerance = sum_tolerance(len(given))
    listed = ", ".join(f"{symbol} {fraction:g}" for symbol, fraction in given.items())
    if total > 1 + tolerance:
        if total > largest_sum:
            raise InvalidInputError(occupancy_sum_message(where, given))
        notes.append(f"the occupancies {listed} sum to {total:.6g} and were rescaled to 1, as accepted")
        given = {symbol: fraction / total for symbol, fraction in given.items()}
    elif tolerance >= abs(total - 1) > 1e-6:
        notes.append(f"the occupancies {listed} sum to {total:.6g}, which is rounding: they were rescaled to 1")
    with heard(notes):
        return understood(given, f"a site with {listed}")  # the same note for all sites that are alike


def _unused(structure: Structure) -> list[str]:
    """Return a note on site properties and oxidation states that nothing uses."""
    names = [
        name
        for name, values in structure.site_properties.items()
        if name not in ("selective_dynamics", "implicit_hydrogens") and any(v is not None and np.any(v) for v in values)
    ]
    return [f"not used: {', '.join(sorted(names))}"] if names else []
