"""Coverage of the errors of transitions between two curves G(T): harmonic modes whose enthalpy is scaled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import units
from error_rows import Row, row
from isoline_rows import ANCHOR, ANCHOR_ERROR, HIGH, LOW, N_MODES, N_MOMENTA, N_POINTS, swept

from alchemflows.free_energy.curves import work_curve
from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.isolines import Anchor, Isotherm, isobar, isotherm
from alchemflows.free_energy.phases import PhaseIsobar, boundary, transition_of_curves
from alchemflows.free_energy.quantum import CorrectedPhase, WignerKirkwood, transition_shift_K, wigner_kirkwood

#: Transition temperature (K), ΔS (eV/K) and ΔV (Å³) there, and ΔE, which makes G the same at this temperature.
TRANSITION, ENTROPY, EXTRA_VOLUME = 600.0, 3e-3, 40.0
ENERGY = TRANSITION * ENTROPY
TEMPERATURES = np.linspace(LOW, HIGH, 13)
#: Ratio of the masses of the second and the first phase, for the quantum correction.
LIGHTER = 3.0
#: Second pressure of a boundary, GPa and eV/Å³, and the noise of the works to it, in k_B T.
PRESSURE_GPA = 1.0
PRESSURE, NOISE = PRESSURE_GPA * units.GPa, 0.3


def phase(
    energy_eV: float,
    anchor: Anchor,
    anchor_shares: np.ndarray,
    volume_A3: float,
    n: int,
    memory: float,
    rng: np.random.Generator,
) -> tuple[PhaseIsobar, WignerKirkwood, float]:
    """Return the curve of a phase with an energy and a volume besides those of the modes, and the overlap of works.

    The shares of the anchor are what several switches add to its error. The quantum correction is that at the
    transition.
    """
    path = np.geomspace(LOW, HIGH, N_POINTS)
    forward, ahead, pushed = swept(LOW / path, n, memory, rng)
    backward, behind, pulled = swept(LOW / path[::-1], n, memory, rng)
    scales = LOW / path
    work = work_curve(
        forward + energy_eV * (scales - scales[0]), backward + energy_eV * (scales[::-1] - scales[-1]), LOW
    )
    volumes = (ahead + volume_A3, behind[:, ::-1] + volume_A3)
    found = isobar(work, path, volumes, anchor, TEMPERATURES, N_MOMENTA, 0)
    values = np.stack([found.gibbs_eV.values, found.entropy_eV_per_K.values, found.volume_A3.values])
    pattern = found.shares[-1] / anchor.error_eV
    shares = np.concatenate([found.shares[:-1], np.multiply.outer(anchor_shares, pattern)])
    quantum = wigner_kirkwood((pushed, pulled[:, ::-1]), np.array([N_MODES // 3]), path, [TRANSITION])
    return PhaseIsobar(TEMPERATURES, values, shares, len(anchor_shares)), quantum, work.ends.overlap


def gibbs(energy_eV: float) -> float:
    """Return G at the anchor of a phase without pressure, whose entropy is that of the energy."""
    return energy_eV * (1 - ANCHOR / TRANSITION)


def phase_rows(n: int, memory: float, n_repeats: int) -> Iterator[Row]:
    """Yield rows of the transition temperature, ΔS, latent heat, ΔV, dT/dp and shift from n switches in each direction.

    The second phase has the additional energy ΔE = T ΔS and the additional entropy ΔS, so that G is the same at T. The
    atoms of the first phase are lighter by :data:`LIGHTER`, so that quantum nuclei shift the temperature.
    """
    rng, k = np.random.default_rng(0), int(np.argmin(np.abs(TEMPERATURES - TRANSITION)))
    exact = {
        "temperature_K": TRANSITION,
        "entropy_eV_per_K": ENTROPY,
        "latent_heat_eV": ENERGY,
        "volume_A3": EXTRA_VOLUME,
        "boundary_K_per_GPa": EXTRA_VOLUME / ENTROPY * units.GPa,
        "quantum_shift_K": (1 - LIGHTER) * HBAR**2 * N_MODES * LOW / (24 * TRANSITION) / ENTROPY,
    }
    deviations: dict[str, list[float]] = {name: [] for name in exact}
    for _ in range(n_repeats):
        (first, light, overlap), (second, heavy, other) = (
            phase(
                energy,
                Anchor(ANCHOR, gibbs(energy) + rng.normal(0, ANCHOR_ERROR), ANCHOR_ERROR),
                np.array([ANCHOR_ERROR]),
                volume,
                n,
                memory,
                rng,
            )
            for energy, volume in ((0.0, 0.0), (ENERGY, EXTRA_VOLUME))
        )
        found = transition_of_curves(first, second)
        if min(overlap, other) < 0.1 or found.temperature_K is None or found.error_K is None:
            continue
        pairs = {"temperature_K": (found.temperature_K, found.error_K)}
        pairs |= {name: getattr(found, name) for name in exact if name not in ("temperature_K", "quantum_shift_K")}
        corrected = (
            CorrectedPhase(c * quantum.values[0], c * quantum.shares[:, 0], curve.values[1, k], curve.shares[:, 1, k])
            for curve, quantum, c in ((first, light, LIGHTER), (second, heavy, 1.0))
        )
        pairs["quantum_shift_K"] = transition_shift_K(*corrected)
        for name, (value, error) in pairs.items():
            deviations[name].append((value - exact[name]) / error)
    for name, z in deviations.items():
        yield row(f"transition between curves, {name}, {n} + {n}", z, n_repeats)


def squeezed(energy_eV: float, volume_A3: float, n: int, rng: np.random.Generator) -> Isotherm:
    """Return G of a phase at two pressures, from an anchor and n works in each direction that obey Crooks' theorem."""
    kT, path = units.kB * ANCHOR, np.linspace(0.0, PRESSURE, 11)
    sigma = NOISE * kT / np.sqrt(len(path) - 1)
    exact = volume_A3 * np.diff(path)

    def works(sign: int) -> np.ndarray:
        moved = sign * exact[::sign] + sigma**2 / (2 * kT) + sigma * rng.normal(size=(n, len(exact)))
        return np.cumsum(np.column_stack([np.zeros(n), moved]), axis=1)

    anchor = Anchor(0.0, gibbs(energy_eV) + rng.normal(0, ANCHOR_ERROR), ANCHOR_ERROR)
    return isotherm(work_curve(works(1), works(-1), ANCHOR), path, anchor, np.array([0.0, PRESSURE]))


def boundary_rows(n: int, memory: float, n_repeats: int) -> Iterator[Row]:
    """Yield rows of a boundary T(p): the temperature at the second pressure, and its deviation from dT/dp."""
    rng = np.random.default_rng(0)
    exact = TRANSITION + EXTRA_VOLUME / ENTROPY * PRESSURE
    temperatures, deviations = [], []
    for _ in range(n_repeats):
        curves, overlaps = [], []
        for energy, volume in ((0.0, 0.0), (ENERGY, EXTRA_VOLUME)):
            known = squeezed(energy, volume, n, rng)
            for k, pressure in enumerate((0.0, PRESSURE)):
                anchor = Anchor(ANCHOR, known.gibbs_eV.values[k], known.gibbs_eV.errors[k])
                curve, _, overlap = phase(
                    energy + pressure * volume, anchor, known.shares[:, k], volume, n, memory, rng
                )
                curves.append(curve)
                overlaps.append(overlap)
        found = boundary([0.0, PRESSURE_GPA], list(zip(curves[:2], curves[2:], strict=True)))
        upper, deviation = found.transitions[1], found.deviations_K[0]
        if min(overlaps) < 0.1 or upper.temperature_K is None or upper.error_K is None or deviation is None:
            continue
        temperatures.append((upper.temperature_K - exact) / upper.error_K)
        deviations.append(deviation[0] / deviation[1])
    yield row(f"transition at a second pressure, {n} + {n}", temperatures, n_repeats)
    yield row(f"deviation of a boundary from dT/dp, {n} + {n}", deviations, n_repeats)
