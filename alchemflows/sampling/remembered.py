"""A potential that remembers results, for Monte Carlo in cells with few arrangements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation

#: Number of results that are remembered before all of them are forgotten.
LIMIT = 200_000


class Remembered(EnergyModel):
    """A potential that evaluates each combination of positions, cell and weights only once.

    Energies and ∂E/∂w are remembered. Results with forces or stress are passed through.

    Parameters
    ----------
    model
        The potential.
    """

    def __init__(self, model: EnergyModel) -> None:
        self.model = model
        self._energies: dict[bytes, float] = {}
        self._gradients: dict[bytes, np.ndarray] = {}

    @property
    def device(self) -> torch.device:
        """Device of the potential."""
        return self.model.device

    def evaluate(
        self,
        positions: Any,
        cells: Any,
        weights: Any,
        *,
        forces: bool = True,
        stress: bool = True,
        weight_gradients: bool = True,
    ) -> Evaluation:
        """Evaluate B replicas, as :meth:`EnergyModel.evaluate`."""
        if forces or stress or not weight_gradients:
            return self.model.evaluate(
                positions, cells, weights, forces=forces, stress=stress, weight_gradients=weight_gradients
            )
        x, h, w = (_array(values) for values in (positions, cells, weights))
        keys = [_key(*replica) for replica in zip(x, h, w, strict=True)]
        new = self._new(keys, self._gradients)
        if new:
            result = self.model.evaluate(x[new], h[new], w[new], forces=False, stress=False)
            assert result.weight_gradients is not None
            energies, gradients = result.energy.tolist(), result.weight_gradients.cpu().numpy()
            for k, energy, gradient in zip(new, energies, gradients, strict=True):
                self._energies[keys[k]], self._gradients[keys[k]] = energy, gradient
        return Evaluation(
            torch.tensor([self._energies[key] for key in keys], dtype=torch.float64, device=self.device),
            weight_gradients=torch.as_tensor(np.array([self._gradients[key] for key in keys]), device=self.device),
        )

    def energies(self, positions: Any, cells: Any, weights: Any) -> torch.Tensor:
        """Return energies at K sets of weights, as :meth:`EnergyModel.energies`."""
        x, h, w = (_array(values) for values in (positions, cells, weights))
        n_sets = w.shape[1]
        x, h, w = np.repeat(x, n_sets, axis=0), np.repeat(h, n_sets, axis=0), w.reshape(-1, w.shape[2])
        keys = [_key(*replica) for replica in zip(x, h, w, strict=True)]
        new = self._new(keys, self._energies)
        if new:
            energies = self.model.energies(x[new], h[new], w[new][:, None])[:, 0].tolist()
            self._energies.update(zip([keys[k] for k in new], energies, strict=True))
        found = torch.tensor([self._energies[key] for key in keys], dtype=torch.float64, device=self.device)
        return found.reshape(-1, n_sets)

    def memory(self) -> dict[str, torch.Tensor]:
        """Return the internal state of the potential."""
        return self.model.memory()

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Restore the internal state of the potential, and forget all results."""
        self._forget()
        self.model.recall(memory)

    def _new(self, keys: list[bytes], known: Mapping[bytes, Any]) -> list[int]:
        """Return the first index of each key that is not known."""
        if len(self._energies) + len(keys) > LIMIT:
            self._forget()
        first: dict[bytes, int] = {}
        for k, key in enumerate(keys):
            if key not in known:
                first.setdefault(key, k)
        return list(first.values())

    def _forget(self) -> None:
        self._energies.clear()
        self._gradients.clear()


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values, dtype=float)


def _key(positions: np.ndarray, cell: np.ndarray, weights: np.ndarray) -> bytes:
    return b"".join(values.tobytes() for values in (positions, cell, weights))
