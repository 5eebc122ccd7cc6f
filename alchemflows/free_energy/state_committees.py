r"""Mean and spread of free energies, and of a transition temperature, over the members of a committee of potentials.

All members are evaluated at the same configurations of each state. With member k the free energy changes by ΔΔG_k, and
the transition temperature by δT_k = [ΔΔG_k,high − ΔΔG_k,low] / ΔS (:mod:`~alchemflows.free_energy.perturbation`). The
errors of mean and σ_model follow from the sources of error that members have in common:

- each configuration, by its influence on ΔΔG_k, scaled to the error of ΔΔG_k, which includes correlations in time;
- the part of the error of a cumulant that is its difference from the exponential average;
- the error of ΔS, which changes δT_k by −δT_k times its relative error.

The error of the value with the sampled potential is the same for all members. It is not included: it adds to the error
of the mean in quadrature, and drops out of σ_model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.committees import CommitteeSpread, spread_of_values
from alchemflows.free_energy.errors import shared_errors
from alchemflows.free_energy.perturbation import StateChange


@dataclass(frozen=True)
class MembersOfState:
    """Changes of one state by the members of a committee.

    Attributes
    ----------
    n_frames
        Number of configurations, including those on which members failed.
    changes
        Change of the state by each member; None for the sampled potential, which changes nothing.
    kept
        Indices of the configurations that each member evaluated, in the order of `changes`.
    """

    n_frames: int
    changes: Sequence[StateChange | None]
    kept: Sequence[np.ndarray]

    def values_eV(self, temperature_K: float) -> np.ndarray:
        """Return ΔΔG with each member at a temperature (eV), to first order, shape (K,)."""
        return np.array([0.0 if change is None else change.at(temperature_K)[0] for change in self.changes])

    def sources_eV(self, temperature_K: float) -> np.ndarray:
        """Return what each independent source of error adds to :meth:`values_eV` (eV), shape (B, K)."""
        n_members = len(self.changes)
        influences, scatter = np.zeros((self.n_frames, n_members)), np.zeros(n_members)
        excess = np.zeros(n_members)
        for k, (change, rows) in enumerate(zip(self.changes, self.kept, strict=True)):
            if change is not None:
                influences[rows, k], excess[k] = change.sources_at(temperature_K)
                scatter[k] = np.sqrt(max(0.0, change.at(temperature_K)[1] ** 2 - excess[k] ** 2))
        return np.vstack([shared_errors([influences], scatter), excess])


def spread_of_state(members: MembersOfState, temperature_K: float) -> CommitteeSpread:
    """Return mean and spread of ΔΔG of a state over the members (eV).

    Parameters
    ----------
    members
        Changes of the state.
    temperature_K
        Temperature.

    Raises
    ------
    InvalidInputError
        If there are fewer than two members.

    Examples
    --------
    >>> import numpy as np
    >>> from alchemflows.free_energy.perturbation import state_change
    >>> u = 0.0259 * np.random.default_rng(0).gamma(1.5, size=4000)  # three harmonic modes at 300 K
    >>> stiffer, every = state_change(0.1 * u, u, 300.0), np.arange(4000)
    >>> found = spread_of_state(MembersOfState(4000, [None, stiffer], [every, every]), 300.0)
    >>> round(found.mean[0], 4), round(found.spread[0], 4)  # of 0 and k_B T 1.5 ln 1.1 = 0.0037
    (0.0019, 0.0027)
    """
    return spread_of_values(members.values_eV(temperature_K), members.sources_eV(temperature_K))


def spread_of_shifts(
    low: MembersOfState,
    high: MembersOfState,
    n_atoms: tuple[float, float],
    temperature_K: float,
    entropy_eV_per_K: tuple[float, float],
) -> CommitteeSpread:
    """Return mean and spread of the shift of a transition temperature over the members (K).

    The parameters are those of :func:`~alchemflows.free_energy.perturbation.transition_shift`, with all members of each
    state in place of one change.

    Raises
    ------
    InvalidInputError
        If there are fewer than two members, or the entropy of the transition is not positive.
    """
    entropy, entropy_error = entropy_eV_per_K
    if not entropy > 0:
        raise InvalidInputError(f"the entropy of the transition must be positive; got {entropy:g} eV/K per atom")
    signs = (-1 / n_atoms[0], 1 / n_atoms[1])
    states = list(zip(signs, (low, high), strict=True))
    shifts = np.sum([sign * state.values_eV(temperature_K) for sign, state in states], axis=0) / entropy
    sources = [sign * state.sources_eV(temperature_K) / entropy for sign, state in states]
    return spread_of_values(shifts, np.vstack([*sources, -shifts * entropy_error / entropy]))
