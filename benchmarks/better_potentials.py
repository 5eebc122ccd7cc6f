"""Correct free energies sampled with mace-demo to foundation models, and compare with ladders of SevenNet-0.

    python benchmarks/better_potentials.py [--only NaCl] [--committee] [--rows DIR] [--json FILE]

For NaCl → KCl (8 atoms, 300 K, 1 bar) and cubic CsPbI3 → CsSnI3 (5 atoms, 600 K, constant volume):

- a ladder with mace-demo, corrected to SevenNet-0, and to CHGNet through its calculator of ASE,
- a shorter ladder that is run with SevenNet-0; the difference from the corrected one in standard errors, and the number
  of evaluations with SevenNet-0 that each needs,
- a committee of mace-demo, SevenNet-0, its other checkpoints, CHGNet and CHGNet-r2SCAN on the same frames, for the free
  energy and, at constant pressure, for the mean lattice parameter of the final crystal; with --committee only this.

Needs the extras sevennet and chgnet. Finished parts are written to the folder; a new run computes only those that are
missing.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import units
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.flows.committee import CommitteeMaker
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.jobs.frames import frames_of_ladder
from alchemflows.schemas.correction import CalculatorSpec, TargetRunSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.structures.prototypes import alpha_perovskite

SAMPLED, BETTER = "mace-demo", "sevennet-0"
CHGNET = CalculatorSpec(path="chgnet.model.dynamics:CHGNetCalculator", arguments={"use_device": "cpu"})
MEMBERS = ("sevennet-0", "sevennet-0_22May2024", "sevennet-l3i5", "chgnet", "chgnet-r2scan")
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
#: Structure, substitution, temperature (K), time step (fs), and pressure (GPa) or none for the given cell.
CRYSTALS: dict[str, tuple[Structure, dict[str, str], float, float, float | None]] = {
    "NaCl": (SALT, {"Na": "K"}, 300.0, 4.0, 1e-4),
    "CsPbI3": (alpha_perovskite(a_A=6.34), {"Pb": "Sn"}, 600.0, 6.0, None),
}
N_WINDOWS = 5
#: Equilibration and production steps of each window.
STEPS = {SAMPLED: (500, 4000), BETTER: (100, 600)}
#: Steps of each run with the target, if its frames do not overlap with those of the sampled potential.
TARGET_RUNS = TargetRunSettings(n_runs=2, n_equilibration_steps=50, n_production_steps=100, n_frames=40)


class Session:
    """A job store in memory, and flows that run in this process."""

    def __init__(self) -> None:
        self.store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})

    def run(self, flow: Flow) -> tuple[str, Any, float]:
        """Run a flow and return the identifier of its output, the output and the time (s)."""
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            outputs = run_locally(
                flow, store=self.store, create_folders=True, root_dir=folder, ensure_success=True, log=False
            )
        uuid = flow.output.uuid
        return uuid, outputs[uuid][max(outputs[uuid])].output, time.perf_counter() - start


def ladder(name: str, potential: str) -> Flow:
    """Return the ladder of a crystal with a potential, all windows in one batch."""
    structure, substitution, temperature_K, timestep_fs, pressure_GPa = CRYSTALS[name]
    equilibration, production = STEPS[potential]
    maker = ThermodynamicIntegrationMaker(
        potential=PotentialSpec(name=potential, device="cpu"),
        temperature=temperature_K,
        pressure_GPa=pressure_GPa,
        timestep_fs=timestep_fs,
        barostat_time_ps=0.1,
        n_windows=N_WINDOWS,
        windows_per_job=N_WINDOWS,
        n_equilibration_steps=equilibration,
        n_production_steps=production,
    )
    if pressure_GPa is None:
        maker = replace(maker, relax_maker=None)  # all potentials in the same cell
    return maker.make(structure, substitution)


def estimate(value: Any, seconds: float, verdict: Any, **more: Any) -> dict[str, Any]:
    """Return the row of a free energy."""
    row = {"delta_eV": value.delta_f_eV, "error_eV": value.error_eV, "seconds": seconds}
    return row | {"verdict": verdict.status, "reasons": verdict.reasons} | more


def direct(name: str) -> dict[str, Any]:
    """Return the result of the ladder that is run with SevenNet-0."""
    _, document, seconds = Session().run(ladder(name, BETTER))
    return estimate(document.total, seconds, document.verdict, evaluations=N_WINDOWS * sum(STEPS[BETTER]))


def sampled(name: str) -> dict[str, Any]:
    """Return the results that come from the ladder with mace-demo: corrections and a committee."""
    session = Session()
    uuid, document, seconds = session.run(ladder(name, SAMPLED))
    rows = {"sampled": estimate(document.total, seconds, document.verdict, atoms=document.counts.atoms)}
    print(f"{name}: ladder with {SAMPLED}, {seconds:.0f} s", flush=True)
    better = PotentialSpec(name=BETTER, dtype="float64", device="cpu")
    routes: dict[str, CorrectionMaker] = {
        "corrected": CorrectionMaker(target=better),
        "corrected with runs": CorrectionMaker(target=better, target_runs=TARGET_RUNS),
        "chgnet": CorrectionMaker(target=CHGNET),
    }
    for route, maker in routes.items():
        if route == "corrected with runs" and rows["corrected"]["verdict"] == "converged":
            continue
        _, corrected, seconds = session.run(maker.make(uuid))
        ends = (corrected.initial, corrected.final)
        runs = 0 if maker.target_runs is None else 2 * steps_of(maker.target_runs)
        rows[route] = estimate(
            corrected.total,
            seconds,
            corrected.verdict,
            evaluations=sum(end.n_frames for end in ends) + runs,
            n_effective=[end.n_effective for end in ends],
            spread_eV=[end.spread_eV for end in ends],
            estimators=[end.estimator for end in ends],
            change=[corrected.correction.delta_f_eV, corrected.correction.error_eV],
        )
        print(f"{name}: {route}, {seconds:.0f} s", flush=True)
    rows["committee"] = committee(session, uuid, document)
    return rows


def steps_of(runs: TargetRunSettings) -> int:
    """Return the number of evaluations with the target of the runs at one end."""
    return runs.n_runs * (runs.n_equilibration_steps + runs.n_production_steps)


def compared(name: str) -> dict[str, Any]:
    """Return the committee on a ladder with mace-demo, without corrections."""
    session = Session()
    uuid, document, _ = session.run(ladder(name, SAMPLED))
    return {"atoms": document.counts.atoms, "committee": committee(session, uuid, document)}


def committee(session: Session, uuid: str, document: Any) -> dict[str, Any]:
    """Return ΔG and the mean lattice parameter of the final crystal with each member."""
    members = [PotentialSpec(name=each, dtype="float64", device="cpu") for each in MEMBERS]
    _, result, seconds = session.run(CommitteeMaker(members=members).make(uuid))
    _, final = frames_of_ladder(session.store, document)
    length_A = np.cbrt(np.abs(np.linalg.det(final.frames.cells_A)))
    differences = np.vstack([np.zeros(len(length_A)), result.differences_eV[1]])
    beta = 1 / (units.kB * document.temperature_K)
    means, influences = zip(*(mean_with(length_A, beta * each) for each in differences), strict=True)
    rows = [
        {
            "name": member.name,
            "delta_eV": member.total.delta_f_eV,
            "error_eV": member.total.error_eV,
            "n_effective": member.n_effective,
            "overlaps": member.overlaps,
            "length_A": mean,
            "length_error_A": correlated_variance([influence]).error,
        }
        for member, mean, influence in zip(result.members, means, influences, strict=True)
    ]
    return {
        "members": rows,
        "mean_eV": result.mean.delta_f_eV,
        "sigma_stat_eV": result.mean.error_eV,
        "sigma_model_eV": result.sigma_model_eV,
        "sigma_model_error_eV": result.sigma_model_error_eV,
        "length_A": float(np.mean(means)),
        "length_sigma_model_A": float(np.std(means, ddof=1)),
        "length_sigma_stat_A": correlated_variance([np.mean(influences, axis=0)]).error,
        "verdict": result.verdict.status,
        "reasons": result.verdict.reasons,
        "seconds": seconds,
    }


def mean_with(values: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean of values with the weights exp(−x), and the influence of each value on it."""
    weights = np.exp(x.min() - x)
    weights /= weights.sum()
    mean = float(weights @ values)
    return mean, weights * (values - mean)


def part(folder: Path, name: str, kind: str, compute: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return a part from its file, or compute and write it."""
    path = folder / f"{name}-{kind}.json"
    if not path.exists():
        path.write_text(json.dumps(compute(name), indent=1) + "\n")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def symbol(name: str) -> str:
    """Return the symbol of the free energy of a crystal."""
    return "ΔF" if CRYSTALS[name][-1] is None else "ΔG"


def tables(name: str, rows: dict[str, Any], ladder_row: dict[str, Any]) -> str:
    """Return the tables of a crystal as Markdown: routes to SevenNet-0 and CHGNet, and the committee."""
    atoms = rows["sampled"]["atoms"]
    titles = {
        "sampled": "ladder with `mace-demo`",
        "corrected": "corrected to SevenNet-0",
        "corrected with runs": "corrected to SevenNet-0 with runs",
        "direct": "ladder with SevenNet-0",
        "chgnet": "corrected to CHGNet (ASE)",
    }
    quantity = symbol(name)
    lines = [f"{name}: {quantity} in meV/atom, {atoms:g} atoms", ""]
    lines += [
        f"| route | {quantity} | evaluations | effective sample sizes | verdict | s |",
        "|---|---|---|---|---|---|",
    ]
    routes = rows | {"direct": ladder_row}
    for key, title in titles.items():
        if key not in routes:
            continue
        row = routes[key]
        sizes = " / ".join(f"{size:.0f}" for size in row.get("n_effective", [])) or "–"
        delta = f"{1e3 * row['delta_eV'] / atoms:.2f} ± {1e3 * row['error_eV'] / atoms:.2f}"
        lines.append(
            f"| {title} | {delta} | {row.get('evaluations', '–')} | {sizes} | {row['verdict']} | {row['seconds']:.0f} |"
        )
    for key in ("corrected", "corrected with runs"):
        if key in rows:
            gap = rows[key]["delta_eV"] - ladder_row["delta_eV"]
            sigma = np.hypot(rows[key]["error_eV"], ladder_row["error_eV"])
            share = rows[key]["evaluations"] / ladder_row["evaluations"]
            lines.append(
                f"\n{titles[key]} − ladder: {1e3 * gap / atoms:.2f} ± {1e3 * sigma / atoms:.2f} meV/atom, "
                f"{abs(gap) / sigma:.1f} σ, {100 * share:.1f} % of the evaluations"
            )
    return "\n".join([*lines, "", *committee_lines(rows["committee"], atoms, quantity)])


def committee_lines(found: dict[str, Any], atoms: float, quantity: str) -> list[str]:
    """Return the table of a committee, and the spread over those members that overlap with the sampled potential."""
    at_pressure = quantity == "ΔG"
    lines = [f"| member | {quantity} (meV/atom) | a (Å) | effective sample sizes |", "|---|---|---|---|"]
    for row in found["members"]:
        sizes = "–" if row["n_effective"] is None else " / ".join(f"{size:.1f}" for size in row["n_effective"])
        delta = f"{1e3 * row['delta_eV'] / atoms:.2f} ± {1e3 * row['error_eV'] / atoms:.2f}"
        length = f"{row['length_A']:.3f} ± {row['length_error_A']:.3f}" if at_pressure else "–"
        lines.append(f"| {row['name']} | {delta} | {length} | {sizes} |")
    for label, energy, length in (
        ("mean", "mean_eV", "length_A"),
        ("σ_model", "sigma_model_eV", "length_sigma_model_A"),
        ("σ_stat", "sigma_stat_eV", "length_sigma_stat_A"),
    ):
        value = f"{found[length]:.3f}" if at_pressure else "–"
        lines.append(f"| {label} | {1e3 * found[energy] / atoms:.2f} | {value} | |")
    overlapping = [row for row in found["members"] if row["overlaps"]]
    energies, lengths = ([row[key] for row in overlapping] for key in ("delta_eV", "length_A"))
    value = f"{np.std(lengths, ddof=1):.3f}" if at_pressure else "–"
    lines.append(
        f"| σ_model of {len(overlapping)} that overlap | {1e3 * np.std(energies, ddof=1) / atoms:.2f} | {value} | |"
    )
    return [*lines, "", f"committee: {found['verdict']}", *found["reasons"]]


def main() -> None:
    """Compute missing parts and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=Path("better_potentials"), help="folder of finished parts")
    parser.add_argument("--json", type=Path, help="file for all results")
    parser.add_argument("--only", nargs="+", default=list(CRYSTALS), choices=list(CRYSTALS))
    parser.add_argument("--committee", action="store_true", help="only the committees")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "1")))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.rows.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in arguments.only:
        if arguments.committee:
            results[name] = part(arguments.rows, name, "committee", compared)
            lines = committee_lines(results[name]["committee"], results[name]["atoms"], symbol(name))
            print("\n" + "\n".join([name, "", *lines]) + "\n", flush=True)
            continue
        rows = part(arguments.rows, name, "sampled", sampled)
        found = part(arguments.rows, name, "direct", direct)
        results[name] = rows | {"direct": found}
        print("\n" + tables(name, rows, found) + "\n", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
