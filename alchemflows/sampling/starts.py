"""Initial arrangements of Markov chains: random ones, and ones of low energy.

If chains that start from disorder and from order have the same averages, both have probably reached equilibrium.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.ensembles import Ensemble
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.seeds import derived_seeds

#: Temperatures of a quench relative to that of the chain.
COOLING = tuple(2.0 ** (1 - k) for k in range(7))


def quenched(
    model: EnergyModel,
    ensemble: Ensemble,
    positions: ArrayLike,
    cells: ArrayLike,
    labels: ArrayLike,
    *,
    temperature_K: Sequence[float] | np.ndarray,
    seeds: Sequence[int],
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> np.ndarray:
    """Return arrangements of low energy, cooled from the given arrangements by informed moves, shape (B, n).

    The temperature decreases from twice that of the chain to 1/32 of it (:data:`COOLING`), with one attempt per site
    at each temperature. The result is ordered, but not always the arrangement of lowest energy.

    Parameters
    ----------
    model, ensemble, positions, cells, labels, seeds
        As for :class:`~alchemflows.sampling.monte_carlo.MonteCarlo`.
    temperature_K
        Temperature (K) of the chain of each replica, shape (B,).
    checkpoint
        Receives the arrangements after each temperature. A run that was stopped continues from it.

    Raises
    ------
    InvalidInputError, TrajectoryError
        As :class:`~alchemflows.sampling.monte_carlo.MonteCarlo`.
    RunStoppedError
        If the run was asked to stop.
    """
    current, first = np.asarray(labels), 0
    if (saved := checkpoint.load()) is not None:
        current, first = saved.state["labels"], int(saved.state["stage"])
    for stage, factor in list(enumerate(COOLING))[first:]:
        chains = MonteCarlo(
            model,
            ensemble,
            positions,
            cells,
            current,
            temperature_K=factor * np.asarray(temperature_K),
            seeds=[derived_seeds(seed, f"quench {stage}", 1)[0] for seed in seeds],
        )
        for _ in range(ensemble.arrangements.n_sites):
            chains.attempt()
        current = chains.current.labels
        state = {"labels": current, "stage": np.array(stage + 1)}
        checkpoint.offer(stage + 1, lambda state=state: state, last=stage + 1 == len(COOLING))  # type: ignore[misc]
    return current
