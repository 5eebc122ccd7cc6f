"""Compare averages of Monte Carlo with exact averages over all arrangements of a small cell."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matscipy.neighbours import neighbour_list
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pymatgen.core import Element, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.verify import model_file, read_cases
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import Canonical, Ensemble, SemiGrand
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal
from alchemflows.sampling.remembered import Remembered
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.potential import Dtype, PotentialSpec

#: Proposals that are compared, by name.
PROPOSALS = {
    "informed, sqrt": Proposal(),
    "informed, barker": Proposal(balancing="barker"),
    "uniform": Proposal("uniform"),
    "informed, 4 tries": Proposal(n_tries=4),
    "uniform, 4 tries": Proposal("uniform", n_tries=4),
}
#: Largest deviation that is accepted, in standard errors.
MAX_SIGMA = 3.0
#: Largest standard error of the energy that is accepted, in standard deviations of the ensemble.
MAX_ERROR = 0.02
#: Energies (eV) and other averages that differ by less, relative to their size, are equal but for rounding.
ROUNDING = 1e-8
#: Target of the standard error of the energy, which is itself an estimate.
_TARGET = 0.8 * MAX_ERROR
#: Replicas, attempts of the first round, and the largest number of attempts; each round adds half of those so far.
_N_REPLICAS, _FIRST_ROUND, _MAX_ATTEMPTS = 64, 400, 51_200
#: Share of the attempts that is discarded as equilibration.
_EQUILIBRATION = 0.2


class ExactAverages(BaseModel):
    """Exact averages of one ensemble."""

    mean_energy_eV: float
    sd_energy_eV: float = Field(description="standard deviation of the energy in the ensemble", ge=0)
    mean_counts: list[float] = Field(description="mean number of sites of each element")
    unlike_neighbour_fraction: float = Field(
        description="share of ordered pairs of neighbouring sites, periodic images included, whose elements differ"
    )


class ExactCanonical(ExactAverages):
    """Exact averages at constant composition."""

    counts: list[int] = Field(description="number of sites of each element")


class ExactSemiGrand(ExactAverages):
    """Exact averages at constant chemical potentials."""

    mu_eV: list[float] = Field(description="chemical potential of each element (eV)")


class ExactEnsembles(BaseModel):
    """Exact averages of a cell in several ensembles."""

    model_config = ConfigDict(populate_by_name=True)

    canonical: ExactCanonical | None = None
    semi_grand: list[ExactSemiGrand] = Field(default=[], alias="semi-grand")


class EnsembleCase(BaseModel):
    """One case of a file of exact averages: a cell with one sublattice, and the expected averages."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(description="model file; `halide` stands for random-halide.model or halide.model")
    cell: list[list[float]] = Field(description="lattice vectors as rows (Å)")
    positions: list[list[float]] = Field(description="Cartesian positions (Å), which are constant")
    symbols: list[str] = Field(description="elements of all atoms; those on `sites` are ignored")
    sites: list[int] = Field(description="indices of the sites of the sublattice", min_length=1)
    elements: list[str] = Field(description="elements on the sublattice", min_length=2)
    temperature_K: float = Field(gt=0)
    neighbour_shell_A: float = Field(description="sites that are nearer than this (Å) are neighbours", gt=0)
    expected: ExactEnsembles

    @model_validator(mode="after")
    def _lengths_fit(self) -> EnsembleCase:
        if len(self.positions) != len(self.symbols):
            raise ValueError(
                f"positions: {len(self.symbols)} are needed, as many as symbols; got {len(self.positions)}"
            )
        for symbol in (*self.symbols, *self.elements):
            if not Element.is_valid_symbol(symbol):
                raise ValueError(f"symbols or elements: {symbol!r} is not an element symbol")
        if not set(self.sites) <= set(range(len(self.symbols))):
            raise ValueError(f"sites must be from 0 to {len(self.symbols) - 1}; got {self.sites}")
        for label, exact in self.ensembles():
            lists = {"mean_counts": exact.mean_counts}
            lists |= {name: getattr(exact, name) for name in ("counts", "mu_eV") if hasattr(exact, name)}
            for name, values in lists.items():
                if len(values) != len(self.elements):
                    raise ValueError(f"{label}: {name} needs {len(self.elements)} values, one for each element")
        return self

    def ensembles(self) -> Iterator[tuple[str, ExactCanonical | ExactSemiGrand]]:
        """Iterate over the ensembles, each with a readable name."""
        if self.expected.canonical is not None:
            yield f"canonical {self.expected.canonical.counts}", self.expected.canonical
        for exact in self.expected.semi_grand:
            yield f"semi-grand {[round(mu, 4) for mu in exact.mu_eV]}", exact

    def arrangements(self) -> Arrangements:
        """Return the arrangements of the elements on the sites."""
        symbols = [self.elements[0] if k in self.sites else symbol for k, symbol in enumerate(self.symbols)]
        structure = Structure(self.cell, symbols, self.positions, coords_are_cartesian=True)
        groups = tuple(uniform_group([site], self.elements) for site in self.sites)
        return Arrangements(AlchemicalSystem(structure, groups))

    def neighbours(self) -> np.ndarray:
        """Return the ordered pairs of neighbouring sites, as indices in `sites`, shape (pairs, 2)."""
        first, second = neighbour_list(
            "ij",
            cell=np.array(self.cell),
            pbc=[True] * 3,
            positions=np.array(self.positions)[self.sites],
            numbers=np.ones(len(self.sites), dtype=np.int32),
            cutoff=self.neighbour_shell_A,
        )
        if not len(first):
            raise InvalidInputError(f"neighbour_shell_A: no two sites are nearer than {self.neighbour_shell_A} Å")
        return np.stack([first, second], axis=1)


@dataclass(frozen=True)
class Sampled:
    """A sampled average, its standard error, and the exact value."""

    mean: float
    error: float
    exact: float

    @property
    def deviation(self) -> float:
        """Deviation in standard errors; rounding errors count as zero."""
        off = abs(self.mean - self.exact)
        return 0.0 if off < ROUNDING * max(1.0, abs(self.exact)) else off / self.error if self.error else float("inf")


@dataclass(frozen=True)
class SampledEnsemble:
    """Sampled averages of one ensemble beside the exact ones.

    Attributes
    ----------
    case, ensemble, proposal
        Names of the case, the ensemble and the proposal.
    energy_eV, unlike_neighbour_fraction
        Averages of the energy (eV), and of the share of unlike neighbours.
    counts
        Average number of sites of each element.
    sd_energy_eV
        Exact standard deviation of the energy in the ensemble (eV).
    n_replicas, n_attempts
        Number of replicas, and of attempts of each.
    acceptance
        Share of the attempts that were accepted.
    """

    case: str
    ensemble: str
    proposal: str
    energy_eV: Sampled
    unlike_neighbour_fraction: Sampled
    counts: list[Sampled]
    sd_energy_eV: float
    n_replicas: int
    n_attempts: int
    acceptance: float

    @property
    def largest(self) -> float:
        """Largest deviation, in standard errors; NaN if one of them is NaN."""
        every = [self.energy_eV, self.unlike_neighbour_fraction, *self.counts]
        return float(np.max([sampled.deviation for sampled in every]))

    @property
    def relative_error(self) -> float:
        """Standard error of the energy in standard deviations of the ensemble; 0 if all energies are equal."""
        return self.energy_eV.error / self.sd_energy_eV if self.energy_eV.error > ROUNDING else 0.0

    @property
    def holds(self) -> bool:
        """Whether the averages agree within :data:`MAX_SIGMA` and the error is at most :data:`MAX_ERROR`."""
        return self.largest <= MAX_SIGMA and self.relative_error <= MAX_ERROR


def load_ensembles(path: Path) -> dict[str, EnsembleCase]:
    """Read a file of exact averages; it raises the errors of :func:`~alchemflows.alchemy.verify.read_cases`."""
    return read_cases(path, EnsembleCase)


def sample_case(
    name: str,
    case: EnsembleCase,
    models: Path,
    *,
    proposals: Collection[str] = tuple(PROPOSALS),
    seed: int = 0,
    dtype: Dtype = "float64",
    device: str = "auto",
) -> list[SampledEnsemble]:
    """Sample all ensembles of a case with each proposal.

    The replicas of a batch start from different random arrangements, and are independent: standard errors are those of
    the mean over replicas. Sampling continues until the error of the energy is small, see :data:`MAX_ERROR`.

    Parameters
    ----------
    name, case
        Name and content of the case.
    models
        Folder with the model files.
    proposals
        Names of :data:`PROPOSALS`.
    seed
        Seed of the random numbers.
    dtype, device
        Floating-point type and device of the evaluation.

    Raises
    ------
    PotentialError, InvalidInputError
        If the model file cannot be loaded, or the case is not a valid system.
    """
    arrangements = case.arrangements()
    backend = load_potential(PotentialSpec(name=model_file(case.model, models), dtype=dtype, device=device))
    potential = Remembered(AlchemicalPotential(arrangements.system, backend))
    neighbours = case.neighbours()
    found = []
    for label, exact in case.ensembles():
        for rule in proposals:
            seeds = derived_seeds(seed, f"{name} {label} {rule}", _N_REPLICAS)
            ensemble, start = _start(case, exact, arrangements, seeds)
            chains = MonteCarlo(
                potential,
                ensemble,
                np.tile(case.positions, (_N_REPLICAS, 1, 1)),
                np.tile(case.cell, (_N_REPLICAS, 1, 1)),
                start,
                temperature_K=case.temperature_K,
                seeds=seeds,
                proposal=PROPOSALS[rule],
            )
            means, errors = _averages(chains, neighbours, _TARGET * exact.sd_energy_eV)
            expected = [exact.mean_energy_eV, exact.unlike_neighbour_fraction, *exact.mean_counts]
            energy, unlike, *counts = map(Sampled, means.tolist(), errors.tolist(), expected)
            acceptance = float(chains.n_accepted.mean() / chains.n_attempts)
            found.append(
                SampledEnsemble(
                    case=name,
                    ensemble=label,
                    proposal=rule,
                    energy_eV=energy,
                    unlike_neighbour_fraction=unlike,
                    counts=counts,
                    sd_energy_eV=exact.sd_energy_eV,
                    n_replicas=_N_REPLICAS,
                    n_attempts=chains.n_attempts,
                    acceptance=acceptance,
                )
            )
    return found


def _averages(chains: MonteCarlo, neighbours: np.ndarray, target_eV: float) -> tuple[np.ndarray, np.ndarray]:
    """Sample until the standard error of the energy reaches a target (eV), or the attempts their limit.

    Returns
    -------
    means, errors
        Averages of the energy, the share of unlike neighbours and the number of sites of each species, and their
        standard errors.
    """
    first, second = neighbours.T
    samples: list[np.ndarray] = []
    n_attempts = _FIRST_ROUND
    while True:
        while chains.n_attempts < n_attempts:
            chains.attempt()
            labels = chains.current.labels
            unlike = (labels[:, first] != labels[:, second]).mean(axis=1)
            counts = chains.ensemble.arrangements.counts(labels)[:, 0]
            samples.append(np.column_stack([chains.current.energy_eV, unlike, counts]))
        means = np.mean(samples[int(_EQUILIBRATION * len(samples)) :], axis=0)
        errors = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        if errors[0] <= max(target_eV, ROUNDING) or n_attempts >= _MAX_ATTEMPTS:
            return means.mean(axis=0), errors
        n_attempts += n_attempts // 2


def _start(
    case: EnsembleCase, exact: ExactCanonical | ExactSemiGrand, arrangements: Arrangements, seeds: list[int]
) -> tuple[Ensemble, np.ndarray]:
    """Return the ensemble and random initial arrangements."""
    if isinstance(exact, ExactCanonical):
        return Canonical(arrangements), arrangements.random([exact.counts], seeds)
    chosen = [np.random.default_rng(seed).integers(len(case.elements), size=len(case.sites)) for seed in seeds]
    return SemiGrand(arrangements, dict(zip(case.elements, exact.mu_eV, strict=True))), np.array(chosen)
