r"""Change of the free energy and of the entropy of a state by another potential, and the shift of a transition.

With the enthalpy H = U + pV of configurations of the sampled potential and ΔU = U' − U, the free energy of a state
changes by ΔΔG (:mod:`~alchemflows.free_energy.reweighting`), and its entropy by

    ΔΔS = −∂ΔΔG/∂T = (ΔΔH − ΔΔG) / T,    ΔΔH = ⟨H + ΔU⟩' − ⟨H⟩,

where ⟨ ⟩' has the weights exp(−β ΔU). With the second-order cumulant this derivative is

    ΔΔS = (β²k) [−cov(ΔU, H)/β − var(ΔU)/(2β) + κ₃(ΔU, ΔU, H)/2] ,

with the third central moment κ₃. Its error is slightly too small with few configurations, since it depends on the tails
of ΔU (docs/method.md, error bars). To first order in T − T₀, ΔΔG(T) = ΔΔG(T₀) − ΔΔS (T − T₀).

The temperature at which two phases have the same G is shifted, to first order in the potential, by

    δT = [ΔΔG_high − ΔΔG_low] / [S_high − S_low] ,

with the entropies of the sampled potential: one step of Hamiltonian Gibbs–Duhem integration (Vega, Sanz, Abascal and
Noya, J. Phys.: Condens. Matter 20, 153101, 2008), with ΔΔG in place of the mean of ΔU. Since S also changes, the next
approximation has S + ΔΔS in the denominator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import correlated_variance, small_sample_factor
from alchemflows.free_energy.reweighting import Estimator, Reweighting, reweight


@dataclass(frozen=True)
class StateChange:
    """Change of the free energy and of the entropy of one state; values are for the whole cell.

    Attributes
    ----------
    temperature_K
        Temperature of the state.
    reweighting
        Change of the free energy at this temperature.
    entropy_eV_per_K
        Change of the entropy, and its standard error.
    influences_eV_per_K
        Influence of each configuration on it, shape (n,).
    excess_eV_per_K
        Part of its error that is the difference between both estimators beyond chance, with its sign; 0 for the
        exponential average.
    """

    temperature_K: float
    reweighting: Reweighting
    entropy_eV_per_K: tuple[float, float]
    influences_eV_per_K: np.ndarray = field(repr=False, compare=False)
    excess_eV_per_K: float

    def at(self, temperature_K: float) -> tuple[float, float]:
        """Return the change of the free energy at a temperature (eV), to first order, and its standard error."""
        step = temperature_K - self.temperature_K
        if step == 0:
            return self.reweighting.best
        value = self.reweighting.best[0] - step * self.entropy_eV_per_K[0]
        influences, excess = self.sources_at(temperature_K)
        return value, float(np.hypot(_error(influences), excess))

    def sources_at(self, temperature_K: float) -> tuple[np.ndarray, float]:
        """Return the influence of each configuration on the value of :meth:`at`, and the rest of its error (eV).

        This rest is the difference between both estimators beyond chance, with its sign.
        """
        step = temperature_K - self.temperature_K
        influences = self.reweighting.influences_eV - step * self.influences_eV_per_K
        return influences, self.reweighting.excess_eV - step * self.excess_eV_per_K


def state_change(differences_eV: ArrayLike, enthalpies_eV: ArrayLike, temperature_K: float) -> StateChange:
    """Estimate the change of the free energy and of the entropy from successive configurations.

    Parameters
    ----------
    differences_eV
        ΔU (eV) of each configuration in the order of time, shape (n,).
    enthalpies_eV
        U + pV with the sampled potential (eV), shape (n,); at constant volume U.
    temperature_K
        Temperature (K).

    Raises
    ------
    InvalidInputError
        If there are too few configurations, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> u = 0.0259 * np.random.default_rng(0).gamma(1.5, size=4000)  # three harmonic modes at 300 K
    >>> found = state_change(0.1 * u, u, 300.0)  # force constants larger by a tenth
    >>> round(found.reweighting.best[0], 4), round(found.entropy_eV_per_K[0] / 8.617e-5, 2)  # −1.5 ln 1.1 = −0.143
    (0.0038, -0.15)
    """
    found = reweight(differences_eV, temperature_K)
    kT = units.kB * temperature_K
    x, h = (np.asarray(each, dtype=float) for each in (differences_eV, enthalpies_eV))
    if h.shape != x.shape or not np.isfinite(h).all():
        raise InvalidInputError("enthalpies_eV must be finite numbers, one for each configuration")
    x, h = (x - x.mean()) / kT, (h - h.mean()) / kT
    value, influences = _entropy(x, h, found.estimator)
    excess = 0.0
    if found.estimator == "cumulant":
        other, its_influences = _entropy(x, h, "exponential")
        by_chance = correlated_variance([its_influences - influences]).value
        excess = float(np.copysign(np.sqrt(max(0.0, (other - value) ** 2 - by_chance)), other - value))
    error = float(np.hypot(_error(influences), excess))
    k = units.kB
    return StateChange(temperature_K, found, (k * value, k * error), k * influences, k * excess)


def _error(influences: np.ndarray) -> float:
    """Return the standard error of a sum over successive configurations whose influences have wide tails.

    With the kurtosis κ of the influences of n independent configurations, their variance has the relative error
    √[(κ − 1)/n], as a χ² distribution with 2n/(κ − 1) degrees of freedom.
    """
    variance = correlated_variance([influences])
    centred = influences - influences.mean()
    square = float((centred**2).mean())
    if not square > 0:
        return variance.error
    n_independent = len(centred) ** 2 * square / variance.value
    kurtosis = float((centred**4).mean()) / square**2
    freedom = min(variance.degrees_of_freedom, 2 * n_independent / max(kurtosis - 1, 1e-9))
    return float(np.sqrt(variance.value)) * small_sample_factor(freedom)


def _entropy(x: np.ndarray, h: np.ndarray, estimator: Estimator) -> tuple[float, np.ndarray]:
    """Return the change of the entropy (k) and the influences on it, from ΔU and H (k_B T) minus their means."""
    n = len(x)
    if estimator == "exponential":
        weights = np.exp(x.min() - x)
        weights /= weights.mean()
        changed = h + x
        enthalpy = float((weights * changed).mean())
        free_energy = float(x.min() - np.log(np.exp(x.min() - x).mean()))
        return enthalpy - free_energy, (weights * (changed - enthalpy) - h - (1 - weights)) / n
    variance, covariance = float(x.var(ddof=1)), float((x @ h) / (n - 1))
    third = float((x**2 * h).mean())
    value = -covariance - variance / 2 + third / 2
    of_third = x**2 * h - third - 2 * covariance * x - variance * h
    return value, (-(x * h - covariance) - (x**2 - variance) / 2 + of_third / 2) / n


@dataclass(frozen=True)
class TransitionShift:
    """Shift of a transition temperature by another potential; pairs are a value and its standard error.

    Attributes
    ----------
    difference_eV
        ΔΔG of the high-temperature phase minus that of the low-temperature phase, at the transition and for one atom.
    entropy_eV_per_K
        Change of the entropy of the transition, for one atom.
    shift_K
        Shift to first order.
    next_K
        Shift with the changed entropy of the transition; None if that changes its sign.
    """

    difference_eV: tuple[float, float]
    entropy_eV_per_K: tuple[float, float]
    shift_K: tuple[float, float]
    next_K: float | None


def transition_shift(
    low: StateChange,
    high: StateChange,
    n_atoms: tuple[float, float],
    temperature_K: float,
    entropy_eV_per_K: tuple[float, float],
) -> TransitionShift:
    """Return the shift of a transition temperature.

    Parameters
    ----------
    low, high
        Changes of a state of each phase, stable below and above the transition.
    n_atoms
        Numbers of atoms of both cells.
    temperature_K
        Transition temperature with the sampled potential.
    entropy_eV_per_K
        Entropy of the transition with the sampled potential for one atom, S of `high` minus S of `low`, and its
        standard error.

    Raises
    ------
    InvalidInputError
        If the entropy of the transition is not positive.
    """
    entropy, entropy_error = entropy_eV_per_K
    if not entropy > 0:
        raise InvalidInputError(f"the entropy of the transition must be positive; got {entropy:g} eV/K per atom")
    (first, first_error), (second, second_error) = (
        tuple(part / n for part in each.at(temperature_K)) for each, n in zip((low, high), n_atoms, strict=True)
    )
    difference, error = second - first, float(np.hypot(first_error, second_error))
    (of_low, low_error), (of_high, high_error) = (
        tuple(part / n for part in each.entropy_eV_per_K) for each, n in zip((low, high), n_atoms, strict=True)
    )
    change = of_high - of_low
    shift = difference / entropy
    return TransitionShift(
        difference_eV=(difference, error),
        entropy_eV_per_K=(change, float(np.hypot(low_error, high_error))),
        shift_K=(shift, float(np.hypot(error, shift * entropy_error)) / entropy),
        next_K=difference / (entropy + change) if entropy + change > 0 else None,
    )
