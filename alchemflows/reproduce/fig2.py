"""Fig. 2: lattice parameters of mixed crystals against composition, compared with random arrangements of atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jobflow import Flow, Job, job

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.flows.composition_sweep import CompositionSweepMaker, tight_relaxation
from alchemflows.free_energy.errors import error_of_mean
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.relax import relaxing
from alchemflows.reproduce.figure import FigureMaker, TableMaker
from alchemflows.reproduce.mixed_crystals import MIXED_CRYSTALS
from alchemflows.reproduce.settings import FIG2, LatticeEffort
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.reproduction import Check, LatticeCurve, RandomAverage, ReproductionDocument, Row, Version
from alchemflows.schemas.sweep import CompositionSweepDocument

#: Largest allowed difference between a pure end of the alchemical cell and the pure crystal (Å).
SAME_A = 1e-3
#: Largest allowed relative difference between the alchemical cell and random arrangements.
AGREEMENT = 0.03
#: Number of intervals on a line, so that all compositions are possible with eight sites.
_N_INTERVALS_OF_LINES = 8


@dataclass
class Fig2Maker(FigureMaker[LatticeEffort]):
    """Flow that reproduces Fig. 2. See :class:`FigureMaker` for the parameters."""

    name: str = "Fig. 2"

    @property
    def efforts(self) -> Mapping[Version, LatticeEffort]:
        """Settings of each version."""
        return FIG2

    def make(self) -> Flow:
        """Return the flow: for each crystal a sweep, relaxed pure crystals and random arrangements."""
        effort = self.effort
        potential, _ = resolve(effort.potential)
        random_relaxation = replace(relaxing(0.005, steps=1000), require_convergence=False)
        jobs: list[Job | Flow] = []
        sweeps, pure, random = [], [], []
        for name in effort.crystals:
            crystal = MIXED_CRYSTALS[name]
            grid = crystal.grid(_N_INTERVALS_OF_LINES if len(crystal.elements) == 2 else effort.n_intervals)
            sweep = CompositionSweepMaker(potential=potential).make(grid)
            jobs.append(sweep)
            sweeps.append(sweep.output)
            relaxed = {job.name: job for job in sweep.jobs}
            ends = []
            for element, corner in zip(crystal.elements, np.eye(len(crystal.elements)).tolist(), strict=True):
                # Relax from two starts: the given structure, and the end of the sweep, which may be in a lower minimum.
                starts = [None, relaxed[f"relax {grid.system.formula(corner)}"].output.structure]
                plain = AlchemicalSystem(crystal.pure(element))
                ends.append(tolerant(tight_relaxation().make(plain, [], potential, starts)))
            drawn = [
                [
                    random_relaxation.make(AlchemicalSystem(arrangement), [], potential)
                    for arrangement in crystal.arrangements(weights, effort.n_random, self.seed)
                ]
                for weights in crystal.averaged
            ]
            jobs += [*ends, *(each for here in drawn for each in here)]
            pure.append([end.output for end in ends])
            random.append([[each.output for each in here] for here in drawn])
        table = tolerant(Fig2ComparisonMaker().make(effort.crystals, sweeps, pure, random, self.version))
        return Flow([*jobs, table], output=table.output, name=self.name)


@dataclass
class Fig2ComparisonMaker(TableMaker):
    """Job that makes the table of Fig. 2. See :class:`TableMaker` for the parameters."""

    figure = "Fig. 2"
    unit = "Å"

    name: str = "table of Fig. 2"

    @job(output_schema=ReproductionDocument)
    def make(
        self,
        names: Sequence[str],
        sweeps: Sequence[CompositionSweepDocument],
        pure: Sequence[Sequence[RelaxDocument | None]],
        random: Sequence[Sequence[Sequence[RelaxDocument | None]]],
        version: Version,
    ) -> ReproductionDocument:
        """Compare the sweeps with pure crystals and random arrangements.

        Parameters
        ----------
        names
            Names of the crystals.
        sweeps
            Sweep of each crystal.
        pure
            Relaxed pure crystals at the ends of the sweep, for each crystal.
        random
            Relaxed random arrangements, for each crystal and each composition at which they are computed.
        version
            Version of the settings.
        """
        rows: list[Row] = []
        checks: list[Check] = []
        curves: list[LatticeCurve] = []
        for name, sweep, ends, drawn in zip(names, sweeps, pure, random, strict=True):
            curve = _curve(name, sweep, drawn)
            curves.append(curve)
            lengths = {tuple(w): np.array(a) for w, a in zip(curve.weights, curve.lengths_A, strict=True)}
            off = [
                _lengths(name, end) - lengths.get(tuple(corner), np.nan)
                for end, corner in zip(ends, np.eye(len(curve.elements)).tolist(), strict=True)
            ]
            checks.append(
                Check(name=f"{name}: pure ends − ordinary crystals", value=_largest(off), bound=SAME_A, unit="Å")
            )
            relative = []
            for average in curve.random:
                alchemical = lengths.get(tuple(average.weights), np.full(len(curve.parameters), np.nan))
                relative.append(alchemical / average.lengths_A - 1)
                for parameter, one, mean, error in zip(
                    curve.parameters, alchemical, average.lengths_A, average.errors_A, strict=True
                ):
                    rows += [
                        self.row(version, f"{parameter} of {average.formula}, alchemical", 0.0, float(one), 0.0),
                        self.row(version, f"{parameter} of {average.formula}, random", 0.0, mean, error),
                    ]
            checks.append(
                Check(name=f"{name}: alchemical ÷ random − 1", value=_largest(relative), bound=AGREEMENT, unit="")
            )
        results = dict(zip(names, sweeps, strict=True))
        return self.document(version, rows, checks, results).model_copy(update={"curves": curves})


def _curve(
    name: str, sweep: CompositionSweepDocument, random: Sequence[Sequence[RelaxDocument | None]]
) -> LatticeCurve:
    crystal = MIXED_CRYSTALS[name]
    points = [p for p in sweep.points if p.cell_parameters is not None and p.volume_A3 is not None]
    formulas = {tuple(point.weights): point.formula for point in points}
    averages = []
    for weights, relaxed in zip(crystal.averaged, random, strict=True):
        found = [document for document in relaxed if document is not None]
        if found:
            lengths = np.array([_lengths(name, document, crystal.repeats) for document in found])
            averages.append(
                RandomAverage(
                    weights=list(weights),
                    formula=formulas.get(weights, found[0].formula),
                    lengths_A=lengths.mean(axis=0).tolist(),
                    errors_A=[error_of_mean(column) for column in lengths.T],
                    n_arrangements=len(found),
                )
            )
    return LatticeCurve(
        name=name,
        elements=list(crystal.elements),
        parameters=list(crystal.parameters),
        weights=[point.weights for point in points],
        lengths_A=[crystal.lengths_A(p.cell_parameters or [], p.volume_A3 or 0.0) for p in points],
        random=averages,
    )


def _lengths(name: str, document: RelaxDocument | None, repeats: Sequence[int] = (1, 1, 1)) -> np.ndarray:
    """Return the lattice parameters of a relaxed crystal (Å); NaN if the relaxation failed."""
    crystal = MIXED_CRYSTALS[name]
    if document is None:
        return np.full(len(crystal.parameters), np.nan)
    return np.array(crystal.lengths_A(document.cell_parameters, document.volume_A3, repeats))


def _largest(values: Sequence[np.ndarray]) -> float:
    """Return the value of largest magnitude; NaN if any value is NaN, or if there are no values."""
    flat = np.concatenate([np.ravel(value) for value in values]) if values else np.array([np.nan])
    return float(flat[np.abs(flat).argmax()])  # argmax returns the index of the first NaN, if there is one
