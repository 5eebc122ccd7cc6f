"""Compare the cost of an error bar by MBAR, switching and two Frenkel–Ladd runs, and measure the dissipation.

    python benchmarks/routes.py [--json FILE] [--figure FILE]

CsPbI3 → CsSnI3 in the δ phase (20 atoms, 300 K, constant volume, mace-demo in float32), in the cell of CsPbI3 for all
routes, so that all have the same ΔF. Each route runs at several lengths. Times are for one CPU thread; the routes run
alternately. The Frenkel–Ladd route has one run for each compound, and its error is that of their difference.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter
from measure import Report, loglog_slope
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.jobs.analyse import free_energy
from alchemflows.jobs.frenkel_ladd import EinsteinSwitchesMaker
from alchemflows.jobs.switching import SwitchesMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.structures.prototypes import delta_perovskite

SPEC = PotentialSpec(name="mace-demo", device="cpu")
CONDITIONS = {"temperature_K": 300.0, "timestep_fs": 5.0}
CELL_A = (11.15, 4.85, 18.25)
REPEATS, WINDOWS, EQUILIBRATION = 4, 5, 300
LENGTHS = (100, 200, 400, 800)

Result = tuple[float, float, float]  # ΔF without mass term and its error (eV), dissipation (eV)


def run(maker, *arguments):
    """Run the function of a job in this process."""
    return type(maker).make.original(maker, *arguments)  # type: ignore[attr-defined]


def switching(path: AlchemicalPath, n_steps: int) -> Result:
    """Return ΔF from switches of n steps in each direction."""
    settings = SwitchingSettings(
        **CONDITIONS, n_repeats=REPEATS, n_equilibration_steps=EQUILIBRATION, n_switching_steps=n_steps
    )
    work = run(SwitchesMaker(potential=SPEC, settings=settings), path).work
    return work.best.delta_f_eV, work.best.error_eV, work.dissipation_eV


def frenkel_ladd(path: AlchemicalPath, n_steps: int) -> Result:
    """Return ΔF without the mass term from two absolute free energies, with switches of n steps in each direction."""
    settings = SwitchingSettings(
        **CONDITIONS, n_repeats=REPEATS, n_equilibration_steps=EQUILIBRATION, n_switching_steps=n_steps
    )
    maker = EinsteinSwitchesMaker(potential=SPEC, settings=settings, n_sampling_steps=EQUILIBRATION)
    ends = [run(maker, AlchemicalSystem(path.system.at_vertex(weights)), []) for weights in (path.initial, path.final)]
    masses = mass_term_eV(path.system.masses(path.initial), path.system.masses(path.final), CONDITIONS["temperature_K"])
    change = ends[1].helmholtz.value_eV - ends[0].helmholtz.value_eV - masses
    error = float(np.hypot(ends[0].helmholtz.error_eV, ends[1].helmholtz.error_eV))
    return change, error, (ends[0].work.dissipation_eV + ends[1].work.dissipation_eV) / 2


def windows(path: AlchemicalPath, n_steps: int) -> Result:
    """Return ΔF by MBAR, with the same total number of production steps as the switches in both directions."""
    dynamics = DynamicsSettings(
        **CONDITIONS,
        n_equilibration_steps=EQUILIBRATION,
        n_production_steps=2 * REPEATS * n_steps // WINDOWS,
        sample_interval_steps=10,
    )
    lambdas = np.linspace(0, 1, WINDOWS).tolist()
    document = run(WindowsMaker(potential=SPEC, dynamics=dynamics, lambdas=lambdas), path, list(range(WINDOWS)))
    mbar = free_energy(path, [document]).mbar
    return mbar.delta_f_eV, mbar.error_eV or float("nan"), float("nan")


ROUTES: dict[str, Callable[[AlchemicalPath, int], Result]] = {
    "MBAR": windows,
    "switching": switching,
    "Frenkel–Ladd": frenkel_ladd,
}


def cell() -> Structure:
    """Return δ-CsPbI3 with its lattice parameters in mace-demo."""
    prototype = delta_perovskite()
    return Structure(Lattice.orthorhombic(*CELL_A), prototype.species, prototype.frac_coords)


def figure(lengths: list[int], results: dict[str, list[tuple[Result, float]]]) -> Figure:
    """Plot dissipation against switching time and error against computing time, both log–log."""
    drawn = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2)
    styles = {"MBAR": ("^", "C0"), "switching": ("o", "C1"), "Frenkel–Ladd": ("s", "C2")}
    times = np.array(lengths) * CONDITIONS["timestep_fs"] * 1e-3
    for name, (marker, colour) in styles.items():
        dissipation = np.array([1e3 * r[2] for r, _ in results[name]])
        known = dissipation > 0  # noise can make it negative; windows have no dissipation
        if known.any():
            left.loglog(times[known], dissipation[known], marker=marker, color=colour, label=name)
        errors = [1e3 * r[1] for r, _ in results[name]]
        right.loglog([s for _, s in results[name]], errors, marker=marker, color=colour, label=name)
    left.set_xticks(times, [f"{t:g}" for t in times])
    left.xaxis.set_minor_formatter(NullFormatter())
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.xaxis.set_minor_formatter(ScalarFormatter())
    left.set_xlabel("switching time (ps)")
    left.set_ylabel("dissipation (meV)")
    left.legend(frameon=False)
    right.set_xlabel("CPU time (s)")
    right.set_ylabel("standard error of ΔF (meV)")
    right.legend(frameon=False)
    return drawn


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Compare the cost of an error bar by each route.")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), help="numbers of steps of a switch")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--figure", type=Path, help="plot dissipation and errors to this file")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    report = Report(
        "CsPbI3 → CsSnI3, δ, by three routes",
        "benchmarks/routes.py",
        {"lengths": chosen.lengths, "threads": chosen.threads},
    )
    path = AlchemicalPath.from_substitution(cell(), {"Pb": "Sn"})
    results: dict[str, list[tuple[Result, float]]] = {name: [] for name in ROUTES}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for route in ROUTES.values():
            route(path, 50)  # TorchScript compiles
        for n_steps in chosen.lengths:
            for name, route in ROUTES.items():
                start = time.process_time()
                result = route(path, n_steps)
                results[name].append((result, time.process_time() - start))
                report.note(
                    f"{name}, switches of {n_steps} steps: ΔF = {1e3 * result[0]:.2f} ± {1e3 * result[1]:.2f} meV, "
                    f"dissipation {1e3 * result[2]:.2f} meV, {results[name][-1][1]:.0f} s"
                )
        os.chdir(before)
    for name, found in results.items():
        # Errors are inversely proportional to the square root of the time, so σ² t does not depend on the length.
        report.measure(f"σ² t, {name}", np.array([(1e3 * r[1]) ** 2 * s for r, s in found]), "meV² s")
    cost = {name: float(np.median([r[1] ** 2 * s for r, s in found])) for name, found in results.items()}
    values = [results[name][-1][0] for name in ROUTES]
    for name in ("MBAR", "switching"):
        report.target(
            1, f"time for the same error, Frenkel–Ladd / {name}", np.array([cost["Frenkel–Ladd"] / cost[name]]), None
        )
    for k, (one, other) in enumerate(((0, 1), (1, 2)), 2):
        sigmas = abs(values[one][0] - values[other][0]) / np.hypot(values[one][1], values[other][1])
        names = list(ROUTES)
        report.target(k, f"{names[one]} − {names[other]}, longest runs, in standard errors", np.array([sigmas]), 2.0)
    for name in ("switching", "Frenkel–Ladd"):
        dissipation = np.array([r[2] for r, _ in results[name]])
        if (dissipation > 0).all():
            slope = loglog_slope(np.array(chosen.lengths), dissipation)
            report.target(
                4, f"dissipation of {name}: exponent of the switching time", np.array([slope]), None, unit="exponent"
            )
    if chosen.figure is not None:
        figure(chosen.lengths, results).savefig(chosen.figure, dpi=150)
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
