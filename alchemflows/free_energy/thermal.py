r"""Energy, heat capacity, order and cumulants as functions of the temperature, from samples at several temperatures.

MBAR combines the samples of K temperatures (Shirts & Chodera, J. Chem. Phys. 129, 124105, 2008). With H = E + PV, the
average of A at any temperature between them is

    ⟨A⟩(T) = Σ_n A_n w_n / Σ_n w_n,    w_n = exp(−β H_n) / Σ_k n_k exp(f_k − β_k H_n).

Of H and of an order parameter s = |η|² (:func:`alchemflows.analysis.order.wave_order`) follow

    heat capacity           C = ⟨δH²⟩ / (k_B T²)
    change of the order     d⟨s⟩/dT = ⟨δs δH⟩ / (k_B T²)
    cumulant of the order   U = 1 − ⟨s²⟩ / (3 ⟨s⟩²)
    cumulant of the energy  V = 1 − ⟨δH⁴⟩ / (3 ⟨δH²⟩²)

U is 2/3 in an ordered crystal. In a large disordered one, it is 0 for an order parameter with one real component η, and
1/3 for one with two. V is 0 for a normal distribution, and up to 2/3 if the energy has two peaks, as at a transition of
first order (K. Binder, Z. Phys. B 43, 119, 1981; Challa, Landau & Binder, Phys. Rev. B 34, 1841, 1986, with another
zero of the energy).

Errors follow from the influences of independent blocks of samples (:mod:`alchemflows.free_energy.influences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from ase import units
from pymbar import MBAR
from scipy.integrate import cumulative_trapezoid
from scipy.special import logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.influences import (
    SampleBlocks,
    influences_on_states,
    joint_inefficiency,
    pair_overlaps,
    random_draws,
    solver,
)

#: Number of temperatures at which averages are computed by default.
N_TEMPERATURES = 101


@dataclass(frozen=True)
class ThermalSamples:
    """Samples of one replica at one temperature, in the order of time.

    Attributes
    ----------
    temperature_K
        Temperature (K).
    enthalpy_eV
        Potential energy of the cell, plus PV at constant pressure (eV), shape (n,).
    order
        Order parameter s ≥ 0, shape (n,).
    walker
        Index of the chain that was in this replica, shape (n,); None without replica exchange.
    """

    temperature_K: float
    enthalpy_eV: np.ndarray
    order: np.ndarray
    walker: np.ndarray | None = None


@dataclass(frozen=True)
class ThermalQuantities:
    """Quantities as functions of the temperature, shape (..., G); see the module.

    Attributes
    ----------
    energy_eV
        ⟨H⟩ of the cell (eV).
    heat_capacity_eV_per_K
        Heat capacity C of the cell (eV/K).
    energy_cumulant
        V.
    order
        ⟨s⟩.
    order_slope_per_K
        d⟨s⟩/dT (1/K).
    order_cumulant
        U.
    """

    energy_eV: np.ndarray
    heat_capacity_eV_per_K: np.ndarray
    energy_cumulant: np.ndarray
    order: np.ndarray
    order_slope_per_K: np.ndarray
    order_cumulant: np.ndarray

    @classmethod
    def of(cls, moments: np.ndarray, temperatures_K: np.ndarray, centres_eV: np.ndarray) -> ThermalQuantities:
        """Return the quantities from moments, shape (..., G, 7): h, h², h³, h⁴, s, s², s h with h = H − centre."""
        h, h2, h3, h4, s, s2, sh = np.moveaxis(moments, -1, 0)
        variance = h2 - h**2
        fourth = h4 - 4 * h * h3 + 6 * h**2 * h2 - 3 * h**4
        thermal = units.kB * temperatures_K**2
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(
                energy_eV=centres_eV + h,
                heat_capacity_eV_per_K=variance / thermal,
                energy_cumulant=1 - fourth / (3 * variance**2),
                order=s,
                order_slope_per_K=(sh - s * h) / thermal,
                order_cumulant=1 - s2 / (3 * s**2),
            )

    def items(self) -> list[tuple[str, np.ndarray]]:
        """Return names and values."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


@dataclass(frozen=True)
class ThermalCurves:
    """Averages at G temperatures, with the blocks from which all errors follow.

    Attributes
    ----------
    temperatures_K
        Temperatures (K), ascending, shape (G,).
    sampled_K
        Temperatures of the samples (K), ascending, shape (K,).
    centres_eV
        Zero of the energy at each temperature (eV), shape (G,).
    moments
        Moments at each temperature (:meth:`ThermalQuantities.of`), shape (G, 7).
    deviations
        Influence of each of B blocks on the moments, shape (B, G, 7), scaled so that Σ_b δ_b δ_b' is the covariance.
    overlaps
        Overlap of each two neighbouring sampled temperatures, shape (K − 1,): 0.5 if they are equal, 0 if they have
        nothing in common.
    inefficiency
        Statistical inefficiency of the slower of energy and order, in samples.
    """

    temperatures_K: np.ndarray
    sampled_K: np.ndarray
    centres_eV: np.ndarray
    moments: np.ndarray
    deviations: np.ndarray
    overlaps: np.ndarray
    inefficiency: float

    @property
    def quantities(self) -> ThermalQuantities:
        """Quantities at each temperature, shape (G,)."""
        return ThermalQuantities.of(self.moments, self.temperatures_K, self.centres_eV)

    @property
    def n_blocks(self) -> int:
        """Number of blocks with an influence."""
        return int(self.deviations.any(axis=(1, 2)).sum())

    def between(self, first: int, last: int) -> ThermalCurves:
        """Return the curves at the temperatures from one index up to another, which is excluded."""
        part = slice(first, last)
        return replace(
            self,
            temperatures_K=self.temperatures_K[part],
            centres_eV=self.centres_eV[part],
            moments=self.moments[part],
            deviations=self.deviations[:, part],
        )

    def draws(self, n_draws: int, seed: int = 0) -> ThermalQuantities:
        """Return quantities at random within their errors, shape (n_draws, G).

        See :func:`~alchemflows.free_energy.influences.random_draws`.
        """
        drawn = random_draws(self.moments, self.deviations, n_draws, seed)
        return ThermalQuantities.of(drawn, self.temperatures_K, self.centres_eV)


def thermal_curves(replicas: Sequence[ThermalSamples], *, n_temperatures: int = N_TEMPERATURES) -> ThermalCurves:
    """Combine the samples of all replicas by MBAR.

    Parameters
    ----------
    replicas
        Samples at two or more temperatures of the same crystal; several replicas may have the same temperature. With
        replica exchange all of them have the same number of samples.
    n_temperatures
        Number of temperatures of the curves, evenly spaced between the lowest and the highest one.

    Raises
    ------
    InvalidInputError
        If there are fewer than two temperatures, a replica has fewer than four samples, shapes differ, a value is not
        finite, a temperature is not positive, or only some replicas have walkers.

    Examples
    --------
    >>> import numpy as np
    >>> from ase import units
    >>> from alchemflows.free_energy.thermal import ThermalSamples, thermal_curves
    >>> rng = np.random.default_rng(0)
    >>> def levels(temperature_K):  # 100 independent sites with two levels, 0 and 0.05 eV
    ...     p = 1 / (1 + np.exp(0.05 / (units.kB * temperature_K)))
    ...     n = rng.binomial(100, p, size=1000)
    ...     return ThermalSamples(temperature_K, 0.05 * n, (n / 100) ** 2)
    >>> curves = thermal_curves([levels(T) for T in (300.0, 400.0, 500.0)], n_temperatures=3)
    >>> (curves.quantities.energy_eV / 5).round(2)
    array([0.13, 0.19, 0.24])
    """
    samples = JoinedSamples.of(replicas)
    grid = np.linspace(samples.sampled_K[0], samples.sampled_K[-1], n_temperatures)
    return CombinedTemperatures.of(samples, samples.blocks()).curves(grid)


@dataclass(frozen=True)
class JoinedSamples:
    """Samples of all replicas, those of one replica after those of the other.

    Attributes
    ----------
    sampled_K
        Sampled temperatures (K), ascending, shape (K,).
    state, place, walker
        Index of the temperature, of the replica, and of the chain of each sample, shape (n,).
    enthalpy_eV, order
        As those of the replicas, shape (n,).
    """

    sampled_K: np.ndarray
    state: np.ndarray
    place: np.ndarray
    walker: np.ndarray
    enthalpy_eV: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, replicas: Sequence[ThermalSamples]) -> JoinedSamples:
        """Join the samples of replicas.

        Raises
        ------
        InvalidInputError
            As :func:`thermal_curves`.
        """
        _check(replicas)
        sampled, state_of = np.unique([each.temperature_K for each in replicas], return_inverse=True)
        place = np.repeat(np.arange(len(replicas)), [len(each.order) for each in replicas])
        walker = place
        if replicas[0].walker is not None:
            walker = np.concatenate([each.walker for each in replicas]).astype(np.int64)
        energy = np.concatenate([each.enthalpy_eV for each in replicas]).astype(float)
        order = np.concatenate([each.order for each in replicas]).astype(float)
        return cls(sampled, state_of[place], place, walker, energy, order)

    @cached_property
    def inefficiency(self) -> float:
        """Statistical inefficiency of the slower of energy and order, in samples."""
        both = (self.enthalpy_eV - self.enthalpy_eV.mean(), self.order)
        return max(_inefficiency(values, self.state, self.place, self.walker) for values in both)

    def blocks(self) -> SampleBlocks:
        """Return independent blocks of the samples."""
        return SampleBlocks.of(np.bincount(self.place), self.inefficiency, self.walker)

    def chosen(self, rows: np.ndarray) -> JoinedSamples:
        """Return some of the samples."""
        return replace(
            self,
            state=self.state[rows],
            place=self.place[rows],
            walker=self.walker[rows],
            enthalpy_eV=self.enthalpy_eV[rows],
            order=self.order[rows],
        )


@dataclass(frozen=True)
class CombinedTemperatures:
    """Samples of all temperatures, combined by MBAR.

    Attributes
    ----------
    samples
        The samples.
    blocks
        Independent blocks of them.
    zero_eV
        Zero of the energies (eV).
    weights
        Weight of each sample at each sampled temperature, shape (n, K).
    log_mixture
        Logarithm of the denominator of w (see the module), shape (n,).
    on_states
        Influence of each sample on f_k, shape (n, K).
    """

    samples: JoinedSamples
    blocks: SampleBlocks
    zero_eV: float
    weights: np.ndarray
    log_mixture: np.ndarray
    on_states: np.ndarray

    @classmethod
    def of(cls, samples: JoinedSamples, blocks: SampleBlocks) -> CombinedTemperatures:
        """Combine samples."""
        zero = float(samples.enthalpy_eV.mean())
        energy, state = samples.enthalpy_eV - zero, samples.state
        n_samples = np.bincount(state)
        beta = 1 / (units.kB * samples.sampled_K)
        reduced = beta[:, None] * energy
        means = np.bincount(state, energy) / n_samples
        guess = cumulative_trapezoid(means, beta, initial=0.0)
        solved = MBAR(
            reduced[:, np.argsort(state, kind="stable")], n_samples, initial_f_k=guess, solver_protocol=(solver(),)
        )
        log_mixture = logsumexp(solved.f_k[:, None] - reduced, axis=0, b=n_samples[:, None])
        weights = np.exp(solved.f_k[:, None] - reduced - log_mixture).T
        return cls(samples, blocks, zero, weights, log_mixture, influences_on_states(weights, n_samples))

    def weights_at(self, temperature_K: float, difference_eV: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the weight of each sample at a temperature, shape (n,); their sum is 1.

        Parameters
        ----------
        temperature_K
            Temperature (K).
        difference_eV
            Energy with another potential minus that with the sampled one (eV), shape (n,).
        """
        energy = self.samples.enthalpy_eV - self.zero_eV + difference_eV
        log_weight = -energy / (units.kB * temperature_K) - self.log_mixture
        weight = np.exp(log_weight - log_weight.max())
        return weight / weight.sum()

    def curves(self, temperatures_K: np.ndarray, difference_eV: np.ndarray | float = 0.0) -> ThermalCurves:
        """Return averages at some temperatures.

        Parameters
        ----------
        temperatures_K
            Temperatures (K), ascending and evenly spaced, shape (G,).
        difference_eV
            Energy with another potential minus that with the sampled one (eV), shape (n,), for its averages.
        """
        energy = self.samples.enthalpy_eV - self.zero_eV + difference_eV
        order, n_samples = self.samples.order, np.bincount(self.samples.state)
        centres, moments, deviations = [], [], []
        for temperature_K in temperatures_K:
            weight = self.weights_at(temperature_K, difference_eV)
            centres.append(weight @ energy)
            h = energy - centres[-1]
            each = np.stack([h, h**2, h**3, h**4, order, order**2, order * h], axis=1)
            moments.append(weight @ each)
            own = weight[:, None] * (each - moments[-1])
            on_states = self.on_states @ (n_samples[:, None] * (self.weights.T @ own))
            deviations.append(self.blocks.sums(own - on_states))
        overlaps = pair_overlaps(self.weights, self.weights)
        return ThermalCurves(
            temperatures_K=temperatures_K,
            sampled_K=self.samples.sampled_K,
            centres_eV=np.array(centres) + self.zero_eV,
            moments=np.array(moments),
            deviations=np.stack(deviations, axis=1),
            overlaps=np.diagonal(overlaps, offset=1).copy(),
            inefficiency=self.samples.inefficiency,
        )


def _inefficiency(values: np.ndarray, state: np.ndarray, place: np.ndarray, walker: np.ndarray) -> float:
    """Return the statistical inefficiency along the paths of all chains, or in the replicas of a temperature."""
    centred = values - (np.bincount(state, values) / np.bincount(state))[state]
    time = np.arange(len(place)) - np.searchsorted(place, place)
    sets = [_series(centred, walker, time, np.arange(len(values)))]
    sets += [_series(centred, place, time, np.flatnonzero(state == k)) for k in range(state.max() + 1)]
    return max(joint_inefficiency(parts) for parts in sets)


def _series(values: np.ndarray, index: np.ndarray, time: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
    """Return the chosen values with each index in the order of time."""
    order = chosen[np.lexsort((time[chosen], index[chosen]))]
    return np.split(values[order], np.flatnonzero(np.diff(index[order])) + 1)


def _check(replicas: Sequence[ThermalSamples]) -> None:
    temperatures = sorted({each.temperature_K for each in replicas})
    if len(temperatures) < 2 or not temperatures[0] > 0:
        raise InvalidInputError(f"temperature_K: two or more positive temperatures are needed; got {temperatures}")
    for k, each in enumerate(replicas):
        if len(each.order) < 4 or each.order.shape != each.enthalpy_eV.shape:
            raise InvalidInputError(
                f"replica {k}: at least 4 samples are needed, of order and of enthalpy_eV; got {each.order.shape} and "
                f"{each.enthalpy_eV.shape}"
            )
        if not (np.isfinite(each.order).all() and np.isfinite(each.enthalpy_eV).all()):
            raise InvalidInputError(f"replica {k}: order and enthalpy_eV must be finite")
        if (each.walker is None) != (replicas[0].walker is None):
            raise InvalidInputError(f"replica {k}: either all replicas have walkers, or none")
        if each.walker is not None and (
            each.walker.shape != each.order.shape or len(each.order) != len(replicas[0].order)
        ):
            raise InvalidInputError(f"replica {k}: with walkers, all replicas need the same number of samples")
