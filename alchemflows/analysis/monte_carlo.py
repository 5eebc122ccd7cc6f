"""Averages, order and verdict of Monte Carlo on arrangements, from the time series of its replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.order import Shell, Wave, shells, warren_cowley, wave_order
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.chains import (
    ChainEstimate,
    Statistic,
    chain_estimate,
    chance_of_difference,
    mean_of,
    variance_of,
)
from alchemflows.free_energy.consistency import sigmas
from alchemflows.free_energy.convergence import drift
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.sampling.ensembles import Constrained, SemiGrand
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.monte_carlo_result import (
    Average,
    CompositionEnsemble,
    MonteCarloDocument,
    MonteCarloPoint,
    MonteCarloReplica,
    PackedArrangements,
    PairOrder,
    ReplicaExchangeSummary,
    WaveOrder,
)
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Number of neighbour shells by default.
N_SHELLS = 3
#: With fewer independent samples of any quantity at a point, neither its error nor the tests are meaningful.
MIN_INDEPENDENT = 20
#: Smallest share of accepted moves.
MIN_ACCEPTANCE = 1e-3
#: Allowed rate of false alarms per result of the comparison of starts.
ALLOWED_STARTS = 2e-3
#: Note for runs in which all chains started alike.
ONE_START = (
    "all chains started from the same kind of arrangement ({start}), so no check shows whether the result depends on "
    "it, as it does near a transition"
)

_ENERGY, _VOLUME = "the energy", "the volume"
_HEAT_CAPACITY, _ACCEPTANCE = "the heat capacity", "the acceptance"


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
        Positions (Å), shape (N, 3), and lattice vectors as rows (Å), shape (3, 3), after the last sample.
    seed
        Seed of the random numbers.
    mu_eV
        Chemical potentials in the semi-grand ensemble, otherwise None: values by symbol, for all sublattices or one
        mapping for each.
    targets
        Target shares in the variance-constrained ensemble, otherwise None; in the form of `mu_eV`.
    stiffness_eV
        Stiffness of the targets per site, otherwise None.
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

    @property
    def ensemble(self) -> CompositionEnsemble:
        """Ensemble of the composition."""
        if self.mu_eV is not None:
            return "semi-grand"
        return "canonical" if self.targets is None else "variance-constrained"


@dataclass(frozen=True)
class MonteCarloSummary:
    """Parts of the document that follow from the samples.

    Attributes
    ----------
    points
        Averages at each temperature, chemical potential and target, in ascending order.
    point_of_replica
        Index of the point of each replica.
    exchange
        Statistics of replica exchange; None without it.
    verdict
        Result of the checks.
    """

    points: list[MonteCarloPoint]
    point_of_replica: list[int]
    exchange: ReplicaExchangeSummary | None
    verdict: Verdict


def monte_carlo_document(
    disorder: Disorder,
    replicas: Sequence[SampledReplica],
    settings: MonteCarloSettings,
    *,
    unit_cell: Structure,
    provenance: Provenance,
    wave_vectors: Sequence[Sequence[float]] = (),
    n_shells: int = N_SHELLS,
    exchange_acceptance: Sequence[float] | None = None,
) -> MonteCarloDocument:
    """Return the document of Monte Carlo on the arrangements of a disordered crystal.

    Parameters
    ----------
    disorder
        The crystal in its supercell; labels are those of ``Arrangements.of(disorder)``.
    replicas
        All replicas.
    settings
        Settings of the run.
    unit_cell
        Unit cell from which the supercell was made.
    provenance
        Provenance of the document.
    wave_vectors
        Wave vectors of the order parameters, in units of the reciprocal lattice vectors of `unit_cell`.
    n_shells
        Number of neighbour shells of each sublattice.
    exchange_acceptance
        Share of accepted exchanges between replicas k and k + 1; None without replica exchange.

    Raises
    ------
    InvalidInputError
        As :func:`summarise`.
    """
    arrangements = Arrangements.of(disorder)
    summary = summarise(
        arrangements,
        replicas,
        counts=disorder.counts,
        unit_cell=unit_cell.lattice,
        pressure_GPa=settings.pressure_GPa,
        wave_vectors=wave_vectors,
        n_shells=n_shells,
        exchange_acceptance=exchange_acceptance,
        notes=[disorder.rounding] if disorder.rounding else [],
    )
    return MonteCarloDocument(
        formula=disorder.system.formula(disorder.weights),
        counts=disorder.counts,
        ensemble=replicas[0].ensemble,
        stiffness_eV=replicas[0].stiffness_eV,
        temperatures_K=sorted({point.temperature_K for point in summary.points}),
        pressure_GPa=settings.pressure_GPa,
        species=list(arrangements.species),
        sites=[list(sublattice.sites) for sublattice in disorder.sublattices],
        points=summary.points,
        replicas=[
            MonteCarloReplica(
                point=point,
                start=replica.start,
                seed=replica.seed,
                final=snapshot(
                    arrangements, replica.series.labels[-1], replica.final_positions_A, replica.final_cell_A
                ),
                series=PackedArrangements.pack(replica.series),
            )
            for replica, point in zip(replicas, summary.point_of_replica, strict=True)
        ],
        exchange=summary.exchange,
        settings=settings,
        rounding=disorder.rounding,
        verdict=summary.verdict,
        provenance=provenance,
    )


def snapshot(arrangements: Arrangements, labels: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> Structure:
    """Return the structure of an arrangement without its vacant sites.

    Parameters
    ----------
    arrangements
        All arrangements.
    labels
        Index of the species on each site, shape (n,).
    positions
        Positions of all N sites of the crystal (Å), shape (N, 3).
    cell
        Lattice vectors as rows (Å).
    """
    system = arrangements.system
    symbols = [site.specie.symbol for site in system.structure]
    for group, label in zip(system.groups, labels, strict=True):
        symbols[group.sites[0]] = arrangements.species[label]
    kept = [site for site, symbol in enumerate(symbols) if symbol != VACANCY]
    return Structure(Lattice(cell), [symbols[site] for site in kept], positions[kept], coords_are_cartesian=True)


def summarise(
    arrangements: Arrangements,
    replicas: Sequence[SampledReplica],
    *,
    counts: Counts,
    unit_cell: Lattice,
    pressure_GPa: float | None = None,
    wave_vectors: Sequence[Sequence[float]] = (),
    n_shells: int = N_SHELLS,
    exchange_acceptance: Sequence[float] | None = None,
    notes: Sequence[str] = (),
) -> MonteCarloSummary:
    """Average the series of replicas at equal conditions, and check whether they have converged.

    Distances of neighbour shells and phases of waves are those of the structure of ``arrangements.system``.

    Parameters
    ----------
    arrangements
        All arrangements; the labels of the series refer to them.
    replicas
        All replicas.
    counts
        Atoms, sites and formula units of the cell.
    unit_cell
        Lattice to which the wave vectors refer.
    pressure_GPa
        Pressure; None at constant volume.
    wave_vectors, n_shells, exchange_acceptance
        See :func:`monte_carlo_document`.
    notes
        Further notes of the verdict.

    Raises
    ------
    InvalidInputError
        If there is no replica, the ensembles of the replicas differ, labels are invalid, or a wave does not fit into
        the supercell.
    """
    _check(arrangements, replicas)
    observables = _averages(arrangements, replicas[0].ensemble, pressure_GPa)
    observables += _order(arrangements, unit_cell, wave_vectors, n_shells)
    conditions = [_Conditions.of(arrangements, replica) for replica in replicas]
    distinct = sorted(set(conditions))
    point_of_replica = [distinct.index(own) for own in conditions]
    points, reasons, comparisons = [], [], []
    for index, each in enumerate(distinct):
        here = [replica for replica, point in zip(replicas, point_of_replica, strict=True) if point == index]
        sampled = [_Sampled.of(observable, here) for observable in observables]
        points.append(_point(arrangements, counts, each, sampled, here))
        reasons += _reasons(each.title, sampled, points[-1])
        if exchange_acceptance is None:
            comparisons += _comparisons(each.title, sampled, [replica.start for replica in here])
    reasons += _disagreements(comparisons)
    exchange = None
    if exchange_acceptance is not None:
        walkers = np.stack([replica.series.walker for replica in replicas], axis=1)
        trips = round_trips(walkers, point_of_replica)
        exchange = ReplicaExchangeSummary(acceptance=list(exchange_acceptance), round_trips=trips)
        if not sum(trips):
            reasons.append(Reason.NO_ROUND_TRIPS.because(low=distinct[0].title, high=distinct[-1].title))
    starts = sorted({replica.start for replica in replicas})
    told = [*notes, ONE_START.format(start=starts[0])] if len(starts) == 1 else list(notes)
    return MonteCarloSummary(points, point_of_replica, exchange, Verdict.of(reasons, told))


def round_trips(walkers: np.ndarray, point_of_replica: Sequence[int]) -> list[int]:
    """Return how often each chain went from the first point to the last one and back.

    Parameters
    ----------
    walkers
        Index of the chain in each replica at each sample, shape (n, B).
    point_of_replica
        Index of the point of each replica, shape (B,).
    """
    replica = np.argsort(walkers, axis=1, kind="stable")  # replica of each chain, shape (n, B)
    points = np.asarray(point_of_replica)[replica]
    low, high = min(point_of_replica), max(point_of_replica)
    trips = []
    for own in points.T:
        ends = own[(own == low) | (own == high)]
        turns = ends[np.concatenate([[True], ends[1:] != ends[:-1]])] if len(ends) else ends
        trips.append(max(0, len(turns) - 1) // 2 if low < high else 0)
    return trips


@dataclass(frozen=True, order=True)
class _Conditions:
    """Conditions of a point; chemical potentials and targets as symbols with values, for each sublattice."""

    temperature_K: float
    mu_eV: tuple[tuple[tuple[str, float], ...], ...] = ()
    targets: tuple[tuple[tuple[str, float], ...], ...] = ()

    @classmethod
    def of(cls, arrangements: Arrangements, replica: SampledReplica) -> _Conditions:
        def table(name: str, values: Any) -> tuple[tuple[tuple[str, float], ...], ...]:
            if values is None:
                return ()
            rows = arrangements.table(name, values)
            return tuple(
                tuple((arrangements.species[s], float(row[s])) for s in _allowed(arrangements, index))
                for index, row in enumerate(rows)
            )

        return cls(replica.temperature_K, table("mu_eV", replica.mu_eV), table("targets", replica.targets))

    @property
    def title(self) -> str:
        """Name of the point in reasons."""
        parts = [f"{self.temperature_K:g} K"]
        for symbol, table, unit in (("μ", self.mu_eV, " eV"), ("target", self.targets, "")):
            parts += [f"{symbol}({name}) = {value:.4g}{unit}" for row in table for name, value in row]
        return ", ".join(parts)


@dataclass(frozen=True)
class _Observable:
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
    part
        Makes a part of the document from an estimate and all samples, shape (n, d); None for fields of the point.
    """

    name: str
    samples: Callable[[SampledReplica], np.ndarray]
    statistic: Statistic = mean_of
    conserved: bool = False
    part: Callable[[Average, np.ndarray], PairOrder | WaveOrder] | None = None


@dataclass(frozen=True)
class _Sampled:
    """Samples of a quantity at one point by replica, and the estimate from them."""

    observable: _Observable
    chains: list[np.ndarray]
    estimate: ChainEstimate

    @classmethod
    def of(cls, observable: _Observable, replicas: Sequence[SampledReplica]) -> _Sampled:
        chains = [observable.samples(replica) for replica in replicas]
        return cls(observable, chains, chain_estimate(chains, observable.statistic))

    @property
    def average(self) -> Average:
        """Estimate as it is stored."""
        n_independent = self.estimate.n_independent
        error = 0.0 if self.observable.conserved else self.estimate.error
        return Average(value=self.estimate.value, error=error, n_independent=n_independent or None)


def _averages(
    arrangements: Arrangements, ensemble: CompositionEnsemble, pressure_GPa: float | None
) -> list[_Observable]:
    """Return the observables that are fields of a point."""
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
        _Observable(_ENERGY, lambda replica: replica.series.energy_eV),
        _Observable(_VOLUME, lambda replica: replica.series.volume_A3, conserved=pressure_GPa is None),
        _Observable(_HEAT_CAPACITY, enthalpy_over_root, variance_of),
        _Observable(_ACCEPTANCE, lambda replica: replica.series.acceptance),
        *(
            _Observable(_share_name(arrangements, index, s), share(index, s), conserved=ensemble == "canonical")
            for index in range(arrangements.n_sublattices)
            for s in _allowed(arrangements, index)
        ),
    ]


def _order(
    arrangements: Arrangements, unit_cell: Lattice, wave_vectors: Sequence[Sequence[float]], n_shells: int
) -> list[_Observable]:
    """Return the Warren–Cowley parameters and the order parameters of all sublattices."""
    atoms = np.array([group.sites[0] for group in arrangements.system.groups])
    found = []
    for index in range(arrangements.n_sublattices):
        own = np.flatnonzero(arrangements.sublattice == index)
        species = _allowed(arrangements, index)
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


def _pair(arrangements: Arrangements, index: int, number: int, shell: Shell, pair: tuple[int, int]) -> _Observable:
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
    return _Observable(name, samples, _alpha, part=part)


def _alpha(chains: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Return the Warren–Cowley parameter from samples of P(AB), x_A and x_B; NaN if a species is absent."""
    joint, first, second = np.concatenate(chains).mean(axis=0)
    if not first * second > 0:
        return np.nan, []
    alpha = warren_cowley(joint, first, second)
    slopes = np.array([-1 / (first * second), (1 - alpha) / first, (1 - alpha) / second])
    return alpha, [(chain - (joint, first, second)) @ slopes for chain in chains]


def _wave(arrangements: Arrangements, index: int, vector: Sequence[float], wave: Wave, species: int) -> _Observable:
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
        return order, [chain[:, 0] / wave.largest(share) - order for chain in chains]

    def part(order: Average, everything: np.ndarray) -> WaveOrder:
        shares = everything[:, 1]
        random = wave_order(wave.random_squared(shares).mean(), wave, shares.mean())
        return WaveOrder(sublattice=index, wave_vector=q, species=symbol, order=order, random=random)

    name = f"the wave {', '.join(f'{component:g}' for component in q)} of {symbol} on sublattice {index}"
    return _Observable(name, samples, statistic, part=part)


def _point(
    arrangements: Arrangements,
    counts: Counts,
    conditions: _Conditions,
    sampled: Sequence[_Sampled],
    replicas: Sequence[SampledReplica],
) -> MonteCarloPoint:
    averages = {each.observable.name: each.average for each in sampled if each.observable.part is None}
    parts = [
        each.observable.part(each.average, np.concatenate(each.chains))
        for each in sampled
        if each.observable.part is not None and np.isfinite(each.estimate.value)
    ]
    n_samples = sum(len(replica.series) for replica in replicas)
    weights = sum(arrangements.weights(replica.series.labels).sum(axis=0) for replica in replicas) / n_samples
    system = arrangements.system
    return MonteCarloPoint(
        temperature_K=conditions.temperature_K,
        mu_eV=[dict(row) for row in conditions.mu_eV] or None,
        targets=[dict(row) for row in conditions.targets] or None,
        formula=system.formula(weights),
        counts=counts.model_copy(update={"atoms": system.counts(weights).atoms}),
        n_replicas=len(replicas),
        n_samples=n_samples,
        energy_eV=averages[_ENERGY],
        volume_A3=averages[_VOLUME],
        composition=[
            {
                arrangements.species[s]: averages[_share_name(arrangements, index, s)]
                for s in _allowed(arrangements, index)
            }
            for index in range(arrangements.n_sublattices)
        ],
        heat_capacity_eV_per_K=averages[_HEAT_CAPACITY],
        acceptance=averages[_ACCEPTANCE],
        warren_cowley=[part for part in parts if isinstance(part, PairOrder)],
        waves=[part for part in parts if isinstance(part, WaveOrder)],
    )


def _reasons(where: str, sampled: Sequence[_Sampled], point: MonteCarloPoint) -> list[str]:
    """Return the reasons against a point that do not depend on the starts."""
    reasons = []
    if point.acceptance.value < MIN_ACCEPTANCE:
        percent = 100 * point.acceptance.value
        reasons.append(Reason.FEW_MOVES.because(where=where, percent=percent, least=100 * MIN_ACCEPTANCE))
    varying = [each for each in sampled if not each.observable.conserved and each.estimate.n_independent > 0]
    worst = min(varying, key=lambda each: each.estimate.n_independent, default=None)
    if worst is not None and worst.estimate.n_independent < MIN_INDEPENDENT:
        n, quantity = worst.estimate.n_independent, worst.observable.name
        reasons.append(Reason.FEW_ARRANGEMENTS.because(where=where, quantity=quantity, n=n, least=MIN_INDEPENDENT))
    for each in varying:
        if each.observable.statistic is mean_of:
            length = min(map(len, each.chains))
            moving = [chain[:length] for chain in each.chains if np.ptp(chain[:length]) > 0]
            reasons += drift(f"{where}: {each.observable.name}", np.stack(moving, axis=1)) if moving else []
    return reasons


def _comparisons(where: str, sampled: Sequence[_Sampled], starts: Sequence[str]) -> list[tuple[float, dict[str, str]]]:
    """Return, for chains of each two starts, the least probable difference: its probability and the text's fields."""
    found = []
    for first, second in combinations(sorted(set(starts)), 2):
        for each in sampled:
            one, other = (
                chain_estimate(
                    [chain for chain, own in zip(each.chains, starts, strict=True) if own == start],
                    each.observable.statistic,
                )
                for start in (first, second)
            )
            if np.isfinite([one.value, other.value]).all():
                about = {"where": where, "quantity": each.observable.name, "first": first, "second": second}
                found.append((chance_of_difference(one, other), about))
    return found


def _disagreements(comparisons: Sequence[tuple[float, dict[str, str]]]) -> list[str]:
    """Return the reasons against starts that differ: the clearest for each point and two starts."""
    allowed = -np.expm1(np.log1p(-ALLOWED_STARTS) / max(1, len(comparisons)))
    worst: dict[tuple[str, ...], tuple[float, dict[str, str]]] = {}
    for chance, about in comparisons:
        pair = (about["where"], about["first"], about["second"])
        if chance < min(allowed, worst.get(pair, (1.0, {}))[0]):
            worst[pair] = chance, about
    return [Reason.CHAIN_STARTS.because(**about, sigma=sigmas(chance)) for chance, about in worst.values()]


def _composition_energy_eV(arrangements: Arrangements, replica: SampledReplica) -> np.ndarray:
    """Return Φ of each sample (eV), shape (n,)."""
    labels = replica.series.labels
    if replica.mu_eV is not None:
        return SemiGrand(arrangements, replica.mu_eV).composition_energy_eV(labels)
    if replica.targets is not None and replica.stiffness_eV is not None:
        return Constrained(arrangements, replica.targets, replica.stiffness_eV).composition_energy_eV(labels)
    return np.zeros(len(labels))


def _check(arrangements: Arrangements, replicas: Sequence[SampledReplica]) -> None:
    if not replicas:
        raise InvalidInputError("replicas: at least one replica is needed")
    if len({(replica.ensemble, replica.stiffness_eV) for replica in replicas}) > 1:
        raise InvalidInputError("replicas: the ensembles differ, or the stiffness of their targets")
    for replica in replicas:
        arrangements.check(replica.series.labels)


def _allowed(arrangements: Arrangements, index: int) -> list[int]:
    """Return the species that can be on a sublattice."""
    return np.flatnonzero(arrangements.allowed[arrangements.sublattice == index].any(axis=0)).tolist()


def _share_name(arrangements: Arrangements, index: int, species: int) -> str:
    return f"the share of {arrangements.species[species]} on sublattice {index}"
