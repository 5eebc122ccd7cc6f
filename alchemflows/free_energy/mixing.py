r"""Free energy of mixing on a binary sublattice, from samples at several chemical potentials and temperatures.

A state k of the ladder has a temperature T_k and a bias Φ_k(N), where N of the M sites have the second species. Its
distribution is exp{−β_k [H + Φ_k(N)]} with H = E + PV: Φ = −Δμ N in the semi-grand ensemble, and a parabola in
the variance-constrained one. MBAR combines the samples of all states (Shirts & Chodera, J. Chem. Phys. 129,
124105, 2008). The free energy at each N is that of the samples with this N,

    A(N, T) = −k_B T ln Σ_{n: N_n = N} exp(−β H_n) / Σ_k n_k exp{f_k − β_k [H_n + Φ_k(N_n)]},

and the free energy of mixing per mixing site is

    G_mix(N) = [A(N) − (1 − x) A(0) − x A(M)] / M,  x = N / M.

Masses and other terms that are linear in N are not contained in G_mix. A(N) of a finite cell contains −k_B T ln C(M, N)
rather than M k_B T (x ln x + (1 − x) ln(1 − x)), which is its limit for large M.

**Miscibility gaps.** Within a gap, a semi-grand run at fixed Δμ stays in one phase and rarely crosses to the other.
Three things help: a ladder of temperatures that reaches beyond the consolute point, with replica exchange, so that
runs go around it; variance-constrained states, which hold the composition within the gap; and small cells, in which the
barrier is low. States that do not overlap are found by :attr:`MixingCurves.component`.

**Errors.** Errors are those of independent blocks of the path of each walker, see
:mod:`alchemflows.free_energy.influences`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import units
from pymbar import MBAR
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln, logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.estimators import MIN_OVERLAP
from alchemflows.free_energy.influences import (
    SampleBlocks,
    guess_along,
    influences_on_states,
    joint_inefficiency,
    pair_overlaps,
    random_draws,
    solver,
    standard_errors,
)


@dataclass(frozen=True)
class MixingSamples:
    """Samples of one state: n arrangements of two species on M sites, in the order of time.

    Attributes
    ----------
    temperature_K
        Temperature (K).
    bias_eV
        Φ(N) for N = 0, ..., M (eV), shape (M + 1,).
    enthalpy_eV
        Potential energy of the cell, plus PV at constant pressure (eV), shape (n,).
    n_second
        Number of sites with the second species, shape (n,).
    walker
        Index of the chain that was in this state, shape (n,); None without replica exchange.
    """

    temperature_K: float
    bias_eV: np.ndarray
    enthalpy_eV: np.ndarray
    n_second: np.ndarray
    walker: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.n_second)


@dataclass(frozen=True)
class MixingCurves:
    """Free energies at each composition and temperature, with the blocks from which all errors follow.

    Energies are reduced (in k_B T of their own temperature) unless the name has a unit. Temperatures increase; the K
    states are in the order of the samples.

    Attributes
    ----------
    n_sites
        Number M of mixing sites.
    temperatures_K
        Temperatures (K), shape (T,).
    free_energies
        β A(N), shape (T, M + 1), up to one constant; NaN where no state of this temperature visited N, and at a
        temperature whose states are not connected by overlaps.
    counts
        Number of samples at each temperature and composition, shape (T, M + 1).
    deviations
        Influence of each of B blocks on `free_energies`, shape (B, T, M + 1), scaled so that Σ_b δ_b δ_b' is the
        covariance.
    fractions
        ⟨x⟩ of each state, shape (K,).
    fraction_deviations
        Influence of each block on `fractions`, shape (B, K), scaled in the same way.
    halves
        Influence of the first half of all samples minus that of the second on `free_energies`, shape (T, M + 1); its
        variance is that of the estimates.
    pair_overlaps
        Overlap of each two states, shape (K, K): 0.5 if they are equal, 0 if they have nothing in common.
    component
        Index of the connected set of states to which each state belongs, shape (K,).
    inefficiency
        Statistical inefficiency of the slowest observable, in samples.
    n_samples
        Number of samples of each state, shape (K,).
    """

    n_sites: int
    temperatures_K: np.ndarray
    free_energies: np.ndarray
    counts: np.ndarray
    deviations: np.ndarray
    fractions: np.ndarray
    fraction_deviations: np.ndarray
    halves: np.ndarray
    pair_overlaps: np.ndarray
    component: np.ndarray
    inefficiency: float
    n_samples: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """Fraction of the second species for N = 0, ..., M, shape (M + 1,)."""
        return np.arange(self.n_sites + 1) / self.n_sites

    @property
    def thermal_eV(self) -> np.ndarray:
        """k_B T of each temperature (eV), shape (T,)."""
        return units.kB * self.temperatures_K

    @property
    def visited(self) -> np.ndarray:
        """Whether a state of this temperature visited a composition, shape (T, M + 1)."""
        return self.counts > 0

    @cached_property
    def mixing_eV_per_site(self) -> np.ndarray:
        """G_mix (eV per mixing site), shape (T, M + 1); NaN at temperatures at which a pure composition is missing."""
        return self._mixing(self.free_energies)

    @cached_property
    def mixing_errors_eV_per_site(self) -> np.ndarray:
        """Standard errors of G_mix (eV per mixing site), shape (T, M + 1)."""
        return standard_errors(self.mixing_deviations_eV_per_site)

    @cached_property
    def mixing_deviations_eV_per_site(self) -> np.ndarray:
        """Influence of each block on G_mix (eV per mixing site), shape (B, T, M + 1)."""
        return self._mixing(self.deviations)

    @cached_property
    def ideal_eV_per_site(self) -> np.ndarray:
        """−k_B T ln C(M, N) / M, the G_mix of this cell without interaction (eV per mixing site), shape (T, M + 1)."""
        return -self.thermal_eV[:, None] * log_arrangements(self.n_sites) / self.n_sites

    @cached_property
    def excess_eV_per_site(self) -> np.ndarray:
        """G_mix minus that of this cell without interaction (eV per mixing site), shape (T, M + 1)."""
        return self.mixing_eV_per_site - self.ideal_eV_per_site

    @property
    def fraction_errors(self) -> np.ndarray:
        """Standard errors of ⟨x⟩ of each state, shape (K,)."""
        return standard_errors(self.fraction_deviations)

    @property
    def drift(self) -> np.ndarray:
        """Difference of the two halves of the sampling in G_mix, in standard errors, shape (T, M + 1)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._mixing(self.halves) / self.mixing_errors_eV_per_site

    def draws(self, n_draws: int, seed: int = 0) -> np.ndarray:
        """Return free energies at random within their errors, shape (n_draws, T, M + 1).

        See :func:`~alchemflows.free_energy.influences.random_draws`.
        """
        return random_draws(self.free_energies, self.deviations, n_draws, seed)

    def _mixing(self, reduced: np.ndarray) -> np.ndarray:
        x = self.x
        pure = (1 - x) * reduced[..., :1] + x * reduced[..., -1:]
        return self.thermal_eV[:, None] * (reduced - pure) / self.n_sites


def semi_grand_bias_eV(delta_mu_eV: float, n_sites: int) -> np.ndarray:
    """Return Φ(N) = −Δμ N (eV), shape (M + 1,), with Δμ = μ_second − μ_first."""
    return -delta_mu_eV * np.arange(n_sites + 1)


def constrained_bias_eV(fraction: float, stiffness_eV: float, n_sites: int) -> np.ndarray:
    """Return Φ(N) = 2 K M (x − x̂)² (eV), shape (M + 1,).

    This is the bias of :class:`~alchemflows.sampling.ensembles.Constrained` for the targets 1 − x̂ and x̂.
    """
    return 2 * stiffness_eV * n_sites * (np.arange(n_sites + 1) / n_sites - fraction) ** 2


def log_arrangements(n_sites: int) -> np.ndarray:
    """Return ln C(M, N) for N = 0, ..., M, shape (M + 1,)."""
    n = np.arange(n_sites + 1)
    return gammaln(n_sites + 1) - gammaln(n + 1) - gammaln(n_sites - n + 1)


def mixing_curves(states: Sequence[MixingSamples]) -> MixingCurves:
    """Combine the samples of all states by MBAR.

    Parameters
    ----------
    states
        Samples of K states on the same sites. With replica exchange all of them have the same number of samples.

    Raises
    ------
    InvalidInputError
        If a state has fewer than four samples, shapes differ, values are not finite, a temperature is not positive, a
        composition does not exist, or only some states have walkers.

    Examples
    --------
    >>> import numpy as np
    >>> from alchemflows.free_energy.mixing import MixingSamples, mixing_curves, semi_grand_bias_eV
    >>> rng = np.random.default_rng(0)
    >>> def ideal(delta_mu_eV):  # 8 sites without interaction at 600 K: each has the second species with probability p
    ...     p = 1 / (1 + np.exp(-delta_mu_eV / (8.617333e-5 * 600)))
    ...     bias = semi_grand_bias_eV(delta_mu_eV, 8)
    ...     return MixingSamples(600.0, bias, np.zeros(500), rng.binomial(8, p, size=500))
    >>> curves = mixing_curves([ideal(mu) for mu in (-0.2, -0.1, 0.0, 0.1, 0.2)])
    >>> bool(np.all(np.abs(curves.excess_eV_per_site) < 0.002))
    True
    """
    n_sites = _checked(states)
    temperatures, of_state = np.unique([state.temperature_K for state in states], return_inverse=True)
    n_samples = np.array([len(state) for state in states])
    enthalpy = np.concatenate([state.enthalpy_eV for state in states]).astype(float)
    enthalpy = enthalpy - enthalpy.mean()
    n_second = np.concatenate([state.n_second for state in states]).astype(np.int64)
    beta = 1 / (units.kB * temperatures)
    reduced = np.stack([beta[t] * (enthalpy + s.bias_eV[n_second]) for t, s in zip(of_state, states, strict=True)])
    solved = MBAR(reduced, n_samples, initial_f_k=_guess(reduced, states), solver_protocol=(solver(),))
    log_mixture = logsumexp(solved.f_k[:, None] - reduced, axis=0, b=n_samples[:, None])
    weights = np.exp(solved.f_k[:, None] - reduced - log_mixture).T
    on_f = influences_on_states(weights, n_samples)
    state_of_sample = np.repeat(np.arange(len(states)), n_samples)
    counts = np.zeros((len(temperatures), n_sites + 1), dtype=np.int64)
    np.add.at(counts, (of_state[state_of_sample], n_second), 1)
    free_energies = np.full(counts.shape, np.nan)
    overlaps = pair_overlaps(weights, weights)
    component = connected_components(csr_matrix(overlaps >= MIN_OVERLAP), directed=False)[1]
    blocks, inefficiency = _blocks(states, of_state, enthalpy, n_second)
    deviations, halves = [], []
    for t in range(len(temperatures)):
        log_weight = -beta[t] * enthalpy - log_mixture
        on_composition = np.zeros((len(n_second), n_sites + 1))
        for n in np.flatnonzero(counts[t]):
            at = np.flatnonzero(n_second == n)
            free_energies[t, n] = -logsumexp(log_weight[at])
            share = np.exp(log_weight[at] + free_energies[t, n])
            on_composition[:, n] = on_f @ ((share @ weights[at]) * n_samples)
            on_composition[at, n] -= share
        if len(set(component[of_state == t])) > 1:
            free_energies[t] = np.nan
        on_composition[:, np.isnan(free_energies[t])] = np.nan
        deviations.append(blocks.sums(on_composition))
        halves.append(blocks.halves(on_composition))
    fractions = weights.T @ n_second / n_sites
    # ⟨x⟩ = Σ W x, with δW_nk = W_nk (δf_k − Σ_j n_j W_nj δf_j).
    moments = (weights * (n_second / n_sites)[:, None]).T @ weights
    on_fraction = weights * (n_second / n_sites)[:, None] + on_f * fractions - on_f @ (moments * n_samples).T
    return MixingCurves(
        n_sites=n_sites,
        temperatures_K=temperatures,
        free_energies=free_energies,
        counts=counts,
        deviations=np.stack(deviations, axis=1),
        fractions=fractions,
        fraction_deviations=blocks.sums(on_fraction),
        halves=np.stack(halves),
        pair_overlaps=overlaps,
        component=component,
        inefficiency=inefficiency,
        n_samples=n_samples,
    )


def _blocks(
    states: Sequence[MixingSamples], of_state: np.ndarray, enthalpy: np.ndarray, n_second: np.ndarray
) -> tuple[SampleBlocks, float]:
    """Return the blocks of the paths of walkers, and the statistical inefficiency."""
    lengths = np.array([len(state) for state in states])
    state = np.repeat(np.arange(len(states)), lengths)
    time = np.concatenate([np.arange(length) for length in lengths])
    walker = state if states[0].walker is None else np.concatenate([s.walker for s in states]).astype(np.int64)
    inefficiency = 1.0
    # If nearly all moves are accepted and their number is even, N remains even or odd for a long time.
    for values in (n_second.astype(float), enthalpy, (-1.0) ** n_second):
        centred = values - (np.bincount(state, values) / lengths)[state]
        paths = [centred[np.flatnonzero(walker == w)[np.argsort(time[walker == w])]] for w in np.unique(walker)]
        groups = [paths]
        groups += [[centred[state == k] for k in np.flatnonzero(of_state == t)] for t in range(of_state.max() + 1)]
        inefficiency = max([inefficiency] + [joint_inefficiency(parts) for parts in groups])
    return SampleBlocks.of(lengths, inefficiency, walker), inefficiency


def _guess(reduced: np.ndarray, states: Sequence[MixingSamples]) -> np.ndarray:
    """Return first values of f_k from mean differences of reduced energies between neighbouring states.

    Neighbours in this order have the same temperature, or similar compositions at two successive temperatures.
    """
    lengths = [len(state) for state in states]
    temperatures = sorted({state.temperature_K for state in states})
    order: list[int] = []
    for t, temperature_K in enumerate(temperatures):
        same = [k for k, state in enumerate(states) if state.temperature_K == temperature_K]
        order += sorted(same, key=lambda k: float(np.mean(states[k].n_second)), reverse=t % 2 == 1)
    return guess_along(reduced, lengths, order)


def _checked(states: Sequence[MixingSamples]) -> int:
    """Check the samples of all states; return the number of sites."""
    if not states:
        raise InvalidInputError("states: at least one state is needed")
    shape = states[0].bias_eV.shape
    if len(shape) != 1 or shape[0] < 2:
        raise InvalidInputError(f"bias_eV must have the shape (M + 1,) for M sites; got {shape}")
    for k, state in enumerate(states):
        if state.bias_eV.shape != shape or state.n_second.shape != state.enthalpy_eV.shape or len(state) < 4:
            raise InvalidInputError(
                f"state {k}: at least 4 samples, as many n_second as enthalpy_eV, and a bias of shape {shape} are "
                f"needed; got {state.n_second.shape}, {state.enthalpy_eV.shape} and {state.bias_eV.shape}"
            )
        if not (state.temperature_K > 0 and np.isfinite(state.bias_eV).all() and np.isfinite(state.enthalpy_eV).all()):
            raise InvalidInputError(f"state {k}: the temperature must be positive, energies must be finite")
        if state.n_second.min() < 0 or state.n_second.max() >= shape[0]:
            raise InvalidInputError(f"state {k}: n_second must be from 0 to {shape[0] - 1}")
        if (state.walker is None) != (states[0].walker is None):
            raise InvalidInputError(f"state {k}: either all states have walkers, or none")
        if state.walker is not None and (state.walker.shape != state.n_second.shape or len(state) != len(states[0])):
            raise InvalidInputError(f"state {k}: with walkers, all states need the same number of samples")
    return shape[0] - 1
