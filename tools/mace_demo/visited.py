"""Run dynamics with a trained model, and label the visited structures with SevenNet-0.

Trajectories with SevenNet-0 stay in regions of low energy of SevenNet-0. The trained model may have false minima
outside these regions, which atoms of a soft crystal can reach: atoms of δ-CsSnI3 left their sites at 500 K before
these frames were used in the training. A piece of data has the frames of one replica of a batch, pure or in a random
arrangement, at a volume within 5 % of the relaxed one.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from ase import Atoms
from labels import ENERGY, FORCES, labelled
from pymatgen.io.ase import AseAtomsAdaptor
from stability import CONDITIONS, FRICTION_PER_PS
from structures import arrangement, relaxed_pure, start_worker, with_teacher, write_piece
from systems import SYSTEMS, rng_of, sublattice
from train import model_of

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import TrajectoryError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.potential import PotentialSpec

N_REPLICAS = 8
#: For each training: the name of its pieces, and the number of batches of each system.
ROUNDS = (
    ("visited", {"delta": 6, "chloride": 1, "iron": 1, "oxide": 1, "nitride": 1}),
    ("revisited", {"delta": 4}),
)
#: Number of frames of a replica and the time between them; soft crystals have more frames.
N_FRAMES, EVERY_PS = {"delta": 8}, {"delta": 4.0}
#: Frames beyond this limit are not relevant at the temperatures of interest.
MAX_FORCE_EV_PER_A = 10.0


def files(work: Path, system: str, kind: str, batch: int) -> list[Path]:
    """Return the pieces of data of a batch."""
    numbers = range(batch * N_REPLICAS, (batch + 1) * N_REPLICAS)
    return [work / "data" / f"{system}-{kind}-{number:03d}.xyz" for number in numbers]


def make_batch(work: Path, relaxed: dict[str, Atoms], after: int, system: str, batch: int) -> str:
    """Make the pieces of data of a batch unless they exist."""
    kind = ROUNDS[after - 1][0]
    paths = files(work, system, kind, batch)
    if all(path.exists() for path in paths):
        return f"{paths[0].stem} to {paths[-1].stem}"
    rng = rng_of(kind, system, batch)
    temperature, timestep, supercell, _ = CONDITIONS[system]
    # In systems with vacancies, use the arrangements that have one.
    stride = 4 if SYSTEMS[system].vacancy else 1
    starts = [
        arrangement(system, relaxed, rng, stride * (batch * N_REPLICAS + k), supercell) for k in range(N_REPLICAS)
    ]
    for atoms in starts:
        atoms.set_cell(atoms.cell.array * np.cbrt(rng.uniform(0.95, 1.05)), scale_atoms=True)
    visited = _walk(model_of(work, after), system, starts, temperature * rng.uniform(0.9, 1.3), timestep, rng)
    lowest = 0.0
    for path, frames in zip(paths, visited, strict=True):
        labels = []
        for atoms, energy in frames:
            label = labelled(with_teacher(atoms))
            if np.abs(label.arrays[FORCES]).max() < MAX_FORCE_EV_PER_A:
                labels.append(label)
                lowest = min(lowest, (energy - label.info[ENERGY]) / len(atoms))
        write_piece(path, labels)
    return f"{paths[0].stem} to {paths[-1].stem}: down to {lowest * 1e3:.0f} meV/atom below SevenNet-0"


def _walk(
    model: Path, system: str, starts: list[Atoms], temperature_K: float, timestep_fs: float, rng: np.random.Generator
) -> list[list[tuple[Atoms, float]]]:
    """Return the frames of each replica with the model's energies, eV."""
    sites, elements = sublattice(system, starts[0]), SYSTEMS[system].elements
    groups = tuple(uniform_group([site], elements) for site in sites) if len(elements) > 1 else ()
    symbols = np.array([atoms.symbols[sites] for atoms in starts])
    weights = (symbols[..., None] == np.array(elements)).astype(float).reshape(len(starts), -1)
    alchemical = AlchemicalSystem(AseAtomsAdaptor.get_structure(starts[0]), groups)
    if not groups:
        weights = weights[:, :0]
    spec = PotentialSpec(name=str(model), device="cpu")
    frames: list[list[tuple[Atoms, float]]] = [[] for _ in starts]
    try:
        dynamics = Langevin(
            AlchemicalPotential(alchemical, load_potential(spec)),
            np.array([atoms.positions for atoms in starts]),
            np.array([atoms.cell.array for atoms in starts]),
            weights,
            np.broadcast_to(alchemical.masses(weights), (len(starts), len(starts[0]))),
            temperature_K=temperature_K,
            timestep_fs=timestep_fs,
            friction_per_ps=FRICTION_PER_PS,
            seeds=[int(seed) for seed in rng.integers(2**31, size=len(starts))],
        )
        for _ in range(N_FRAMES.get(system, 5)):
            for _ in range(round(EVERY_PS.get(system, 2.0) * 1e3 / timestep_fs)):
                dynamics.step()
            where, energies = dynamics.positions.numpy(), dynamics.evaluation.energy.tolist()
            for found, atoms, positions, energy in zip(frames, starts, where, energies, strict=True):
                found.append((Atoms(atoms.numbers, positions=positions, cell=atoms.cell, pbc=True), energy))
    except TrajectoryError as error:  # frames before the error are used
        print(system, error, flush=True)
    return frames


def main(work: Path, after: int, n_workers: int) -> None:
    """Make the missing pieces of data of the model from training number `after`."""
    relaxed = relaxed_pure(work)
    with ProcessPoolExecutor(n_workers, get_context("spawn"), start_worker) as pool:
        jobs = [
            pool.submit(make_batch, work, relaxed, after, system, batch)
            for system, n_batches in ROUNDS[after - 1][1].items()
            for batch in range(n_batches)
        ]
        for done, job in enumerate(jobs, 1):
            print(f"{done}/{len(jobs)} {job.result()}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for all output")
    parser.add_argument("--after", type=int, default=1, help="number of the training whose model is used")
    parser.add_argument("--workers", type=int, default=2, help="number of processes, with one thread each")
    arguments = parser.parse_args()
    main(arguments.work, arguments.after, arguments.workers)
