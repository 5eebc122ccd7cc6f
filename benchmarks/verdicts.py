"""Measure how often synthetic ladders of each kind are called `converged`, and the errors of their results.

``python benchmarks/verdicts.py [--repeats N] [--quick] [--json FILE]`` prints the table of docs/verdicts.md. The
ladders are those of tests/ladders.py, which have known free energies.

With ``--real`` it samples short ladders of LiCl → NaCl instead, and compares them with the mean of them all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ladders import BAD, GOOD, SHORT, UNSEEN, Analysed, T, analysed, judged
from measure import Report
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.sampling.windows import run_windows, window_seed
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason

#: Minimum fraction of converged good ladders, and maximum fraction of converged bad ones.
MIN_GOOD, MAX_BAD = 0.98, 0.02
#: Reasons that the table counts as another one.
_ALIKE = {
    Reason.NO_ERROR: Reason.OVERLAP,
    Reason.NO_HALVES: Reason.OVERLAP,
    Reason.FEW_TYPICAL: Reason.FEW_SAMPLES,
}


def repeats(kind: str, n: int, first: int) -> list[Analysed]:
    """Return n ladders of a kind with consecutive seeds."""
    return [analysed({**GOOD, **SHORT, **BAD, **UNSEEN}[kind], seed) for seed in range(first, first + n)]


#: Number of windows of a real ladder, and its dynamics: 0.2 ps of equilibration and 1.6 ps at constant volume.
REAL_LAMBDAS = [0.0, 0.25, 0.5, 0.75, 1.0]
REAL_DYNAMICS = DynamicsSettings(
    temperature_K=T, timestep_fs=4.0, n_equilibration_steps=50, n_production_steps=400, sample_interval_steps=5
)
QUICK = REAL_DYNAMICS.model_copy(update={"n_equilibration_steps": 0, "n_production_steps": 100})
#: Real ladders that are sampled in one batch.
AT_ONCE = 10


def real(n: int, first: int, dynamics: DynamicsSettings = REAL_DYNAMICS) -> list[Analysed]:
    """Return n ladders of LiCl → NaCl with mace-demo, 8 atoms, with deviations from their mean.

    The deviations are multiplied by √(n/(n − 1)), since each ladder contributes to the mean.
    """
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.4), ["Li", "Cl"], [[0] * 3, [0.5] * 3])
    path = AlchemicalPath.from_substitution(salt, {"Li": "Na"})
    model = AlchemicalPotential(path.system, load_potential(PotentialSpec(name="mace-demo", device="cpu")))
    windows, found = range(len(REAL_LAMBDAS)), []
    for start in range(first, first + n, AT_ONCE):
        ladders = range(start, min(start + AT_ONCE, first + n))
        seeds = [window_seed(ladder, k) for ladder in ladders for k in windows]
        run = run_windows(model, path, REAL_LAMBDAS, [*windows] * len(ladders), dynamics, seeds)
        series = [run.series[i : i + len(windows)] for i in range(0, len(run.series), len(windows))]
        found += [judged(REAL_LAMBDAS, each) for each in series]
        print(f"{len(found)} of {n} ladders", file=sys.stderr, flush=True)
    values = np.array([each.result.mbar[0] for each in found])
    off = (values - values.mean()) * np.sqrt(n / (n - 1))
    return [replace(each, exact_eV=value - d) for each, value, d in zip(found, values, off, strict=True)]


def row(name: str, found: Sequence[Analysed]) -> list[str]:
    """Return the row of a kind in the table."""
    z = np.array([each.z for each in found])
    converged = np.array([each.converged for each in found])
    counts = Counter(reason for each in found for reason in {_short(text) for text in each.reasons})
    said = ", ".join(f"{reason} {100 * n / len(found):.0f} %" for reason, n in counts.most_common(4))
    return [
        name,
        f"{100 * converged.mean():.0f} %",
        f"{z.mean():+.1f}",
        _rms(z),
        _rms(z[converged]),
        _rms(z[~converged]),
        said or "–",
    ]


def _rms(z: np.ndarray) -> str:
    return f"{np.sqrt((z**2).mean()):.2f}" if len(z) else "–"


def _short(text: str) -> str:
    """Return the name of a reason, as in docs/verdicts.md."""
    reason = Reason.of(text)
    return text if reason is None else _ALIKE.get(reason, reason).key


def main() -> None:
    """Print the table, and write the report if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, help="number of ladders of each kind [default: 100; 30 with --real]")
    parser.add_argument("--first", type=int, default=0, help="seed of the first ladder [default: 0]")
    parser.add_argument("--real", action="store_true", help="sample ladders of LiCl → NaCl with mace-demo instead")
    parser.add_argument("--quick", action="store_true", help="use 3 ladders of each kind")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads [default: 1]")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    n = 3 if options.quick else options.repeats or (30 if options.real else 100)
    settings = {"quick": options.quick, "repeats": n, "first": options.first, "threads": options.threads}
    title = "Verdicts of real ladders" if options.real else "Verdicts of synthetic ladders"
    report = Report(title, "benchmarks/verdicts.py", settings)
    rows = []
    groups: list[tuple[Iterable[str], float | None, str]] = [
        (GOOD, MIN_GOOD, "at least"),
        (SHORT, None, "at most"),
        (BAD, MAX_BAD, "at most"),
        (UNSEEN, None, "at most"),
    ]
    if options.real:
        groups = [(["LiCl → NaCl, 5 × 1.6 ps"], None, "at most")]
    for number, (kinds, bound, sense) in enumerate(groups, start=1):
        for name in kinds:
            started = time.perf_counter()
            if options.real:
                found = real(n, options.first, QUICK if options.quick else REAL_DYNAMICS)
            else:
                found = repeats(name, n, options.first)
            rows.append(row(name, found))
            shares = np.array([float(each.converged) for each in found])
            report.target(
                number, f"converged: {name}", shares, bound, value=float(shares.mean()), sense=sense, unit="share"
            )
            report.measure(f"rms deviation, {name}", float(np.sqrt(np.mean([e.z**2 for e in found]))), "σ")
            report.times(f"one ladder, {name}", np.array([(time.perf_counter() - started) / n]))
    report.finish(options.json)
    print("| ladders | `converged` | mean z | rms z | rms z, converged | rms z, not converged | reasons |")
    print("|---|---|---|---|---|---|---|")
    for cells in rows:
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
