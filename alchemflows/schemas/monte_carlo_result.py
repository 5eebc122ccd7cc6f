"""Documents of Monte Carlo on arrangements."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import units
from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import SitesSummary
from alchemflows.schemas.verdict import Verdict

#: What is constant or controlled: the composition, the chemical potentials, targets of the composition, or the chemical
#: potentials of exchanges of species that keep the charge.
CompositionEnsemble = Literal["canonical", "semi-grand", "variance-constrained", "charge-neutral semi-grand"]


class Average(BaseModel):
    """An average over the samples of all replicas at one point, with its standard error."""

    value: float
    error: float | None = Field(
        description="standard error, which contains correlations in time and the scatter between replicas; none if it "
        "cannot be estimated, since all samples are equal although they need not be"
    )
    n_independent: float | None = Field(
        description="number of independent samples: variance of a sample / variance of the average; none if all "
        "samples are equal"
    )


class PairOrder(BaseModel):
    """Warren–Cowley parameter α of two species in one neighbour shell of a sublattice.

    The formula is that of :func:`alchemflows.analysis.order.warren_cowley`.
    """

    sublattice: int = Field(description="index of the sublattice, from 0")
    shell: int = Field(description="neighbour shell, from 1")
    distance_A: float = Field(description="mean distance in this shell, in the crystal before relaxation")
    n_neighbours: float = Field(description="number of neighbours of a site in this shell")
    pair: tuple[str, str] = Field(description="two different species")
    alpha: Average = Field(
        description="1 − P(AB) / (x_A x_B): negative if unlike neighbours are preferred, positive if like ones are"
    )
    random: float = Field(
        description="α of random arrangements of this cell with the sampled compositions; −1/(n − 1) for n sites at "
        "constant composition"
    )


class WaveOrder(BaseModel):
    """Order parameter of a concentration wave of one species on a sublattice.

    The formula is that of :func:`alchemflows.analysis.order.wave_order`.
    """

    sublattice: int = Field(description="index of the sublattice, from 0")
    wave_vector: tuple[float, float, float] = Field(
        description="wave vector q in units of the reciprocal lattice vectors of the unit cell"
    )
    species: str
    order: Average = Field(
        description="mean of |η(q)|², relative to its largest value for any arrangement of the mean composition: 1 for "
        "perfect order"
    )
    random: float = Field(description="the same for random arrangements with the sampled compositions")


class PackedArrangements(PackedArrays):
    """A packed :class:`~alchemflows.schemas.monte_carlo.ArrangementSeries`; arrays are named like its attributes."""

    n_samples: int

    @classmethod
    def pack(cls, series: ArrangementSeries) -> PackedArrangements:
        """Pack a series; labels are stored as 8-bit numbers, which is enough for 128 species."""
        small = {"labels": series.labels.astype(np.int8), "walker": series.walker.astype(np.int32)}
        return cls(n_samples=len(series), npz_base64=cls.encode(**(vars(series) | small)))

    def unpack(self) -> ArrangementSeries:
        """Return the series as it was packed."""
        arrays = self.arrays()
        whole = {name: arrays[name].astype(np.int64) for name in ("labels", "walker")}
        return ArrangementSeries(**(arrays | whole))


class MonteCarloReplica(BaseModel):
    """One replica: its conditions, start, time series (in the additional store `data`) and final structure."""

    point: int = Field(description="index of the point with the conditions of this replica")
    start: str = Field(description="how its first arrangement was made, such as random, ordered or quenched")
    seed: int | None = Field(None, description="seed of the random numbers of this replica")
    final: Structure = Field(description="last structure, without vacant sites")
    series: PackedArrangements
    frames: PackedArrays | None = Field(
        None, description="configurations, see `schemas.frames.Frames` (in the additional store `data`)"
    )


class MonteCarloPoint(BaseModel):
    """Averages over all replicas at the same temperature and the same chemical potentials or targets.

    Energy, volume and heat capacity are totals of the cell with these `counts`; properties give them per atom.
    """

    temperature_K: float
    mu_eV: list[dict[str, float]] | None = Field(
        None, description="chemical potentials of each sublattice; none unless the ensemble is semi-grand"
    )
    targets: list[dict[str, float]] | None = Field(
        None, description="target shares of each sublattice; none unless the ensemble is variance-constrained"
    )
    exchange_mu_eV: dict[str, float] | None = Field(
        None,
        description="chemical potential of each exchange of species, that of the right side minus that of the left; "
        "none unless the ensemble is charge-neutral semi-grand",
    )
    formula: str = Field(description="formula at the mean composition")
    counts: Counts = Field(description="atoms at the mean composition, sites and formula units of the cell")
    n_replicas: int
    n_samples: int = Field(description="number of samples of all replicas")
    energy_eV: Average = Field(description="potential energy of the cell")
    volume_A3: Average = Field(description="volume of the cell")
    composition: list[dict[str, Average]] = Field(description="shares of the species on each sublattice")
    constrained_mu_eV: list[dict[str, Average]] | None = Field(
        None,
        description="chemical potentials relative to the first species of each sublattice, which follow from the mean "
        "shares and the targets; none unless the ensemble is variance-constrained",
    )
    heat_capacity_eV_per_K: Average = Field(
        description="Var(E + pV + Φ) / (k_B T²) of the cell: the configurational part of the heat capacity, with "
        "dynamics between sweeps also that of the potential energy of vibrations; no kinetic part"
    )
    acceptance: Average = Field(description="share of the attempted moves that were accepted")
    warren_cowley: list[PairOrder]
    waves: list[WaveOrder]
    sites: SitesSummary | None = Field(
        None,
        description="displacements of atoms from their sites, in the replica in which they were away most; none if no "
        "atom moves, and in documents of earlier releases",
    )

    @property
    def energy_eV_per_atom(self) -> float:
        """Mean energy, eV/atom."""
        return self.counts.per_atom(self.energy_eV.value)

    @property
    def heat_capacity_kB_per_atom(self) -> float:
        """Heat capacity, k_B/atom."""
        return self.counts.per_atom(self.heat_capacity_eV_per_K.value) / units.kB

    @property
    def composition_label(self) -> str:
        """Chemical potentials or targets as a text for tables; empty at constant composition."""
        parts = [f"μ({name}) = {value:.4g} eV" for row in self.mu_eV or [] for name, value in row.items()]
        parts += [f"target {name} {value:.4g}" for row in self.targets or [] for name, value in row.items()]
        parts += [f"Δμ({name}) = {value:.4g} eV" for name, value in (self.exchange_mu_eV or {}).items()]
        return ", ".join(parts)

    @property
    def label(self) -> str:
        """All conditions as a text for figures and reasons."""
        return ", ".join(filter(None, (f"{self.temperature_K:g} K", self.composition_label)))


class ReplicaExchangeSummary(BaseModel):
    """How replicas were exchanged between neighbouring temperatures or chemical potentials."""

    acceptance: list[float] = Field(
        description="share of accepted exchanges between neighbours k and k + 1 of a ladder, mean of all ladders"
    )
    round_trips: list[int] = Field(
        description="for each start, how often its chain went from one end of its ladder to the other and back"
    )


class StartEnergies(BaseModel):
    """Energies of arrangements at the positions and in the cell from which the replicas started."""

    random_eV: Average = Field(description="mean energy of random arrangements, as at infinite temperature")
    lowest_eV: float = Field(
        description="lowest energy of any arrangement: of the starts, and at constant positions of all samples"
    )


class MonteCarloDocument(Document):
    """Averages of Monte Carlo on the arrangements of a disordered crystal, at one or several points.

    A point is a temperature, in semi-grand ensembles with chemical potentials, and in the variance-constrained one with
    targets of the composition. Replicas at the same point are averaged together. With replica exchange, the points
    are not independent of one another: the error of a difference between two points may be larger or smaller than that
    from their errors.
    """

    formula: str = Field(description="formula of the crystal at the start")
    counts: Counts = Field(description="atoms, sites and formula units of the cell at the start")
    ensemble: CompositionEnsemble
    stiffness_eV: float | None = Field(
        None, description="stiffness of the targets per site; none unless the ensemble is variance-constrained"
    )
    temperatures_K: list[float] = Field(description="temperatures of the points, ascending, each once")
    pressure_GPa: float | None = Field(description="none at constant volume")
    species: list[str] = Field(description="names of the labels in the series; `vacancy` is a vacant site")
    sites: list[list[int]] = Field(
        description="for each sublattice, the indices of its sites in the supercell; the labels have this order"
    )
    points: list[MonteCarloPoint]
    replicas: list[MonteCarloReplica]
    exchange: ReplicaExchangeSummary | None = Field(None, description="none without replica exchange")
    starts: StartEnergies | None = Field(
        None, description="none for a variable composition, and in documents of earlier releases"
    )
    settings: MonteCarloSettings = Field(description="settings of the run; each point has its own temperature")
    rounding: str = Field("", description="how the composition was rounded to whole atoms; empty if it was not")
    verdict: Verdict
    provenance: Provenance
