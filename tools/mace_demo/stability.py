"""Run 100 ps of dynamics at the relaxed volume and at ±3 %, and check whether every atom stays on its site.

Each batch has three replicas, one for each volume, in alchemflows' own Langevin dynamics in float32. An atom has left
its site if it has been closer to another site of the same sublattice (outside its Wigner–Seitz cell) for 1 ps. This is
impossible while its displacement is below half the distance to the nearest other site. The drift of the centre of mass
is subtracted. Each row is written when it is finished; a new run computes only missing rows. On the CPU rows are
computed one after the other; on a GPU all rows of a system form one batch, because a single small cell would not use
it fully.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
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
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import TrajectoryError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.potential import PotentialSpec

#: For each system: temperature (K), time step (fs; about a tenth of the period of the fastest mode), supercell, and
#: alchemical pairs (at λ = 0.5).
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
#: An atom that is on another site for this time (ps) has left its own.
STAY_PS = 1.0
#: Folder of the rows; they are kept in the repository because they take hours. Each has the hash of its model.
ROWS = Path(__file__).with_name("stability")


def rows(systems: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Return (system, elements): one element for a pure compound, two for a half-and-half mixture."""
    return [
        (system, elements)
        for system in systems
        for elements in (*((e,) for e in SYSTEMS[system].elements), *CONDITIONS[system][3])
    ]


def sites_of(system: str, elements: tuple[str, ...], name: str) -> tuple[Atoms, np.ndarray]:
    """Return the atoms on their sites, and the vectors from the sites to their :func:`neighbours`."""
    pure = {}
    for element in elements:
        cell = prototype(system, element)
        pure[f"{system}-{element}"] = relax(cell, student(cell, Path(name)))
    if len(elements) == 1:
        unit = pure[f"{system}-{elements[0]}"]
    else:
        # The cell between the two compounds, then relaxed as an alchemical crystal.
        halves = np.array([0.5 if element in elements else 0.0 for element in SYSTEMS[system].elements])
        unused = {f"{system}-{element}": pure[f"{system}-{elements[0]}"] for element in SYSTEMS[system].elements}
        unit = mixed(system, unused | pure, halves)
        double = PotentialSpec(name=name, dtype="float64", device="cpu")
        unit = relax(unit, AlchemicalCalculator(_system(system, unit, elements), [0.5, 0.5], double))
    atoms = make_supercell(unit, np.diag(CONDITIONS[system][2]))
    kind = np.where(np.isin(np.arange(len(atoms)), sublattice(system, atoms)), 0, atoms.numbers)
    others = neighbours(atoms, kind)
    if SYSTEMS[system].vacancy:  # a vacancy is a site to which an atom may jump
        del atoms[0]
        others = others[1:]
    return atoms, others


def _system(system: str, atoms: Atoms, elements: tuple[str, ...]) -> AlchemicalSystem:
    structure = AseAtomsAdaptor.get_structure(atoms)
    groups = () if len(elements) == 1 else (uniform_group(sublattice(system, atoms), elements),)
    return AlchemicalSystem(structure, groups)


def neighbours(atoms: Atoms, kind: np.ndarray) -> np.ndarray:
    """Return the vectors from each site to the others of its sublattice, Å, shape (N, K, 3), in order of distance.

    They reach at least twice the nearest distance, which is enough for the Wigner–Seitz cells of these crystals.
    """
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ atoms.cell.array
    images = (atoms.positions + shifts[:, None]).reshape(-1, 3)
    kinds = np.tile(kind, len(shifts))
    vectors = images - atoms.positions[:, None]
    apart = np.linalg.norm(vectors, axis=-1)
    apart[(kind[:, None] != kinds) | (apart < 1e-3)] = np.inf
    order = np.argsort(apart, axis=1)[:, : int((apart < 2 * apart.min(axis=1, keepdims=True)).sum(axis=1).max())]
    return np.take_along_axis(vectors, order[..., None], axis=1)


def run(
    system: str, compounds: list[tuple[str, ...]], spec: PotentialSpec, duration_ps: float, volumes: Sequence[float]
) -> list[dict[str, Any]]:
    """Return the rows of some compounds of a system, computed in one batch."""
    temperature, timestep, _, _ = CONDITIONS[system]
    present = tuple(e for e in SYSTEMS[system].elements if any(e in elements for elements in compounds))
    starts = [sites_of(system, elements, spec.name) for elements in compounds]
    alchemical = _system(system, starts[0][0], present)
    weights = np.array([[(e in elements) / len(elements) for e in present] for elements in compounds])
    if len(present) == 1:
        weights = weights[:, :0]
    weights = np.repeat(weights, len(volumes), axis=0)
    seeds = [int(rng_of("stability", system, *elements).integers(2**31)) for elements in compounds]
    scale = np.cbrt(volumes)[:, None, None]
    most = max(vectors.shape[1] for _, vectors in starts)
    # The padding repeats a neighbour.
    padded = [np.pad(v, [(0, 0), (0, most - v.shape[1]), (0, 0)], mode="edge") for _, v in starts]
    backend = load_potential(spec)
    on_device = partial(torch.as_tensor, device=backend.device)
    sites = on_device(np.concatenate([atoms.positions * scale for atoms, _ in starts]))
    others = on_device(np.concatenate([vectors * scale[..., None] for vectors in padded]))
    half_squares = (others**2).sum(dim=-1) / 2
    limit = torch.linalg.vector_norm(others[:, :, 0], dim=-1) / 2
    masses = on_device(alchemical.masses(weights)).expand(len(sites), -1)
    share = (masses / masses.sum(dim=1, keepdim=True))[..., None]
    n_steps = round(duration_ps * 1e3 / timestep)
    largest, away, longest = torch.zeros(3, *limit.shape, dtype=torch.float64, device=backend.device)
    heat = torch.zeros(len(sites), dtype=torch.float64, device=backend.device)
    start = time.perf_counter()
    done, explosion = 0, {}
    try:
        dynamics = Langevin(
            AlchemicalPotential(alchemical, backend),
            sites,
            np.concatenate([atoms.cell.array * scale for atoms, _ in starts]),
            weights,
            masses,
            temperature_K=temperature,
            timestep_fs=timestep,
            friction_per_ps=FRICTION_PER_PS,
            seeds=[seed + k for seed in seeds for k in range(len(volumes))],
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
        if len(compounds) > 1:  # the other compounds have whole atoms
            return [row for elements in compounds for row in run(system, [elements], spec, duration_ps, volumes)]
        explosion = {"explosion": str(error)}
    found = []
    for k, (elements, seed, (atoms, _)) in enumerate(zip(compounds, seeds, starts, strict=True)):
        mine = slice(k * len(volumes), (k + 1) * len(volumes))
        found.append(
            {
                "sha256": backend.record.sha256,
                "system": system,
                "elements": list(elements),
                "atoms": len(atoms),
                "temperature_K": temperature,
                "timestep_fs": timestep,
                "friction_per_ps": FRICTION_PER_PS,
                "volume_ratios": list(volumes),
                "duration_ps": duration_ps,
                "seed": seed,
                "replicas_in_batch": len(sites),
                "device": spec.device,
                **explosion,
                "completed_ps": done * timestep * 1e-3,
                "mean_temperature_K": heat[mine].tolist(),
                "largest_displacement_over_limit": largest[mine].max(dim=1).values.tolist(),
                "longest_on_another_site_ps": longest[mine].max(dim=1).values.tolist(),
                "stable": not explosion and bool((longest[mine] < STAY_PS).all()),
                "ms_per_step": (time.perf_counter() - start) * 1e3 / max(done, 1),
            }
        )
    return found


def main(
    spec: PotentialSpec,
    folder: Path,
    chosen: list[tuple[str, tuple[str, ...]]],
    duration_ps: float,
    volumes: Sequence[float],
) -> None:
    """Write SYSTEM-ELEMENTS.json for each row; rows of another model are computed again."""
    sha256 = load_potential(spec).record.sha256
    folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, list[tuple[str, ...]]] = {}
    for system, elements in chosen:
        path = row_file(folder, system, elements)
        if not path.exists() or json.loads(path.read_text()).get("sha256") != sha256:
            missing.setdefault(system, []).append(elements)
    for system, compounds in missing.items():
        batches = [[elements] for elements in compounds] if spec.device == "cpu" else [compounds]
        for batch in batches:
            for row in run(system, batch, spec, duration_ps, volumes):
                row_file(folder, system, row["elements"]).write_text(json.dumps(row, indent=1) + "\n")
                print(
                    system, *row["elements"], "stable" if row["stable"] else "NOT STABLE",
                    f"{max(row['largest_displacement_over_limit']):.2f} of the limit, {row['ms_per_step']:.1f} ms/step",
                    flush=True,
                )  # fmt: skip


def row_file(folder: Path, system: str, elements: Sequence[str]) -> Path:
    """Return the path of a row."""
    return folder / f"{system}-{'-'.join(elements)}.json"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(MODEL), help="file or name of the potential; sevennet-0 for comparison")
    parser.add_argument("--folder", type=Path, default=ROWS, help="folder of the rows")
    parser.add_argument("--systems", nargs="+", default=list(CONDITIONS), choices=list(CONDITIONS))
    parser.add_argument("--compounds", nargs="+", help="only these compounds: Sn, Ce-Zr, ...")
    parser.add_argument("--ps", type=float, default=100.0)
    parser.add_argument(
        "--volumes", type=float, nargs="+", default=VOLUMES, help="volumes as fractions of the relaxed volume"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    main(
        PotentialSpec(name=arguments.model, device=arguments.device),
        arguments.folder,
        [r for r in rows(arguments.systems) if not arguments.compounds or "-".join(r[1]) in arguments.compounds],
        arguments.ps,
        arguments.volumes,
    )
