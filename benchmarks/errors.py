"""Measure how often exact values are within the printed errors, for systems with known results.

    python benchmarks/errors.py [--repeats 200] [--quick] [--json FILE]

A row holds if 55 to 80 % of the repeats are within one error of the exact value and 88 to 99 % within two. Works obey
Crooks' theorem: Gaussian works, and an instantaneous change of the stiffness of harmonic modes. Ladders are harmonic
modes whose stiffness changes by a factor of 3 along the path, sampled by an exact Ornstein–Uhlenbeck process; the
default is 11 windows of 2000 samples. Results with a warning in the verdict are left out; their fraction is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import units
from scipy.signal import lfilter

from alchemflows.free_energy.errors import error_of_mean, small_sample_factor
from alchemflows.free_energy.estimators import MIN_OVERLAP, analyse_ladder
from alchemflows.free_energy.ladders import Ladder, ladder
from alchemflows.free_energy.phases import transition
from alchemflows.free_energy.size import extrapolate, logarithmic_term_eV_per_atom
from alchemflows.free_energy.work import MIN_WORK_OVERLAP, analyse_work
from alchemflows.jobs.equilibrium import error_of_mean_volume
from alchemflows.schemas.samples import WindowSeries

T = 300.0
KT = units.kB * T
WITHIN_ONE = (0.55, 0.80)
WITHIN_TWO = (0.88, 0.99)
#: Number of samples of a window: the default, and a tenth of it.
DEFAULT, TENTH = 2000, 200
#: Number of modes of a ladder, and the factor by which their stiffness changes.
N_MODES, FACTOR = 12, 3.0

Works = tuple[np.ndarray, np.ndarray]
Draw = Callable[[int, np.random.Generator], Works]


@dataclass(frozen=True)
class Row:
    """Coverage of one number: fractions of n repeats within one and two errors, and fraction with a warning."""

    name: str
    value: tuple[float, float]
    bound: tuple[tuple[float, float], tuple[float, float]]
    n: int
    warned: float
    holds: bool


def row(name: str, z: np.ndarray | list[float], n_repeats: int) -> Row:
    """Return the row of deviations in units of their errors."""
    size = np.abs(np.asarray(z))
    value = float((size < 1).mean()), float((size < 2).mean())
    holds = all(low <= share <= high for share, (low, high) in zip(value, (WITHIN_ONE, WITHIN_TWO), strict=True))
    return Row(name, value, (WITHIN_ONE, WITHIN_TWO), len(size), 1 - len(size) / n_repeats, holds)


def gaussian_works(sigma_kT: float, n: int, rng: np.random.Generator) -> Works:
    """Return works (eV) of n switches in each direction with ΔF = 0; they dissipate σ²/2."""
    forward, backward = KT * rng.normal(sigma_kT**2 / 2, sigma_kT, (2, n))
    return forward, backward


def stiffening_works(factor: float, n_modes: int, n: int, rng: np.random.Generator) -> Works:
    """Return works (eV) of an instantaneous change of stiffness of harmonic modes, minus its exact ΔF."""
    forward, backward = rng.chisquare(n_modes, n), rng.chisquare(n_modes, n) / factor
    exact = n_modes / 2 * np.log(factor)
    return KT * ((factor - 1) / 2 * forward - exact), KT * ((1 - factor) / 2 * backward + exact)


def switching_rows(name: str, draw: Draw, n: int, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of the mean and of BAR from n switches in each direction."""
    rng = np.random.default_rng(seed)
    results = [analyse_work(*draw(n, rng), T) for _ in range(n_repeats)]
    yield row(f"{name}, {n} + {n}: mean", [r.mean[0] / r.mean[1] for r in results], n_repeats)
    trusted = [r.bar for r in results if r.bar is not None and r.overlap >= MIN_WORK_OVERLAP]
    yield row(f"{name}, {n} + {n}: BAR", [value / error for value, error in trusted], n_repeats)


def harmonic_ladder(
    lambdas: tuple[float, ...], n: int, memory: float, rng: np.random.Generator, *, exponential: bool = False
) -> list[WindowSeries]:
    """Return samples of modes whose stiffness goes from 1 to FACTOR, linearly in λ or exponentially.

    The autocorrelation time of dU/dλ is `memory` samples.
    """
    places = np.array(lambdas)
    stiffness = FACTOR**places if exponential else 1 + (FACTOR - 1) * places
    slope = np.log(FACTOR) * stiffness if exponential else np.full(len(places), FACTOR - 1)
    decay = np.exp(-0.5 / memory) if memory else 0.0
    noise = rng.normal(size=(len(places), n, N_MODES))
    noise[:, 1:] *= np.sqrt(1 - decay**2)
    half = KT * (lfilter([1], [1, -decay], noise, axis=1) ** 2).sum(axis=2) / (2 * stiffness[:, None])
    time, constant = np.arange(1.0, n + 1), np.ones(n)
    return [
        WindowSeries(
            time, half[k] * stiffness[k], half[k] * slope[k], T * constant, half[k][:, None] * stiffness, constant
        )
        for k in range(len(places))
    ]


def ladder_rows(
    name: str, planned: Ladder, n: int, memory: float, n_repeats: int, *, exponential: bool = False, seed: int = 0
) -> Iterator[Row]:
    """Yield the rows of TI, BAR, MBAR and the means of the windows."""
    rng, places = np.random.default_rng(seed), np.array(planned.grid)
    results = []
    for _ in range(n_repeats):
        series = harmonic_ladder(planned.grid, n, memory, rng, exponential=exponential)
        result = analyse_ladder(planned.grid, series, T, quadrature=planned.quadrature)
        if np.diagonal(result.overlap, offset=1).min() >= MIN_OVERLAP:
            results.append(result)
    exact = N_MODES / 2 * KT * np.log(FACTOR)
    for method in ("ti", "bar", "mbar"):
        values, errors = np.array([getattr(result, method) for result in results]).T
        yield row(f"{name}: {method.upper()}", (values - exact) / errors, n_repeats)
    slope = np.full(len(places), np.log(FACTOR)) if exponential else (FACTOR - 1) / (1 + (FACTOR - 1) * places)
    z = [(result.mean_dudl_eV - N_MODES / 2 * KT * slope) / result.error_dudl_eV for result in results]
    yield row(f"{name}: ⟨∂U/∂λ⟩", np.concatenate(z), n_repeats * len(places))


def mean_row(n: int, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of means over repeats of a campaign, or over random arrangements."""
    values = np.random.default_rng(seed).normal(size=(n_repeats, n))
    return row(f"mean over {n} repeats or arrangements", [v.mean() / error_of_mean(v) for v in values], n_repeats)


def volume_row(n: int, n_replicas: int, memory: float, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of the mean volume of an equilibrium run."""
    rng, decay = np.random.default_rng(seed), np.exp(-1 / memory)
    z = []
    for _ in range(n_repeats):
        noise = rng.normal(size=(n, n_replicas))
        noise[1:] *= np.sqrt(1 - decay**2)
        series = 100 + lfilter([1], [1, -decay], noise, axis=0)
        z.append((series.mean() - 100) / error_of_mean_volume(series))
    return row(f"mean volume, {n} samples of {n_replicas}, memory of {memory:g} samples", z, n_repeats)


def switched(n_cells: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return deviations and errors of 4 + 4 switches, in units of the exact error."""
    errors = np.sqrt(rng.chisquare(6, n_cells) / 6) * small_sample_factor(6)
    return rng.normal(size=n_cells), errors


def size_row(n_cells: int, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of the limit of large cells."""
    rng, z = np.random.default_rng(seed), []
    for _ in range(n_repeats):
        noise, errors = switched(n_cells, rng)
        n_atoms = [16, 54, 128, 250][:n_cells]
        values = [v + logarithmic_term_eV_per_atom(n, T) for v, n in zip(noise, n_atoms, strict=True)]
        found = extrapolate(n_atoms, values, errors.tolist(), T)
        z.append(found.limit / found.error)
    return row(f"limit of {n_cells} sizes", z, n_repeats)


def transition_row(n: int, error_K: float, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of a transition temperature near the middle of n temperatures 50 K apart."""
    rng, z = np.random.default_rng(seed), []
    temperatures = 300.0 + 50.0 * np.arange(n)
    exact = temperatures.mean() + 3.0
    for _ in range(n_repeats):
        noise, errors = switched(n, rng)
        found = transition(temperatures.tolist(), exact - temperatures + error_K * noise, error_K * errors)
        if found.temperature_K is not None and found.error_K is not None:
            z.append((found.temperature_K - exact) / found.error_K)
    return row(f"transition between {n} temperatures, each off by {error_K:g} K", z, n_repeats)


def vacancy_rows(n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of both routes to a vacancy and of their difference; works of σ = 1 k_B T, 4 + 4."""
    rng, n_atoms = np.random.default_rng(seed), 32
    z: dict[str, list[float]] = {"two Frenkel–Ladd runs": [], "removal": [], "difference": []}
    for _ in range(n_repeats):
        (g, e), (defect, e_defect), (removal, e_removal) = (
            analyse_work(*gaussian_works(1.0, 4, rng), T).best for _ in range(3)
        )
        two, one = defect - (n_atoms - 1) / n_atoms * g, removal + g / n_atoms
        z["two Frenkel–Ladd runs"].append(two / np.hypot(e_defect, (n_atoms - 1) / n_atoms * e))
        z["removal"].append(one / np.hypot(e_removal, e / n_atoms))
        z["difference"].append((one - two) / np.sqrt(e**2 + e_defect**2 + e_removal**2))
    for name, deviations in z.items():
        yield row(f"vacancy: {name}", deviations, n_repeats)


def rows(n_repeats: int) -> Iterator[Row]:
    """Yield all rows."""
    for n in (3, 4, 8, 32):
        for sigma in (0.3, 1.0, 2.0, 3.0):
            name = f"works, Gaussian, σ = {sigma:g} k_B T"
            yield from switching_rows(name, partial(gaussian_works, sigma), n, n_repeats)
        for factor, modes in ((1.3, 24), (3.0, 3)):
            name = f"works, stiffness of {modes} modes × {factor:g}"
            yield from switching_rows(
                name, lambda m, rng, f=factor, k=modes: stiffening_works(f, k, m, rng), n, n_repeats
            )
    for n in (DEFAULT, TENTH):
        for memory in (0.0, 1.5, 5.0, 20.0):
            name = f"11 windows, {n} samples, memory of {memory:g}"
            yield from ladder_rows(name, ladder(11), n, memory, n_repeats)
        name = f"11 windows, {n} samples, memory of 5, not linear in λ"
        yield from ladder_rows(name, ladder(11), n, 5.0, n_repeats, exponential=True)
        name = f"5 nodes of Gauss–Legendre, {n} samples, memory of 5"
        yield from ladder_rows(name, ladder(5, "gauss-legendre"), n, 5.0, n_repeats)
    yield from (mean_row(n, n_repeats) for n in (2, 3, 4, 5))
    yield from (
        volume_row(n, b, m, n_repeats) for n, b in ((1000, 1), (100, 1), (500, 4), (50, 4)) for m in (2.0, 12.5)
    )
    yield from (size_row(n, n_repeats) for n in (2, 3, 4))
    yield from (transition_row(n, error, n_repeats) for n in (2, 3, 4, 5) for error in (2.0, 10.0))
    yield from vacancy_rows(n_repeats)


def main() -> int:
    """Print the table and write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="number of repeats of each row [default: %(default)s]")
    parser.add_argument("--quick", action="store_true", help="use 4 repeats, to try the script")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    chosen = parser.parse_args()
    found = []
    print(
        "| number | within 1 error (%) | within 2 errors (%) | with a warning (%) | holds |\n"
        "| --- | --- | --- | --- | --- |"
    )
    for each in rows(4 if chosen.quick else chosen.repeats):
        found.append(each)
        one, two = (f"{100 * share:.0f}" for share in each.value)
        print(
            f"| {each.name} | {one} | {two} | {100 * each.warned:.0f} | {'yes' if each.holds else 'NO'} |", flush=True
        )
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
