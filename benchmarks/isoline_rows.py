"""Coverage of the errors of free energies along isobars: harmonic modes whose enthalpy is scaled in finite time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from ase import units
from error_rows import Row, row

from alchemflows.free_energy.curves import work_curve
from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.isolines import Anchor, Isobar, isobar
from alchemflows.free_energy.quantum import WignerKirkwood, wigner_kirkwood, wigner_kirkwood_over_pressure

LOW, ANCHOR, HIGH = 300.0, 400.0, 900.0
N_MODES, N_MOMENTA, N_POINTS = 60, 60, 61
#: Error of the anchor (eV), volume (Å³), and its thermal expansion (1/K).
ANCHOR_ERROR, VOLUME, EXPANSION = 0.01, 1000.0, 1e-4
TEMPERATURES = np.array([300.0, 450.0, 900.0])
#: Pressures of a sweep and of its results (GPa), and the relative change of the stiffness (1/GPa).
PRESSURES, RESULTS_GPA, STIFFENING = np.linspace(0.0, 10.0, N_POINTS), np.array([0.0, 4.0, 10.0]), 0.05


def swept(
    scales: np.ndarray, n: int, memory: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return works (eV) of n switches until each scale, shape (n, m), and volumes between them, shape (n, m − 1).

    Between two changes of the scale the modes relax; `memory` is their correlation over this time. The third result are
    the squares of the scaled forces (eV²/Å²/amu) between the scales, shape (n, m − 1, 1), of three modes with unit mass
    for each atom.
    """
    x = rng.normal(0, np.sqrt(1 / scales[0]), (n, N_MODES))
    works, volumes, squares, noise = [np.zeros(n)], [], [], rng.normal(size=n)
    for before, after in pairwise(scales):
        works.append(works[-1] + units.kB * LOW * (after - before) / 2 * (x**2).sum(axis=1))
        x = memory * x + rng.normal(0, np.sqrt((1 - memory**2) / after), x.shape)
        squares.append(after * np.sqrt(before * after) * (units.kB * LOW) ** 2 * (x**2).sum(axis=1))
        noise = memory * noise + np.sqrt(1 - memory**2) * rng.normal(size=n)
        temperature = 2 * LOW / (before + after)
        volumes.append(VOLUME * (1 + EXPANSION * temperature + 1e-3 * np.sqrt(temperature) * noise))
    return np.array(works).T, np.array(volumes).T, np.array(squares).T[..., None]


def curve(n: int, memory: float, rng: np.random.Generator) -> tuple[Isobar, WignerKirkwood, float]:
    """Return thermodynamics and quantum correction from n + n switches, and the overlap of their works."""
    path = np.geomspace(LOW, HIGH, N_POINTS)
    forward, ahead, pushed = swept(LOW / path, n, memory, rng)
    backward, behind, pulled = swept(LOW / path[::-1], n, memory, rng)
    work = work_curve(forward, backward, LOW)
    anchor = Anchor(ANCHOR, rng.normal(0, ANCHOR_ERROR), ANCHOR_ERROR)
    found = isobar(work, path, (ahead, behind[:, ::-1]), anchor, TEMPERATURES, N_MOMENTA, 0)
    quantum = wigner_kirkwood((pushed, pulled[:, ::-1]), np.array([N_MODES // 3]), path, TEMPERATURES)
    return found, quantum, work.ends.overlap


def isobar_rows(n: int, memory: float, n_repeats: int) -> Iterator[Row]:
    """Yield rows of G, H, S, the heat capacity, the volume, the expansion and the quantum correction."""
    rng = np.random.default_rng(0)
    curves = [each for each in (curve(n, memory, rng) for _ in range(n_repeats)) if each[2] > 0.1]
    results = [isobar for isobar, _, _ in curves]
    per_K, t = units.kB * (N_MODES + N_MOMENTA) / 2, TEMPERATURES
    volume = VOLUME * (1 + EXPANSION * t)
    exact = {
        "gibbs_eV": -per_K * t * np.log(t / ANCHOR),
        "enthalpy_eV": per_K * t,
        "entropy_eV_per_K": per_K * (1 + np.log(t / ANCHOR)),
        "heat_capacity_eV_per_K": per_K + 0 * t,
        "volume_A3": volume,
        "expansion_per_K": VOLUME * EXPANSION / volume,
    }
    for name, values in exact.items():
        for k, value in enumerate(values):
            found = [getattr(result, name) for result in results]
            deviations = [(series.values[k] - value) / series.errors[k] for series in found]
            yield row(f"{name}, {t[k]:g} K, {n} + {n}", deviations, n_repeats)
    for k, value in enumerate(HBAR**2 * N_MODES * LOW / (24 * t)):
        deviations = [(quantum.values[k] - value) / quantum.errors[k] for _, quantum, _ in curves]
        yield row(f"Wigner–Kirkwood, {t[k]:g} K, {n} + {n}", deviations, n_repeats)


def squeezed(pressures_GPa: np.ndarray, n: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Return the squares of the forces in n switches over the pressure, as those of :func:`swept`, at :data:`LOW`."""
    stiffness = 1 + STIFFENING * pressures_GPa
    x, squares = rng.normal(0, np.sqrt(1 / stiffness[0]), (n, N_MODES)), []
    for before, after in pairwise(stiffness):
        x = memory * x + rng.normal(0, np.sqrt((1 - memory**2) / after), x.shape)
        squares.append(after * (before + after) / 2 * units.kB * LOW * (x**2).sum(axis=1))
    return np.array(squares).T[..., None]


def isotherm_rows(n: int, memory: float, n_repeats: int) -> Iterator[Row]:
    """Yield rows of the quantum correction over the pressure."""
    rng, counts, deviations = np.random.default_rng(0), np.array([N_MODES // 3]), []
    exact = HBAR**2 * N_MODES * (1 + STIFFENING * RESULTS_GPA) / (24 * units.kB * LOW)
    for _ in range(n_repeats):
        squares = squeezed(PRESSURES, n, memory, rng), squeezed(PRESSURES[::-1], n, memory, rng)[:, ::-1]
        found = wigner_kirkwood_over_pressure(squares, counts, PRESSURES, RESULTS_GPA, LOW)
        deviations.append((found.values - exact) / found.errors)
    for pressure, each in zip(RESULTS_GPA, np.transpose(deviations), strict=True):
        yield row(f"Wigner–Kirkwood, {pressure:g} GPa, {n} + {n}", each, n_repeats)
