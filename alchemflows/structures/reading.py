"""Read and check structure files, for the command line, campaigns and Python."""

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
from alchemflows.structures.parsed import INVENTED, Parsed, check_exists, check_losses, collect_warnings
from alchemflows.structures.species import (
    element_of,
    fixed_atoms,
    occupancy_sum_message,
    sum_tolerance,
    with_rounding_removed,
)

#: Formats with several images of which pymatgen silently reads one. ASE reads all of them.
_SEVERAL = ("vasprun", "xsf")


@dataclass(frozen=True)
class ReadStructure:
    """A structure with a record of how it was read.

    Attributes
    ----------
    structure
        The structure, without oxidation states and site properties. Occupancies whose sum differs from 1 only by
        rounding are rescaled to a sum of 1.
    record
        Composition, vacancies, source file and notes.
    """

    structure: Structure
    record: StructureRecord

    def repeated(self, supercell: Sequence[int]) -> ReadStructure:
        """Return the structure repeated along its three cell vectors.

        Raises
        ------
        InvalidInputError
            If `supercell` is not three numbers of at least 1.
        """
        if len(supercell) != 3 or min(supercell) < 1:
            raise InvalidInputError(f"supercell must be three numbers of repeats, each at least 1; got {supercell}")
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

    All formats of pymatgen and ASE are supported. Warnings of the parser are stored in the notes of the record.

    Parameters
    ----------
    path
        CIF, POSCAR, extended XYZ, JSON file of pymatgen, or another format of pymatgen or ASE.
    block
        If the file has several structures, the one to read: name or number of a CIF data block, or number of an image.
        Numbers are counted from 1; ``last`` is the last one.
    ignore
        Losses to accept: ``fixed-atoms``, ``formula``, ``hydrogens``, ``masses``, ``occupancies``, ``symbols`` or
        ``symmetry``.
    occupancy_tolerance
        Largest sum of the occupancies of a site; sums between 1 and this value are rescaled to 1. Sums that exceed 1
        only by rounding are always rescaled.

    Returns
    -------
    ReadStructure
        The structure and its record.

    Raises
    ------
    InvalidInputError
        If the file does not exist or cannot be read, if it has several structures and `block` is None, if it contains
        isotopes or unknown elements, or if reading it loses something that is not in `ignore`. The message names the
        file.

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
            f"occupancy_tolerance is the largest accepted sum and must be at least 1; got {occupancy_tolerance}"
        )
    check_exists(file)
    try:
        parsed = _parsed(file, block, occupancy_tolerance)
        read = _checked(parsed, accepted, occupancy_tolerance)
    except InvalidInputError as error:
        raise InvalidInputError(f"{file}: {error}") from error
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    return ReadStructure(read.structure, read.record.model_copy(update=source))


def structure_of(content: Mapping[str, Any] | Structure, *, ignore: Iterable[Loss] = ()) -> ReadStructure:
    """Check a pymatgen Structure, or its dictionary, in the same way as :func:`read_structure` checks a file.

    Raises
    ------
    InvalidInputError
        If the dictionary is not a valid structure, or for the same reasons as in :func:`read_structure`.
    """
    notes: list[str] = []
    with collect_warnings(notes):
        try:
            structure = content if isinstance(content, Structure) else Structure.from_dict(dict(content))
        except Exception as error:  # an invalid dictionary can cause any exception
            reason = f"{type(error).__name__}: {error}"
            raise InvalidInputError(f"the dictionary is not a valid pymatgen Structure: {reason}") from error
    return _checked(Parsed(structure, "pymatgen (dictionary)", notes=notes), check_losses(ignore), 1.0)


def _parsed(file: Path, block: str | int | None, largest_sum: float) -> Parsed:
    """Read a file with the parser for its format, of which no other is imported."""
    try:
        kind = get_structure_format(filename=str(file)).name
    except ValueError:
        kind = ""
    if kind in ("cif", "mcif"):
        return _with_readable_errors(lambda: read_cif(_text(file), block, largest_sum), "pymatgen")
    if kind == "poscar":
        from alchemflows.structures.poscar import read_poscar

        _check_single(block)
        return _with_readable_errors(lambda: read_poscar(_text(file)), "pymatgen")
    from alchemflows.structures.images import read_image

    if not kind or kind in _SEVERAL:
        return read_image(file, block)
    try:
        parsed = _with_readable_errors(lambda: _with_pymatgen(file, kind), "pymatgen")
    except InvalidInputError as error:
        try:
            return read_image(file, block)
        except InvalidInputError as other:
            raise InvalidInputError(f"{error}; {other}") from other
    _check_single(block)
    return parsed


def _with_pymatgen(file: Path, kind: str) -> Parsed:
    notes: list[str] = []
    with collect_warnings(notes):
        structure = Structure.from_file(str(file))
    if any(INVENTED in note for note in notes):
        raise InvalidInputError("the file has no element symbols; add them")
    return Parsed(structure, f"pymatgen ({kind})", notes=notes)


def _with_readable_errors(read: Any, library: str) -> Parsed:
    """Call a parser; any exception becomes an error of one line that names the library."""
    try:
        return read()
    except InvalidInputError:
        raise
    except Exception as error:  # the parsers raise many kinds of exceptions
        lines = " ".join(str(error).split())
        raise InvalidInputError(f"{library} cannot read it: {type(error).__name__}: {lines}") from error


def _check_single(block: str | int | None) -> None:
    if block is not None and str(block) not in ("1", "last"):
        raise InvalidInputError(f"block {block} does not exist; the file has one structure, so omit the option")


def _text(file: Path) -> str:
    """Return the content of a text file, which may be compressed, without a byte-order mark."""
    with zopen(str(file), "rt", encoding="utf-8-sig", errors="replace") as stream:
        return str(stream.read())


def _checked(parsed: Parsed, accepted: tuple[Loss, ...], largest_sum: float) -> ReadStructure:
    """Check a parsed structure and return it with its record; raise an error for losses that are not accepted."""
    structure = parsed.structure
    if not len(structure):
        raise InvalidInputError("the structure has no atoms")
    if not np.isfinite(structure.frac_coords).all() or not structure.lattice.volume > 0:
        raise InvalidInputError("coordinates and cell must be finite numbers, and the volume must not be zero")
    if not all(structure.lattice.pbc):
        raise InvalidInputError(
            f"the structure must be periodic along all three directions; pbc is {structure.lattice.pbc}"
        )
    notes, losses = list(parsed.notes), list(parsed.losses)
    sites = [_occupancy(structure, index, largest_sum, notes) for index in range(len(structure))]
    fixed = fixed_atoms(structure)
    if fixed:
        losses.append(
            (
                "fixed-atoms",
                f"selective dynamics fixes {len(fixed)} of {len(structure)} atoms (the first is site {fixed[0]}), "
                "but fixed atoms are not supported in the dynamics",
            )
        )
    notes += _unused(structure)
    refused = [(kind, text) for kind, text in losses if kind not in accepted]
    if refused:
        kinds = " ".join(f"--ignore {kind}" for kind in dict.fromkeys(kind for kind, _ in refused))
        texts = list(dict.fromkeys(text for _, text in refused))
        more = f" (and {len(texts) - 3} more)" if len(texts) > 3 else ""
        raise InvalidInputError(
            f"{'; '.join(texts[:3])}{more}. Correct the file, or ignore this with {kinds} (ignore=... in Python)"
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
    """Return the occupancies of a site; a sum that differs from 1 by rounding, or within the tolerance, becomes 1."""
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
        notes.append(
            f"the occupancies {listed} sum to {total:.6g}; they were rescaled to 1, as the occupancy tolerance allows"
        )
        given = {symbol: fraction / total for symbol, fraction in given.items()}
    elif tolerance >= abs(total - 1) > 1e-6:
        notes.append(f"the occupancies {listed} sum to {total:.6g} because of rounding; they were rescaled to 1")
    with collect_warnings(notes):
        return with_rounding_removed(given, f"a site with {listed}")  # one note for all sites with these occupancies


def _unused(structure: Structure) -> list[str]:
    """Return a note that lists the site properties that are not used, if there are any."""
    names = [
        name
        for name, values in structure.site_properties.items()
        if name not in ("selective_dynamics", "implicit_hydrogens") and any(v is not None and np.any(v) for v in values)
    ]
    return [f"not used: {', '.join(sorted(names))}"] if names else []
