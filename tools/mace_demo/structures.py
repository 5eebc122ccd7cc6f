"""Make the data: structures of every system with labels from SevenNet-0.

Each piece of data is one file, written when it is complete, so a stopped run can be continued. Whole pieces are held
out, never single frames of a trajectory. There are four kinds:

- scan: a pure compound, relaxed, then strained isotropically, along each axis and in shear; and cells between the
  prototype and the relaxed cell;
- rattled: one random arrangement, strained and rattled several times;
- relaxed: frames of a relaxation of positions and cell of one random arrangement;
- md: frames of a short hot trajectory of one random arrangement, at a volume within 5 % of the mean.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import make_supercell
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE
from labels import labelled, relax, teacher
from systems import SYSTEMS, mixed, prototype, rng_of, sublattice

N_STEPS, FIRST_FRAME, EVERY = 150, 45, 15
_calculator: Calculator


def pieces() -> list[tuple[str, str, int]]:
    """Return (system, kind, number) of all pieces except the scans, alternating between the systems."""
    names = [
        (number / total, system, kind, number)
        for system, chemistry in SYSTEMS.items()
        for kind, total in (
            ("md", chemistry.n_trajectories),
            ("rattled", chemistry.n_rattled),
            ("relaxed", chemistry.n_relaxed),
        )
        for number in range(total)
    ]
    return [(system, kind, number) for _, system, kind, number in sorted(names)]


def relaxed_pure(work: Path) -> dict[str, Atoms]:
    """Return the pure compounds relaxed with SevenNet-0, by `system-element`."""
    path = work / "relaxed.xyz"
    if not path.exists():
        calculator = teacher()
        cells = []
        for system, chemistry in SYSTEMS.items():
            for element in chemistry.elements:
                cell = labelled(relax(prototype(system, element), calculator))
                cell.info["name"] = f"{system}-{element}"
                print(cell.info["name"], cell.cell.cellpar().round(4), flush=True)
                cells.append(cell)
        write_piece(path, cells)
    return {a.info["name"]: a for a in read(path, ":")}


def make_piece(work: Path, relaxed: dict[str, Atoms], piece: tuple[str, str, int]) -> str:
    """Make one piece of data unless it exists."""
    system, kind, number = piece
    path = work / "data" / f"{system}-{kind}-{number:03d}.xyz"
    if not path.exists():
        rng = rng_of(*piece)
        make = {"md": _md, "rattled": _rattled, "relaxed": _relaxed}[kind]
        write_piece(path, make(system, arrangement(system, relaxed, rng, number), rng))
    return path.name


def make_scan(work: Path, relaxed: dict[str, Atoms], name: str) -> str:
    """Make the strain scan of a pure compound unless it exists."""
    system, element = name.split("-")
    path = work / "data" / f"{system}-scan-{element}.xyz"
    if not path.exists():
        strains = [np.zeros((3, 3)), *(np.eye(3) * e for e in np.linspace(-0.05, 0.06, 12))]
        for axis in range(3):
            strains += [np.diag(np.eye(3)[axis] * e) for e in (-0.03, -0.015, 0.015, 0.03)]
        for i, j in ((0, 1), (0, 2), (1, 2)):
            shear = np.zeros((3, 3))
            shear[i, j] = shear[j, i] = 0.5
            strains += [shear * e for e in (0.03, 0.06)]
        cells = [_strained(relaxed[name], strain) for strain in strains] + _way_from_prototype(relaxed, system, element)
        write_piece(path, [labelled(with_teacher(cell)) for cell in cells])
    return path.name


def _way_from_prototype(relaxed: dict[str, Atoms], system: str, element: str) -> list[Atoms]:
    """Return cells between the prototype and the relaxed cell, which can differ strongly: wurtzite ScN becomes flat."""
    start, end = prototype(system, element), relaxed[f"{system}-{element}"]
    apart = end.get_scaled_positions(wrap=False) - start.get_scaled_positions(wrap=False)
    apart -= np.round(apart)
    rng, cells = rng_of("way", system, element), []
    for share in np.linspace(0, 0.9, 10):
        cell = start.cell.array + share * (end.cell.array - start.cell.array)
        scaled = start.get_scaled_positions(wrap=False) + share * apart
        even = Atoms(start.symbols, scaled_positions=scaled, cell=cell, pbc=True)
        rattled = _strained(even, _random_strain(rng, 0.01))
        rattled.rattle(0.04, rng=rng)
        cells += [even, rattled]
    return cells


def arrangement(
    system: str,
    relaxed: dict[str, Atoms],
    rng: np.random.Generator,
    number: int,
    supercell: tuple[int, int, int] | None = None,
) -> Atoms:
    """Return a random arrangement in one of the system's supercells, with the cell of its composition."""
    chemistry = SYSTEMS[system]
    n = len(chemistry.elements)
    # Every second piece is pure, or has two of three elements; the others have any composition.
    fractions = np.eye(n)[number // 2 % n] if number % 2 == 0 else rng.dirichlet(np.ones(n) * 0.8)
    shape = supercell or chemistry.supercells[rng.integers(len(chemistry.supercells))]
    atoms = make_supercell(mixed(system, relaxed, fractions), np.diag(shape))
    sites = sublattice(system, atoms)
    atoms.symbols[sites] = rng.choice(chemistry.elements, len(sites), p=fractions)
    # The cell of the chosen composition.
    drawn = [(atoms.symbols[sites] == e).mean() for e in chemistry.elements]
    fitting = make_supercell(mixed(system, relaxed, np.array(drawn)), np.diag(shape))
    fitting.symbols = atoms.symbols
    if chemistry.vacancy and number % 4 < 2:
        del fitting[int(rng.integers(len(fitting)))]
    return fitting


def _md(system: str, atoms: Atoms, rng: np.random.Generator) -> list[Atoms]:
    chemistry = SYSTEMS[system]
    temperature = rng.uniform(*chemistry.temperatures_K)
    atoms = _strained(atoms, np.eye(3) * rng.uniform(-0.017, 0.017) + _random_strain(rng, 0.008))
    atoms.rattle(0.02, rng=rng)
    with_teacher(atoms)
    # Half of the initial kinetic energy becomes potential energy.
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)
    friction = 0.01 / units.fs
    dynamics = Langevin(atoms, chemistry.timestep_fs * units.fs, temperature_K=temperature, friction=friction, rng=rng)
    frames: list[Atoms] = []
    dynamics.attach(lambda: frames.append(labelled(atoms)), interval=EVERY)
    dynamics.run(N_STEPS)
    return frames[FIRST_FRAME // EVERY :]


def _rattled(system: str, atoms: Atoms, rng: np.random.Generator) -> list[Atoms]:
    frames = []
    for amplitude in np.array([0.15, 0.3, 0.5, 0.75, 1]) * SYSTEMS[system].rattle_A:
        strain = np.eye(3) * rng.uniform(-0.02, 0.02) + _random_strain(rng, 0.02)
        copy = _strained(atoms, strain)
        copy.rattle(float(amplitude), rng=rng)
        frames.append(labelled(with_teacher(copy)))
    return frames


def _relaxed(system: str, atoms: Atoms, rng: np.random.Generator) -> list[Atoms]:
    atoms = _strained(atoms, _random_strain(rng, 0.01))
    atoms.rattle(0.02, rng=rng)
    frames: list[Atoms] = []
    optimizer = FIRE(FrechetCellFilter(with_teacher(atoms)), logfile=None)
    optimizer.attach(lambda: frames.append(labelled(atoms)), interval=6)
    optimizer.run(fmax=0.03, steps=30)
    return frames


def _random_strain(rng: np.random.Generator, size: float) -> np.ndarray:
    strain = rng.normal(0, size, (3, 3))
    return (strain + strain.T) / 2


def _strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def with_teacher(atoms: Atoms) -> Atoms:
    """Return the atoms with the SevenNet-0 calculator of this process."""
    atoms.calc = _calculator
    return atoms


def write_piece(path: Path, frames: list[Atoms]) -> None:
    """Write a piece of data completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    write(partial, frames, format="extxyz")
    partial.rename(path)


def start_worker() -> None:
    """Load SevenNet-0 once for each process."""
    global _calculator
    _calculator = teacher()


def main(work: Path, n_workers: int) -> None:
    """Make the missing pieces of data in `work`."""
    relaxed = relaxed_pure(work)
    todo = pieces()
    with ProcessPoolExecutor(n_workers, get_context("spawn"), start_worker) as pool:
        jobs = [pool.submit(make_scan, work, relaxed, name) for name in relaxed]
        jobs += [pool.submit(make_piece, work, relaxed, piece) for piece in todo]
        for done, job in enumerate(jobs, 1):
            print(f"{done}/{len(jobs)} {job.result()}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all output")
    parser.add_argument("--workers", type=int, default=2, help="number of processes, with one thread each")
    arguments = parser.parse_args()
    main(arguments.work, arguments.workers)
