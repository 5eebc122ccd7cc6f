"""Measure how often synthetic ladders of each kind are called `converged`, and the errors of their results.

``python benchmarks/verdicts.py [--repeats N] [--quick] [--json FILE]`` prints the table of docs/verdicts.md. The
ladders are those of tests/ladders.py, which have known free energies.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ladders import BAD, GOOD, SHORT, UNSEEN, Analysed, analysed
from measure import Report

#: Minimum fraction of converged good ladders, and maximum fraction of converged bad ones.
MIN_GOOD, MAX_BAD = 0.98, 0.02
#: Text that identifies each reason, and its short name in the table.
_REASONS = {
    "overlap by": "overlap",
    "MBAR gives no finite": "overlap",
    "independent samples": "few samples",
    "halves of the sampling cannot": "overlap",
    "drift: the": "halves",
    "jumped": "shift",
    "remember their start": "starts",
    "P₁(ΔU)/P₀(ΔU)": "pair",
    "hysteresis": "hysteresis",
    "TI and MBAR": "TI and MBAR",
}


def repeats(kind: str, n: int, first: int) -> list[Analysed]:
    """Return n ladders of a kind with consecutive seeds."""
    return [analysed({**GOOD, **SHORT, **BAD, **UNSEEN}[kind], seed) for seed in range(first, first + n)]


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


def _short(reason: str) -> str:
    return next((short for words, short in _REASONS.items() if words in reason), reason)


def main() -> None:
    """Print the table, and write the report if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100, help="number of ladders of each kind [default: 100]")
    parser.add_argument("--first", type=int, default=0, help="seed of the first ladder [default: 0]")
    parser.add_argument("--quick", action="store_true", help="use 3 ladders of each kind")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads [default: 1]")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    n = 3 if options.quick else options.repeats
    settings = {"quick": options.quick, "repeats": n, "first": options.first, "threads": options.threads}
    report = Report("Verdicts of synthetic ladders", "benchmarks/verdicts.py", settings)
    rows = []
    groups = [
        (GOOD, MIN_GOOD, "at least"),
        (SHORT, None, "at most"),
        (BAD, MAX_BAD, "at most"),
        (UNSEEN, None, "at most"),
    ]
    for number, (kinds, bound, sense) in enumerate(groups, start=1):
        for name in kinds:
            started = time.perf_counter()
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
