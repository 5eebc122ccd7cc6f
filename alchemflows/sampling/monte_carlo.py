"""Monte Carlo of arrangements, batched over replicas.

An attempt of a replica at the arrangement x draws a candidate y with the probability q(y|x) of its
:class:`~alchemflows.sampling.proposals.Proposal`, and accepts it with the probability (Metropolis–Hastings)

    min{1, exp[−β (E(y) + Φ(y) − E(x) − Φ(x))] q(x|y) / q(y|x)},

where q(x|y) uses ∂E/∂w at y. Each attempt is therefore one evaluation of the batch. The gradient of an accepted
arrangement is kept for the next attempt.

With several tries, an attempt draws k candidates y_1 … y_k with q(y|x), and one of them, y, is chosen with a
probability ∝ √r(x, y_j), where r is the ratio above. Then k − 1 candidates x_1 … x_(k−1) are drawn with q(·|y), and x_k
= x. The move is accepted with the probability min{1, Σ_j √r(x, y_j) / Σ_j √r(y, x_j)} (multiple-try Metropolis, Liu,
Liang & Wong, J. Am. Stat. Assoc. 95, 121, 2000; weights of Gagnon, Maire & Zanella, J. Mach. Learn. Res. 24, 248,
2023). An attempt needs 2 k evaluations in two batches.

Instead of at once, a move can be carried out by dynamics; the change of the energy is then replaced by the work, see
:mod:`alchemflows.sampling.candidate_moves`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from ase import units
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from alchemflows.alchemy.interfaces import EnergyModel, float64_tensor
from alchemflows.errors import InvalidInputError, TrajectoryError
from alchemflows.sampling.candidate_moves import CandidateSwitch
from alchemflows.sampling.ensembles import Ensemble
from alchemflows.sampling.proposals import Proposal, draw


@dataclass(frozen=True)
class Arranged:
    """Arrangements of B replicas, with what an attempt needs of them.

    Attributes
    ----------
    positions_A, cells_A
        Positions and lattice vectors as rows (Å), shapes (B, N, 3) and (B, 3, 3).
    labels
        Index of the species on each site, shape (B, n).
    energy_eV
        Energy E of the potential (eV), shape (B,).
    slopes_eV
        ∂E/∂w of each species on each site (eV), shape (B, n, S); zeros for uniform proposals, which do not use them.
    log_probabilities
        ln q of each candidate, shape (B, M).
    """

    positions_A: np.ndarray
    cells_A: np.ndarray
    labels: np.ndarray
    energy_eV: np.ndarray
    slopes_eV: np.ndarray
    log_probabilities: np.ndarray

    def replaced(self, others: Arranged, where: np.ndarray) -> Arranged:
        """Return these arrangements, with those of `others` for the replicas where `where` is True, shape (B,)."""
        merged = {}
        for field in fields(self):
            old, new = getattr(self, field.name), getattr(others, field.name)
            merged[field.name] = np.where(where.reshape(-1, *[1] * (old.ndim - 1)), new, old)
        return Arranged(**merged)


class _Considered(NamedTuple):
    """A candidate of each replica: arrangements after it, ln of the Metropolis–Hastings ratio, and its reverse move."""

    proposed: Arranged
    log_ratio: np.ndarray
    reverse: np.ndarray


class MonteCarlo:
    """Markov chains of arrangements of B replicas in one batch.

    Positions and cells are constant, unless :meth:`continue_at` is called or moves are carried out by dynamics.

    The chain of a replica depends only on its seed and its initial arrangement, not on the other replicas (up to the
    rounding of batched sums).

    Parameters
    ----------
    model
        Potential of ``ensemble.arrangements.system``.
    ensemble
        Ensemble and its moves.
    positions
        Positions (Å), shape (B, N, 3).
    cells
        Lattice vectors as rows (Å), shape (B, 3, 3).
    labels
        Initial arrangements, shape (B, n).
    temperature_K
        Temperature (K) of all replicas, or one for each.
    seeds
        One seed for each replica.
    proposal
        How moves are proposed.
    switch
        How moves are carried out by dynamics; by default the species change at once, at constant positions.

    Attributes
    ----------
    current
        Present positions, cells, arrangements, energies and slopes.
    n_attempts
        Number of attempts of each replica.
    n_accepted
        Number of accepted attempts, shape (B,).

    Raises
    ------
    InvalidInputError
        If a temperature is not positive, the number of seeds is not B or a seed occurs twice, an arrangement is
        invalid, a replica has no possible move, or moves by dynamics have several tries.
    TrajectoryError
        If an energy or a gradient is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalPotential, load_potential
    >>> from alchemflows.alchemy.arrangements import Disorder
    >>> from alchemflows.sampling.arrangements import Arrangements
    >>> from alchemflows.sampling.ensembles import Canonical
    >>> from alchemflows.sampling.monte_carlo import MonteCarlo
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> arrangements = Arrangements.of(Disorder(mixed))
    >>> crystal = arrangements.system.structure
    >>> chains = MonteCarlo(
    ...     AlchemicalPotential(arrangements.system, load_potential("mace-demo")),
    ...     Canonical(arrangements),
    ...     np.tile(crystal.cart_coords, (2, 1, 1)),
    ...     np.tile(crystal.lattice.matrix, (2, 1, 1)),
    ...     arrangements.random([[2, 2]], seeds=[0, 1]),
    ...     temperature_K=600,
    ...     seeds=[0, 1],
    ... )
    >>> chains.attempt().shape, chains.current.energy_eV.shape
    ((2,), (2,))
    """

    def __init__(
        self,
        model: EnergyModel,
        ensemble: Ensemble,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        labels: ArrayLike,
        *,
        temperature_K: float | Sequence[float] | np.ndarray,
        seeds: Sequence[int],
        proposal: Proposal = Proposal(),  # noqa: B008  (frozen)
        switch: CandidateSwitch | None = None,
    ) -> None:
        self.model = model
        self.ensemble = ensemble
        if switch is not None and proposal.n_tries > 1:
            raise InvalidInputError(f"n_tries must be 1 for moves by dynamics; got {proposal.n_tries}")
        self.proposal = proposal
        self.switch = switch
        positions, cells = (float64_tensor(values, model.device).cpu().numpy().copy() for values in (positions, cells))
        self._arrangements = ensemble.arrangements
        labels = self._arrangements.check(labels)
        if len(seeds) != len(labels):
            raise InvalidInputError(f"seeds: one for each of the {len(labels)} replicas; got {len(seeds)}")
        if len(set(seeds)) < len(seeds):
            raise InvalidInputError(f"seeds: chains with the same seed are not independent; got {list(seeds)}")
        temperatures = np.asarray(temperature_K, dtype=float)
        if temperatures.shape not in ((), (len(labels),)) or not (temperatures > 0).all():
            raise InvalidInputError(
                f"temperature_K must be positive, one number or one for each of the {len(labels)} replicas; "
                f"got {temperature_K}"
            )
        self._temperatures_K = np.broadcast_to(temperatures, (len(labels),))
        self._beta = 1 / (units.kB * self._temperatures_K)
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.n_attempts = 0
        self.n_accepted = np.zeros(len(labels), dtype=np.int64)
        (self.current,) = self._evaluated(positions, cells, [labels])

    def attempt(self) -> np.ndarray:
        """Try one move of each replica; return which of them were accepted, shape (B,)."""
        n_tries = self.proposal.n_tries
        n_numbers = 2 if n_tries == 1 else 2 * n_tries + 1
        numbers = torch.empty((len(self._generators), n_numbers), dtype=torch.float64)
        for row, generator in zip(numbers.unbind(), self._generators, strict=True):
            row.uniform_(generator=generator)  # the numbers of torch.rand, in half the time
        uniform = numbers.numpy()
        tries = self._considered(self.current, self._drawn(self.current, uniform[:, :n_tries]))
        proposed, log_ratio, _ = tries[0] if n_tries == 1 else self._one_of(tries, uniform[:, n_tries:-1])
        accepted = np.log1p(-uniform[:, -1]) <= log_ratio
        self.current = self.current.replaced(proposed, accepted)
        self.n_attempts += 1
        self.n_accepted += accepted
        return accepted

    def consider(self, chosen: np.ndarray) -> tuple[Arranged, np.ndarray]:
        """Evaluate one candidate of each replica, or carry it out by dynamics, without accepting it.

        Parameters
        ----------
        chosen
            Indices of possible candidates, shape (B,).

        Returns
        -------
        proposed, log_ratio
            The arrangements after the moves, and the logarithm of the Metropolis–Hastings ratio, shape (B,). A move is
            accepted with the probability min(1, ratio).
        """
        (found,) = self._considered(self.current, [chosen])
        return found.proposed, found.log_ratio

    def continue_at(
        self, positions: np.ndarray, cells: np.ndarray, energy_eV: np.ndarray, slopes_eV: np.ndarray
    ) -> None:
        """Continue the chains at other positions and cells, with the energies and slopes that were computed there.

        Shapes and units are those of :class:`Arranged`.
        """
        self.current = self._arranged(positions, cells, self.current.labels, energy_eV, slopes_eV)

    def reduced_energies(self, order: Sequence[int] | np.ndarray, pressure_eV_per_A3: float = 0.0) -> np.ndarray:
        """Return β [E + Φ + PV] of replica b with the configuration of replica ``order[b]``, shape (B,)."""
        index = np.asarray(order)
        labels = self.current.labels[index]
        volumes = np.abs(np.linalg.det(self.current.cells_A[index]))
        energy = self.current.energy_eV[index] + self.ensemble.composition_energy_eV(labels)
        return self._beta * (energy + pressure_eV_per_A3 * volumes)

    def permute(self, order: Sequence[int] | np.ndarray) -> None:
        """Give replica b the configuration of replica ``order[b]``; temperatures and ensembles stay."""
        index = np.asarray(order)
        now = self.current
        self.current = self._arranged(
            *(values[index] for values in (now.positions_A, now.cells_A, now.labels, now.energy_eV, now.slopes_eV))
        )

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the complete state, from which :meth:`restore` continues bit for bit."""
        return {
            "mc_positions_A": self.current.positions_A,
            "mc_cells_A": self.current.cells_A,
            "mc_labels": self.current.labels,
            "mc_energy_eV": self.current.energy_eV,
            "mc_slopes_eV": self.current.slopes_eV,
            "mc_random": torch.stack([generator.get_state() for generator in self._generators]).numpy(),
            "mc_n_attempts": np.array(self.n_attempts),
            "mc_n_accepted": self.n_accepted.copy(),
            **{name: values.cpu().numpy() for name, values in self.model.memory().items()},
        }

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot` of the same run."""
        names = ("positions_A", "cells_A", "labels", "energy_eV", "slopes_eV")
        self.current = self._arranged(*(snapshot[f"mc_{name}"].copy() for name in names))
        for generator, state in zip(self._generators, snapshot["mc_random"], strict=True):
            generator.set_state(torch.from_numpy(state.copy()))
        self.n_attempts = int(snapshot["mc_n_attempts"])
        self.n_accepted = snapshot["mc_n_accepted"].copy()
        memory = self.model.memory()
        self.model.recall({name: torch.as_tensor(snapshot[name], device=self.model.device) for name in memory})

    def _drawn(self, arranged: Arranged, uniform: np.ndarray) -> list[np.ndarray]:
        """Return a candidate of each replica for each column of random numbers, shape (B, tries)."""
        return [draw(arranged.log_probabilities, numbers) for numbers in uniform.T]

    def _considered(self, now: Arranged, chosen: Sequence[np.ndarray]) -> list[_Considered]:
        """Carry out candidates of each replica, all of them from the arrangements `now`."""
        moves = [self.ensemble.apply(now.labels, each) for each in chosen]
        if self.switch is None:
            after = self._evaluated(now.positions_A, now.cells_A, [labels for labels, _ in moves])
            changes = [self._total_eV(each) - self._total_eV(now) for each in after]
        else:
            ((labels, _),) = moves
            proposed, change = self._switched(self.switch, labels)
            after, changes = [proposed], [change]
        replica = np.arange(len(now.labels))
        found = []
        for each, change, own, (_, reverse) in zip(after, changes, chosen, moves, strict=True):
            forward, back = now.log_probabilities[replica, own], each.log_probabilities[replica, reverse]
            found.append(_Considered(each, -self._beta * change + back - forward, reverse))
        return found

    def _one_of(self, tries: Sequence[_Considered], uniform: np.ndarray) -> _Considered:
        """Choose one of several tries of each replica; the ratio is that of the multiple-try rule.

        Parameters
        ----------
        tries
            Candidates that were drawn at the present arrangements.
        uniform
            Random numbers, shape (B, tries): one that chooses, and one for each further arrangement but the last.
        """
        weights = np.stack([each.log_ratio / 2 for each in tries], axis=1)
        picked = draw(weights - logsumexp(weights, axis=1, keepdims=True), uniform[:, 0])
        proposed, reverse = tries[0].proposed, tries[0].reverse
        for k, each in enumerate(tries):
            proposed = proposed.replaced(each.proposed, picked == k)
            reverse = np.where(picked == k, each.reverse, reverse)
        # The last of the tries from there is the present arrangement.
        back = self._considered(proposed, [*self._drawn(proposed, uniform[:, 1:]), reverse])
        weights_back = np.stack([each.log_ratio / 2 for each in back], axis=1)
        return _Considered(proposed, logsumexp(weights, axis=1) - logsumexp(weights_back, axis=1), reverse)

    def _total_eV(self, arranged: Arranged) -> np.ndarray:
        return arranged.energy_eV + self.ensemble.composition_energy_eV(arranged.labels)

    def _evaluated(self, positions: np.ndarray, cells: np.ndarray, labels: Sequence[np.ndarray]) -> list[Arranged]:
        """Evaluate one or several arrangements of each replica, all in one batch."""
        n = len(labels)
        place = [np.tile(values, (n, 1, 1)) if n > 1 else values for values in (positions, cells)]
        x, h = (float64_tensor(values, self.model.device) for values in place)
        weights = self._arrangements.weights(np.concatenate(labels))
        if self.proposal.informed:
            result = self.model.evaluate(x, h, weights, forces=False, stress=False)
            assert result.weight_gradients is not None
            energy = result.energy.detach().cpu().numpy()
            slopes = self._arrangements.slopes(result.weight_gradients.cpu().numpy())
        else:
            # All channels have nodes here, so that the graph does not depend on the arrangement.
            energy = self.model.energies(x, h, weights[:, None]).cpu().numpy()[:, 0]
            slopes = np.zeros((len(energy), labels[0].shape[1], len(self._arrangements.species)))
        return [
            self._arranged(positions, cells, *each)
            for each in zip(labels, np.split(energy, n), np.split(slopes, n), strict=True)
        ]

    def _switched(self, switch: CandidateSwitch, labels: np.ndarray) -> tuple[Arranged, np.ndarray]:
        """Carry the moves out by dynamics; return the replicas after them, and W + ΔΦ (eV), shape (B,)."""
        now = self.current
        done = switch.carry_out(
            self.model,
            self._arrangements,
            (now.positions_A, now.cells_A),
            now.labels,
            labels,
            temperatures_K=self._temperatures_K,
            seeds=[int(torch.randint(2**62, (), generator=generator)) for generator in self._generators],
            weight_gradients=self.proposal.informed,
        )
        slopes = np.zeros_like(now.slopes_eV)
        if done.weight_gradients_eV is not None:
            slopes = self._arrangements.slopes(done.weight_gradients_eV)
        change = done.work_eV + self.ensemble.composition_energy_eV(labels)
        change = change - self.ensemble.composition_energy_eV(now.labels)
        # A trajectory that exploded is rejected.
        gone = done.exploded
        proposed = self._arranged(
            np.where(gone[:, None, None], now.positions_A, done.positions_A),
            now.cells_A,
            labels,
            np.where(gone, now.energy_eV, done.energy_eV),
            np.where(gone[:, None, None], now.slopes_eV, slopes),
        )
        return proposed, np.where(gone, np.inf, change)

    def _arranged(
        self, positions: np.ndarray, cells: np.ndarray, labels: np.ndarray, energy: np.ndarray, slopes: np.ndarray
    ) -> Arranged:
        for name, finite in (("energy", np.isfinite(energy)), ("gradient", np.isfinite(slopes).all(axis=(1, 2)))):
            if not finite.all():
                raise TrajectoryError(
                    f"replica {int(np.argmin(finite))}: the {name} of an arrangement is not finite after "
                    f"{self.n_attempts} attempts; check that no atoms are too close"
                )
        candidates = self.ensemble.candidates(labels, slopes)
        stuck = ~candidates.possible.any(axis=1)
        if stuck.any():
            raise InvalidInputError(
                f"labels: replica {int(np.argmax(stuck))} has no possible move; each move needs a sublattice on which "
                "different species can change places, or a species that can be replaced"
            )
        changes = self._beta[:, None] * candidates.changes_eV
        log_probabilities = self.proposal.log_probabilities(changes, candidates.possible)
        return Arranged(positions, cells, labels, energy, slopes, log_probabilities)
