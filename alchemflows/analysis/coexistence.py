"""Analysis of solid and liquid in contact: temperatures and cells of a run, and the document of its enthalpies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units

from alchemflows.analysis.isolines import N_STRAINS
from alchemflows.free_energy.growth import (
    Growth,
    MeltingOfRates,
    growths,
    melting_of_rates,
    n_measured,
    section_means,
    solid_fraction,
)
from alchemflows.schemas.coexistence import CoexistenceDocument, CoexistenceGrowth
from alchemflows.schemas.isolines import TemperatureSweepDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Number of sections of the production, in each of which the share of the solid is a mean.
N_SECTIONS = 20
#: Largest difference between the melting points of the crossing and of coexistence, in standard errors.
MAX_SIGMA = 3.0


def temperatures_around(crossing: MeltingDocument, spread: float, n: int) -> np.ndarray:
    """Return temperatures (K) around the crossing of two curves, within the range that both contain.

    Parameters
    ----------
    crossing
        The crossing; without one the temperatures are spread over the whole range.
    spread
        Distance of the highest and of the lowest temperature from the crossing, divided by it.
    n
        Number of temperatures.
    """
    low, high = crossing.range_K
    if crossing.melting_K is not None:
        low, high = max(low, crossing.melting_K * (1 - spread)), min(high, crossing.melting_K * (1 + spread))
    return np.linspace(low, high, n)


def volume_A3_per_atom(curve: TemperatureSweepDocument, temperature_K: float) -> float:
    """Return the volume of a phase (Å³/atom) at a temperature of its curve."""
    return curve.counts.per_atom(float(np.interp(temperature_K, curve.temperatures_K, curve.volumes_A3.values)))


def configurational_enthalpy_eV_per_atom(curve: TemperatureSweepDocument, temperatures_K: np.ndarray) -> np.ndarray:
    """Return ⟨U⟩ + pV of a phase (eV/atom) at temperatures of its curve: H without the energy of the momenta.

    H of a curve contains ½ k_B T for each momentum, and not for the strains of the cell that fluctuate.
    """
    n_momenta = 3 * curve.counts.sites - N_STRAINS[curve.settings.cell_freedom]
    enthalpy = np.interp(temperatures_K, curve.temperatures_K, curve.enthalpy_eV.values)
    return curve.counts.per_atom(enthalpy - n_momenta / 2 * units.kB * temperatures_K)


def coexistence_document(
    crossing: MeltingDocument,
    temperatures_K: np.ndarray,
    enthalpy_eV: np.ndarray,
    interval_ps: float,
    **others: Any,
) -> CoexistenceDocument:
    """Return the document of solid and liquid in contact.

    Parameters
    ----------
    crossing
        Curves of both phases, and where they cross.
    temperatures_K
        Temperatures (K), ascending, shape (k,).
    enthalpy_eV
        U + pV (eV) in n samples of all replicas, those of one temperature after one another, shape (n, k · R).
    interval_ps
        Time between two samples (ps).
    **others
        Fields of the document that do not depend on the enthalpies.
    """
    n_atoms = others["counts"].atoms
    phases = [configurational_enthalpy_eV_per_atom(each, temperatures_K) for each in (crossing.solid, crossing.liquid)]
    means, times = section_means(enthalpy_eV / n_atoms, N_SECTIONS)
    fractions = [
        solid_fraction(rows, solid, liquid)
        for rows, solid, liquid in zip(np.split(means, len(temperatures_K)), *phases, strict=True)
    ]
    section_ps = float(times[1] - times[0]) * interval_ps
    found = growths(fractions, section_ps)
    points = [_point(*values) for values in zip(temperatures_K.tolist(), *phases, fractions, found, strict=True)]
    rates = melting_of_rates(temperatures_K.tolist(), found)
    grows = {phase: [each.temperature_K for each in points if each.grows == phase] for phase in ("solid", "liquid")}
    sigma = _sigma(crossing, rates)
    return CoexistenceDocument(
        formula=crossing.formula,
        pressure_GPa=crossing.pressure_GPa,
        crossing_K=crossing.melting_K,
        crossing_error_K=crossing.melting_error_K,
        times_ps=(times * interval_ps).tolist(),
        points=points,
        solid_grows_to_K=max(grows["solid"], default=None),
        liquid_grows_from_K=min(grows["liquid"], default=None),
        melting_K=rates.temperature_K,
        melting_error_K=rates.error_K,
        chi_squared_per_degree=rates.chi_squared_per_degree,
        deviation_sigma=sigma,
        verdict=Verdict.of(_reasons(points, rates, crossing, sigma)),
        **others,
    )


def _point(
    temperature_K: float, solid: float, liquid: float, fractions: np.ndarray, growth: Growth
) -> CoexistenceGrowth:
    return CoexistenceGrowth(
        temperature_K=temperature_K,
        solid_eV_per_atom=float(solid),
        liquid_eV_per_atom=float(liquid),
        solid_fractions=fractions.tolist(),
        n_measured=n_measured(fractions).tolist(),
        rate_per_ps=growth.rate_per_ps,
        rate_error_per_ps=growth.error_per_ps,
        grows=growth.phase,
    )


def _sigma(crossing: MeltingDocument, rates: MeltingOfRates) -> float | None:
    """Return the difference between the melting points in units of their combined error."""
    if crossing.melting_K is None or rates.temperature_K is None:
        return None
    error = float(np.hypot(crossing.melting_error_K or 0.0, rates.error_K or 0.0))
    return (rates.temperature_K - crossing.melting_K) / error


def _reasons(
    points: Sequence[CoexistenceGrowth], rates: MeltingOfRates, crossing: MeltingDocument, sigma: float | None
) -> list[str]:
    """Return the reasons against the result."""
    ends = {"low": points[0].temperature_K, "high": points[-1].temperature_K}
    reasons = [
        Reason.COEXISTENCE_OPEN.because(**ends, phase=phase)
        for phase in ("solid", "liquid")
        if all(each.grows != phase for each in points)
    ]
    melted = [each.temperature_K for each in points if each.grows == "liquid"]
    frozen = [each.temperature_K for each in points if each.grows == "solid"]
    if melted and frozen and max(frozen) > min(melted):
        reasons.append(Reason.COEXISTENCE_ORDER.because(solid=max(frozen), liquid=min(melted)))
    if sigma is not None and abs(sigma) > MAX_SIGMA:
        values = {"value": rates.temperature_K, "error": rates.error_K, "crossing": crossing.melting_K}
        reasons.append(Reason.COEXISTENCE_DEVIATES.because(**values, sigma=abs(sigma)))
    return reasons
