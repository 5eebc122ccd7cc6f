"""Compare what curves over temperature cost with separate runs at each temperature, for the same error.

    python benchmarks/temperature.py [--steps 200] [--repeats 2] [--only PART] [--potential NAME]
        [--temperatures T ...] [--quick] [--threads N] [--json FILE]

1. G(T) of NaCl, 8 atoms at 1 atm, from 200 to 700 K: one Frenkel–Ladd run at 400 K and one sweep of the temperature,
   beside a Frenkel–Ladd run at each of five temperatures. The variance of G is proportional to 1/t, where
   t is the number of MD steps of all replicas and jobs together. So σ² t of both is compared, and whether they agree.
2. ΔF(T) of LiCl → NaCl, 8 atoms at constant volume: ladders of five windows at two or three temperatures that are
   combined by MBAR, beside an analysis of each ladder alone.

The potential is mace-demo by default. All lengths are proportional to `--steps`. Squares of errors are means over the
repeats, which have different seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from measure import Report
from pymatgen.core import Lattice, Structure

from alchemflows import AlchemicalPath, FrenkelLaddMaker, TemperatureSweepMaker
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.analysis.isolines import isobar_of
from alchemflows.free_energy.combination import StateSamples, ThermalState, combine, thinned
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.jobs.cost import cost_of
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.windows import run_windows
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.samples import WindowSeries

TEMPERATURES, ANCHOR_K = (200.0, 300.0, 400.0, 500.0, 700.0), 400.0
#: Temperatures of the ladders; those of the first and the last are also combined without the one between them.
LADDERS_K, LAMBDAS = (300.0, 350.0, 400.0), [0.0, 0.25, 0.5, 0.75, 1.0]
#: Largest number of steps of a sweep relative to separate runs, and largest differences in σ and in meV/atom.
MAX_STEPS, MAX_SIGMA, MAX_MEV = 1 / 3, 2.0, 1.0


def rock_salt(cation: str, a: float) -> Structure:
    """Return the cubic cell of a chloride, 8 atoms."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def absolute(potential: PotentialSpec, temperature_K: float, steps: int, seed: int) -> FrenkelLaddMaker:
    """Return the maker of a Frenkel–Ladd run."""
    return FrenkelLaddMaker(
        potential=potential,
        temperature=temperature_K,
        timestep_fs=4.0,
        n_cell_steps=3 * steps,
        n_equilibration_steps=steps,
        n_sampling_steps=steps,
        n_switching_steps=2 * steps,
        relax_maker=None,
        seed=seed,
    )


def outcome(flow: Flow) -> tuple[Any, int]:
    """Run a flow and return its output and its number of MD steps."""
    steps = sum(cost_of(job).n_steps for job, _ in flow.iterflow())
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    with tempfile.TemporaryDirectory() as folder:
        found = run_locally(flow, store=store, create_folders=True, root_dir=folder, raise_immediately=True, log=False)
    return found[flow.output.uuid][1].output, steps


def curve(potential: PotentialSpec, temperatures_K: np.ndarray, steps: int, seed: int) -> tuple[np.ndarray, int]:
    """Return G per atom at all temperatures and its errors (eV) from a sweep, shape (2, T), and the number of steps."""
    maker = TemperatureSweepMaker(
        frenkel_ladd_maker=absolute(potential, ANCHOR_K, steps, seed),
        n_equilibration_steps=steps // 2,
        n_switching_steps=3 * steps // 2,
    )
    document, n = outcome(maker.make(rock_salt("Na", 5.7), temperatures_K.min(), temperatures_K.max()))
    found = isobar_of(document, temperatures_K).gibbs_eV
    return np.array([found.values, found.errors]) / document.counts.atoms, n


def points(potential: PotentialSpec, temperatures_K: np.ndarray, steps: int, seed: int) -> tuple[np.ndarray, int]:
    """Return the same from a Frenkel–Ladd run at each temperature."""
    runs = [outcome(absolute(potential, float(t), steps, seed).make(rock_salt("Na", 5.7))) for t in temperatures_K]
    gibbs = [document.gibbs for document, _ in runs]
    found = np.array([[each.value_eV_per_atom, each.error_eV_per_atom] for each in gibbs])
    return found.T, sum(n for _, n in runs)


def compare_curves(
    report: Report, potential: PotentialSpec, temperatures_K: np.ndarray, steps: int, n_repeats: int
) -> None:
    """Compare G(T) from sweeps with separate Frenkel–Ladd runs."""
    swept, separate = (
        [function(potential, temperatures_K, steps, seed) for seed in range(first, first + n_repeats)]
        for function, first in ((curve, 0), (points, n_repeats))
    )
    (g, squares), (alone, others) = (mean(each for each, _ in runs) for runs in (swept, separate))
    t, t_alone = swept[0][1], separate[0][1]
    report.measure("MD steps of a sweep and its Frenkel–Ladd run", t, "steps")
    report.measure("MD steps of separate Frenkel–Ladd runs", t_alone, "steps")
    report.measure("σ of the sweep, one run", 1e3 * np.sqrt(squares), "meV/atom")
    report.measure("σ of separate runs, one run at each temperature", 1e3 * np.sqrt(others), "meV/atom")
    name = "steps of a sweep relative to separate runs for the same error"
    ratio = float(squares.mean() / others.mean() * t / t_alone)
    report.target(1, name, squares / others * t / t_alone, MAX_STEPS, value=ratio)
    differences, errors = np.abs(g - alone), np.sqrt((squares + others) / n_repeats)
    z = differences / errors
    report.target(2, "largest difference between both, in σ", z, MAX_SIGMA, value=float(z.max()))
    name, off = "largest difference between both, in meV/atom", 1e3 * differences
    report.target(3, name, off, MAX_MEV, value=float(off.max()))
    report.measure("σ of the differences", 1e3 * errors, "meV/atom")
    for k, temperature in enumerate(temperatures_K):
        pairs = ((g[k], squares[k]), (alone[k], others[k]))
        both = [f"{value:.4f} ± {np.sqrt(square / n_repeats):.4f}" for value, square in pairs]
        report.note(f"G at {temperature:g} K (eV/atom): sweep {both[0]}, separate runs {both[1]}")


def sampled(potential: PotentialSpec, steps: int, seed: int) -> list[list[WindowSeries]]:
    """Return the samples of a ladder of LiCl → NaCl at each temperature."""
    path = AlchemicalPath.from_substitution(rock_salt("Li", 5.4), {"Li": "Na"})
    model = AlchemicalPotential(path.system, load_potential(potential))
    found = []
    for temperature in LADDERS_K:
        dynamics = DynamicsSettings(
            temperature_K=temperature,
            timestep_fs=4.0,
            n_equilibration_steps=steps,
            n_production_steps=6 * steps,
            sample_interval_steps=5,
        )
        seeds = derived_seeds(seed, f"ladder at {temperature:g} K", len(LAMBDAS))
        found.append(run_windows(model, path, LAMBDAS, range(len(LAMBDAS)), dynamics, seeds).series)
    return found


def together(ladders: dict[float, list[WindowSeries]]) -> np.ndarray:
    """Return ΔF at all temperatures from ladders at some of them, and its errors (eV), shape (2, T)."""
    states = [
        StateSamples(column, temperature, None, each.energies_eV, each.volume_A3, k * len(LAMBDAS) + column)
        for k, (temperature, series) in enumerate(ladders.items())
        for column, each in enumerate(series)
    ]
    found = combine(thinned(states), [ThermalState(t) for t in LADDERS_K])
    if not found.sampled.all():
        raise RuntimeError("the ladders do not overlap; use more steps")
    return np.array([found.values[:, 0], found.errors[:, 0]])


def compare_ladders(report: Report, potential: PotentialSpec, steps: int, n_repeats: int) -> None:
    """Compare ladders that are combined over temperature with the analysis of each alone."""
    alone, all_, ends = [], [], []
    for seed in range(n_repeats):
        ladders = dict(zip(LADDERS_K, sampled(potential, steps, seed), strict=True))
        results = [analyse_ladder(LAMBDAS, series, t).mbar for t, series in ladders.items()]
        alone.append(np.transpose([result for result in results if result is not None]))
        all_.append(together(ladders))
        ends.append(together({t: ladders[t] for t in (LADDERS_K[0], LADDERS_K[-1])}))
    (_, squares), (_, of_all), (f_ends, of_ends) = map(mean, (alone, all_, ends))
    for name, values in (("each alone", squares), ("all combined", of_all), ("two combined", of_ends)):
        report.measure(
            f"σ of ladders at {', '.join(f'{t:g}' for t in LADDERS_K)} K, {name}", 1e3 * np.sqrt(values), "meV"
        )
    name = "σ² t of three combined ladders relative to each alone"
    report.target(4, name, of_all / squares, 1.0, value=float(of_all.mean() / squares.mean()))
    name = "σ² t at three temperatures, two combined ladders relative to three ladders"
    ratio = float(of_ends.mean() / squares.mean() * 2 / 3)
    report.target(5, name, of_ends / squares * 2 / 3, 1.0, value=ratio)
    middle = mean(alone)[0][1]
    z = abs(f_ends[1] - middle) / np.sqrt((of_ends[1] + squares[1]) / n_repeats)
    name = f"difference at {LADDERS_K[1]:g} K between the ladder there and those at both sides, in σ"
    report.target(6, name, np.array([z]), MAX_SIGMA)


def mean(results: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of values and of squared errors over repeats, from results of shape (2, T)."""
    values, errors = np.swapaxes(np.array(list(results)), 0, 1)
    return values.mean(axis=0), (errors**2).mean(axis=0)


def main() -> None:
    """Run both comparisons, print the tables, and write the report if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="unit of all numbers of steps [default: 200]")
    parser.add_argument("--repeats", type=int, default=2, help="number of repeats [default: 2]")
    parser.add_argument("--only", choices=("curves", "ladders"), help="only the first or the second comparison")
    parser.add_argument("--potential", default="mace-demo", help="name of the potential [default: %(default)s]")
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=TEMPERATURES, help="temperatures (K) of the Frenkel–Ladd runs"
    )
    parser.add_argument("--quick", action="store_true", help="one repeat of short runs, to try the script")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads [default: 1]")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps, n_repeats = (40, 1) if options.quick else (options.steps, options.repeats)
    potential = PotentialSpec(name=options.potential, device="cpu")
    settings = {
        "potential": options.potential,
        "quick": options.quick,
        "steps": steps,
        "repeats": n_repeats,
        "threads": options.threads,
    }
    report = Report("Curves over temperature", "benchmarks/temperature.py", settings)
    if options.only != "ladders":
        compare_curves(report, potential, np.array(options.temperatures), steps, n_repeats)
    if options.only != "curves":
        compare_ladders(report, potential, steps, n_repeats)
    report.finish(options.json)


if __name__ == "__main__":
    main()
