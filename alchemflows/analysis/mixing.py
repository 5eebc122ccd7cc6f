"""Make the document of a free energy of mixing from samples of a ladder of chemical potentials and temperatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.coexistence import MIN_BARRIER, Peaks, coexistence
from alchemflows.free_energy.estimators import MIN_INDEPENDENT, MIN_OVERLAP
from alchemflows.free_energy.influences import spread
from alchemflows.free_energy.mixing import MixingCurves, MixingSamples, mixing_curves
from alchemflows.free_energy.redlich_kister import RedlichKister, RedlichKisterFit, fit_excess
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.mixing import (
    Coexistence,
    CompositionPair,
    ConsolutePoint,
    ExcessFit,
    MixingDocument,
    MixingIsotherm,
    MixingState,
)
from alchemflows.schemas.monte_carlo import ArrangementSeries
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.sites import SitesSummary, worst
from alchemflows.schemas.verdict import Verdict

#: Number of random draws for the errors of phase diagrams.
N_DRAWS = 200
#: Probabilities of a gap below and above which there is none, or one.
CERTAIN = (0.025, 0.975)
#: Largest difference of the two halves of the sampling, in standard errors.
MAX_DRIFT = 4.0
#: Largest mean squared deviation of the curves from the fit, in standard errors.
MAX_DEVIATION = 4.0


def mixing_samples(
    arrangements: Arrangements,
    series: ArrangementSeries,
    second: str,
    *,
    temperature_K: float,
    bias_eV: np.ndarray,
    pressure_GPa: float | None = None,
    exchanged: bool = False,
) -> MixingSamples:
    """Return the samples of a state.

    Parameters
    ----------
    arrangements
        Arrangements of two elements.
    series
        Samples of the state.
    second
        Symbol of the element whose fraction is x.
    temperature_K
        Temperature (K).
    bias_eV
        Φ(N) (eV), shape (M + 1,), see :mod:`alchemflows.free_energy.mixing`.
    pressure_GPa
        Pressure (GPa); None at constant volume.
    exchanged
        Whether replicas were exchanged between the states.

    Raises
    ------
    InvalidInputError
        If there are not exactly two species, one of them is a vacancy, or none is the second.
    """
    species = arrangements.species
    if len(species) != 2 or VACANCY in species or second not in species:
        raise InvalidInputError(f"species: a free energy of mixing is that of two elements; got {', '.join(species)}")
    pressure = 0.0 if pressure_GPa is None else pressure_GPa * units.GPa
    return MixingSamples(
        temperature_K=temperature_K,
        bias_eV=bias_eV,
        enthalpy_eV=series.energy_eV + pressure * series.volume_A3,
        n_second=(series.labels == species.index(second)).sum(axis=1),
        walker=series.walker if exchanged else None,
    )


def analyse_mixing(
    states: Sequence[MixingSamples],
    *,
    formula: str,
    species: tuple[str, str],
    counts: Counts,
    provenance: Provenance,
    pressure_GPa: float | None = None,
    n_terms: int | None = None,
    sites: Sequence[SitesSummary] | None = None,
    exploded: str | None = None,
) -> MixingDocument:
    """Return the free energy of mixing from the samples of all states.

    Parameters
    ----------
    states
        Samples of each state.
    formula, species, counts
        Crystal with both species on the mixing sites, the two species, and the counts of the cell.
    provenance
        Provenance of the samples.
    pressure_GPa
        Pressure (GPa); None at constant volume.
    n_terms
        Number of Redlich–Kister terms, by default the smallest that describes the curves.
    sites
        Displacements of the atoms from their sites in each state; None if no atom moves.
    exploded
        Reason that names the state whose dynamics exploded, where the sampling ended; None if it was completed.

    Raises
    ------
    InvalidInputError
        As :func:`~alchemflows.free_energy.mixing.mixing_curves`.
    """
    curves = mixing_curves(states)
    try:
        fit = fit_excess(curves, n_terms)
    except InvalidInputError:
        fit = None
    draws = None if fit is None else fit.draws(N_DRAWS)
    free_energies = curves.draws(N_DRAWS)
    isotherms = [
        _isotherm(curves, t, free_energies[:, t], counts, None if fit is None else fit.values, draws)
        for t in range(len(curves.temperatures_K))
    ]
    consolute = None if draws is None or fit is None else _consolute(curves.temperatures_K, fit.values, draws)
    return MixingDocument(
        formula=formula,
        species=species,
        counts=counts,
        n_mixing_sites=curves.n_sites,
        pressure_GPa=pressure_GPa,
        temperatures_K=curves.temperatures_K.tolist(),
        isotherms=isotherms,
        states=_states(states, curves, sites),
        inefficiency=curves.inefficiency,
        fit=None if fit is None else stored_fit(fit),
        consolute=consolute,
        verdict=Verdict.of(
            [
                *([] if exploded is None else [exploded]),
                *_melted(states, sites),
                *_reasons(states, curves, species, fit),
                *_unsampled_gaps(isotherms, species[1]),
            ],
            _notes(isotherms, consolute),
        ),
        provenance=provenance,
    )


def _states(
    states: Sequence[MixingSamples], curves: MixingCurves, sites: Sequence[SitesSummary] | None
) -> list[MixingState]:
    described = []
    for k, state in enumerate(states):
        slopes = np.diff(state.bias_eV)
        linear = bool(np.ptp(slopes) <= 1e-9 * max(1.0, np.abs(state.bias_eV).max()))
        described.append(
            MixingState(
                temperature_K=state.temperature_K,
                delta_mu_eV=-float(slopes.mean()) if linear else None,
                fraction=float(curves.fractions[k]),
                fraction_error=float(curves.fraction_errors[k]),
                n_samples=len(state),
                component=int(curves.component[k]),
                sites=None if sites is None else sites[k],
            )
        )
    return described


def _isotherm(
    curves: MixingCurves,
    t: int,
    free_energies: np.ndarray,
    counts: Counts,
    fit: RedlichKister | None,
    draws: RedlichKister | None,
) -> MixingIsotherm:
    temperature_K, n_sites = float(curves.temperatures_K[t]), curves.n_sites
    drawn = [coexistence(each) for each in free_energies]
    separate = [peaks for peaks in drawn if peaks is not None and peaks.barrier >= MIN_BARRIER]
    probability = len(separate) / len(drawn)
    low, high = CERTAIN
    found = coexistence(curves.free_energies[t])
    binodal = spinodal = None
    if fit is not None and draws is not None:
        binodal = _pair(fit.binodal(temperature_K), draws.binodal(temperature_K))
        spinodal = _pair(fit.spinodal(temperature_K), draws.spinodal(temperature_K))
    return MixingIsotherm(
        temperature_K=temperature_K,
        counts=counts,
        n_mixing_sites=n_sites,
        mixing_eV=_known(curves.mixing_eV_per_site[t] * n_sites),
        mixing_errors_eV=_known(curves.mixing_errors_eV_per_site[t] * n_sites),
        n_samples=curves.counts[t].tolist(),
        gap="no gap" if probability < low else "gap" if probability > high else "uncertain",
        gap_probability=probability,
        coexistence=_coexistence(found, separate, len(drawn), units.kB * temperature_K),
        binodal=binodal,
        spinodal=spinodal,
    )


def _coexistence(found: Peaks | None, drawn: Sequence[Peaks], n_draws: int, thermal_eV: float) -> Coexistence | None:
    if found is None or found.barrier < MIN_BARRIER:
        return None
    values = np.full((3, n_draws), np.nan)
    for k, peaks in enumerate(drawn):
        values[:, k] = peaks.left, peaks.right, peaks.delta_mu
    error = spread(values[2])
    return Coexistence(
        compositions=CompositionPair(
            left=found.left, left_error=spread(values[0]), right=found.right, right_error=spread(values[1])
        ),
        delta_mu_eV=found.delta_mu * thermal_eV,
        delta_mu_error_eV=None if error is None else error * thermal_eV,
        barrier_kT=found.barrier if np.isfinite(found.barrier) else None,
    )


def _pair(values: tuple[np.ndarray, np.ndarray], draws: tuple[np.ndarray, np.ndarray]) -> CompositionPair | None:
    left, right = (float(each) for each in values)
    if not np.isfinite([left, right]).all():
        return None
    return CompositionPair(left=left, left_error=spread(draws[0]), right=right, right_error=spread(draws[1]))


def _consolute(temperatures_K: np.ndarray, fit: RedlichKister, draws: RedlichKister) -> ConsolutePoint | None:
    temperature_K, fraction = (float(each) for each in fit.consolute())
    if len(temperatures_K) < 2 or not np.isfinite(temperature_K):
        return None
    temperature_draws, fraction_draws = draws.consolute()
    return ConsolutePoint(
        temperature_K=temperature_K,
        temperature_error_K=spread(temperature_draws),
        fraction=fraction,
        fraction_error=spread(fraction_draws),
        extrapolated=not temperatures_K[0] <= temperature_K <= temperatures_K[-1],
    )


def stored_fit(fit: RedlichKisterFit) -> ExcessFit:
    """Return a fit as it is stored."""
    return ExcessFit(
        enthalpies_eV_per_mixing_site=fit.values.enthalpies_eV.tolist(),
        enthalpy_errors_eV_per_mixing_site=fit.errors.enthalpies_eV.tolist(),
        entropies_eV_per_K_per_mixing_site=fit.values.entropies_eV_per_K.tolist(),
        entropy_errors_eV_per_K_per_mixing_site=fit.errors.entropies_eV_per_K.tolist(),
        covariance=fit.covariance.tolist(),
        mean_squared_deviation=fit.mean_squared_deviation,
    )


def _known(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _reasons(
    states: Sequence[MixingSamples], curves: MixingCurves, species: tuple[str, str], fit: RedlichKisterFit | None
) -> list[str]:
    reasons = []
    for component in range(1, int(curves.component.max()) + 1):
        first, second = (_named(states, curves, np.flatnonzero(curves.component == c)) for c in (0, component))
        reasons.append(Reason.MIXING_OVERLAP.because(first=first, second=second, least=MIN_OVERLAP))
    for temperature_K, visits in zip(curves.temperatures_K, curves.counts, strict=True):
        for element, n in zip(species, (0, curves.n_sites), strict=True):
            if not visits[n]:
                reasons.append(Reason.PURE_MISSING.because(temperature=temperature_K, element=element))
        missing = [n for n in range(1, curves.n_sites) if not visits[n]]
        if missing:
            reasons.append(
                Reason.COMPOSITIONS_MISSING.because(
                    temperature=temperature_K, element=species[1], numbers=_ranges(missing), sites=curves.n_sites
                )
            )
    n_independent = float(curves.n_samples.min()) / curves.inefficiency
    if n_independent < MIN_INDEPENDENT:
        reasons.append(
            Reason.FEW_ARRANGEMENTS.because(
                where="shortest state",
                quantity="the slowest of composition and energy",
                n=n_independent,
                least=MIN_INDEPENDENT,
            )
        )
    drift = np.abs(curves.drift[:, 1:-1])
    largest = float(np.nanmax(drift)) if np.isfinite(drift).any() else 0.0
    if largest > MAX_DRIFT:
        reasons.append(Reason.HALVES.because(sigma=largest))
    if fit is not None and fit.mean_squared_deviation > MAX_DEVIATION:
        reasons.append(Reason.EXCESS_FIT.because(n=fit.n_terms, sigma=np.sqrt(fit.mean_squared_deviation)))
    return reasons


def _melted(states: Sequence[MixingSamples], sites: Sequence[SitesSummary] | None) -> list[str]:
    """Return a reason for each temperature at which atoms left their sites, that of the worst state."""
    at: dict[float, list[SitesSummary]] = {}
    for state, own in zip(states, sites or [], strict=False):
        at.setdefault(state.temperature_K, []).append(own)
    return [
        reason for temperature_K in sorted(at) for reason in worst(at[temperature_K]).reasons(f"{temperature_K:g} K")
    ]


def _unsampled_gaps(isotherms: Iterable[MixingIsotherm], element: str) -> list[str]:
    """Return the reasons why a gap is not shown, since compositions between its peaks were never visited."""
    reasons = []
    for each in isotherms:
        if each.coexistence is None or each.gap == "no gap":
            continue
        sides, n_sites = each.coexistence.compositions, each.n_mixing_sites
        within = [n for n in range(n_sites + 1) if sides.left < n / n_sites < sides.right]
        missing = [n for n in within if not each.n_samples[n]]
        if missing:
            reasons.append(
                Reason.GAP_NOT_SAMPLED.because(
                    temperature=each.temperature_K,
                    element=element,
                    left=sides.left,
                    right=sides.right,
                    n=len(missing),
                    within=len(within),
                    numbers=_ranges(missing),
                    sites=n_sites,
                )
            )
    return reasons


def _notes(isotherms: Iterable[MixingIsotherm], consolute: ConsolutePoint | None) -> list[str]:
    notes = [
        f"{each.temperature_K:g} K: whether there is a gap is uncertain (probability {each.gap_probability:.2f}); the "
        "cell is small, or the temperature is close to the consolute point"
        for each in isotherms
        if each.gap == "uncertain"
    ]
    if consolute is not None and consolute.extrapolated:
        notes.append(
            f"the consolute temperature, {consolute.temperature_K:.0f} K, is outside of the sampled temperatures"
        )
    return notes


def _named(states: Sequence[MixingSamples], curves: MixingCurves, members: np.ndarray) -> str:
    temperatures = sorted({states[k].temperature_K for k in members})
    fractions = curves.fractions[members]
    at = " to ".join(f"{each:g}" for each in dict.fromkeys((temperatures[0], temperatures[-1])))
    return f"those at {at} K with x from {fractions.min():.2f} to {fractions.max():.2f}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers as text, with ranges: 1–3, 5."""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else f"{part[0]}" for part in parts)
