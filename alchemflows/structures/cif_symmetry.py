"""Symmetry of a CIF: operations of the space group that it names, and a check of those that were applied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifBlock, str2float

from alchemflows.structures.space_groups import fits, number_of, operations_of, settings_of, settings_of_number
from alchemflows.structures.sublattices import SYMPREC_A

#: Largest change of the squared lengths of a cell by its symmetry, relative to the largest of them.
CELL_TOLERANCE = 1e-3
#: Tags of the symmetry, in the spellings of pymatgen.
_GROUP_NUMBERS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_HALL = ("_symmetry_space_group_name_Hall", "_space_group_name_Hall")
_OPERATIONS = tuple(
    tag + end for tag in ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz") for end in ("", "_")
)
#: Tags of multiplicities and of the order of the site symmetry.
_MULTIPLICITIES = tuple(
    f"_atom_site_{name}" for name in ("symmetry_multiplicity", "site_symmetry_multiplicity", "site_symmetry_order")
)
#: All tags of Hermann–Mauguin symbols, among them those that pymatgen does not read (``_full``, ``_ref``).
_HERMANN_MAUGUIN = re.compile(r"_(symmetry_)?space_group_name_h[-_]m(_\w*)?", re.I)
#: Part of pymatgen's warning that it used a Hermann–Mauguin symbol.
_SYMBOL_USED = "Spacegroup from"


@dataclass(frozen=True)
class ListedSite:
    """A site of a CIF: its label, the number of its row and its equivalent positions (fractional, shape (n, 3))."""

    label: str
    row: int
    places: np.ndarray


@dataclass(frozen=True)
class NamedGroup:
    """Symmetry of a file that lists no operations.

    Attributes
    ----------
    operations
        Operations of the space group that the file names; empty if it lists operations itself, or if no single setting
        follows from the names.
    names
        Symbols and numbers of the space group in the file.
    problem
        Why no single setting follows from names that are known; empty if there is no such problem.
    known
        Whether one of the Hermann–Mauguin symbols is known.
    """

    operations: tuple[str, ...] = ()
    names: str = ""
    problem: str = ""
    known: bool = False


def column(data: CifBlock, *names: str) -> list[str] | None:
    """Return the values of the first of these tags that the file has; None if there is none."""
    for name in names:
        value = data.data.get(name)
        if value is not None:
            return [value] if isinstance(value, str) else list(value)
    return None


def named_operations(data: CifBlock) -> NamedGroup:
    """Return the operations of the space group that a file names, if it lists none.

    The symbol must mean one setting. If it means several (two origins, or hexagonal and rhombohedral axes), the stated
    number and the cell decide if they can.
    """
    if _stated(data, _OPERATIONS) or any("_magn" in tag.lower() for tag in data.data):
        return NamedGroup()
    numbers, names = _stated(data, _GROUP_NUMBERS), _symbols(data)
    known = [(name, settings_of(name)) for name in names if settings_of(name)]
    if names and not known:
        return NamedGroup()
    if not names:
        known = [(f"number {text}", settings_of_number(int(text))) for text in numbers if text.isdigit()]
    if not known:
        return NamedGroup()
    listed = " ".join(dict.fromkeys([*names, *numbers]))
    possible = [
        k
        for k in known[0][1]
        if all(k in settings for _, settings in known) and all(str(number_of(k)) == text for text in numbers)
    ]
    if not possible:
        return NamedGroup(problem=f"the names of the space group, {listed}, contradict one another", known=True)
    in_cell = [k for k in possible if fits(k, _cell(data), CELL_TOLERANCE)]
    different = {frozenset(operations_of(k)): k for k in in_cell or possible}
    if len(different) > 1:
        return NamedGroup(
            problem=f"the space group {listed} has {len(different)} settings (origins or axes), and the file names "
            "none of them; add the symmetry operations, or write the setting after the symbol, for example :2",
            known=True,
        )
    return NamedGroup(tuple(operations_of(next(iter(different.values())))), listed, known=True)


def operations_loop(operations: Sequence[str]) -> str:
    """Return the lines of a CIF that list operations."""
    return "\n".join(["loop_", "_space_group_symop_operation_xyz", *(f"'{each}'" for each in operations)]) + "\n"


def symmetry_problems(data: CifBlock, named: NamedGroup, n_operations: int, warnings: Sequence[str]) -> list[str]:
    """Return how the stated symmetry differs from the operations that were applied.

    Parameters
    ----------
    data
        Content of the file.
    named
        Operations of the space group that it names.
    n_operations
        Number of operations that were applied.
    warnings
        Warnings of pymatgen.
    """
    if named.problem:
        return [named.problem]
    numbers, names, hall = _stated(data, _GROUP_NUMBERS), _symbols(data), _stated(data, _HALL)
    listed = " ".join(dict.fromkeys(names + hall + numbers))
    trivial = all(text == "1" for text in numbers) and all(_is_p1(text) for text in names + hall)
    if n_operations == 1 and not trivial:
        return [f"the file names the space group {listed}, but only the identity was applied"]
    if trivial or _stated(data, _OPERATIONS):
        return []
    if hall and not names:
        return [
            f"the file has the Hall symbol {hall[0]} but no symmetry operations and no Hermann–Mauguin symbol; "
            "Hall symbols are not interpreted"
        ]
    if names and not named.known and not any(_SYMBOL_USED in text for text in warnings):
        return [f"the symbol {names[0]} of the space group is not known, and only the number {numbers[0]} was used"]
    return []


def multiplicity_problems(
    data: CifBlock, sites: Sequence[ListedSite], structure: Structure, n_operations: int, notes: list[str]
) -> list[str]:
    """Return how the multiplicities in a file differ from the numbers of equivalent positions.

    Some programs write the order of the site symmetry, which is the number of operations divided by the multiplicity,
    as the multiplicity (SHELXL-97), so that both are accepted under both tags. A file in P 1 may list every position
    and keep the multiplicity in the original space group; a note says so.

    Parameters
    ----------
    data
        Content of the file.
    sites
        Its sites.
    structure
        The structure as read.
    n_operations
        Number of operations that were applied.
    notes
        Notes for the user; notes on multiplicities are added.
    """
    for tag in _MULTIPLICITIES:
        stated = [(site, int(text)) for site, text in _integers(data, tag, sites)]
        wrong = [(site, n) for site, n in stated if n != len(site.places)]
        if not wrong or all(n * len(site.places) == n_operations for site, n in stated):
            continue
        if n_operations == 1 and all(_orbit_size(structure, site) % n == 0 for site, n in wrong):
            notes.append(
                f"the multiplicities in the file ({tag}) are those of another space group than P 1; every group of "
                "equivalent positions is listed in full"
            )
            continue
        return [
            f"site {site.label} has multiplicity {n} in the file, but {len(site.places)} "
            f"{'position' if len(site.places) == 1 else 'positions'} with its symmetry operations"
            for site, n in wrong
        ]
    return []


def _integers(data: CifBlock, tag: str, sites: Sequence[ListedSite]) -> list[tuple[ListedSite, str]]:
    """Return the sites with a positive number under a tag, and the number as text without its decimals."""
    values = column(data, tag) or []
    found = [(site, re.sub(r"\.0*$", "", values[site.row].strip())) for site in sites if site.row < len(values)]
    return [(site, text) for site, text in found if text.isdigit() and int(text) > 0]


def _orbit_size(structure: Structure, site: ListedSite) -> int:
    """Return the number of sites of the structure that are equivalent to a site by its symmetry."""
    kinds = [str(each.species) for each in structure]
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), [kinds.index(kind) for kind in kinds])
    found = spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
    if found is None:
        return 1
    distances = structure.lattice.get_all_distances(site.places[:1], structure.frac_coords)[0]
    orbits = found.crystallographic_orbits
    return int(np.sum(orbits == orbits[np.argmin(distances)]))


def _symbols(data: CifBlock) -> list[str]:
    """Return the Hermann–Mauguin symbols that are stated."""
    return _stated(data, tuple(tag for tag in data.data if _HERMANN_MAUGUIN.fullmatch(tag)))


def _stated(data: CifBlock, tags: tuple[str, ...]) -> list[str]:
    """Return the first value of each of these tags that has a known value."""
    values = ((column(data, tag) or [""])[0].strip() for tag in tags)
    return [value for value in values if value not in ("?", ".", "")]


def _is_p1(name: str) -> bool:
    return re.sub(r"[\s_]", "", name).upper() == "P1"


def _cell(data: CifBlock) -> list[list[float]]:
    """Return the cell vectors (Å)."""
    tags = [
        f"_cell_{kind}" for kind in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    ]
    return Lattice.from_parameters(*(str2float((column(data, tag) or ["90"])[0]) for tag in tags)).matrix.tolist()
