"""Make the document of a transition between order and disorder from Monte Carlo in one or several supercells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from ase import units
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.chain_checks import MIN_INDEPENDENT, comparisons_of_starts, reasons_against_starts
from alchemflows.analysis.observables import Measured, Observable, SampledReplica, species_of
from alchemflows.analysis.order import Wave
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.estimators import MIN_OVERLAP
from alchemflows.free_energy.thermal import ThermalCurves, ThermalSamples, thermal_curves
from alchemflows.free_energy.transition import (
    N_DRAWS,
    TransitionEstimate,
    cumulant_crossing,
    heat_capacity_peak,
    is_constant,
    steepest_order,
)
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.transition import (
    CumulantCrossing,
    OrderParameter,
    TransitionCell,
    TransitionDocument,
    TransitionPoint,
)
from alchemflows.schemas.verdict import Verdict

#: Note for a single supercell.
ONE_SIZE = (
    "one supercell: its transition is rounded and shifted from that of a large crystal by an unknown amount; add a "
    "larger supercell"
)
#: Decimals to which phases of waves are compared.
_DECIMALS = 5


@dataclass(frozen=True)
class SampledCell:
    """Monte Carlo in one supercell.

    Attributes
    ----------
    disorder
        The crystal in its supercell.
    document
        Result of Monte Carlo at constant composition, at several temperatures.
    job
        Identifier of its job, if it is known.
    """

    disorder: Disorder
    document: MonteCarloDocument
    job: str | None = None

    @property
    def supercell(self) -> tuple[int, int, int]:
        """Repeats of the unit cell."""
        a, b, c = self.disorder.repeats
        return a, b, c

    @property
    def name(self) -> str:
        """Supercell as a text."""
        return "×".join(map(str, self.supercell))

    def replicas(self) -> list[SampledReplica]:
        """Return all replicas with their series."""
        return [
            SampledReplica(
                each.series.unpack(),
                temperature_K=self.document.points[each.point].temperature_K,
                start=each.start,
                final_positions_A=each.final.cart_coords,
                final_cell_A=each.final.lattice.matrix,
                seed=each.seed,
            )
            for each in self.document.replicas
        ]


def transition_document(
    cells: Sequence[SampledCell], *, wave_vectors: Sequence[Sequence[float]] = ()
) -> TransitionDocument:
    """Return the document of a transition.

    Parameters
    ----------
    cells
        Monte Carlo in supercells of one crystal at the same temperatures, in any order.
    wave_vectors
        Waves of the order parameter, in units of the reciprocal lattice vectors of the unit cell. By default the
        strongest order at the lowest temperature is found (:func:`find_order`).

    Raises
    ------
    InvalidInputError
        If a wave does not fit into a supercell, or temperatures or ensembles differ.
    """
    cells = sorted(cells, key=lambda cell: cell.disorder.counts.sites)
    if len({tuple(cell.document.temperatures_K) for cell in cells}) > 1:
        raise InvalidInputError("cells: the temperatures of the supercells differ")
    if {cell.document.ensemble for cell in cells} != {"canonical"}:
        raise InvalidInputError("cells: a transition between order and disorder needs a constant composition")
    replicas = [cell.replicas() for cell in cells]
    parameter = find_order([cell.disorder for cell in cells], replicas[0], wave_vectors)
    observables = [order_observable(cell.disorder, parameter) for cell in cells]
    pressure = cells[0].document.pressure_GPa
    curves = [
        thermal_curves(
            [thermal_samples(each, observable, pressure, cell.document.exchange is not None) for each in own]
        )
        for cell, own, observable in zip(cells, replicas, observables, strict=True)
    ]
    largest = cells[-1]
    described = [_cell(cell, own, found) for cell, own, found in zip(cells, replicas, curves, strict=True)]
    crossings = [
        CumulantCrossing(supercells=(small.supercell, large.supercell), **_fields(cumulant_crossing(first, second)))
        for (small, first), (large, second) in pairwise(zip(cells, curves, strict=True))
    ]
    transition = crossings[-1] if crossings else described[-1].heat_capacity_peak
    reasons = [
        f"{cell.name}: {reason}"
        for cell, own, observable, found in zip(cells, replicas, observables, curves, strict=True)
        for reason in _reasons_against_sampling(cell, own, observable, found)
        # Samples that are all alike are judged by their order alone, unless they are not those of the crystal.
        if not is_constant(found.quantities.order) or Reason.of(reason) in (Reason.MELTED, Reason.EXPLODED)
    ]
    reasons += _reasons_against_transition(described, crossings)
    roundings = list(dict.fromkeys(cell.document.rounding for cell in cells if cell.document.rounding))
    estimate = _estimate(largest)
    return TransitionDocument(
        formula=largest.document.formula,
        counts=largest.disorder.counts,
        order_parameter=parameter,
        pressure_GPa=pressure,
        sampled_temperatures_K=largest.document.temperatures_K,
        cells=described,
        crossings=crossings,
        method="cumulants" if crossings else "heat capacity",
        transition=TransitionPoint(
            temperature_K=transition.temperature_K, temperature_error_K=transition.temperature_error_K
        ),
        estimate_K=estimate[0],
        estimate_error_K=estimate[1],
        rounding="; ".join(roundings),
        unit_cell=largest.disorder.unit_cell,
        verdict=Verdict.of(reasons, [*roundings, *([] if crossings else [ONE_SIZE])]),
        provenance=Provenance(
            potential=largest.document.provenance.potential,
            wall_time_s=sum(cell.document.provenance.wall_time_s or 0.0 for cell in cells),
            seed=largest.document.provenance.seed,
        ),
    )


def find_order(
    disorders: Sequence[Disorder], replicas: Sequence[SampledReplica], wave_vectors: Sequence[Sequence[float]] = ()
) -> OrderParameter:
    """Return the order parameter.

    Among all waves that fit into every supercell, all sublattices and species, the one with the largest order at the
    lowest temperature is chosen, with all waves that are equivalent to it by the symmetry of the disordered crystal.

    Parameters
    ----------
    disorders
        The crystal in its supercells, the smallest first.
    replicas
        Replicas in the smallest supercell.
    wave_vectors
        Waves, instead of searching for them; sublattice and species are those of the largest order.

    Raises
    ------
    InvalidInputError
        If a wave does not fit into a supercell, or no wave fits into all of them.
    """
    smallest = disorders[0]
    lowest = min(replica.temperature_K for replica in replicas)
    labels = np.concatenate([each.series.labels for each in replicas if each.temperature_K == lowest])
    arrangements = Arrangements.of(smallest)
    best: tuple[float, OrderParameter] | None = None
    for index in range(arrangements.n_sublattices):
        own = labels[:, arrangements.sublattice == index]
        species = species_of(arrangements, index)
        if len(species) < 2:
            continue
        candidates = (
            [given] if (given := _vectors(wave_vectors)) else [[q] for q in _fitting_waves(disorders, index).values()]
        )
        sets = [(vectors, _fitted(disorders, index, vectors)) for vectors in candidates]
        # The amplitudes of two species are equal.
        for s in species[:1] if len(species) == 2 else species:
            occupied = own == s
            for vectors, waves in sets:
                value = float(_order(waves, occupied).mean())
                if best is None or value > best[0] + 1e-9:
                    chosen = OrderParameter(
                        sublattice=index,
                        species=arrangements.species[s],
                        wave_vectors=vectors,
                        found=not wave_vectors,
                    )
                    best = value, chosen
    if best is None:
        raise InvalidInputError("supercells: no wave fits into all of them; choose a larger smallest supercell")
    found = best[1]
    if found.found:
        star = _star(disorders, found.sublattice, found.wave_vectors[0])
        found = found.model_copy(update={"wave_vectors": star})
    return found


def order_observable(disorder: Disorder, parameter: OrderParameter) -> Observable:
    """Return the order parameter as a quantity of a replica."""
    arrangements = Arrangements.of(disorder)
    own = arrangements.sublattice == parameter.sublattice
    species = arrangements.species.index(parameter.species)
    waves = _waves(disorder, parameter.sublattice, parameter.wave_vectors)
    return Observable("the order", lambda replica: _order(waves, replica.series.labels[:, own] == species))


def _order(waves: Sequence[Wave], occupied: np.ndarray) -> np.ndarray:
    """Return the sum of s(q) over waves in k samples at constant composition, shape (k,)."""
    share = float(occupied[0].mean())
    return np.sum([wave.squared(occupied) / wave.largest(share) for wave in waves], axis=0)


def _waves(disorder: Disorder, sublattice: int, vectors: Sequence[Sequence[float] | np.ndarray]) -> list[Wave]:
    """Return waves on a sublattice."""
    sites = disorder.sublattices[sublattice].sites
    structure = Structure.from_sites([disorder.system.structure[site] for site in sites])
    return [Wave.of(structure, vector, disorder.unit_cell.lattice) for vector in vectors]


def _fitted(
    disorders: Sequence[Disorder], sublattice: int, vectors: Sequence[Sequence[float] | np.ndarray]
) -> list[Wave]:
    """Return waves in the first crystal, after a check that they fit into all."""
    first, *_ = [_waves(disorder, sublattice, vectors) for disorder in disorders]
    return first


def _vectors(wave_vectors: Sequence[Sequence[float]]) -> list[tuple[float, float, float]]:
    return [(float(a), float(b), float(c)) for a, b, c in wave_vectors]


def _fitting_waves(
    disorders: Sequence[Disorder], sublattice: int
) -> dict[tuple[complex, ...], tuple[float, float, float]]:
    """Return the shortest wave of each kind that fits into all supercells, by its key (:func:`_phase_key`)."""
    smallest = disorders[0]
    several = len(smallest.sublattices[sublattice].sites) > np.prod(smallest.repeats)
    # With several sites in the unit cell, waves differ that are equal on its lattice points.
    ranges = [range(1 - n, n + 1) if several else range(n // 2 + 1 - n, n // 2 + 1) for n in smallest.repeats]
    waves = [tuple(k / n for k, n in zip(each, smallest.repeats, strict=True)) for each in product(*ranges)]
    found: dict[tuple[complex, ...], tuple[float, float, float]] = {}
    for a, b, c in sorted(waves, key=lambda q: (round(sum(x**2 for x in q), 6), *(-x for x in q))):
        if (key := _phase_key(disorders, sublattice, (a, b, c))) is not None:
            found.setdefault(key, (a, b, c))
    return found


def _star(
    disorders: Sequence[Disorder], sublattice: int, vector: tuple[float, float, float]
) -> list[tuple[float, float, float]]:
    """Return all waves that are equivalent to one by the symmetry of the disordered crystal and fit."""
    fitting = _fitting_waves(disorders, sublattice)
    rotations = symmetry_of(AlchemicalSystem.from_structure(disorders[0].unit_cell)[0]).point_group
    keys = [_phase_key(disorders, sublattice, np.array(vector) @ rotation) for rotation in [np.eye(3), *rotations]]
    return [fitting[key] for key in dict.fromkeys(keys) if key in fitting]


def _phase_key(
    disorders: Sequence[Disorder], sublattice: int, vector: Sequence[float] | np.ndarray
) -> tuple[complex, ...] | None:
    """Return a key that is equal for waves with the same |η|² of every arrangement; None if the wave does not fit."""
    try:
        phases = _fitted(disorders, sublattice, [vector])[0].phases
    except InvalidInputError:
        return None
    relative = np.round(phases / phases[0], _DECIMALS) + 0.0
    # Zeros have a sign, which the sum removes.
    first, second = tuple(relative.tolist()), tuple((relative.conj() + 0.0).tolist())
    return min(first, second, key=lambda values: [(value.real, value.imag) for value in values])


def thermal_samples(
    replica: SampledReplica, observable: Observable, pressure_GPa: float | None, exchanged: bool
) -> ThermalSamples:
    """Return enthalpy and order of the samples of a replica.

    Parameters
    ----------
    replica
        The replica.
    observable
        The order parameter.
    pressure_GPa
        Pressure; None at constant volume.
    exchanged
        Whether replicas were exchanged.
    """
    series = replica.series
    pressure = 0.0 if pressure_GPa is None else pressure_GPa * units.GPa
    return ThermalSamples(
        temperature_K=replica.temperature_K,
        enthalpy_eV=series.energy_eV + pressure * series.volume_A3,
        order=observable.samples(replica),
        walker=series.walker if exchanged else None,
    )


def _cell(cell: SampledCell, replicas: Sequence[SampledReplica], curves: ThermalCurves) -> TransitionCell:
    values = dict(curves.quantities.items())
    drawn = dict(curves.draws(N_DRAWS).items())
    lows, highs = ({name: np.quantile(draws, share, axis=0) for name, draws in drawn.items()} for share in _INTERVAL)
    errors = {name: (highs[name] - lows[name]) / 2 for name in drawn}
    n_temperatures = len(curves.sampled_K)
    return TransitionCell(
        supercell=cell.supercell,
        counts=cell.disorder.counts,
        n_replicas=len(replicas) // n_temperatures,
        n_samples=sum(len(replica.series) for replica in replicas) // n_temperatures,
        inefficiency=curves.inefficiency,
        temperatures_K=curves.temperatures_K.tolist(),
        energy_eV=values["energy_eV"].tolist(),
        energy_errors_eV=errors["energy_eV"].tolist(),
        heat_capacity_eV_per_K=values["heat_capacity_eV_per_K"].tolist(),
        heat_capacity_errors_eV_per_K=errors["heat_capacity_eV_per_K"].tolist(),
        order=values["order"].tolist(),
        order_errors=errors["order"].tolist(),
        order_cumulant=_known(values["order_cumulant"]),
        order_cumulant_errors=_known(errors["order_cumulant"]),
        energy_cumulant=_known(values["energy_cumulant"]),
        energy_cumulant_errors=_known(errors["energy_cumulant"]),
        heat_capacity_peak=TransitionPoint(**_fields(heat_capacity_peak(curves))),
        steepest_order=TransitionPoint(**_fields(steepest_order(curves))),
        exchange=cell.document.exchange,
        starts=cell.document.starts,
        job=cell.job,
    )


#: Ends of the interval that contains 68 % of random draws.
_INTERVAL = (0.1587, 0.8413)


def _known(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _fields(found: TransitionEstimate) -> dict[str, float | None]:
    return {"temperature_K": found.temperature_K, "temperature_error_K": found.error_K}


def _estimate(cell: SampledCell) -> tuple[float | None, float | None]:
    """Return −ΔE / S and its error (K)."""
    starts = cell.document.starts
    if starts is None:
        return None, None
    entropy = units.kB * cell.disorder.entropy_kB
    error = starts.random_eV.error
    return (starts.random_eV.value - starts.lowest_eV) / entropy, None if error is None else error / entropy


def _reasons_against_sampling(
    cell: SampledCell, replicas: Sequence[SampledReplica], observable: Observable, curves: ThermalCurves
) -> list[str]:
    """Return the reasons against the averages in a cell; the checks of the energy are those of its own verdict."""
    # At low temperature hardly any move is accepted; with replica exchange, round trips show whether chains move.
    reasons = [
        reason
        for reason in cell.document.verdict.reasons
        if cell.document.exchange is None or Reason.of(reason) is not Reason.FEW_MOVES
    ]
    comparisons = []
    for temperature_K in cell.document.temperatures_K:
        here = [replica for replica in replicas if replica.temperature_K == temperature_K]
        measured = Measured.of(observable, here, exchanged=False)
        where, n = f"{temperature_K:g} K", measured.estimate.n_independent
        if 0 < n < MIN_INDEPENDENT:
            reasons.append(
                Reason.FEW_ARRANGEMENTS.because(where=where, quantity=observable.name, n=n, least=MIN_INDEPENDENT)
            )
        comparisons += comparisons_of_starts(where, [measured], [replica.start for replica in here])
    reasons += reasons_against_starts(comparisons)
    reasons += [
        Reason.TEMPERATURE_OVERLAP.because(where="MBAR", first=low, second=high, overlap=overlap, least=MIN_OVERLAP)
        for (low, high), overlap in zip(pairwise(curves.sampled_K), curves.overlaps, strict=True)
        if overlap < MIN_OVERLAP
    ]
    return reasons


def _reasons_against_transition(cells: Sequence[TransitionCell], crossings: Sequence[CumulantCrossing]) -> list[str]:
    low, high = cells[0].temperatures_K[0], cells[0].temperatures_K[-1]
    between = {"low": low, "high": high}
    reasons = []
    for cell in cells:
        if is_constant(cell.order):
            reasons.append(Reason.CONSTANT_ORDER.because(where=cell.name, order=cell.order[0], **between))
        elif cell.heat_capacity_peak.temperature_K is None:
            end = cell.temperatures_K[int(np.argmax(cell.heat_capacity_eV_per_K))]
            reasons.append(Reason.TRANSITION_OUTSIDE.because(where=cell.name, end=end, **between))
        elif not crossings and cell.heat_capacity_peak.temperature_error_K is None:
            reasons.append(Reason.UNCERTAIN_CROSSING.because(where=cell.name, **between))
    for crossing in crossings:
        small, large = ("×".join(map(str, supercell)) for supercell in crossing.supercells)
        if crossing.temperature_K is None:
            reasons.append(Reason.NO_CROSSING.because(small=small, large=large, **between))
        elif crossing.temperature_error_K is None:
            reasons.append(Reason.UNCERTAIN_CROSSING.because(where=f"{small} and {large}", **between))
    return reasons
