"""Chains of Monte Carlo on solid solutions, and series of their attempts, for `monte_carlo.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from pymatgen.core import Lattice, Structure

from alchemflows import AlchemicalPotential, load_potential
from alchemflows.alchemy.arrangements import Disorder
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.candidate_moves import CandidateSwitch
from alchemflows.sampling.ensembles import Canonical
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.monte_carlo import Arranged, MonteCarlo
from alchemflows.sampling.proposals import Proposal
from alchemflows.sampling.sweeps import Sweeps
from alchemflows.schemas.monte_carlo import MonteCarloSettings, ProposalKind

#: Attempts and steps of dynamics of a sweep.
N_ATTEMPTS, N_MD_STEPS = 16, 4
#: Steps of dynamics between candidate moves.
N_BETWEEN = 10
#: A series must be this many times as long as its statistical inefficiency.
LONG_ENOUGH = 20


@dataclass(frozen=True)
class Solution:
    """A solid solution of two cations in equal parts, in a supercell, at one temperature."""

    name: str
    structure: Structure
    supercell: tuple[int, int, int]
    temperature_K: float
    shell_A: float

    @property
    def disorder(self) -> Disorder:
        """The disordered supercell."""
        return Disorder(self.structure, self.supercell)


def solutions(*, quick: bool) -> list[Solution]:
    """Return the solid solutions; only one small cell for a quick run."""
    rocksalt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.95), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    if quick:
        return [Solution("(Na,K)Cl", rocksalt, (2, 1, 1), 600, 4.6)]
    fluorite = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.3), [{"Ce": 0.5, "Zr": 0.5}, "O"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    wurtzite = Structure.from_spacegroup(
        186, Lattice.hexagonal(3.3, 5.1), [{"Al": 0.5, "Sc": 0.5}, "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.38]]
    )
    perovskite = Structure(
        Lattice.cubic(6.3),
        ["Cs", {"Pb": 14 / 27, "Sn": 13 / 27}, "I", "I", "I"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )
    return [
        Solution("(Na,K)Cl", rocksalt, (2, 2, 2), 600, 4.6),
        Solution("(Ce,Zr)O2", fluorite, (2, 2, 2), 1500, 4.2),
        Solution("(Al,Sc)N", wurtzite, (3, 3, 2), 1500, 3.6),
        Solution("Cs(Pb,Sn)I3", perovskite, (3, 3, 3), 400, 7.0),
    ]


def mismatched() -> Solution:
    """Return a small cell of ions of very different sizes."""
    metal = {"Li": 0.5, "K": 0.5}
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.8), [metal, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return Solution("(Li,K)Cl", crystal, (2, 1, 1), 600, 4.6)


@dataclass(frozen=True)
class Share:
    """A share with its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, values: np.ndarray) -> Share:
        """Return the mean of correlated series, shape (replicas, n)."""
        return cls(float(values.mean()), correlated_variance(list(values / values.size)).error)

    @property
    def relative_error(self) -> float:
        """Standard error relative to the value."""
        return self.error / self.value


@dataclass(frozen=True)
class Series:
    """Attempts of one kind.

    Attributes
    ----------
    accepted
        Whether each attempt was accepted, shape (replicas, n).
    order
        Warren-Cowley parameter after each attempt, shape (replicas, n).
    states
        States after each sweep.
    """

    accepted: np.ndarray
    order: np.ndarray
    states: list[Arranged]

    @property
    def acceptance(self) -> float:
        """Share of the attempts that were accepted."""
        return float(self.accepted.mean())

    @property
    def inefficiency(self) -> float:
        """Statistical inefficiency, 1 + 2 τ, in attempts, of all replicas together."""
        variance = correlated_variance(list(self.order / self.order.size)).value
        return variance * self.order.size / float(self.order.var())

    def long_enough(self, n_sites: int) -> bool:
        """Whether there are many independent samples, and each replica has moved as many times as it has sites."""
        n_accepted = self.acceptance * self.order.shape[1]
        return self.order.size > LONG_ENOUGH * self.inefficiency and n_accepted >= n_sites


@dataclass(frozen=True)
class Switching:
    """Candidate moves: whether each was accepted, shape (replicas, n), and the states after them."""

    accepted: np.ndarray
    end: Arranged


class Bench:
    """Chains of one solid solution, all from the same equilibrated states.

    Parameters
    ----------
    solution
        The solid solution.
    n_replicas
        Number of replicas.
    n_sweeps
        Number of sweeps of the equilibration.
    n_steps
        Number of steps of 2 fs before them, in which atoms relax around the species and begin to vibrate.
    """

    def __init__(self, solution: Solution, n_replicas: int, n_sweeps: int, n_steps: int) -> None:
        self.solution = solution
        disorder = solution.disorder
        self.arrangements = Arrangements.of(disorder)
        self.potential = AlchemicalPotential(self.arrangements.system, load_potential("mace-demo"))
        crystal = self.arrangements.system.structure
        self.pairs = neighbours(crystal, [site for s in disorder.sublattices for site in s.sites], solution.shell_A)
        half = self.arrangements.n_sites // 2
        labels = self.arrangements.random([[self.arrangements.n_sites - half, half]], range(n_replicas))
        sweeps = self._sweeps(Proposal(), self._moved(labels, n_steps), labels)
        for _ in range(n_sweeps * sweeps.length):
            sweeps.step()
        self.start = sweeps.chains.current

    def chains(self, kind: ProposalKind, n_replicas: int, n_tries: int = 1) -> MonteCarlo:
        """Return chains without dynamics between the attempts, from the equilibrated states in turn."""
        chosen = np.arange(n_replicas) % len(self.start.labels)
        return MonteCarlo(
            self.potential,
            Canonical(self.arrangements),
            self.start.positions_A[chosen],
            self.start.cells_A[chosen],
            self.start.labels[chosen],
            temperature_K=self.solution.temperature_K,
            seeds=range(n_replicas),
            proposal=Proposal(kind, n_tries=n_tries),
        )

    def sample(self, proposal: Proposal, n_attempts: int) -> Series:
        """Sample with dynamics between the attempts."""
        sweeps = self._sweeps(proposal, self.start.positions_A, self.start.labels)
        orders, accepted, states = [], [], []
        while len(orders) < n_attempts:
            tried, before = sweeps.chains.n_attempts, sweeps.chains.n_accepted.copy()
            sweeps.step()
            if sweeps.chains.n_attempts > tried:
                orders.append(self.order(sweeps.chains.current.labels))
                accepted.append(sweeps.chains.n_accepted - before)
            if sweeps.n_steps % sweeps.length == 0:
                states.append(sweeps.chains.current)
        return Series(np.stack(accepted, axis=1), np.stack(orders, axis=1), states)

    def blind_acceptance(self, states: Sequence[Arranged], n_swaps: int) -> Share:
        """Return the mean probability that a random swap of unlike species is accepted, from swaps in each state."""
        ensemble, rng = Canonical(self.arrangements), np.random.default_rng(0)
        found = []
        for state in states:
            possible = ensemble.candidates(state.labels, state.slopes_eV).possible
            chosen = np.array([rng.choice(np.flatnonzero(own), n_swaps) for own in possible])
            swapped = np.stack([ensemble.apply(state.labels, each)[0] for each in chosen.T], axis=1)
            weights = self.arrangements.weights(swapped.reshape(-1, swapped.shape[2])).reshape(*swapped.shape[:2], -1)
            energies = self.potential.energies(state.positions_A, state.cells_A, weights).cpu().numpy()
            changes = (energies - state.energy_eV[:, None]) / (units.kB * self.solution.temperature_K)
            found.append(np.exp(-np.maximum(changes, 0)).mean(axis=1))
        return Share.of(np.stack(found, axis=1))

    def switched(self, switch: CandidateSwitch, kind: ProposalKind, n_sweeps: int, start: Arranged) -> Switching:
        """Make one candidate move of each replica and a few steps of dynamics in each sweep."""
        settings = MonteCarloSettings(
            temperature_K=self.solution.temperature_K,
            timestep_fs=switch.timestep_fs,
            friction_per_ps=switch.friction_per_ps,
            attempts_per_sweep=1,
            n_md_steps=N_BETWEEN,
            n_switching_steps=switch.n_steps,
            proposal=kind,
        )
        sweeps = self._sweeps(Proposal(kind), start.positions_A, start.labels, settings, switch)
        accepted = []
        for _ in range(n_sweeps):
            before = sweeps.chains.n_accepted.copy()
            for _ in range(sweeps.length):
                sweeps.step()
            accepted.append(sweeps.chains.n_accepted - before)
        return Switching(np.stack(accepted, axis=1), sweeps.chains.current)

    def order(self, labels: np.ndarray) -> np.ndarray:
        """Return the Warren-Cowley parameter of nearest neighbours, 1 − P(unlike) / (2 x (1 − x)), of each replica."""
        first, second = self.pairs
        share = labels.mean(axis=1)
        return 1 - (labels[:, first] != labels[:, second]).mean(axis=1) / (2 * share * (1 - share))

    def atoms(self) -> list[Atoms]:
        """Return the equilibrated states as atoms of ASE."""
        states = []
        for weights, positions in zip(
            self.arrangements.weights(self.start.labels), self.start.positions_A, strict=True
        ):
            states.append(self.arrangements.system.at_vertex(weights).to_ase_atoms())
            states[-1].set_positions(positions)
        return states

    def plain_energy(self) -> None:
        """Compute the energy of one arrangement as a crystal of plain elements."""
        weights = self.arrangements.weights(self.start.labels[:1])
        place = self.start.positions_A[:1], self.start.cells_A[:1]
        self.potential.evaluate(*place, weights, forces=False, stress=False, weight_gradients=False)

    def _moved(self, labels: np.ndarray, n_steps: int) -> np.ndarray:
        """Return positions after dynamics from those of the crystal (Å), shape (B, N, 3)."""
        system, weights = self.arrangements.system, self.arrangements.weights(labels)
        langevin = Langevin(
            self.potential,
            np.repeat(system.structure.cart_coords[None], len(labels), axis=0),
            np.repeat(system.structure.lattice.matrix[None], len(labels), axis=0),
            weights,
            system.masses(weights),
            temperature_K=np.full(len(labels), self.solution.temperature_K),
            timestep_fs=2.0,
            friction_per_ps=10.0,
            seeds=list(range(2000, 2000 + len(labels))),
        )
        for _ in range(n_steps):
            langevin.step()
        return langevin.positions.cpu().numpy()

    def _sweeps(
        self,
        proposal: Proposal,
        positions: np.ndarray,
        labels: np.ndarray,
        settings: MonteCarloSettings | None = None,
        switch: CandidateSwitch | None = None,
    ) -> Sweeps:
        n_replicas, system = len(labels), self.arrangements.system
        place = np.broadcast_to(positions, (n_replicas, system.n_sites, 3)).copy()
        cells = np.repeat(system.structure.lattice.matrix[None], n_replicas, axis=0)
        settings = settings or MonteCarloSettings(
            temperature_K=self.solution.temperature_K,
            timestep_fs=1.0,
            attempts_per_sweep=N_ATTEMPTS,
            n_md_steps=N_MD_STEPS,
        )
        temperatures = np.full(n_replicas, self.solution.temperature_K)
        chains = MonteCarlo(
            self.potential,
            Canonical(self.arrangements),
            place,
            cells,
            labels,
            temperature_K=temperatures,
            seeds=range(n_replicas),
            proposal=proposal,
            switch=switch,
        )
        weights = self.arrangements.weights(labels)
        seeds = list(range(1000, 1000 + n_replicas))
        masses = system.masses(weights)
        langevin = Langevin.under(settings, self.potential, (place, cells), weights, masses, seeds)
        return Sweeps(chains, settings, temperatures, langevin)


def neighbours(crystal: Structure, sites: list[int], shell_A: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of sites (as indices in `sites`) that are nearer than a distance."""
    cations = Structure.from_sites([crystal[site] for site in sites])
    first, second, _, _ = cations.get_neighbor_list(shell_A)
    return first, second
