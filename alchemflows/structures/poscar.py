"""Read POSCAR and CONTCAR files with pymatgen and check that they contain element symbols."""

from __future__ import annotations

import re

from pymatgen.core import Element
from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

from alchemflows.errors import InvalidInputError
from alchemflows.structures.parsed import INVENTED, Parsed, collect_warnings
from alchemflows.structures.species import ISOTOPES, isotope_message

#: Logical values as Fortran writes them, such as .TRUE.; pymatgen reads only T and F.
_LOGICAL = re.compile(r"(?<!\S)\.(T|F)(?:RUE|ALSE)?\.(?!\S)", re.I)


def read_poscar(text: str) -> Parsed:
    """Return the structure in a POSCAR.

    Raises
    ------
    InvalidInputError
        If the file has no element symbols (VASP 4 format) or invalid ones, if the numbers of symbols and counts differ,
        or if the file lists more or fewer atoms than its counts add up to.
    """
    text = _LOGICAL.sub(lambda value: value.group(1).upper(), text)
    lines = text.splitlines()
    if len(lines) < 7:
        raise InvalidInputError(f"a POSCAR has at least 7 lines; this file has {len(lines)}")
    names = [token.split("/")[0].split("_")[0] for token in lines[5].split()]
    named = not all(token.lstrip("+-").isdigit() for token in lines[5].split())
    if named:
        counts = lines[6].split()
        if all(token.isdigit() for token in counts) and len(names) != len(counts):
            raise InvalidInputError(
                f"line 6 has {len(names)} elements ({' '.join(names)}), but line 7 has {len(counts)} counts"
            )
        for name in names:
            if name in ISOTOPES:
                raise InvalidInputError(isotope_message(name, "the file"))
            if not name.isdigit() and not Element.is_valid_symbol(name):
                raise InvalidInputError(f"{name!r} in line 6 is not an element symbol")
    notes: list[str] = []
    with collect_warnings(notes):
        try:
            poscar = Poscar.from_str(text)
        except BadPoscarWarning as error:  # pymatgen raises this warning as an exception
            raise InvalidInputError(str(error)) from error
        except IndexError as error:  # pymatgen looks for a line that is not there
            raise InvalidInputError(
                f"the file ends at line {len(lines)}, before the last atom that its header counts; correct the counts"
            ) from error
    if any(INVENTED in note for note in notes):
        raise InvalidInputError(
            "the file has no element symbols (VASP 4 format); add a line of symbols above the line of counts"
        )
    _check_lines(lines, poscar, named)
    return Parsed(poscar.structure, "pymatgen (POSCAR)", notes=notes)


def _check_lines(lines: list[str], poscar: Poscar, named: bool) -> None:
    """Raise an error for surplus atom lines, and for symbols on atom lines that differ from the header."""
    n_atoms = len(poscar.structure)
    start = next(
        k for k in range(6, len(lines)) if lines[k].strip()[:1].lower() in ("d", "c", "k") and lines[k].split()
    )
    if start + n_atoms + 1 < len(lines) and _is_position(lines[start + n_atoms + 1]):
        raise InvalidInputError(
            f"line {start + n_atoms + 2} lists an atom beyond the {n_atoms} counted in the header; correct the counts"
        )
    column = 6 if lines[start - 1].strip()[:1].lower() == "s" else 3
    for k, site in enumerate(poscar.structure):
        tokens = lines[start + 1 + k].split()
        own = tokens[column] if len(tokens) > column else ""
        if named and Element.is_valid_symbol(own) and own != site.specie.symbol:
            raise InvalidInputError(
                f"line {start + 2 + k} names {own}, but this atom is {site.specie.symbol} by the header"
            )


def _is_position(line: str) -> bool:
    tokens = line.split()
    try:
        return len([float(token) for token in tokens[:3]]) == 3
    except ValueError:
        return False
