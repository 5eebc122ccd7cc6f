"""Read POSCAR and CONTCAR files with pymatgen, and check that they name their elements."""

from __future__ import annotations

from pymatgen.core import Element
from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

from alchemflows.errors import InvalidInputError
from alchemflows.structures.parsed import Parsed, heard
from alchemflows.structures.species import ISOTOPES, isotope_message

#: What pymatgen says when it invents elements.
INVENTED = "cannot be determined"


def read_poscar(text: str) -> Parsed:
    """Return the structure in a POSCAR.

    Raises
    ------
    InvalidInputError
        If the file names no elements (VASP 4), names other numbers of them than it counts, names what is no element,
        or lists more atoms than it counts.
    """
    lines = text.splitlines()
    if len(lines) < 7:
        raise InvalidInputError("it is too short for a POSCAR")
    names = [token.split("/")[0].split("_")[0] for token in lines[5].split()]
    named = not all(token.lstrip("+-").isdigit() for token in lines[5].split())
    if named:
        counts = lines[6].split()
        if all(token.isdigit() for token in counts) and len(names) != len(counts):
            raise InvalidInputError(f"it names {len(names)} elements ({' '.join(names)}) and counts {len(counts)}")
        for name in names:
            if name in ISOTOPES:
                raise InvalidInputError(isotope_message(name, "the file"))
            if not name.isdigit() and not Element.is_valid_symbol(name):
                raise InvalidInputError(f"{name!r} in line 6 is not the symbol of an element")
    notes: list[str] = []
    with heard(notes):
        try:
            poscar = Poscar.from_str(text)
        except BadPoscarWarning as error:  # raised, in spite of its name
            raise InvalidInputError(str(error)) from error
    if any(INVENTED in note for note in notes):
        raise InvalidInputError(
            "it names no elements (VASP 4 format), and any would be invented: write their symbols in a line before "
            "their numbers"
        )
    _check_lines(lines, poscar, named)
    return Parsed(poscar.structure, "pymatgen (POSCAR)", notes=notes)


def _check_lines(lines: list[str], poscar: Poscar, named: bool) -> None:
    """Refuse lines of atoms beyond those counted, and symbols on them that differ from the header's."""
    n_atoms = len(poscar.structure)
    start = next(
        k for k in range(6, len(lines)) if lines[k].strip()[:1].lower() in ("d", "c", "k") and lines[k].split()
    )
    if start + n_atoms + 1 < len(lines) and _is_position(lines[start + n_atoms + 1]):
        raise InvalidInputError(f"it lists more atoms than the {n_atoms} that it counts: line {start + n_atoms + 2}")
    column = 6 if lines[start - 1].strip()[:1].lower() == "s" else 3
    for k, site in enumerate(poscar.structure):
        tokens = lines[start + 1 + k].split()
        own = tokens[column] if len(tokens) > column else ""
        if named and Element.is_valid_symbol(own) and own != site.specie.symbol:
            raise InvalidInputError(
                f"line {start + 2 + k} names {own}, and the header makes this atom {site.specie.symbol}"
            )


def _is_position(line: str) -> bool:
    tokens = line.split()
    try:
        return len([float(token) for token in tokens[:3]]) == 3
    except ValueError:
        return False
