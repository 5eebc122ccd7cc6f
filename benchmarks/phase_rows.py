"""Coverage of the errors of transitions between two curves G(T): harmonic modes whose enthalpy is scaled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import units
from error_rows import Row, row
from isoline_rows import ANCHOR, ANCHOR_ERROR, HIGH, LOW, N_MOMENTA, N_POINTS, swept

from alchemflows.free_energy.curves import work_curve
from alchemflows.free_energy.isolines import Anchor, isobar
from alchemflows.free_energy.phases import PhaseIsobar, transition_of_curves

#: Transition temperature (K), ΔS (eV/K) and ΔV (Å³) there.
TRANSITION, ENTROPY, EXTRA_VOLUME = 600.0, 3e-3, 40.0
TEMPERATURES = np.linspace(LOW, HIGH, 13)


def phase(
    energy_eV: float, gibbs_eV: float, volume_A3: float, n: int, memory: float, rng: np.random.Generator
) -> tuple[PhaseIsobar, float]:
    """Return the curve of a phase with an energy and a value of G at the anchor, and the overlap of the works."""
    path = np.geomspace(LOW, HIGH, N_POINTS)
    forward, ahead = swept(LOW / path, n, memory, rng)
    backward, behind = swept(LOW / path[::-1], n, memory, rng)
    scales = LOW / path
    work = work_curve(
        forward + energy_eV * (scales - scales[0]), backward + energy_eV * (scales[::-1] - scales[-1]), LOW
    )
    anchor = Anchor(ANCHOR, gibbs_eV + rng.normal(0, ANCHOR_ERROR), ANCHOR_ERROR)
    volumes = (ahead + volume_A3, behind[:, ::-1] + volume_A3)
    found = isobar(work, path, volumes, anchor, TEMPERATURES, N_MOMENTA, 0)
    values = np.stack([found.gibbs_eV.values, found.entropy_eV_per_K.values, found.volume_A3.values])
    return PhaseIsobar(TEMPERATURES, values, found.shares), work.ends.overlap


def phase_rows(n: int, memory: float, n_repeats: int) -> Iterator[Row]:
    """Yield rows of the transition temperature, ΔS, latent heat, ΔV and dT/dp from n switches in each direction.

    The second phase has an additional energy ΔE = T ΔS and the additional entropy ΔS, so that G is the same at T.
    """
    rng = np.random.default_rng(0)
    exact = {
        "temperature_K": TRANSITION,
        "entropy_eV_per_K": ENTROPY,
        "latent_heat_eV": TRANSITION * ENTROPY,
        "volume_A3": EXTRA_VOLUME,
        "boundary_K_per_GPa": EXTRA_VOLUME / ENTROPY * units.GPa,
    }
    deviations: dict[str, list[float]] = {name: [] for name in exact}
    for _ in range(n_repeats):
        first, overlap = phase(0.0, 0.0, 0.0, n, memory, rng)
        energy = TRANSITION * ENTROPY
        second, other = phase(energy, energy - ANCHOR * ENTROPY, EXTRA_VOLUME, n, memory, rng)
        found = transition_of_curves(first, second)
        if min(overlap, other) < 0.1 or found.temperature_K is None or found.error_K is None:
            continue
        pairs = {"temperature_K": (found.temperature_K, found.error_K)}
        pairs |= {name: getattr(found, name) for name in exact if name != "temperature_K"}
        for name, (value, error) in pairs.items():
            deviations[name].append((value - exact[name]) / error)
    for name, z in deviations.items():
        yield row(f"transition between curves, {name}, {n} + {n}", z, n_repeats)
