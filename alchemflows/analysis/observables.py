"""Quantities that are averaged over the samples of Monte Carlo: of the cell, of the composition, and of the order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.analysis.order import Shell, Wave, shells, warren_cowley, wave_order
from alchemflows.free_energy.chains import ChainEstimate, Statistic, chain_estimate, mean_of, variance_of
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import Constrained, SemiGrand
from alchemflows.sampling.reactions import Reaction, species_potentials
from alchemflows.schemas.monte_carlo import ArrangementSeries
from alchemflows.schemas.monte_carlo_result import Average, CompositionEnsemble, PairOrder, WaveOrder
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import SitesSummary

#: Names of quantities of the cell.
ENERGY, VOLUME, HEAT_CAPACITY, ACCEPTANCE = "the energy", "the volume", "the heat capacity", "the acceptance"


@dataclass(frozen=True)
class SampledReplica:
    """What was sampled in one replica at constant conditions.

    Attributes
    ----------
    series
        Samples at these conditions. With replica exchange, they come from different chains (`walker`).
    temperature_K
        Temperature.
    start
        How the first arrangement was made, such as random, ordered or quenched.
    final_positions_A, final_cell_A
        Positions (Å), shape (N, 3), and lattice vectors as rows (Å), shape (3, 3), at the end of the run.
    seed
        Seed of the random numbers.
    mu_eV
        Chemical potentials in the semi-grand ensemble, otherwise None: values by symbol, for all sublattices or one
        mapping for each.
    targets
        Target shares in the variance-constrained ensemble, otherwise None; in the form of `mu_eV`.
    stiffness_eV
        Stiffness of the targets per site, otherwise None.
    exchange_mu_eV
        Chemical potentials of exchanges of species that keep the charge, otherwise None: by their text.
    frames
        Stored configurations; None if there are none.
    sites
        Displacements of the atoms from their sites; None if no atom moves.
    final_labels
        Arrangement at the end of the run, shape (n,); None for that of the last sample. An explosion ends the run after
        the moves of the next sweep.
    """

    series: ArrangementSeries
    temperature_K: float
    start: str
    final_positions_A: np.ndarray
    final_cell_A: np.ndarray
    seed: int | None = None
    mu_eV: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None
    targets: Mapping[str, float] | Sequence[Mapping[str, float]] | None = None
    stiffness_eV: float | None = None
    exchange_mu_eV: Mapping[str, float] | None = None
    frames: PackedArrays | None = None
    sites: SitesSummary | None = None
    final_labels: np.ndarray | None = None

    @property
    def ensemble(self) -> CompositionEnsemble:
        """Ensemble of the composition."""
        if self.mu_eV is not None:
            return "semi-grand"
        if self.exchange_mu_eV is not None:
            return "charge-neutral semi-grand"
        return "canonical" if self.targets is None else "variance-constrained"


@dataclass(frozen=True)
class Observable:
    """A quantity that is estimated at each point.

    Attributes
    ----------
    name
        Name in reasons, different for each.
    samples
        Returns the samples of a replica, shape (n,) or (n, d).
    statistic
        What is estimated from them.
    conserved
        Whether the ensemble keeps it constant, so that it has no error.
    checked
        Whether the verdict considers it; not if it follows from others.
    part
        Makes a part of the document from an estimate and all samples, shape (n, d); None for fields of the point.
    """

    name: str
    samples: Callable[[SampledReplica], np.ndarray]
    statistic: Statistic = mean_of
    conserved: bool = False
    checked: bool = True
    part: Callable[[Average, np.ndarray], PairOrder | WaveOrder] | None = None


@dataclass(frozen=True)
class Measured:
    """A quantity at one point.

    Attributes
    ----------
    observable
        The quantity.
    chains
        Its samples in each replica.
    estimate
        Estimate from them.
    exchanged
        Whether the replicas exchanged configurations.
    """

    observable: Observable
    chains: list[np.ndarray]
    estimate: ChainEstimate
    exchanged: bool

    @classmethod
    def of(cls, observable: Observable, replicas: Sequence[SampledReplica], *, exchanged: bool) -> Measured:
        """Return the quantity from the samples of all replicas at a point."""
        chains = [observable.samples(replica) for replica in replicas]
        return cls(observable, chains, chain_estimate(chains, observable.statistic, exchanged=exchanged), exchanged)

    @property
    def is_checked(self) -> bool:
        """Whether the verdict considers the quantity."""
        return self.observable.checked and not self.observable.conserved

    @property
    def average(self) -> Average:
        """Estimate as it is stored."""
        n_independent = self.estimate.n_independent
        error = 0.0 if self.observable.conserved else self.estimate.error
        return Average(value=self.estimate.value, error=error, n_independent=n_independent or None)


def averages(arrangements: Arrangements, ensemble: CompositionEnsemble, pressure_GPa: float | None) -> list[Observable]:
    """Return the quantities of the cell, the shares of the species, and chemical potentials that follow from targets.

    The heat capacity follows from fluctuations at constant temperature,

        C = Var(E + pV + Φ) / (k_B T²),

    where Φ is that of the ensemble (:mod:`alchemflows.sampling.ensembles`). It is the derivative of ⟨E + pV + Φ⟩ with
    respect to the temperature (D. Frenkel & B. Smit, Understanding Molecular Simulation, 2nd ed., Academic Press, 2002,
    ch. 4). At constant composition this is C_V without and C_p with a pressure. At frozen positions it is the
    configurational part. With dynamics between the sweeps it contains the potential energy of the vibrations (3/2 k_B
    per atom if they are harmonic). The kinetic part, 3/2 k_B per atom, is not included.

    Parameters
    ----------
    arrangements
        All arrangements.
    ensemble
        Ensemble of the composition.
    pressure_GPa
        Pressure; None at constant volume.
    """
    pressure = (pressure_GPa or 0.0) * units.GPa  # eV/Å³

    def enthalpy_over_root(replica: SampledReplica) -> np.ndarray:
        """Return (E + pV + Φ) / (√k_B T), whose variance is the heat capacity."""
        series = replica.series
        total = series.energy_eV + pressure * series.volume_A3 + _composition_energy_eV(arrangements, replica)
        return total / (np.sqrt(units.kB) * replica.temperature_K)

    def share(index: int, species: int) -> Callable[[SampledReplica], np.ndarray]:
        own = arrangements.sublattice == index
        return lambda replica: (replica.series.labels[:, own] == species).mean(axis=1)

    return [
        Observable(ENERGY, lambda replica: replica.series.energy_eV),
        Observable(VOLUME, lambda replica: replica.series.volume_A3, conserved=pressure_GPa is None),
        Observable(HEAT_CAPACITY, enthalpy_over_root, variance_of),
        Observable(ACCEPTANCE, lambda replica: replica.series.acceptance, checked=False),
        *(
            Observable(
                share_name(arrangements, index, s),
                share(index, s),
                conserved=ensemble == "canonical",
                checked=s != species_of(arrangements, index)[-1],
            )
            for index in range(arrangements.n_sublattices)
            for s in species_of(arrangements, index)
        ),
        *(
            Observable(mu_name(arrangements, index, s), _constrained_mu(arrangements, index, s), checked=False)
            for index in range(arrangements.n_sublattices if ensemble == "variance-constrained" else 0)
            for s in species_of(arrangements, index)[1:]
        ),
    ]


def order(
    arrangements: Arrangements, unit_cell: Lattice, wave_vectors: Sequence[Sequence[float]], n_shells: int
) -> list[Observable]:
    """Return the Warren–Cowley parameters and the order parameters of all sublattices.

    Parameters
    ----------
    arrangements
        All arrangements; the sites are those of the structure of its system.
    unit_cell
        Lattice to which the wave vectors refer.
    wave_vectors
        Wave vectors in units of its reciprocal lattice vectors.
    n_shells
        Number of neighbour shells of each sublattice.

    Raises
    ------
    InvalidInputError
        If a wave does not fit into the supercell, or has the same phase on all sites of a sublattice.
    """
    atoms = np.array([group.sites[0] for group in arrangements.system.groups])
    found = []
    for index in range(arrangements.n_sublattices):
        own = np.flatnonzero(arrangements.sublattice == index)
        species = species_of(arrangements, index)
        structure = Structure.from_sites([arrangements.system.structure[int(site)] for site in atoms[own]])
        if len(species) < 2:
            continue
        for number, shell in enumerate(shells(structure, n_shells), start=1):
            found += [_pair(arrangements, index, number, shell, pair) for pair in combinations(species, 2)]
        for vector in wave_vectors:
            wave = Wave.of(structure, vector, unit_cell)
            # The amplitudes of two species are equal.
            told = species[:1] if len(species) == 2 else species
            found += [_wave(arrangements, index, vector, wave, s) for s in told]
    return found


def _pair(arrangements: Arrangements, index: int, number: int, shell: Shell, pair: tuple[int, int]) -> Observable:
    own = arrangements.sublattice == index
    names = (arrangements.species[pair[0]], arrangements.species[pair[1]])

    def samples(replica: SampledReplica) -> np.ndarray:
        first, second = (replica.series.labels[:, own] == s for s in pair)
        return np.stack([shell.joint(first, second), first.mean(axis=1), second.mean(axis=1)], axis=1)

    def part(alpha: Average, everything: np.ndarray) -> PairOrder:
        _, first, second = everything.T
        random = shell.random_joint(first, second, same=False).mean()
        return PairOrder(
            sublattice=index,
            shell=number,
            distance_A=shell.distance_A,
            n_neighbours=shell.n_neighbours,
            pair=names,
            alpha=alpha,
            random=warren_cowley(random, first.mean(), second.mean()),
        )

    name = f"the order of {names[0]} and {names[1]} in shell {number} of sublattice {index}"
    return Observable(name, samples, _alpha, part=part)


def _alpha(chains: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Return the Warren–Cowley parameter from samples of P(AB), x_A and x_B; NaN if a species is absent.

    The averages are taken first, so that a fluctuating composition is part of the correlation.
    """
    joint, first, second = np.concatenate(chains).mean(axis=0)
    if not first * second > 0:
        return np.nan, []
    alpha = warren_cowley(joint, first, second)
    slopes = np.array([-1 / (first * second), (1 - alpha) / first, (1 - alpha) / second])
    return alpha, [(chain - (joint, first, second)) @ slopes for chain in chains]


def _wave(arrangements: Arrangements, index: int, vector: Sequence[float], wave: Wave, species: int) -> Observable:
    own, symbol = arrangements.sublattice == index, arrangements.species[species]
    q = tuple(float(component) for component in vector)

    def samples(replica: SampledReplica) -> np.ndarray:
        occupied = replica.series.labels[:, own] == species
        return np.stack([wave.squared(occupied), occupied.mean(axis=1)], axis=1)

    def statistic(chains: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
        squared, share = np.concatenate(chains).mean(axis=0)
        if not 0 < share < 1:
            return np.nan, []
        order = wave_order(squared, wave, share)
        slopes = np.array([1, -order * wave.slope_of_largest(share)]) / wave.largest(share)
        return order, [(chain - (squared, share)) @ slopes for chain in chains]

    def part(order: Average, everything: np.ndarray) -> WaveOrder:
        shares = everything[:, 1]
        random = wave_order(wave.random_squared(shares).mean(), wave, shares.mean())
        return WaveOrder(sublattice=index, wave_vector=q, species=symbol, order=order, random=random)

    name = f"the wave {', '.join(f'{component:g}' for component in q)} of {symbol} on sublattice {index}"
    return Observable(name, samples, statistic, part=part)


def _constrained_mu(arrangements: Arrangements, index: int, species: int) -> Callable[[SampledReplica], np.ndarray]:
    """Return samples of the chemical potential relative to the first species of a sublattice (eV).

    The formula is that of :class:`~alchemflows.sampling.ensembles.Constrained`.
    """
    own, first = arrangements.sublattice == index, species_of(arrangements, index)[0]

    def samples(replica: SampledReplica) -> np.ndarray:
        assert replica.targets is not None and replica.stiffness_eV is not None
        targets = arrangements.table("targets", replica.targets)[index]
        beyond = [(replica.series.labels[:, own] == s).mean(axis=1) - targets[s] for s in (first, species)]
        return 2 * replica.stiffness_eV * (beyond[0] - beyond[1])

    return samples


def _composition_energy_eV(arrangements: Arrangements, replica: SampledReplica) -> np.ndarray:
    """Return Φ of each sample (eV), shape (n,)."""
    labels = replica.series.labels
    if replica.mu_eV is not None:
        return SemiGrand(arrangements, replica.mu_eV).composition_energy_eV(labels)
    if replica.exchange_mu_eV is not None:
        exchanges = [Reaction.parse(text) for text in replica.exchange_mu_eV]
        mu = species_potentials(arrangements, exchanges, list(replica.exchange_mu_eV.values()))[0]
        return -arrangements.counts(labels).sum(axis=1) @ mu
    if replica.targets is not None and replica.stiffness_eV is not None:
        return Constrained(arrangements, replica.targets, replica.stiffness_eV).composition_energy_eV(labels)
    return np.zeros(len(labels))


def species_of(arrangements: Arrangements, index: int) -> list[int]:
    """Return the indices of the species that can be on a sublattice."""
    return np.flatnonzero(arrangements.allowed[arrangements.sublattice == index].any(axis=0)).tolist()


def share_name(arrangements: Arrangements, index: int, species: int) -> str:
    """Return the name of the share of a species on a sublattice."""
    return f"the share of {arrangements.species[species]} on sublattice {index}"


def mu_name(arrangements: Arrangements, index: int, species: int) -> str:
    """Return the name of the chemical potential of a species that follows from targets."""
    return f"the chemical potential of {arrangements.species[species]} on sublattice {index}"
