"""Commands for point defects: vacancies, Schottky defects, Frenkel pairs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemflows.cli.absolute import FRENKEL_LADD, FRENKEL_LADD_NAMES
from alchemflows.cli.inputs import chemical_potentials_of, references_of, sites_of, supercell_of
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App
from alchemflows.cli.options import (
    Plot,
    PotentialOptions,
    ReadingOptions,
    RunOptions,
    Supercell,
    temperature_option,
)
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

app = App()

VACANCY = MakerOptions("alchemflows.flows.vacancy:VacancyFreeEnergyMaker", ("degeneracy",))
#: The switches in which atoms are removed are as many and as long as those to the Einstein crystal.
_TEXTS = {
    "repeats": "Number of switches to the Einstein crystal, and of those in which an atom is removed, in each "
    "direction; at least 2.",
    "switching": "Number of steps of each of these switches.",
}
RUNS = MakerOptions(FRENKEL_LADD, FRENKEL_LADD_NAMES, texts=_TEXTS)
RUNS_AT = MakerOptions(FRENKEL_LADD, ("temperature", *FRENKEL_LADD_NAMES), required=("temperature",), texts=_TEXTS)

PerfectCrystal = Annotated[
    Path, typer.Argument(help="Structure file of the perfect crystal (CIF, POSCAR, ...), ordered.")
]


@app.command(example="alchemflows vacancy Fe.cif --supercell 3 3 3 -T 300")
@grouped
def vacancy(
    structure: PerfectCrystal,
    temperatures: Annotated[
        list[float],
        temperature_option(
            "Temperature (K); repeatable: several temperatures also give the formation entropy and enthalpy."
        ),
    ],
    absolute: Annotated[Any, RUNS],
    defect: Annotated[Any, VACANCY],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    site: Annotated[
        int, typer.Option(help="Index of the atom to remove, counted from 0 in the order of the file.")
    ] = 0,
    chemical_potentials: Annotated[
        list[str] | None,
        typer.Option(
            "--chemical-potential",
            help="Chemical potential of an element (eV per atom, on the energy scale of the potential), such as "
            "Cl=-1.93, Cl=-1.93:0.01 with its standard error, or Cl@300=-1.93 at one of several temperatures; "
            "repeatable.",
        ),
    ] = None,
    references: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            help="Crystal of a pure element, such as K=K.cif, whose G per atom is its chemical potential; repeatable.",
        ),
    ] = None,
    supercell: Supercell = (1, 1, 1),
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            help="Additional supercell, such as 4x4x4, to extrapolate the formation free energy to infinite size; "
            "repeatable.",
        ),
    ] = None,
    plot: Plot = None,
) -> None:
    """Compute the formation free energy of a vacancy.

    It is computed in two ways: as a difference of Frenkel–Ladd free energies, and by the gradual removal of an atom. In
    an elemental crystal, the chemical potential is that of the crystal itself. In a compound, give the chemical
    potential of the removed element, or those of all other elements.
    """
    from alchemflows.flows.vacancy import VacancyTemperatureMaker

    if sizes and len(temperatures) > 1:
        raise InvalidInputError("several sizes are for one temperature; give one --temperature, or no --size")
    read = {structure.name: reading.read(structure, supercell if not sizes else (1, 1, 1))}
    files = references_of(references or [])
    crystals = {element: reading.read(path) for element, path in files.items()}
    read |= {f"reference {element}": found for element, found in crystals.items()}
    repeated = read[structure.name].structure
    repeats = 1 if sizes else supercell[0] * supercell[1] * supercell[2]
    index = site * repeats
    if not 0 <= index < len(repeated):
        n_atoms = len(repeated) // repeats
        raise InvalidInputError(f"site {site} cannot be removed: {structure} has {n_atoms} atoms, 0 to {n_atoms - 1}")
    known = chemical_potentials_of(
        chemical_potentials or [], {element: found.structure for element, found in crystals.items()}, temperatures
    )
    absolute = replace(absolute, potential=potential.spec(read), temperature=temperatures[0])
    maker = replace(defect, frenkel_ladd_maker=absolute)
    figure = "temperatures" if len(temperatures) > 1 else "sizes" if sizes else "switching"
    if len(temperatures) > 1:
        several = VacancyTemperatureMaker(vacancy_maker=maker)
        make = partial(several.make, repeated, temperatures, index, chemical_potentials=known)
    elif sizes:
        cells = [supercell, *map(supercell_of, sizes)]
        make = partial(maker.make, repeated, index, chemical_potentials=known[temperatures[0]], supercells=cells)
    else:
        make = partial(maker.make, repeated, index, chemical_potentials=known[temperatures[0]])
    run_and_show(make, run, device=potential.device, figures={figure: plot}, read=read)


@app.command(example="alchemflows schottky KCl.cif --supercell 3 3 3 -T 600")
@grouped
def schottky(
    structure: PerfectCrystal,
    absolute: Annotated[Any, RUNS_AT],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    sites: Annotated[
        list[str] | None,
        typer.Option(
            "--site",
            help="Element and index (from 0, in the order of the file) of the atom to remove, such as O=5; repeatable.",
        ),
    ] = None,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Compute the formation free energy of a Schottky defect.

    The neutral defect consists of isolated vacancies, one for each atom of a formula unit.
    """
    from alchemflows.flows.defect_pairs import SchottkyMaker

    repeats = supercell[0] * supercell[1] * supercell[2]
    chosen = {element: site * repeats for element, site in sites_of(sites or []).items()}
    read = reading.read(structure, supercell)
    absolute.potential = potential.spec({structure.name: read})
    run_and_show(
        partial(SchottkyMaker(frenkel_ladd_maker=absolute).make, read.structure, chosen),
        run,
        device=potential.device,
        figures={"switching": plot},
        read={structure.name: read},
    )


@app.command(
    "frenkel-pair",
    example="alchemflows frenkel-pair CeO2.cif --supercell 2 2 2 -T 600 --site 4 --interstitial 0.5 0.5 0.5",
)
@grouped
def frenkel_pair(
    structure: PerfectCrystal,
    absolute: Annotated[Any, RUNS_AT],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    interstitial: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="<x y z>", help="Fractional coordinates of the interstitial in the cell of the file."),
    ],
    site: Annotated[
        int, typer.Option(help="Index of the atom whose site becomes vacant, counted from 0 in the order of the file.")
    ] = 0,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Compute the formation free energy of a Frenkel pair.

    The neutral pair consists of an isolated vacancy and an isolated interstitial.
    """
    from alchemflows.flows.defect_pairs import FrenkelPairMaker

    place = [x / n for x, n in zip(interstitial, supercell, strict=True)]
    read, repeats = reading.read(structure, supercell), supercell[0] * supercell[1] * supercell[2]
    n_atoms = len(read.structure) // repeats
    if not 0 <= site < n_atoms:
        raise InvalidInputError(f"site {site} cannot be removed: {structure} has {n_atoms} atoms, 0 to {n_atoms - 1}")
    absolute.potential = potential.spec({structure.name: read})
    run_and_show(
        partial(FrenkelPairMaker(frenkel_ladd_maker=absolute).make, read.structure, site * repeats, place),
        run,
        device=potential.device,
        figures={"switching": plot},
        read={structure.name: read},
    )
