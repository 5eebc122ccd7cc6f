"""Symmetry of a CIF: operations of the space group that it names, and a check of those that were applied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pymatgen.core import Lattice
from pymatgen.io.cif import CifBlock, str2float

from alchemflows.structures.space_groups import fits, number_of, operations_of, settings_of, settings_of_number

#: Largest change of the squared lengths of a cell by its symmetry, relative to the largest of them.
CELL_TOLERANCE = 1e-3
#: Tags of the symmetry, in the spellings of pymatgen.
_GROUP_NUMBERS = ("_space_group_IT_number", "_symmetry_Int_Tables_number")
_HALL = ("_symmetry_space_group_name_Hall", "_space_group_name_Hall")
_OPERATIONS = tuple(
    tag + end for tag in ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz") for end in ("", "_")
)
#: All tags of Hermann–Mauguin symbols, among them those that pymatgen does not read (``_full``, ``_ref``).
_HERMANN_MAUGUIN = re.compile(r"_(symmetry_)?space_group_name_h[-_]m(_\w*)?", re.I)
#: Part of pymatgen's warning that it used a Hermann–Mauguin symbol.
_SYMBOL_USED = "Spacegroup from"


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
