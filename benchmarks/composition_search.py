"""Compare the cost of finding a composition by descent and by a grid of compositions of the same resolution.

    python benchmarks/composition_search.py [--quick] [--threads 1] [--json FILE]

The task is to find a composition of (Li,Na,K)Cl with a given lattice parameter (of the primitive cell, isotropic)
within 2 mÅ, with mace-demo in float64. Descents start from random compositions, and the crystal at the final
composition is relaxed again with tight convergence. On the grid over the triangle the lattice parameters of neighbours
differ by at most 4 mÅ, so that some point is within 2 mÅ. Each point starts from the relaxed crystal of a neighbour,
with the same relaxation as in the descents.

Costs are numbers of evaluations of the energy with its gradient. Second derivatives count as one evaluation, plus one
for each of their 3N + 6 + C backward passes. The grid has tens of thousands of points. A random sample of them is
relaxed, and its mean cost is used for all points. For information, a grid along the edge from LiCl to KCl, which
contains a solution, is also measured, and the time of all descents in one batch relative to consecutive descents.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from measure import Report
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.optimize.crystal import RelaxedCrystal
from alchemflows.optimize.simplex import Domain
from alchemflows.schemas.optimization import OptimizationRun, Target
from alchemflows.schemas.potential import PotentialSpec

SPEC = PotentialSpec(name="mace-demo", dtype="float64", device="cpu")
ELEMENTS = ("Li", "Na", "K")
TARGET_A = 4.1
TOLERANCE_A = 0.002
BOUND = 0.2
TIGHT_EV_PER_A = 1e-6
#: Number of timed descents.
ROUNDS = 5
#: Points along an edge at which the slope of the lattice parameter is computed.
COARSE = 6


def salt() -> AlchemicalSystem:
    """Return rock salt with three cations on one site."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return CompositionGrid.simplex(cell.get_primitive_structure(), {"Na": ELEMENTS}, 1).system


def relaxed_crystal() -> RelaxedCrystal:
    """Return the crystal with the relaxation settings of the descents."""
    return RelaxedCrystal(salt(), SPEC, "isotropic")


def lattice_parameter_A(weights: list[float]) -> float:
    """Return the lattice parameter at a composition after a tight relaxation."""
    crystal = RelaxedCrystal(salt(), SPEC, "isotropic", fmax_eV_per_A=TIGHT_EV_PER_A)
    crystal.relax(np.array(weights))
    return float(crystal.structure.lattice.a)


def random_starts(n_starts: int, seed: int) -> np.ndarray:
    """Return random compositions, shape (n_starts, C)."""
    return np.random.default_rng(seed).dirichlet(np.ones(len(ELEMENTS)), n_starts)


def descents(starts: np.ndarray) -> list[OptimizationRun]:
    """Run descents from the given compositions in one batch."""
    domain = Domain((0, 0, 0), (0.0,) * 3, (1.0,) * 3, (1.0,))
    # Half of the tolerance, because relaxations also end with a finite error.
    maker = OptimizeMaker(potential=SPEC, relaxation="isotropic", tolerance=TOLERANCE_A / 2)
    targets = [Target(quantity="a_A", value=TARGET_A)]
    return type(maker).make.original(maker, salt(), targets, starts.tolist(), domain).runs  # type: ignore[attr-defined]


def cost(run: OptimizationRun, system: AlchemicalSystem) -> int:
    """Count the evaluations of a descent, including backward passes of second derivatives."""
    passes = 3 * system.n_sites + 6 + system.n_weights
    return run.n_evaluations + run.n_second_derivatives * (1 + passes)


def steepest_A(n_shares: int) -> float:
    """Return the largest slope of the lattice parameter when one cation replaces another (Å), on a coarse grid."""
    crystal, slopes = relaxed_crystal(), []
    shares = np.linspace(0, 1, n_shares)
    for x in shares:
        for y in shares[shares <= 1 - x + 1e-9]:
            slope = crystal.at(np.array([max(1 - x - y, 0.0), x, y]))["a_A"].gradient
            slopes.append(slope.max() - slope.min())
    return float(max(slopes))


def grid_sample(n_intervals: int, n_points: int, seed: int) -> np.ndarray:
    """Count the evaluations of random points of the grid, shape (n_points,)."""
    rng = np.random.default_rng(seed)
    crystal, costs = relaxed_crystal(), []
    while len(costs) < n_points:
        counts = rng.multinomial(n_intervals, rng.dirichlet(np.ones(len(ELEMENTS))))
        source, sink = rng.choice(len(ELEMENTS), 2, replace=False)
        if not counts[source]:
            continue
        neighbour = counts.copy()
        neighbour[source] -= 1
        neighbour[sink] += 1
        crystal.relax(neighbour / n_intervals)
        before = crystal.n_evaluations
        crystal.relax(counts / n_intervals)
        costs.append(crystal.n_evaluations - before)
    return np.array(costs)


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Measure the cost of finding a composition.")
    parser.add_argument("--quick", action="store_true", help="use one start and few grid points, to try the script")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    parser.add_argument("--seed", type=int, default=1, help="seed of the starts and of the sample")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    n_starts, n_sample = (1, 2) if chosen.quick else (3, 200)
    report = Report(
        f"(Li,Na,K)Cl with a = {TARGET_A} ± {TOLERANCE_A} Å",
        "benchmarks/composition_search.py",
        {"quick": chosen.quick, "threads": chosen.threads, "seed": chosen.seed, "starts": n_starts, "sample": n_sample},
    )
    system = salt()
    starts = random_starts(n_starts, chosen.seed)
    runs = descents(starts)
    reached = np.array([lattice_parameter_A(run.steps[-1].weights) for run in runs])
    off = np.abs(reached - TARGET_A)
    costs = np.array([cost(run, system) for run in runs])
    for run, a, n in zip(runs, reached, costs, strict=True):
        report.note(
            f"from {run.start_formula} to {run.formula}: a = {a:.4f} Å; "
            f"{n} evaluations: {run.n_evaluations} of relaxations and "
            f"{run.n_second_derivatives} second derivatives"
        )
    report.measure("evaluations of a descent", costs, "evaluations")
    n_intervals = int(np.ceil(steepest_A(3 if chosen.quick else COARSE) / (2 * TOLERANCE_A)))
    n_points = (n_intervals + 1) * (n_intervals + 2) // 2
    sample = grid_sample(n_intervals, n_sample, chosen.seed)
    report.measure("evaluations of a grid point, starting from its neighbour", sample, "evaluations")
    error = sample.std(ddof=1) / np.sqrt(n_sample) * n_points
    report.note(
        f"grid: {n_intervals} intervals along an edge, {n_points:,} points, {sample.mean() * n_points:,.0f} ± "
        f"{error:,.0f} evaluations, from a random sample of {n_sample} points"
    )
    report.target(
        1, "largest deviation of a descent, in tolerances", off / TOLERANCE_A, 1.0, value=float(off.max()) / TOLERANCE_A
    )
    ratios = costs / (sample.mean() * n_points)
    report.target(
        2, "evaluations, most expensive descent / grid", ratios, BOUND, value=float(ratios.max()), unit="share"
    )
    edge = costs / (sample.mean() * (n_intervals + 1))
    report.target(
        3,
        "evaluations, most expensive descent / grid on the edge LiCl–KCl",
        edge,
        None,
        value=float(edge.max()),
        unit="share",
    )
    turns = [
        (seconds(starts), sum(seconds(start[None]) for start in starts)) for _ in range(1 if chosen.quick else ROUNDS)
    ]
    report.target(
        4, f"time, {n_starts} starts in one batch / one after the other", np.divide(*np.transpose(turns)), None
    )
    report.finish(chosen.json)
    return 0


def seconds(starts: np.ndarray) -> float:
    """Time descents from the given compositions."""
    began = time.perf_counter()
    descents(starts)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
