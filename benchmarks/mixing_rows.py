"""Coverage of the errors of Monte Carlo: averages over chains, free energies of mixing, and phase diagrams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.optimize import brentq
from scipy.signal import lfilter

from alchemflows.analysis.mixing import analyse_mixing
from alchemflows.free_energy.chains import chain_estimate, variance_of
from alchemflows.free_energy.mixing import MixingSamples, log_arrangements, semi_grand_bias_eV
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason

#: Mean-field mixture, E = w N (M − N) / M with M sites; its consolute temperature is w / (2 k_B).
N_SITES, CONSOLUTE_K = 16, 700.0
INTERACTION_EV = 2 * units.kB * CONSOLUTE_K
TEMPERATURES_K = (500.0, 800.0)
#: Reasons with which results are kept.
NOT_VISITED = {Reason.COMPOSITIONS_MISSING, Reason.GAP_NOT_SAMPLED}
DELTA_MU_EV = (-0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


def chain_rows(n: int, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of mean and variance (heat capacity) of four autoregressive chains of n samples."""
    rng, decay = np.random.default_rng(seed), np.exp(-1 / 2)
    mean, variance = [], []
    for _ in range(n_repeats):
        noise = rng.normal(size=(4, n))
        noise[:, 1:] *= np.sqrt(1 - decay**2)
        chains = list(lfilter([1], [1, -decay], noise, axis=1))
        first, second = chain_estimate(chains), chain_estimate(chains, variance_of)
        mean.append(first.value / first.error)
        variance.append((second.value - 1) / second.error)
    yield row(f"mean of 4 chains of {n} samples", mean, n_repeats)
    yield row(f"heat capacity from 4 chains of {n} samples", variance, n_repeats)


def mixing_rows(n: int, kept: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of a mean-field mixture, from n samples of each state that repeat the last one with chance `kept`.

    Results with a reason in the verdict are left out, unless it is that compositions were not visited.
    """
    rng = np.random.default_rng(seed)
    left = _binodal(TEMPERATURES_K[0])
    z: dict[str, list[float]] = {}

    def add(name: str, value: float, exact: float, error: float | None) -> None:
        if error:
            z.setdefault(name, []).append((value - exact) / error)

    for _ in range(n_repeats):
        found = _document(n, kept, rng)
        if {Reason.of(each) for each in found.verdict.reasons} - NOT_VISITED:
            continue
        cold = found.isotherms[0]
        middle = N_SITES // 2
        if cold.mixing_eV[middle] is not None:
            add("G_mix", cold.mixing_eV[middle], _mixing_eV(TEMPERATURES_K[0])[middle], cold.mixing_errors_eV[middle])
        state = found.states[3]
        add(
            "x of a state", state.fraction, _mean_fraction(state.temperature_K, state.delta_mu_eV), state.fraction_error
        )
        if found.fit is not None:
            fit = found.fit
            add("h of the fit", fit.enthalpies_eV_per_mixing_site[0], INTERACTION_EV,
                fit.enthalpy_errors_eV_per_mixing_site[0])  # fmt: skip
            add("s of the fit", fit.entropies_eV_per_K_per_mixing_site[0], 0.0,
                fit.entropy_errors_eV_per_K_per_mixing_site[0])  # fmt: skip
        if cold.binodal is not None:
            add("binodal, left", cold.binodal.left, left, cold.binodal.left_error)
            add("binodal, right", cold.binodal.right, 1 - left, cold.binodal.right_error)
        if cold.coexistence is not None:
            add("Δμ of coexistence", cold.coexistence.delta_mu_eV, 0.0, cold.coexistence.delta_mu_error_eV)
        if found.consolute is not None:
            add(
                "consolute temperature", found.consolute.temperature_K, CONSOLUTE_K, found.consolute.temperature_error_K
            )
    for name, values in z.items():
        yield row(f"{name}, {n} samples of each state", values, n_repeats)


def _energies_eV() -> np.ndarray:
    """Return E for N = 0, ..., M (eV)."""
    n = np.arange(N_SITES + 1)
    return INTERACTION_EV * n * (N_SITES - n) / N_SITES


def _mixing_eV(temperature_K: float) -> np.ndarray:
    """Return the free energy of mixing of the cell (eV); that of the pure compositions is 0."""
    return _energies_eV() - units.kB * temperature_K * log_arrangements(N_SITES)


def _probabilities(temperature_K: float, delta_mu_eV: float) -> np.ndarray:
    log = -(_mixing_eV(temperature_K) + semi_grand_bias_eV(delta_mu_eV, N_SITES)) / (units.kB * temperature_K)
    weights = np.exp(log - log.max())
    return weights / weights.sum()


def _mean_fraction(temperature_K: float, delta_mu_eV: float) -> float:
    return float(_probabilities(temperature_K, delta_mu_eV) @ np.arange(N_SITES + 1)) / N_SITES


def _binodal(temperature_K: float) -> float:
    """Return the left composition of the gap of a large crystal, where the slope of G_mix is zero."""
    return brentq(lambda x: INTERACTION_EV * (1 - 2 * x) + units.kB * temperature_K * np.log(x / (1 - x)), 1e-6, 0.499)


def _document(n: int, kept: float, rng: np.random.Generator) -> MixingDocument:
    """Return the document of one run."""
    states = []
    for temperature_K in TEMPERATURES_K:
        for delta_mu_eV in DELTA_MU_EV:
            fresh = rng.choice(N_SITES + 1, size=n, p=_probabilities(temperature_K, delta_mu_eV))
            last = np.maximum.accumulate(np.where(rng.random(n) < kept, 0, np.arange(n)))
            numbers = fresh[last]
            bias = semi_grand_bias_eV(delta_mu_eV, N_SITES)
            states.append(MixingSamples(temperature_K, bias, _energies_eV()[numbers], numbers))
    return analyse_mixing(
        states,
        formula="KNaCl2",
        species=("Na", "K"),
        counts=Counts(atoms=2 * N_SITES, sites=2 * N_SITES, formula_units=N_SITES),
        n_terms=1,
        provenance=Provenance(),
    )
