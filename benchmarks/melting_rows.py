"""Coverage of the errors of melting points: two phases of harmonic modes whose enthalpy is scaled in finite time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from error_rows import Row, row
from isoline_rows import ANCHOR, ANCHOR_ERROR, HIGH, LOW, N_MOMENTA, N_POINTS, swept
from phase_rows import ENERGY, EXTRA_VOLUME, TEMPERATURES, TRANSITION, gibbs

from alchemflows.free_energy.curves import work_curve
from alchemflows.free_energy.isolines import Anchor, isobar
from alchemflows.free_energy.melting import PerAtomCurve, melting_point


def phase_curve(
    energy_eV: float, volume_A3: float, n: int, memory: float, rng: np.random.Generator
) -> tuple[PerAtomCurve, float]:
    """Return the curve of a phase with an energy and a volume besides those of the modes, and the overlap of works."""
    path = np.geomspace(LOW, HIGH, N_POINTS)
    scales = LOW / path
    forward, ahead = swept(scales, n, memory, rng)
    backward, behind = swept(scales[::-1], n, memory, rng)
    work = work_curve(
        forward + energy_eV * (scales - scales[0]), backward + energy_eV * (scales[::-1] - scales[-1]), LOW
    )
    anchor = Anchor(ANCHOR, gibbs(energy_eV) + rng.normal(0, ANCHOR_ERROR), ANCHOR_ERROR)
    volumes = (ahead + volume_A3, behind[:, ::-1] + volume_A3)
    found = isobar(work, path, volumes, anchor, TEMPERATURES, N_MOMENTA, 0)
    return PerAtomCurve(TEMPERATURES, found.gibbs_eV, found.enthalpy_eV, found.volume_A3), work.ends.overlap


def melting_rows(n: int, memory: float, n_repeats: int) -> Iterator[Row]:
    """Yield rows of the melting point, the latent heat and the volume change from n switches in each direction."""
    rng = np.random.default_rng(0)
    exact = {"temperature_K": TRANSITION, "latent_heat_eV": ENERGY, "volume_change_A3": EXTRA_VOLUME}
    deviations: dict[str, list[float]] = {name: [] for name in exact}
    for _ in range(n_repeats):
        (solid, overlap), (liquid, other) = (
            phase_curve(energy, volume, n, memory, rng) for energy, volume in ((0.0, 0.0), (ENERGY, EXTRA_VOLUME))
        )
        found = melting_point(solid, liquid)
        if min(overlap, other) < 0.1 or found is None:
            continue
        for name, value in exact.items():
            measured, error = getattr(found, name)
            deviations[name].append((measured - value) / error)
    for name, z in deviations.items():
        yield row(f"melting point, {name}, {n} + {n}", z, n_repeats)
