"""ΔG(T) of CsPbI3 → CsSnI3 from ladders at two temperatures, beside a ladder at each further one and the paper.

    python benchmarks/curves.py [--phases alpha delta] [--from 350 450] [--beside 300 400 500] [--steps 350]
        [--windows 4] [--potential NAME] [--quick] [--threads N] [--json FILE]

Cells of 40 atoms at 1 atm: 2×2×2 of the cubic α phase, 1×2×1 of δ. The ladders at the temperatures of --from are
combined by MBAR (`alchemflows combine`). The table has ΔG from them at all temperatures, ΔG from the ladder at each
temperature alone, and the values of Nam, Peng & Gómez-Bombarelli (Nat. Commun. 16, 4350, 2025), which are those of
MACE-MP-0 small with 1080 atoms. At the temperatures of --beside, both results have no samples in common.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from measure import Report
from rich import box
from rich.table import Table

import alchemflows
from alchemflows import ThermodynamicIntegrationMaker, read_structure
from alchemflows.analysis.combination import combined
from alchemflows.analysis.stored_ladders import StoredLadder
from alchemflows.reproduce.fig4 import PUBLISHED
from alchemflows.schemas.combination import CombinedLadders
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.potential import PotentialSpec

STRUCTURES = Path(alchemflows.__file__).parent / "data" / "examples" / "structures"
PHASES = {"alpha": ("CsPbI3.cif", (2, 2, 2)), "delta": ("CsPbI3_delta.cif", (1, 2, 1))}
PRESSURE_GPA, MAX_SIGMA = 1.01325e-4, 2.0


def sampled(maker: ThermodynamicIntegrationMaker, phase: str) -> StoredLadder:
    """Run the ladder of a phase."""
    file, repeats = PHASES[phase]
    flow = maker.make(read_structure(STRUCTURES / file).structure * repeats, {"Pb": "Sn"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore(key="blob_uuid")})
    with tempfile.TemporaryDirectory() as folder:
        found = run_locally(flow, store=store, create_folders=True, root_dir=folder, raise_immediately=True, log=False)
    document = found[flow.output.uuid][1].output
    return StoredLadder(flow.output.uuid, document, [found[job][1].output for job in document.window_jobs])


def published(phase: str, route: str, temperature_K: float) -> str:
    """Return the value of the paper (meV/atom), if there is one."""
    value = PUBLISHED[f"ΔG CsPbI3 → CsSnI3, {phase}, {route}"].get(temperature_K)
    return "–" if value is None else f"{1e3 * value:.1f}"


def compare(
    report: Report, phase: str, ladders: Mapping[float, StoredLadder], pair: Sequence[float], number: int = 1
) -> CombinedLadders:
    """Compare the combination of the ladders at two temperatures with the ladder at each temperature.

    The targets are those of the further temperatures, counted from `number`.
    """
    document = combined([ladders[t] for t in pair], sorted(ladders))
    heads = ("T (K)", "two ladders", "the ladder there", "difference", "coverage", "paper", "its Frenkel–Ladd runs")
    table = Table(*heads, title=f"ΔG of CsPbI3 → CsSnI3, {phase}, meV/atom", title_justify="left", box=box.SIMPLE)
    for point in document.points:
        t, atoms = point.temperature_K, document.counts.atoms
        alone, both = (per_atom(each, atoms) for each in (ladders[t].document.total, point.total))
        for name, result in (("the ladder there", alone), ("two ladders", both)):
            if result is not None:
                report.measure(f"ΔG, {phase}, {t:g} K, {name}", result[0], "meV/atom")
                report.measure(f"its error, {phase}, {t:g} K, {name}", result[1], "meV/atom")
        deviation = None if both is None or alone is None else (both[0] - alone[0]) / np.hypot(both[1], alone[1])
        if t not in pair:
            name = f"{phase}, {t:g} K: difference between two ladders and the ladder there, in σ"
            if deviation is None:
                report.missing(number, name, MAX_SIGMA, "not available: too few samples")
            else:
                report.target(number, name, np.array([abs(deviation)]), MAX_SIGMA)
            number += 1
        shown = "–" if t in pair or deviation is None else f"{deviation:+.1f} σ"
        papers = (published(phase, route, t) for route in ("alchemical", "Frenkel–Ladd"))
        table.add_row(f"{t:g}", text(both), text(alone), shown, f"{min(point.coverage):.2f}", *papers)
    report.console.print(table)
    return document


def per_atom(estimate: Estimate | None, n_atoms: float) -> tuple[float, float] | None:
    """Return a free energy and its error (meV/atom), if there are both."""
    if estimate is None or estimate.error_eV is None:
        return None
    return 1e3 * estimate.delta_f_eV / n_atoms, 1e3 * estimate.error_eV / n_atoms


def text(result: tuple[float, float] | None) -> str:
    """Return a value with its error."""
    return "not sampled" if result is None else f"{result[0]:.2f} ± {result[1]:.2f}"


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", nargs="+", choices=list(PHASES), default=list(PHASES), help="phases")
    parser.add_argument(
        "--from", dest="pair", type=float, nargs=2, default=[350.0, 450.0], help="temperatures (K) that are combined"
    )
    parser.add_argument(
        "--beside", type=float, nargs="+", default=[300.0, 400.0, 500.0], help="temperatures (K) of separate ladders"
    )
    parser.add_argument("--steps", type=int, default=350, help="equilibration; the production is 5 times as long")
    parser.add_argument("--windows", type=int, default=4, help="number of windows [default: %(default)s]")
    parser.add_argument("--timestep", type=float, default=8.0, help="time step (fs) [default: %(default)s]")
    parser.add_argument("--potential", default="mace-demo", help="name of the potential [default: %(default)s]")
    parser.add_argument("--quick", action="store_true", help="short runs of one phase, to try the script")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads [default: 1]")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args()
    if options.quick:
        options.phases, options.beside, options.steps, options.windows = ["alpha"], [400.0], 30, 2
    return options


def main() -> None:
    """Run the ladders of each phase, print the tables, and write the report if a file is given."""
    options = arguments()
    torch.set_num_threads(options.threads)
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    report = Report("ΔG(T) from two temperatures", "benchmarks/curves.py", settings)
    maker = ThermodynamicIntegrationMaker(
        potential=PotentialSpec(name=options.potential, device="cpu"),
        pressure_GPa=PRESSURE_GPA,
        timestep_fs=options.timestep,
        n_windows=options.windows,
        windows_per_job=options.windows,
        budget=0,
        n_equilibration_steps=options.steps,
        n_production_steps=5 * options.steps,
        n_frames=0,
    )
    for phase in options.phases:
        ladders: dict[float, StoredLadder] = {}
        for k, temperature in enumerate(sorted({*options.pair, *options.beside})):
            start = time.perf_counter()
            ladder = ladders[temperature] = sampled(replace(maker, temperature=temperature, seed=k), phase)
            report.measure(f"time of the ladder, {phase}, {temperature:g} K", time.perf_counter() - start, "s")
            for reason in ladder.document.verdict.reasons:
                report.note(f"{phase}, {temperature:g} K: {reason}")
        document = compare(report, phase, ladders, options.pair, len(report.targets) + 1)
        report.note(f"{phase}, combined: {document.verdict.status}. {' '.join(document.verdict.reasons)}")
    report.finish(options.json)


if __name__ == "__main__":
    main()
