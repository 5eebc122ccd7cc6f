"""What it costs to find a composition by descent, and by relaxing a grid of compositions of the same resolution.

    python benchmarks/composition_search.py [--quick] [--threads 1] [--json FILE]

(Li,Na,K)Cl, isotropic, mace-demo in float64: which composition has a given lattice parameter (that of the primitive
cell) to 2 mÅ? Descents start from random compositions; where they end, the crystal is relaxed again, tightly. The grid
over the triangle is so fine that neighbours differ by at most twice that, so that a point is within it; each point
starts from the relaxed crystal of a neighbour, with the same relaxation as in the descents.

Costs are in evaluations, of the energy with its gradient. Second derivatives count as one, and one more for each of
their 3N + 6 + C backward passes. The grid has tens of thousands of points: a random sample is relaxed, whose mean cost
stands for all. For information there is also a grid along the edge from LiCl to KCl only, a line that happens to
contain one. So is the time of all descents in one batch against one after the other.
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
#: Descents that are timed.
ROUNDS = 5
#: Points along an edge at which the slope of the lattice parameter is looked at.
COARSE = 6


def salt() -> AlchemicalSystem:
    """Rock salt with three cations on one site."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return CompositionGrid.simplex(cell.get_primitive_structure(), {"Na": ELEMENTS}, 1).system


def relaxed_crystal() -> RelaxedCrystal:
    """Return the crystal, to be relaxed as descents do."""
    return RelaxedCrystal(salt(), SPEC, "isotropic")


def lattice_parameter_A(weights: list[float]) -> float:
    """Return the lattice parameter at a composition, relaxed until forces are nothing."""
    crystal = RelaxedCrystal(salt(), SPEC, "isotropic", fmax_eV_per_A=TIGHT_EV_PER_A)
    crystal.relax(np.array(weights))
    return float(crystal.structure.lattice.a)


def random_starts(n_starts: int, seed: int) -> np.ndarray:
    """Return random compositions, shape (n_starts, C)."""
    return np.random.default_rng(seed).dirichlet(np.ones(len(ELEMENTS)), n_starts)


def descents(starts: np.ndarray) -> list[OptimizationRun]:
    """Descend from each of some compositions, in one batch."""
    domain = Domain((0, 0, 0), (0.0,) * 3, (1.0,) * 3, (1.0,))
    # Within half of the tolerance, as relaxations end somewhere within it, too.
    maker = OptimizeMaker(potential=SPEC, relaxation="isotropic", tolerance=TOLERANCE_A / 2)
    targets = [Target(quantity="a_A", value=TARGET_A)]
    return type(maker).make.original(maker, salt(), targets, starts.tolist(), domain).runs  # type: ignore[attr-defined]


def cost(run: OptimizationRun, system: AlchemicalSystem) -> int:
    """Count the evaluations of a descent, backward passes of second derivatives included."""
    passes = 3 * system.n_sites + 6 + system.n_weights
    return run.n_evaluations + run.n_second_derivatives * (1 + passes)


def steepest_A() -> float:
    """Largest change of the lattice parameter with the share of a cation in place of another, Å, on a coarse grid."""
    crystal, slopes = relaxed_crystal(), []
    shares = np.linspace(0, 1, COARSE)
    for x in shares:
        for y in shares[shares <= 1 - x + 1e-9]:
            slope = crystal.at(np.array([max(1 - x - y, 0.0), x, y]))["a_A"].gradient
            slopes.append(slope.max() - slope.min())
    return float(max(slopes))


def grid_sample(n_intervals: int, n_points: int, seed: int) -> np.ndarray:
    """Count the evaluations of each of some random points of the grid, shape (n_points,)."""
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
    """Measure, and report."""
    parser = argparse.ArgumentParser(description="What it costs to find a composition.")
    parser.add_argument("--quick", action="store_true", help="one start, few points of the grid: tries the script")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--seed", type=int, default=1, help="of the starts and of the sample")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    n_starts, n_sample = (1, 5) if chosen.quick else (3, 200)
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
            f"{run.n_second_derivatives} times second derivatives"
        )
    report.measure("evaluations of a descent", costs, "evaluations")
    n_intervals = int(np.ceil(steepest_A() / (2 * TOLERANCE_A)))
    n_points = (n_intervals + 1) * (n_intervals + 2) // 2
    sample = grid_sample(n_intervals, n_sample, chosen.seed)
    report.measure("evaluations of a grid point, from its neighbour", sample, "evaluations")
    error = sample.std(ddof=1) / np.sqrt(n_sample) * n_points
    report.note(
        f"grid: {n_intervals} intervals along an edge, {n_points:,} points, {sample.mean() * n_points:,.0f} ± "
        f"{error:,.0f} evaluations, from a random sample of {n_sample} points"
    )
    report.target(
        1, "farthest end of a descent, in tolerances", off / TOLERANCE_A, 1.0, value=float(off.max()) / TOLERANCE_A
    )
    ratios = costs / (sample.mean() * n_points)
    report.target(2, "evaluations, dearest descent / grid", ratios, BOUND, value=float(ratios.max()), unit="share")
    edge = costs / (sample.mean() * (n_intervals + 1))
    report.target(
        3, "evaluations, dearest descent / grid on the edge LiCl–KCl", edge, None, value=float(edge.max()), unit="share"
    )
    turns = [(seconds(starts), sum(seconds(start[None]) for start in starts)) for _ in range(ROUNDS)]
    report.target(
        4, f"time, {n_starts} starts in one batch / one after the other", np.divide(*np.transpose(turns)), None
    )
    report.finish(chosen.json)
    return 0


def seconds(starts: np.ndarray) -> float:
    """Time descents from some compositions."""
    began = time.perf_counter()
    descents(starts)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
