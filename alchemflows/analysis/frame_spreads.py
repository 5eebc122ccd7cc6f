"""Spread of ΔU over the members of a committee at each frame of a state."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from alchemflows.analysis.frames import StateFrames
from alchemflows.analysis.members import EvaluatedMember
from alchemflows.schemas.committee import spread_of


class StateSpread(NamedTuple):
    """Disagreement of the members at the frames of one state, for m frames and K members besides the sampled potential.

    Attributes
    ----------
    spread_eV
        Sample standard deviation of the deviations over the members (eV), NaN where one failed, shape (m,).
    deviations_eV
        Deviation of each member (eV), see :func:`state_spreads`, shape (K, m).
    """

    spread_eV: np.ndarray
    deviations_eV: np.ndarray

    def worst(self, n: int) -> Iterator[tuple[int, int]]:
        """Yield the indices of at most n frames, the worst first, and of the member with the largest deviation."""
        known = np.flatnonzero(np.isfinite(self.spread_eV))
        for k in known[np.argsort(-self.spread_eV[known], kind="stable")][:n]:
            yield int(k), int(np.abs(self.deviations_eV[:, k]).argmax())


def state_spreads(
    done: Sequence[EvaluatedMember],
    include_sampled: bool,
    groups: Sequence[Hashable],
    n_second: Sequence[np.ndarray] | None = None,
) -> list[StateSpread]:
    """Return the disagreement of the members at the frames of each state.

    The deviation of a member at a frame is its ΔU minus the mean of ΔU over the frames of the same group. If
    compositions differ, it is ΔU minus the straight line through ΔU over the number of atoms of the second species, so
    that the energies of isolated atoms drop out.

    Parameters
    ----------
    done
        The members besides the sampled potential, whose jobs have completed.
    include_sampled
        Whether the sampled potential is a member, whose ΔU is 0.
    groups
        Group of each state, such as its temperature.
    n_second
        For each state, the number of atoms of the second species in each frame; None if it is the same in all.
    """
    found: dict[int, StateSpread] = {}
    for group in dict.fromkeys(groups):
        states = [k for k, each in enumerate(groups) if each == group]
        of_members = [[np.asarray((each.differences_eV or [])[k]) for k in states] for each in done]
        differences = np.array([np.concatenate(each) for each in of_members])
        if n_second is not None:
            numbers = np.concatenate([n_second[k] for k in states])
            differences = np.array([_without_line(each, numbers) for each in differences])
        spread, deviations = spread_of(differences, include_sampled)
        ends = np.cumsum([len(each) for each in of_members[0]])[:-1]
        pairs = zip(np.split(spread, ends), np.split(deviations, ends, axis=1), strict=True)
        found |= dict(zip(states, (StateSpread(*pair) for pair in pairs), strict=True))
    return [found[k] for k in range(len(groups))]


def _without_line(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return values minus the straight line through them over the numbers; NaN is kept."""
    known = np.isfinite(values)
    design = np.column_stack([np.ones(len(values)), numbers])
    line, *_ = np.linalg.lstsq(design[known], values[known], rcond=None)
    return np.asarray(values - design @ line)


def sweeps_of(state: StateFrames) -> np.ndarray:
    """Return the number of production sweeps of its replica up to each frame of a state of Monte Carlo, shape (m,)."""
    sweeps = state.frames.sweeps
    assert sweeps is not None
    return np.asarray(sweeps)
