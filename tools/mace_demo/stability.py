"""Run 100 ps of dynamics at the relaxed volume and at ±3 %, and see whether every atom stays on its site.

Three replicas of one batch, one for each volume, moved by alchemflows' own Langevin dynamics in float32. An atom has
left its site when it has been nearer to another of the same sublattice (beyond a face of its Wigner–Seitz cell) for
1 ps; one that is never further away than half the distance to the nearest other site cannot have been. The drift of the
centre of mass is taken out. Each row is written when it is done, and a run goes on with the rows that are missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import make_supercell
from evaluate import student
from export import MODEL
from labels import relax
from pymatgen.io.ase import AseAtomsAdaptor
from systems import SYSTEMS, mixed, prototype, rng_of, sublattice

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem, uniform_group
from alchemflows.errors import TrajectoryError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.potential import PotentialSpec

#: System: temperature (K), time step (fs; about a tenth of the period of the fastest mode), supercell, alchemical pairs
#: (at λ = 0.5).
CONDITIONS: dict[str, tuple[float, float, tuple[int, int, int], tuple[tuple[str, str], ...]]] = {
    "delta": (500, 8.0, (1, 2, 1), (("Pb", "Sn"),)),
    "chloride": (500, 5.0, (2, 2, 2), (("Na", "K"), ("Li", "Na"))),
    "iron": (300, 6.0, (2, 2, 2), ()),
    "oxide": (300, 4.0, (2, 2, 2), (("Ce", "Zr"), ("Ce", "Sn"))),
    "nitride": (300, 3.5, (2, 2, 1), (("Al", "Ga"), ("Al", "Sc"))),
}
VOLUMES = (0.97, 1.0, 1.03)
FRICTION_PER_PS = 1.0
CHECK_EVERY = 5
#: An atom that is on another site for so long does not just pass.
STAY_PS = 1.0
#: Kept with the package, since they take hours; each says of which model it is.
ROWS = Path(__file__).with_name("stability")


def rows(systems: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return (system, elements): one element is the pure compound, two are mixed half and half."""
    return [
        (system, elements)
        for system in systems
        for elements in (*((e,) for e in SYSTEMS[system].elements), *CONDITIONS[system][3])
    ]


def start_of(
    system: str, elements: tuple[str, ...], spec: PotentialSpec
) -> tuple[AlchemicalSystem, np.ndarray, Atoms, np.ndarray]:
    """Return the system, its weights, the atoms on their sites, and the vectors from these to :func:`neighbours`."""
    pure = {}
    for element in elements:
        cell = prototype(system, element)
        pure[f"{system}-{element}"] = relax(cell, student(cell, Path(spec.name)))
    if len(elements) == 1:
        unit = pure[f"{system}-{elements[0]}"]
        weights = np.zeros(0)
    else:
        # Between the two, then relaxed as what it is.
        halves = np.array([0.5 if element in elements else 0.0 for element in SYSTEMS[system].elements])
        unused = {f"{system}-{element}": pure[f"{system}-{elements[0]}"] for element in SYSTEMS[system].elements}
        unit = mixed(system, unused | pure, halves)
        weights = np.array([0.5, 0.5])
        double = spec.model_copy(update={"dtype": "float64"})
        unit = relax(unit, AlchemicalCalculator(_system(system, unit, elements), weights, double))
    atoms = make_supercell(unit, np.diag(CONDITIONS[system][2]))
    kind = np.where(np.isin(np.arange(len(atoms)), sublattice(system, atoms)), 0, atoms.numbers)
    others = neighbours(atoms, kind)
    if SYSTEMS[system].vacancy:  # which is a site that an atom may jump to
        del atoms[0]
        others = others[1:]
    return _system(system, atoms, elements), weights, atoms, others


def _system(system: str, atoms: Atoms, elements: tuple[str, ...]) -> AlchemicalSystem:
    structure = AseAtomsAdaptor.get_structure(atoms)
    groups = () if len(elements) == 1 else (uniform_group(sublattice(system, atoms), elements),)
    return AlchemicalSystem(structure, groups)


def neighbours(atoms: Atoms, kind: np.ndarray) -> np.ndarray:
    """Return the vectors from each site to the others of its sublattice, Å, shape (N, K, 3), the nearest first.

    They reach to twice the nearest distance at least, which is all that a Wigner–Seitz cell takes in these crystals.
    """
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ atoms.cell.array
    images = (atoms.positions + shifts[:, None]).reshape(-1, 3)
    kinds = np.tile(kind, len(shifts))
    vectors = images - atoms.positions[:, None]
    apart = np.linalg.norm(vectors, axis=-1)
    apart[(kind[:, None] != kinds) | (apart < 1e-3)] = np.inf
    order = np.argsort(apart, axis=1)[:, : int((apart < 2 * apart.min(axis=1, keepdims=True)).sum(axis=1).max())]
    return np.take_along_axis(vectors, order[..., None], axis=1)


def run(system: str, elements: tuple[str, ...], model: Path, duration_ps: float) -> dict[str, Any]:
    """Return one row of the table."""
    temperature, timestep, _, _ = CONDITIONS[system]
    spec = PotentialSpec(name=str(model), device="cpu")
    alchemical, weights, atoms, vectors = start_of(system, elements, spec)
    scale = np.cbrt(VOLUMES)[:, None, None]
    sites = torch.as_tensor(atoms.positions * scale)
    others = torch.as_tensor(vectors * scale[..., None])
    half_squares = (others**2).sum(dim=-1) / 2
    limit = torch.linalg.vector_norm(others[:, :, 0], dim=-1) / 2
    masses = torch.as_tensor(np.tile(alchemical.masses(weights), (len(VOLUMES), 1)))
    share = (masses / masses.sum(dim=1, keepdim=True))[..., None]
    n_steps = round(duration_ps * 1e3 / timestep)
    largest, away, longest = torch.zeros(3, *limit.shape, dtype=torch.float64)
    row: dict[str, Any] = {
        "system": system,
        "elements": list(elements),
        "atoms": len(atoms),
        "temperature_K": temperature,
        "timestep_fs": timestep,
        "friction_per_ps": FRICTION_PER_PS,
        "volume_ratios": list(VOLUMES),
        "duration_ps": duration_ps,
        "seed": int(rng_of("stability", system, *elements).integers(2**31)),
    }
    start = time.perf_counter()
    done, heat = 0, torch.zeros(len(VOLUMES), dtype=torch.float64)
    try:
        dynamics = Langevin(
            AlchemicalPotential(alchemical, load_potential(spec)),
            sites,
            atoms.cell.array * scale,
            np.tile(weights, (len(VOLUMES), 1)),
            masses,
            temperature_K=temperature,
            timestep_fs=timestep,
            friction_per_ps=FRICTION_PER_PS,
            seeds=[row["seed"] + k for k in range(len(VOLUMES))],
        )
        for done in range(1, n_steps + 1):
            dynamics.step()
            heat += dynamics.kinetic_temperatures() / n_steps
            if done % CHECK_EVERY == 0:
                moved = dynamics.positions - sites
                moved = moved - (share * moved).sum(dim=1, keepdim=True)
                largest = torch.maximum(largest, torch.linalg.vector_norm(moved, dim=-1) / limit)
                outside = ((others @ moved[..., None])[..., 0] > half_squares).any(dim=-1)
                away = (away + CHECK_EVERY * timestep * 1e-3) * outside
                longest = torch.maximum(longest, away)
    except TrajectoryError as error:
        row["explosion"] = str(error)
    return row | {
        "completed_ps": done * timestep * 1e-3,
        "mean_temperature_K": [float(t) for t in heat],
        "largest_displacement_over_limit": largest.max(dim=1).values.tolist(),
        "longest_on_another_site_ps": longest.max(dim=1).values.tolist(),
        "stable": "explosion" not in row and bool((longest < STAY_PS).all()),
        "ms_per_step": (time.perf_counter() - start) * 1e3 / max(done, 1),
    }


def main(model: Path, systems: list[str], duration_ps: float) -> None:
    """Write SYSTEM-ELEMENTS.json for each row; rows of another model are made again."""
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    ROWS.mkdir(exist_ok=True)
    for system, elements in rows(systems):
        path = ROWS / f"{system}-{'-'.join(elements)}.json"
        if not path.exists() or json.loads(path.read_text()).get("sha256") != sha256:
            row = {"sha256": sha256} | run(system, elements, model, duration_ps)
            path.write_text(json.dumps(row, indent=1) + "\n")
            print(
                system, *elements, "stable" if row["stable"] else "NOT STABLE",
                f"{max(row['largest_displacement_over_limit']):.2f} of the limit, {row['ms_per_step']:.1f} ms/step",
                flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--systems", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--ps", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    main(arguments.model, arguments.systems, arguments.ps)
