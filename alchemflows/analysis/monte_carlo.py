"""Averages, order and verdict of Monte Carlo on arrangements, from the time series of its replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.chain_checks import comparisons_of_starts, reasons_against_point, reasons_against_starts
from alchemflows.analysis.observables import (
    ACCEPTANCE,
    ENERGY,
    HEAT_CAPACITY,
    VOLUME,
    Measured,
    SampledReplica,
    averages,
    mu_name,
    order,
    share_name,
    species_of,
)
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.sampling.exchange import ExchangeStatistics
from alchemflows.sampling.sweeps import Explosion
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.monte_carlo import MonteCarloSettings
from alchemflows.schemas.monte_carlo_result import (
    Average,
    MonteCarloDocument,
    MonteCarloPoint,
    MonteCarloReplica,
    PackedArrangements,
    PairOrder,
    ReplicaExchangeSummary,
    StartEnergies,
    WaveOrder,
)
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.sites import worst
from alchemflows.schemas.verdict import Verdict

#: Number of neighbour shells by default.
N_SHELLS = 3
#: Note for runs in which all chains started alike.
ONE_START = (
    "all chains started from the same kind of arrangement ({start}), so no check shows whether the result depends on "
    "it, as it does near a transition"
)


@dataclass(frozen=True)
class MonteCarloSummary:
    """Parts of the document that follow from the samples.

    Attributes
    ----------
    points
        Averages at each temperature, chemical potential and target, in ascending order.
    point_of_replica
        Index of the point of each replica.
    verdict
        Result of the checks.
    """

    points: list[MonteCarloPoint]
    point_of_replica: list[int]
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
    exchange: ExchangeStatistics | None = None,
    starts: StartEnergies | None = None,
    explosion: Explosion | None = None,
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
    exchange
        Statistics of replica exchange; None without it.
    starts
        Energies at the positions from which the replicas started.
    explosion
        The explosion that ended the run before its last sweep; None without one.

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
        exchange=exchange,
        notes=[disorder.rounding] if disorder.rounding else [],
    )
    verdict = summary.verdict
    if explosion is not None:
        where = summary.points[summary.point_of_replica[explosion.replica]].label
        verdict = Verdict.of([explosion.reason(where), *verdict.reasons], verdict.notes)
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
                    arrangements,
                    replica.series.labels[-1] if replica.final_labels is None else replica.final_labels,
                    replica.final_positions_A,
                    replica.final_cell_A,
                ),
                series=PackedArrangements.pack(replica.series),
                frames=replica.frames,
            )
            for replica, point in zip(replicas, summary.point_of_replica, strict=True)
        ],
        exchange=exchange
        and ReplicaExchangeSummary(acceptance=exchange.acceptance.tolist(), round_trips=exchange.round_trips.tolist()),
        starts=starts,
        settings=settings,
        rounding=disorder.rounding,
        verdict=verdict,
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
    exchange: ExchangeStatistics | None = None,
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
    wave_vectors, n_shells, exchange
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
    observables = averages(arrangements, replicas[0].ensemble, pressure_GPa)
    observables += order(arrangements, unit_cell, wave_vectors, n_shells)
    conditions = [_Conditions.of(arrangements, replica) for replica in replicas]
    distinct = sorted(set(conditions))
    point_of_replica = [distinct.index(own) for own in conditions]
    points, reasons, comparisons = [], [], []
    for index, each in enumerate(distinct):
        members = [k for k, point in enumerate(point_of_replica) if point == index]
        here = [replicas[k] for k in members]
        exchanged = exchange is not None and bool((np.isin(exchange.ladders, members).sum(axis=1) > 1).any())
        sampled = [Measured.of(observable, here, exchanged=exchanged) for observable in observables]
        points.append(_point(arrangements, counts, each, sampled, here))
        reasons += reasons_against_point(points[-1], sampled)
        if not exchanged:
            comparisons += comparisons_of_starts(points[-1].label, sampled, [replica.start for replica in here])
    reasons += reasons_against_starts(comparisons)
    if exchange is not None and not exchange.round_trips.any():
        low, high = (points[index].label for index in (point_of_replica[0], point_of_replica[-1]))
        reasons.append(Reason.NO_ROUND_TRIPS.because(low=low, high=high))
    starts = sorted({replica.start for replica in replicas})
    told = [*notes, ONE_START.format(start=starts[0])] if len(starts) == 1 else list(notes)
    return MonteCarloSummary(points, point_of_replica, Verdict.of(reasons, told))


@dataclass(frozen=True, order=True)
class _Conditions:
    """Conditions of a point; chemical potentials and targets as symbols with values, for each sublattice."""

    temperature_K: float
    mu_eV: tuple[tuple[tuple[str, float], ...], ...] = ()
    targets: tuple[tuple[tuple[str, float], ...], ...] = ()
    exchange_mu_eV: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, arrangements: Arrangements, replica: SampledReplica) -> _Conditions:
        def table(name: str, values: Any) -> tuple[tuple[tuple[str, float], ...], ...]:
            if values is None:
                return ()
            rows = arrangements.table(name, values)
            return tuple(
                tuple((arrangements.species[s], float(row[s])) for s in species_of(arrangements, index))
                for index, row in enumerate(rows)
            )

        return cls(
            replica.temperature_K,
            table("mu_eV", replica.mu_eV),
            table("targets", replica.targets),
            tuple((replica.exchange_mu_eV or {}).items()),
        )


def _point(
    arrangements: Arrangements,
    counts: Counts,
    conditions: _Conditions,
    sampled: Sequence[Measured],
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
        exchange_mu_eV=dict(conditions.exchange_mu_eV) or None,
        formula=system.formula(weights),
        counts=counts.model_copy(update={"atoms": system.counts(weights).atoms}),
        n_replicas=len(replicas),
        n_samples=n_samples,
        energy_eV=averages[ENERGY],
        volume_A3=averages[VOLUME],
        composition=_by_sublattice(arrangements, averages, share_name),
        constrained_mu_eV=_by_sublattice(arrangements, averages, mu_name) if conditions.targets else None,
        heat_capacity_eV_per_K=averages[HEAT_CAPACITY],
        acceptance=averages[ACCEPTANCE],
        warren_cowley=[part for part in parts if isinstance(part, PairOrder)],
        waves=[part for part in parts if isinstance(part, WaveOrder)],
        sites=worst(known) if (known := [each.sites for each in replicas if each.sites is not None]) else None,
    )


def _by_sublattice(
    arrangements: Arrangements, averages: Mapping[str, Average], name: Callable[[Arrangements, int, int], str]
) -> list[dict[str, Average]]:
    """Return the averages of each species on each sublattice that have such a name."""
    return [
        {
            arrangements.species[s]: averages[name(arrangements, index, s)]
            for s in species_of(arrangements, index)
            if name(arrangements, index, s) in averages
        }
        for index in range(arrangements.n_sublattices)
    ]


def _check(arrangements: Arrangements, replicas: Sequence[SampledReplica]) -> None:
    if not replicas:
        raise InvalidInputError("replicas: at least one replica is needed")
    if len({(replica.ensemble, replica.stiffness_eV) for replica in replicas}) > 1:
        raise InvalidInputError("replicas: the ensembles differ, or the stiffness of their targets")
    for replica in replicas:
        arrangements.check(replica.series.labels)
