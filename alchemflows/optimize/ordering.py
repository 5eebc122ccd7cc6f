"""Search for ordered arrangements by gradient descent on separate weights for each site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pymatgen.core import Element, Structure
from scipy.optimize import linear_sum_assignment

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem

#: Standard deviation of ln w in the random starts.
SPREAD = 0.2
#: Largest step in ln w along the gradient, and due to the pull towards pure elements in the last step.
STEP, PULL = 0.4, 0.25
#: Displacement of atoms per force in a step (Å²/eV), and its upper limit (Å).
MOBILITY, LARGEST_MOVE_A = 0.02, 0.05
#: Change of weights in the finite differences for the self-curvature of a site.
PROBE = 0.01
_SINKHORN = 60


@dataclass(frozen=True)
class DescentEnd:
    """Result of the search from one start.

    Attributes
    ----------
    labels
        For each sublattice, the index of the element on each of its sites, shape (sites,).
    structure
        The arrangement, with the positions at the end of the descent.
    sharpness
        Largest weight of a site just before rounding, averaged over the sites; 1 means that no rounding was needed.
    """

    labels: list[np.ndarray]
    structure: Structure
    sharpness: float


def search(
    disorder: Disorder,
    structure: Structure,
    backend: Backend,
    *,
    n_starts: int = 16,
    n_steps: int = 60,
    seed: int = 0,
) -> list[DescentEnd]:
    """Search for ordered arrangements by descent from several random starts near the disordered crystal, in one batch.

    Every site is a separate group. The composition is kept by scaling the weights until the sums over each site and
    over each element are correct (Sinkhorn & Knopp, Pacific J. Math. 21, 343, 1967). A step multiplies the weights by
    the exponential of their negative gradients, scaled so that the largest exponent is :data:`STEP`. Near the
    disordered crystal, the most unstable concentration wave then grows fastest. The energy also has a curvature with
    respect to the weights of a single site, which is an artefact of mixing; it is subtracted. Instead, a pull
    towards pure elements on each site grows from zero. In each step atoms also move along their forces, in a fixed
    cell. At the end the weights are rounded to the nearest arrangement of whole atoms.

    Parameters
    ----------
    disorder
        The disordered crystal.
    structure
        Supercell of the disordered crystal, relaxed with its mean weights.
    backend
        Backend of the loaded potential.
    n_starts, n_steps
        Number of starts (replicas in the batch), and number of steps of each.
    seed
        Seed of the random starts.

    Raises
    ------
    InvalidInputError
        If the potential does not support an element.
    """
    blocks = [_SublatticeWeights.of(sublattice.symbols, sublattice.counts) for sublattice in disorder.sublattices]
    groups = tuple(
        SiteGroup((site,), tuple((z,) for z in block.numbers))
        for sublattice, block in zip(disorder.sublattices, blocks, strict=True)
        for site in sublattice.sites
    )
    potential = AlchemicalPotential(AlchemicalSystem(structure, groups), backend)
    positions = torch.as_tensor(structure.cart_coords, device=backend.device).repeat(n_starts, 1, 1)
    cells = torch.as_tensor(structure.lattice.matrix.copy(), device=backend.device).repeat(n_starts, 1, 1)
    curvatures = _self_curvatures(potential, blocks, positions[0], cells[0])
    generator = torch.Generator().manual_seed(seed)
    logs = [
        block.scaled(
            block.mean.log() + SPREAD * torch.randn(n_starts, *block.shape, generator=generator, dtype=torch.float64)
        )
        for block in blocks
    ]
    for step in range(n_steps):
        weights = torch.cat([block.flat(u.exp()) for block, u in zip(blocks, logs, strict=True)], dim=1)
        found = potential.evaluate(positions, cells, weights, stress=False)
        assert found.forces is not None and found.weight_gradients is not None
        gradients = found.weight_gradients.cpu().split([block.n_weights for block in blocks], dim=1)
        for k, (block, gradient, curvature) in enumerate(zip(blocks, gradients, curvatures, strict=True)):
            away = logs[k].exp() - block.mean
            downhill = -_centred(block.unflat(gradient) - curvature * away)
            pull = PULL * step / max(n_steps - 1, 1)
            logs[k] = block.scaled(logs[k] + STEP * _normalised(downhill) + pull * _normalised(away))
        moves = (MOBILITY * found.forces).clamp(-LARGEST_MOVE_A, LARGEST_MOVE_A)
        positions = positions + moves - moves.mean(dim=1, keepdim=True)
    results = []
    for b, here in enumerate(positions.cpu().numpy()):
        weights_here = [u[b].exp().numpy() for u in logs]
        labels = [block.nearest(w) for block, w in zip(blocks, weights_here, strict=True)]
        sharpness = float(np.concatenate([w.max(axis=1) for w in weights_here]).mean())
        results.append(DescentEnd(labels, disorder.structure(labels, here, structure.lattice), sharpness))
    return results


@dataclass(frozen=True)
class _SublatticeWeights:
    """Weights of a sublattice, one column per element; the last column may be vacancies, which have no nodes."""

    numbers: tuple[int, ...]
    counts: torch.Tensor

    @classmethod
    def of(cls, symbols: Sequence[str | None], counts: Sequence[int]) -> _SublatticeWeights:
        """Return the weights of a sublattice with these elements (None for vacancies) and numbers of sites."""
        numbers = tuple(Element(symbol).Z for symbol in symbols if symbol is not None)
        return cls(numbers, torch.tensor(counts, dtype=torch.float64))

    @property
    def n_sites(self) -> int:
        return int(self.counts.sum())

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_sites, len(self.counts)

    @property
    def n_weights(self) -> int:
        return self.n_sites * len(self.numbers)

    @property
    def mean(self) -> torch.Tensor:
        """Weights of the disordered crystal, the same on each site, shape (columns,)."""
        return self.counts / self.n_sites

    def flat(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the input of the potential, shape (B, sites · elements), for weights of shape (B, sites, columns)."""
        return weights[..., : len(self.numbers)].flatten(1)

    def unflat(self, gradients: torch.Tensor) -> torch.Tensor:
        """Return gradients of the potential in the shape (B, sites, columns), with zeros for vacancies."""
        gradients = gradients.reshape(-1, self.n_sites, len(self.numbers))
        return torch.nn.functional.pad(gradients, (0, len(self.counts) - len(self.numbers)))

    def scaled(self, logs: torch.Tensor) -> torch.Tensor:
        """Return ln w, scaled so that the weights sum to 1 on each site and to its count for each element."""
        for _ in range(_SINKHORN):
            logs = logs - logs.logsumexp(dim=2, keepdim=True)
            logs = logs + (self.counts.log() - logs.logsumexp(dim=1))[:, None]
        return logs - logs.logsumexp(dim=2, keepdim=True)

    def nearest(self, weights: np.ndarray) -> np.ndarray:
        """Return the arrangement of whole atoms with the largest total weight, shape (sites,)."""
        owner = np.repeat(np.arange(len(self.counts)), self.counts.numpy().astype(int))
        return owner[linear_sum_assignment(-weights[:, owner])[1]]


def _self_curvatures(
    potential: AlchemicalPotential, blocks: Sequence[_SublatticeWeights], positions: torch.Tensor, cell: torch.Tensor
) -> list[float]:
    """Return the self-curvature of a site of each sublattice (eV).

    It is the second derivative of E for an exchange between the first two columns on a single site, from gradients on
    both sides of the disordered crystal.
    """
    middle = torch.cat([block.flat(block.mean.repeat(1, block.n_sites, 1))[0] for block in blocks])
    found, first = [], 0
    for block in blocks:
        change = torch.zeros_like(middle)
        change[first] = PROBE
        if len(block.numbers) > 1:
            change[first + 1] = -PROBE
        pair = torch.stack([middle + change, middle - change])
        at = potential.evaluate(positions.repeat(2, 1, 1), cell.repeat(2, 1, 1), pair, forces=False, stress=False)
        assert at.weight_gradients is not None
        slopes = at.weight_gradients.cpu() @ change
        found.append(float((slopes[0] - slopes[1]) / (2 * change @ change)))
        first += block.n_weights
    return found


def _centred(values: torch.Tensor) -> torch.Tensor:
    """Return the part of a gradient that changes neither the sum over an element nor the sum over a site."""
    values = values - values.mean(dim=1, keepdim=True)
    return values - values.mean(dim=2, keepdim=True)


def _normalised(values: torch.Tensor) -> torch.Tensor:
    """Return values scaled so that the largest magnitude in each replica is 1."""
    return values / values.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
