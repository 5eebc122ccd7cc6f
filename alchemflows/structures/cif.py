"""Read CIF files with pymatgen and compare the result with the content of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Composition, Element, Structure
from pymatgen.io.cif import CifBlock, CifParser, str2float

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.structure import Loss
from alchemflows.structures.cif_labels import LONGEST_BOND_A, implies_hydrogen
from alchemflows.structures.cif_symmetry import (
    ListedSite,
    column,
    multiplicity_problems,
    named_operations,
    operations_loop,
    symmetry_problems,
)
from alchemflows.structures.formula import amounts_of, reduced_formula
from alchemflows.structures.parsed import Parsed, collect_warnings, select_one
from alchemflows.structures.species import (
    ISOTOPES,
    element_of,
    isotope_message,
    occupancy_sum_message,
    sum_tolerance,
)

#: Symmetry images of a site that are closer than this (Å) are the same position.
SAME_PLACE_A = 0.01
#: Largest allowed difference between the amount of an element and the stated formula: relative, and absolute for
#: formulas that are rounded to two decimals.
FORMULA_RELATIVE, FORMULA_ABSOLUTE = 0.01, 0.006
#: Largest allowed relative difference between the number of formula units and the stated one.
UNITS_RELATIVE = 0.05
#: Coordinates within this relative distance of 1/3 or 2/3 are set to that fraction, as pymatgen does by default.
FRACTION_TOLERANCE = 1e-4
#: Larger than any sum of occupancies. It turns off the check of pymatgen; this module checks sums and names the site.
_ANY_SUM = 1e6

#: First letters of type symbols of water and hydroxide, in lower case.
_WATER = ("wat", "o-h", "oh", "h2o", "ow")
#: Parts of a line of a CIF: quoted text, which is kept, or a tag or the word ``loop_``, which are case-insensitive.
_QUOTED_OR_TAG = re.compile(r"""(?<!\S)(?:'.*?'(?!\S)|".*?"(?!\S)|(_\S+|loop_(?!\S)))""", re.I)
#: Beginnings of tags of the symmetry in newer dictionaries, which pymatgen does not know.
_DOTTED = re.compile(r"^(_space_group|_space_group_symop|_symmetry|_symmetry_equiv)\.")
#: Tags that pymatgen expects with capital letters, by their spelling in lower case. All others are in lower case.
CAPITAL_TAGS = {
    tag.lower(): tag
    for tag in (
        *(
            tag + end
            for tag in (
                "_symmetry_space_group_name_H-M",
                "_symmetry_space_group_name_H_M",
                "_symmetry_space_group_name_Hall",
                "_space_group_name_H-M_alt",
                "_space_group_name_Hall",
                "_space_group_IT_number",
                "_symmetry_Int_Tables_number",
            )
            for end in ("", "_")
        ),
        *(
            group + item
            for group in ("_space_group_magn.", "_space_group_magn_", "_space_group.magn_")
            for item in ("name_BNS", "number_BNS", "transform_BNS_Pp", "transform_BNS_Pp_abc")
        ),
        "_magnetic_space_group.transform_to_standard_Pp_abc",
    )
}
#: Type symbols and labels that stand for a group of atoms with hydrogens: NH4, CH3, H3O.
_GROUP_WITH_HYDROGEN = re.compile(r"[A-Z][a-z]?\d*H(?![a-z])|H\d+[A-Z]")


@dataclass(frozen=True)
class AtomSiteRow:
    """One row of the atom loop of a CIF, with its number and its symmetry-equivalent positions."""

    row: int
    label: str
    symbol: str | None
    occupancy: float
    places: np.ndarray


def read_cif(text: str, block: str | int | None, largest_sum: float) -> Parsed:
    """Return the structure in a CIF.

    Parameters
    ----------
    text
        Content of the file.
    block
        Name or number of the data block; None if the file has only one data block with atoms.
    largest_sum
        Sums of occupancies up to this value are rescaled to 1.

    Raises
    ------
    InvalidInputError
        If the file contains no structure, or several structures and `block` is None; if a site contains an isotope; if
        an occupancy or a coordinate is missing or invalid; or if the atoms that pymatgen read differ from those listed
        in the file.
    """
    every = data_blocks(text)
    blocks = [(name, body) for name, body in every if re.search(r"^\s*_atom_site_label", body, re.M)] or every
    if not blocks:
        raise InvalidInputError("the file has no data block")
    place = select_one([name for name, _ in blocks], block, "data blocks with atoms")
    name, body = blocks[place]
    notes: list[str] = []
    losses: list[tuple[Loss, str]] = []
    with collect_warnings(notes):
        data = CifBlock.from_str(body)
        _check_numbers(data)
        named = named_operations(data)
        if named.operations:
            notes.append(f"the file lists no symmetry operations; those of the space group {named.names} were used")
            body += operations_loop(named.operations)
        parser = CifParser.from_str(body, occupancy_tolerance=_ANY_SUM, check_cif=False)
        structure = parser.parse_structures(primitive=False, on_error="raise")[0]
        operations = parser.symmetry_operations
    # Sums above 1 are checked below with the tolerance set by the user; the note of pymatgen names another value.
    notes[:] = [note for note in notes if "occupancy_tolerance" not in note]
    parsed = Parsed(structure, "pymatgen (CIF)", name if len(blocks) > 1 else None, notes, losses)
    rows = _rows(data, structure, operations, parsed)
    losses += [("symmetry", text) for text in symmetry_problems(data, named, len(operations), notes)]
    sites = [ListedSite(row.label, row.row, row.places) for row in rows]
    losses += [("symmetry", text) for text in multiplicity_problems(data, sites, structure, len(operations), notes)]
    shared = _shared_sites(structure, rows)
    for members in shared:
        listed = {rows[k].label: rows[k].occupancy for k in members}
        total = sum(listed.values())
        # This error is raised before any other check, since a wrong sum also makes the later checks fail.
        if total > max(1 + sum_tolerance(len(members)), largest_sum):
            raise InvalidInputError(occupancy_sum_message("site " + "/".join(listed), listed))
        if total > 1 + sum_tolerance(len(members)):
            notes.append(
                f"the occupancies of {'/'.join(listed)} sum to {total:.6g}; they were rescaled to 1, as the occupancy "
                "tolerance allows"
            )
        elif total > 1 + 1e-6:
            notes.append(
                f"the occupancies of {'/'.join(listed)} sum to {total:.6g} because of rounding; they were rescaled to 1"
            )
    _restore_hydrogen(structure, rows, parsed)
    _check_labels(structure, rows, parsed)
    if not any(row.symbol is None for row in rows) and "magmom" not in structure.site_properties:
        _check_atoms(structure, rows, shared)
    _check_formula(data, structure, parsed)
    return parsed


def data_blocks(text: str) -> list[tuple[str, str]]:
    """Return name and text of each data block of a CIF, with tags in their usual case; names may occur twice."""
    found: list[tuple[str, list[str]]] = []
    inside = False  # whether the line is in a text field, which begins and ends with a semicolon
    for line in text.splitlines():
        if line.startswith(";"):
            inside = not inside
        if not inside:
            line = _QUOTED_OR_TAG.sub(_usual_case, line)
        if not inside and (header := re.match(r"\s*data_(\S*)", line, re.I)):
            found.append((header.group(1), ["data_" + header.group(1)]))
        elif found:
            found[-1][1].append(line)
    return [(name, "\n".join(lines) + "\n") for name, lines in found]


def _usual_case(match: re.Match[str]) -> str:
    """Return a tag in its usual case; symmetry tags of newer dictionaries with an underscore instead of the dot."""
    tag = match.group(1)
    if tag is None:
        return match.group()
    lower = tag.lower()
    if "magn" not in lower:
        lower = _DOTTED.sub(r"\1_", lower)
    return CAPITAL_TAGS.get(lower, lower)


def type_symbol(text: str) -> str | None:
    """Return the element of a type symbol like ``Na``, ``Fe3+``, ``O2-``, ``O-2`` or ``Cval``; None if there is none.

    Raises
    ------
    InvalidInputError
        If the symbol is that of an isotope.
    """
    if isotope := re.fullmatch(r"([DT])\d*[+-]?\d*|\^?\d+\^?([A-Z][a-z]?)", text):
        raise InvalidInputError(isotope_message(text if isotope.group(2) else isotope.group(1), f"the type {text!r}"))
    match = re.fullmatch(r"([A-Za-z]+?)(?:val|va)?(?:\d*\.?\d*[+-]?|[+-]\d*\.?\d*)", text)
    return None if match is None else _symbol(match.group(1))


def label_symbol(text: str) -> str | None:
    """Return the element of a site label like ``Na1``, ``O2A`` or ``Fe1_2``; None if it is ambiguous.

    All leading letters of the label together must be an element symbol: ``Wat1`` is not W, ``OW1`` and ``OH1`` are not
    O.

    Raises
    ------
    InvalidInputError
        If the label names an isotope.
    """
    match = re.match(r"[A-Za-z]+", text)
    if match is None:
        return None
    if match.group() in ISOTOPES:
        raise InvalidInputError(isotope_message(match.group(), f"site {text}"))
    return _symbol(match.group())


def _symbol(letters: str) -> str | None:
    """Return an element symbol; other capitalisation is accepted unless the letters could be two elements."""
    if Element.is_valid_symbol(letters) and letters not in ISOTOPES:
        return letters
    title = letters.title()
    two = len(letters) == 2 and all(Element.is_valid_symbol(letter) for letter in letters.upper())
    return title if Element.is_valid_symbol(title) and title not in ISOTOPES and not two else None


def _number(text: str, what: str, default: float | None = None) -> float:
    if text.strip() in ("?", ".", ""):
        if default is None:
            raise InvalidInputError(f"{what} is missing ({text.strip() or 'empty'}); add it to the file")
        return default
    try:
        value = str2float(text)
    except ValueError:
        raise InvalidInputError(f"{what} is not a number: {text!r}") from None
    if not np.isfinite(value):
        raise InvalidInputError(f"{what} is not a finite number: {text!r}")
    return value


def _check_numbers(data: CifBlock) -> None:
    """Raise an error for missing or malformed coordinates and occupancies, which pymatgen may read as 0 or 1."""
    for k, label in enumerate(column(data, "_atom_site_label") or []):
        for axis in "xyz":
            values = column(data, f"_atom_site_fract_{axis}")
            if values is None:
                raise InvalidInputError("the atoms have no fractional coordinates (_atom_site_fract_x, ...)")
            _number(values[k], f"site {label}: a coordinate")
        occupancies = column(data, "_atom_site_occupancy")
        if occupancies is not None and _number(occupancies[k], f"site {label}: the occupancy", 1.0) < 0:
            raise InvalidInputError(f"site {label}: the occupancy {occupancies[k]} is negative")


def _rows(data: CifBlock, structure: Structure, operations: list, parsed: Parsed) -> list[AtomSiteRow]:
    labels = column(data, "_atom_site_label") or []
    types = column(data, "_atom_site_type_symbol")
    occupancies = column(data, "_atom_site_occupancy")
    hydrogens = column(data, "_atom_site_attached_hydrogens")
    flags = column(data, "_atom_site_calc_flag")
    axes = [column(data, f"_atom_site_fract_{axis}") for axis in "xyz"]
    rows = []
    for k, label in enumerate(labels):
        if flags is not None and flags[k] == "dum":
            raise InvalidInputError(f"site {label} is a dummy site (_atom_site_calc_flag dum); remove it from the file")
        given = label if types is None else types[k]
        symbol = label_symbol(label) if types is None else type_symbol(given)
        where = f"site {label}"
        if symbol is None:
            source = "the label" if types is None else f"the type symbol {given!r}"
            parsed.losses.append(("symbols", f"{where}: {source} does not name an element; pymatgen guesses one"))
        elif types is not None and (own := re.match(r"[A-Z][a-z]?(?![a-z])", label)):
            if own.group() in ISOTOPES and symbol == "H":
                raise InvalidInputError(isotope_message(own.group(), where))
            if own.group() != symbol and Element.is_valid_symbol(own.group()):
                parsed.notes.append(f"{where} is read as {symbol} from its type symbol {given!r}; its label differs")
        if hydrogens is not None and _number(hydrogens[k], f"{where}: _atom_site_attached_hydrogens", 0.0) > 0:
            parsed.losses.append(("hydrogens", f"{where} has {hydrogens[k]} attached hydrogen atoms without positions"))
        if given.lower().startswith(_WATER) or (symbol is None and _GROUP_WITH_HYDROGEN.match(given)):
            parsed.losses.append(("hydrogens", f"{where}: {given!r} implies hydrogen atoms without positions"))
        occupancy = 1.0 if occupancies is None else _number(occupancies[k], f"{where}: the occupancy", 1.0)
        if occupancy == 0:
            parsed.notes.append(f"{where} has occupancy 0 and is omitted")
        position = [_ideal(_number(axis[k], f"{where}: a coordinate")) for axis in axes if axis is not None]
        images = np.array([operation.operate(position) for operation in operations]) % 1
        rows.append(AtomSiteRow(k, label, symbol, occupancy, _distinct(images, structure)))
    return [row for row in rows if row.occupancy > 0]


def _ideal(coordinate: float) -> float:
    """Return 1/3 or 2/3 exactly for a rounded third, as pymatgen does, so that it stays a special position."""
    return next((third for third in (1 / 3, 2 / 3) if abs(coordinate / third - 1) <= FRACTION_TOLERANCE), coordinate)


def _distinct(places: np.ndarray, structure: Structure) -> np.ndarray:
    """Return positions without duplicates: fractional coordinates, shape (n, 3)."""
    kept = np.empty((0, 3))
    rest = places
    while len(rest):
        kept = np.vstack([kept, rest[0]])
        rest = rest[_distances(rest, rest[0], structure) > SAME_PLACE_A]
    return kept


def _distances(places: np.ndarray, place: np.ndarray, structure: Structure) -> np.ndarray:
    apart = places - place
    return np.linalg.norm((apart - apart.round()) @ structure.lattice.matrix, axis=1)


def _shared_sites(structure: Structure, rows: list[AtomSiteRow]) -> list[list[int]]:
    """Group the rows that occupy the same site; each group is a list of indices into `rows`."""
    shared: list[list[int]] = []
    for k, row in enumerate(rows):
        for members in shared:
            if _distances(rows[members[0]].places, row.places[0], structure).min() <= SAME_PLACE_A:
                members.append(k)
                break
        else:
            shared.append([k])
    return shared


def _restore_hydrogen(structure: Structure, rows: list[AtomSiteRow], parsed: Parsed) -> None:
    """Restore H on sites shared by O and H, which pymatgen reads as O with attached hydrogen atoms.

    Hydrogen atoms that are not listed in the file, but implied by a symbol like Wat, are recorded as a loss.
    """
    implicit = structure.site_properties.get("implicit_hydrogens")
    if implicit is None:
        return
    structure.remove_site_property("implicit_hydrogens")
    for index, amount in enumerate(implicit):
        if not amount:
            continue
        place = structure[index].frac_coords
        here = [r for r in rows if r.symbol == "H" and _distances(r.places, place, structure).min() <= SAME_PLACE_A]
        if here:
            oxygen = {element_of(s, f"site {index}"): x for s, x in structure[index].species.items()}
            content = {**oxygen, "H": oxygen.get("H", 0.0) + sum(row.occupancy for row in here)}
            total = sum(content.values())
            structure.replace(
                index,
                {s: x / total for s, x in content.items()} if total > 1 else content,
                label=structure[index].label,
            )
        else:
            parsed.losses.append(("hydrogens", f"site {structure[index].label} has hydrogen atoms without positions"))


def _check_labels(structure: Structure, rows: list[AtomSiteRow], parsed: Parsed) -> None:
    """Record a loss if a label like ``OW1``, ``O1w`` or ``OH1`` implies hydrogen atoms, but none is near the site."""
    elements, labels = {row.symbol or "" for row in rows}, [row.label for row in rows]
    hydrogens = [row.places for row in rows if row.symbol == "H"]
    for row in rows:
        if row.symbol is None or not implies_hydrogen(row.label, row.symbol, elements, labels):
            continue
        if not any(_distances(each, row.places[0], structure).min() <= LONGEST_BOND_A for each in hydrogens):
            parsed.losses.append(
                ("hydrogens", f"site {row.label}: the label implies hydrogen atoms, but the file lists none near it")
            )


def _check_atoms(structure: Structure, rows: list[AtomSiteRow], shared: list[list[int]]) -> None:
    """Raise an error unless the amount of each element equals that from the atom rows and the symmetry of the file."""
    expected: dict[str, float] = {}
    for members in shared:
        total = sum(rows[k].occupancy for k in members)
        for k in members:
            row = rows[k]
            assert row.symbol is not None
            amount = len(row.places) * row.occupancy / max(total, 1.0)
            expected[row.symbol] = expected.get(row.symbol, 0.0) + amount
    found = _amounts(structure)
    if any(abs(found.get(s, 0.0) - expected.get(s, 0.0)) > 1e-3 for s in found.keys() | expected.keys()):
        raise InvalidInputError(
            f"pymatgen reads {_listed(found)} in the cell, but the atom rows and the symmetry operations give "
            f"{_listed(expected)}; write special positions with more digits, or export the file again"
        )


def _check_formula(data: CifBlock, structure: Structure, parsed: Parsed) -> None:
    """Record a loss if elements or ratios differ from the formulas stated in the file."""
    found = _amounts(structure)
    for key in ("_chemical_formula_sum", "_chemical_formula_moiety"):
        text = (column(data, key) or ["?"])[0].strip()
        if text in ("?", ".", ""):
            continue
        stated = formula_sum(text) if key.endswith("sum") else moiety_elements(text)
        if stated is None:
            parsed.notes.append(f"{key} {text!r} could not be parsed and was not checked")
            continue
        for isotope in ISOTOPES:
            if isotope in stated:
                raise InvalidInputError(isotope_message(isotope, f"the formula {text!r} in the file"))
        missing = sorted(set(stated) - set(found))
        surplus = sorted(set(found) - set(stated))
        message = f"the formula in the file is {text!r}, but {reduced_formula(found)} was read"
        if missing == ["H"] and not surplus:
            parsed.losses.append(("hydrogens", message))
        elif missing or surplus or (key.endswith("sum") and not _same_ratios(stated, found)):
            without = {s: x for s, x in stated.items() if s != "H"}
            few_h = key.endswith("sum") and "H" in stated and _same_ratios(without, found, skip="H")
            parsed.losses.append(("hydrogens" if few_h else "formula", message))
        elif key.endswith("sum"):
            _check_formula_units(data, stated, found, parsed)


def _check_formula_units(
    data: CifBlock, stated: Mapping[str, float], found: Mapping[str, float], parsed: Parsed
) -> None:
    """Record a loss if the cell has another number of formula units than the file states.

    The formula may also be that of the whole cell, as pymatgen writes it; it is then a multiple of the formula unit.
    """
    text = (column(data, "_cell_formula_units_z") or ["?"])[0].strip()
    if not text.isdigit() or int(text) == 0:
        return
    units, n = sum(found.values()) / sum(stated.values()), int(text)
    of_cell = all(abs(x / n - round(x / n)) < UNITS_RELATIVE for x in stated.values())
    if not any(abs(units / k - 1) <= UNITS_RELATIVE for k in ((n, 1) if of_cell else (n,))):
        parsed.losses.append(
            ("formula", f"the file states {n} formula units in the cell (_cell_formula_units_Z), but has {units:.4g}")
        )


def formula_sum(text: str) -> Mapping[str, float] | None:
    """Return the amount of each element in a formula like ``'Ba1 Ti1 O2.4 H0.6'``; None if it cannot be parsed."""
    parts = re.findall(r"([A-Z][a-z]?)\s*(\d*\.?\d*)(?:\(\d+\))?", text)
    rest = re.sub(r"[A-Z][a-z]?\s*\d*\.?\d*(?:\(\d+\))?", "", text)
    if not parts or re.sub(r"[\s'\"]", "", rest):
        return None
    amounts: dict[str, float] = {}
    for symbol, amount in parts:
        if not Element.is_valid_symbol(symbol):
            return None
        amounts[symbol] = amounts.get(symbol, 0.0) + (float(amount) if amount not in ("", ".") else 1.0)
    return amounts


def moiety_elements(text: str) -> Mapping[str, float] | None:
    """Return the elements of a formula like ``'C12 H8, 2(H2 O)'``, each with amount 1; None if it cannot be parsed."""
    symbols = re.findall(r"[A-Z][a-z]?", text)
    if not symbols or not all(Element.is_valid_symbol(symbol) for symbol in symbols):
        return None
    return dict.fromkeys(symbols, 1.0)


def _same_ratios(stated: Mapping[str, float], found: Mapping[str, float], skip: str = "") -> bool:
    """Return whether amounts are proportional within the rounding of formulas."""
    shared = {symbol: amount for symbol, amount in found.items() if symbol != skip and stated.get(symbol)}
    if not shared:
        return True
    scale = sum(shared.values()) / sum(stated[symbol] for symbol in shared)
    return all(
        abs(amount / scale - stated[symbol]) <= FORMULA_RELATIVE * stated[symbol] + FORMULA_ABSOLUTE
        for symbol, amount in shared.items()
    )


def _amounts(structure: Structure) -> dict[str, float]:
    return amounts_of(
        [
            {element_of(s, f"site {site.label}"): float(x) for s, x in Composition(site.species).items()}
            for site in structure
        ]
    )


def _listed(amounts: Mapping[str, float]) -> str:
    return " ".join(f"{symbol}{amount:.4g}" for symbol, amount in sorted(amounts.items()))
