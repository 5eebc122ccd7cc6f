r"""MBAR over λ, temperature and pressure: free energies and their derivatives from several ladders of one system.

A sampled state s has a window λ_s, a temperature T_s and a pressure p_s; its distribution is exp(−u_s) with the
reduced energy u_s = β_s (U(x; λ_s) + p_s V). MBAR combines the samples of all states (Shirts & Chodera, J. Chem. Phys.
129, 124105, 2008). For any λ, T and p, with u = β (U(x; λ) + pV), the free energy and the weight of sample n are

    f = −ln Σ_n exp(−u_n) / Σ_s n_s exp(f_s − u_s,n),    w_n = exp(f − u_n) / Σ_s n_s exp(f_s − u_s,n).

Momenta and the measure of the cell are the same at all λ, and cancel in differences between λ = 0 and 1 at one T and p.
These are, with h = U + pV and averages over the weights,

    ΔG = k_B T Δf,  ΔH = Δ⟨h⟩,  ΔS = (ΔH − ΔG) / T,  ΔC_p = Δ(⟨h²⟩ − ⟨h⟩²) / (k_B T²),  ΔV = Δ⟨V⟩,

which are the exact derivatives of this estimate of ΔG(T, p): −ΔS and ΔV with respect to T and p, and ΔC_p = dΔH/dT. At
constant volume p = 0, G stands for the Helmholtz energy, H for the internal energy and C_p for C_V.

Errors follow from the influence of each sample, see :mod:`alchemflows.free_energy.influences`; so all results have the
covariances of one set of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import units
from pymbar import MBAR
from pymbar.timeseries import statistical_inefficiency
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.estimators import MIN_INDEPENDENT, MIN_OVERLAP
from alchemflows.free_energy.influences import (
    SampleBlocks,
    guess_along,
    influences_on_states,
    joint_inefficiency,
    pair_overlaps,
    solver,
    standard_errors,
)

#: Results at one temperature and pressure, in the order of the last axis of :attr:`Combination.values`.
QUANTITIES = ("G", "H", "S", "C", "V")
#: Fraction of the statistical inefficiency by which samples are thinned, which loses nearly no information.
_THINNING = 0.5
#: Smallest coverage of a condition by the samples. A normal distribution that is shifted by 1.5 standard deviations is
#: worth a share exp(−1.5²) of its samples.
MIN_COVERAGE = 0.1
#: The same if there are fewer effective independent samples than a reliable error needs, so that a smaller coverage may
#: be chance.
MIN_COVERAGE_OF_FEW = 0.5
#: Maximum number of iterations of MBAR. About ten suffice if there is a solution; without overlap there may be none.
_ITERATIONS = 100


@dataclass(frozen=True)
class StateSamples:
    """Samples of one state: n configurations in the order of time, with their energies at L values of λ.

    Attributes
    ----------
    column
        Index of the λ of this state among the L values, of which the first is 0 and the last is 1.
    temperature_K, pressure_GPa
        Temperature (K) and pressure (GPa); None at constant volume.
    energies_eV
        U at all λ (eV), shape (n, L).
    volume_A3
        Volume (Å³), shape (n,).
    chain
        Index of the chain of the samples. States that exchange configurations have the same index.
    """

    column: int
    temperature_K: float
    pressure_GPa: float | None
    energies_eV: np.ndarray
    volume_A3: np.ndarray
    chain: int

    def __len__(self) -> int:
        return len(self.volume_A3)

    @property
    def pressure_eV_per_A3(self) -> float:
        """Pressure (eV/Å³); 0 at constant volume."""
        return 0.0 if self.pressure_GPa is None else self.pressure_GPa * units.GPa

    def observables(self) -> list[np.ndarray]:
        """Return the series that determine the estimates: U + pV, V, and ΔU to the neighbouring λ."""
        own = self.energies_eV[:, self.column]
        neighbours = [k for k in (self.column - 1, self.column + 1) if 0 <= k < self.energies_eV.shape[1]]
        series = [own + self.pressure_eV_per_A3 * self.volume_A3, self.volume_A3]
        return series + [self.energies_eV[:, k] - own for k in neighbours]


@dataclass(frozen=True)
class ThermalState:
    """Conditions of results: a temperature (K) and a pressure (GPa), None at constant volume."""

    temperature_K: float
    pressure_GPa: float | None = None

    @property
    def pressure_eV_per_A3(self) -> float:
        """Pressure (eV/Å³); 0 at constant volume."""
        return 0.0 if self.pressure_GPa is None else self.pressure_GPa * units.GPa

    def __str__(self) -> str:
        return f"{self.temperature_K:g} K" + ("" if self.pressure_GPa is None else f", {self.pressure_GPa:g} GPa")


@dataclass(frozen=True)
class Combination:
    """Differences between λ = 1 and λ = 0 at P conditions, from S sampled states.

    Attributes
    ----------
    conditions
        Temperatures and pressures.
    values
        ΔG (eV), ΔH (eV), ΔS (eV/K), ΔC (eV/K) and ΔV (Å³) at each condition, shape (P, 5).
    deviations
        Influence of each of B blocks of samples on `values`, shape (B, P, 5), scaled so that Σ_b δ_b δ_b' is the
        covariance.
    halves
        Influence of the first half of all samples minus that of the second on ΔG, shape (P,); its variance is that of
        ΔG.
    coverage
        Effective number of samples 1 / Σ w² of λ = 0 and of λ = 1 at each condition, relative to the number of samples
        of the state with the largest overlap, shape (P, 2): at least 1 where a ladder was sampled.
    end_overlaps
        Largest overlap of λ = 0 and of λ = 1 at each condition with a sampled state, shape (P, 2): 0.5 if they are the
        same.
    connected
        Whether overlaps connect λ = 0 and 1 at a condition with each other, shape (P,).
    n_effective
        Effective number of independent samples, 1 / (g Σ w²), the smaller of both ends, shape (P,).
    overlaps
        Overlap of each two sampled states, shape (S, S): 0.5 if they are equal, 0 if they have nothing in common.
    component
        Index of the connected set of states to which each state belongs, shape (S,).
    inefficiency
        Statistical inefficiency g of the slowest observable, in samples.
    """

    conditions: tuple[ThermalState, ...]
    values: np.ndarray
    deviations: np.ndarray
    halves: np.ndarray
    coverage: np.ndarray
    end_overlaps: np.ndarray
    connected: np.ndarray
    n_effective: np.ndarray
    overlaps: np.ndarray
    component: np.ndarray
    inefficiency: float

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of `values`, shape (P, 5)."""
        return standard_errors(self.deviations)

    @property
    def sampled(self) -> np.ndarray:
        """Whether a condition is within what was sampled, shape (P,); results at others are meaningless."""
        return (self.coverage >= self.needed_coverage[:, None]).all(axis=1) & self.connected

    @property
    def needed_coverage(self) -> np.ndarray:
        """Smallest coverage at which a condition counts as sampled, shape (P,)."""
        return np.where(self.n_effective >= MIN_INDEPENDENT, MIN_COVERAGE, MIN_COVERAGE_OF_FEW)

    @property
    def covariance_eV2(self) -> np.ndarray:
        """Covariance of ΔG at all conditions (eV²), shape (P, P); its diagonal has the squared errors."""
        deviations = self.deviations[:, :, 0]
        covariance = deviations.T @ deviations
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = np.nan_to_num(self.errors[:, 0] / np.sqrt(np.diagonal(covariance)), nan=1.0)
        return covariance * np.outer(factors, factors)

    @property
    def drift(self) -> np.ndarray:
        """Difference of the two halves of the sampling in ΔG, in standard errors, shape (P,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.halves / self.errors[:, 0]


def thinned(states: Sequence[StateSamples]) -> list[StateSamples]:
    """Return states without samples that nearly repeat others: every (g/2)-th, g of the state with the least.

    All states keep the same share of their samples. If each had its own, a state whose correlations are underestimated
    by chance would have more samples than others, and MBAR would give it more weight than its errors account for.
    """
    every = slice(None, None, max(1, int(_THINNING * min(map(_inefficiency, states)))))
    return [replace(state, energies_eV=state.energies_eV[every], volume_A3=state.volume_A3[every]) for state in states]


def combine(
    states: Sequence[StateSamples], conditions: Sequence[ThermalState], *, inefficiency: float | None = None
) -> Combination:
    """Return the differences between λ = 1 and λ = 0 at given temperatures and pressures.

    Parameters
    ----------
    states
        Samples of S states, those of one chain one after the other.
    conditions
        Temperatures and pressures of the results. Whether they are within what was sampled is
        :attr:`Combination.sampled`.
    inefficiency
        Statistical inefficiency (in samples) of all states, by default estimated from the samples.

    Raises
    ------
    InvalidInputError
        If there are no states, a state has fewer than four samples, shapes differ, values are not finite, a temperature
        is not positive, or only some states or conditions have a pressure.

    Examples
    --------
    >>> import numpy as np
    >>> from ase import units
    >>> from alchemflows.free_energy.combination import ThermalState, StateSamples, combine
    >>> rng = np.random.default_rng(0)
    >>> def window(column, temperature_K):  # 6 harmonic modes whose stiffness is 1, 2 and 3 eV/Å² at λ = 0, 1/2, 1
    ...     squares = rng.chisquare(6, size=500) * units.kB * temperature_K / (1 + column)
    ...     energies = squares[:, None] / 2 * np.array([1, 2, 3])
    ...     return StateSamples(column, temperature_K, None, energies, np.ones(500), chain=column)
    >>> found = combine([window(k, 300.0) for k in range(3)], [ThermalState(300.0), ThermalState(330.0)])
    >>> exact = 3 * units.kB * np.array([300.0, 330.0]) * np.log(3)
    >>> bool(np.all(np.abs(found.values[:, 0] - exact) < 4 * found.errors[:, 0]))
    True
    """
    _check(states, conditions)
    lengths = np.array([len(state) for state in states])
    energies = np.concatenate([state.energies_eV for state in states]).astype(float)
    energies -= energies.mean()
    volumes = np.concatenate([state.volume_A3 for state in states]).astype(float)
    volumes -= volumes.mean()
    reduced = np.stack([_reduced(energies[:, state.column], volumes, state) for state in states])
    order = sorted(range(len(states)), key=lambda k: _place(states, k))
    solved = MBAR(
        reduced,
        lengths,
        initial_f_k=guess_along(reduced, lengths, order),
        maximum_iterations=_ITERATIONS,
        solver_protocol=(solver(),),
    )
    log_mixture = logsumexp(solved.f_k[:, None] - reduced, axis=0, b=lengths[:, None])
    weights = np.exp(solved.f_k[:, None] - reduced - log_mixture).T
    on_states = influences_on_states(weights, lengths)
    inefficiency = _joint_inefficiency(states) if inefficiency is None else inefficiency
    blocks = SampleBlocks.of(lengths, inefficiency, np.repeat([state.chain for state in states], lengths))
    overlaps = pair_overlaps(weights, weights)
    component = connected_components(csr_matrix(overlaps >= MIN_OVERLAP), directed=False)[1]
    found = []
    for condition in conditions:
        ends = [
            _end(energies[:, column], volumes, condition, log_mixture, weights, on_states, lengths, blocks)
            for column in (0, -1)
        ]
        found.append(_difference(condition, ends, component))
    return Combination(
        conditions=tuple(conditions),
        values=np.array([each.values for each in found]),
        deviations=np.stack([each.deviations for each in found], axis=1),
        halves=np.array([each.halves for each in found]),
        coverage=np.array([each.coverage for each in found]),
        end_overlaps=np.array([each.overlaps for each in found]),
        connected=np.array([each.connected for each in found]),
        n_effective=np.array([each.n_effective for each in found]) / inefficiency,
        overlaps=overlaps,
        component=component,
        inefficiency=inefficiency,
    )


@dataclass(frozen=True)
class _End:
    """Reduced free energy, ⟨h⟩, variance of h and ⟨V⟩ of one end at one condition, shape (4,), and their influences."""

    values: np.ndarray
    deviations: np.ndarray
    halves: float
    overlaps: np.ndarray
    n_effective: float
    coverage: float


@dataclass(frozen=True)
class _Difference:
    values: np.ndarray
    deviations: np.ndarray
    halves: float
    coverage: tuple[float, ...]
    overlaps: tuple[float, ...]
    connected: bool
    n_effective: float


def _end(
    energies: np.ndarray,
    volumes: np.ndarray,
    condition: ThermalState,
    log_mixture: np.ndarray,
    weights: np.ndarray,
    on_states: np.ndarray,
    lengths: np.ndarray,
    blocks: SampleBlocks,
) -> _End:
    reduced = _reduced(energies, volumes, condition)
    free_energy = -logsumexp(-reduced - log_mixture)
    own = np.exp(free_energy - reduced - log_mixture)
    enthalpy = energies + condition.pressure_eV_per_A3 * volumes
    mean, volume = own @ enthalpy, own @ volumes
    squares = (enthalpy - mean) ** 2
    variance = own @ squares
    # An average changes with the weight of a sample directly, and by the free energies of the sampled states.
    direct = own[:, None] * np.stack(
        [-np.ones(len(own)), enthalpy - mean, squares - variance, volumes - volume], axis=1
    )
    influences = direct - on_states @ (direct.T @ weights * lengths).T
    deviations = blocks.sums(influences)
    # The mean square deviation from an estimated mean is too small by the variance of that mean.
    variance += float((deviations[:, 1] ** 2).sum())
    # The error of a variance is proportional to it, and too small if the variance is. It is that at one error above.
    deviations[:, 2] *= 1 + float(np.sqrt((deviations[:, 2] ** 2).sum())) / max(variance, np.finfo(float).tiny)
    overlaps, n_effective = pair_overlaps(own[:, None], weights)[0], 1 / float((own**2).sum())
    return _End(
        values=np.array([free_energy, mean, variance, volume]),
        deviations=deviations,
        halves=float(blocks.halves(influences[:, :1])[0]),
        overlaps=overlaps,
        n_effective=n_effective,
        coverage=n_effective / float(lengths[np.argmax(overlaps)]),
    )


def _difference(condition: ThermalState, ends: Sequence[_End], component: np.ndarray) -> _Difference:
    first, second = ends
    thermal = units.kB * condition.temperature_K
    # ΔG, ΔH, ΔC and ΔV from the four quantities of the ends; ΔS = (ΔH − ΔG) / T.
    scale = np.array([thermal, 1.0, 1 / (thermal * condition.temperature_K), 1.0])

    def derived(difference: np.ndarray) -> np.ndarray:
        g, h, c, v = np.moveaxis(difference * scale, -1, 0)
        return np.stack([g, h, (h - g) / condition.temperature_K, c, v], axis=-1)

    linked = [set(component[each.overlaps >= MIN_OVERLAP].tolist()) for each in ends]
    return _Difference(
        values=derived(second.values - first.values),
        deviations=derived(second.deviations - first.deviations),
        halves=thermal * (second.halves - first.halves),
        coverage=tuple(each.coverage for each in ends),
        overlaps=tuple(float(each.overlaps.max()) for each in ends),
        connected=bool(linked[0] & linked[1]),
        n_effective=min(each.n_effective for each in ends),
    )


def _reduced(energies: np.ndarray, volumes: np.ndarray, at: StateSamples | ThermalState) -> np.ndarray:
    return (energies + at.pressure_eV_per_A3 * volumes) / (units.kB * at.temperature_K)


def _place(states: Sequence[StateSamples], k: int) -> tuple[float, float, int, int]:
    """Return a key that sorts states so that neighbours are similar: ladder by ladder, in turn up and down."""
    state = states[k]
    conditions = sorted({(s.temperature_K, s.pressure_eV_per_A3) for s in states})
    number = conditions.index((state.temperature_K, state.pressure_eV_per_A3))
    return (*conditions[number], state.column if number % 2 == 0 else -state.column, k)


def _inefficiency(state: StateSamples) -> float:
    varying = [series for series in state.observables() if np.ptp(series) > 1e-12 * np.abs(series).max()]
    return max([1.0, *(float(statistical_inefficiency(series)) for series in varying)])


def _joint_inefficiency(states: Sequence[StateSamples]) -> float:
    """Return the largest statistical inefficiency of an observable over all states of one temperature and pressure."""
    groups: dict[tuple[float, float | None], list[list[np.ndarray]]] = {}
    for state in states:
        series = state.observables()
        groups.setdefault((state.temperature_K, state.pressure_GPa), []).append([*series, series[-1]][:4])
    return max(
        joint_inefficiency([each[k] - each[k].mean() for each in group]) for group in groups.values() for k in range(4)
    )


def _check(states: Sequence[StateSamples], conditions: Sequence[ThermalState]) -> None:
    if not states or not conditions:
        raise InvalidInputError("states and conditions: at least one of each is needed")
    n_columns = states[0].energies_eV.shape[-1]
    for k, state in enumerate(states):
        if state.energies_eV.shape != (len(state), n_columns) or len(state) < 4 or n_columns < 2:
            raise InvalidInputError(
                f"state {k}: at least 4 samples at the same λ as in all states are needed, at least 2; energies_eV has "
                f"the shape {state.energies_eV.shape}"
            )
        if not (np.isfinite(state.energies_eV).all() and np.isfinite(state.volume_A3).all()):
            raise InvalidInputError(f"state {k}: energies_eV and volume_A3 must be finite")
    for name, each in [("state", each) for each in states] + [("condition", each) for each in conditions]:
        if not 0 < each.temperature_K < np.inf:
            raise InvalidInputError(f"{name}: temperature_K must be positive; got {each.temperature_K:g}")
        if (each.pressure_GPa is None) != (states[0].pressure_GPa is None):
            raise InvalidInputError(f"{name}: either all states and conditions have pressure_GPa, or none")
