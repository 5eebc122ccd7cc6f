"""Corrections of free energies to another potential: its specification, and the document of the result."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from alchemflows.schemas.base import MakerField
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import MIN_SAMPLES
from alchemflows.schemas.free_energy import Ensemble, Estimate
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict


class CalculatorSpec(MakerField):
    """Specification of a calculator of ASE: a class or a function that returns one, and its arguments.

    Examples
    --------
    >>> CalculatorSpec(path="ase.calculators.lj:LennardJones", arguments={"sigma": 2.5, "rc": 6.0}).name
    'ase.calculators.lj:LennardJones(sigma=2.5, rc=6.0)'
    """

    path: str = Field(description="import path, such as `chgnet.model.dynamics:CHGNetCalculator`")
    arguments: dict[str, Any] = Field({}, description="keyword arguments, such as {'use_device': 'cpu'}")

    @property
    def name(self) -> str:
        """Path and arguments as one text."""
        return f"{self.path}({', '.join(f'{key}={value!r}' for key, value in self.arguments.items())})"


class TargetRunSettings(MakerField):
    """Lengths of short runs with the target, which start from frames of each end.

    Temperature, pressure and time step are those of the ladder.

    Examples
    --------
    >>> TargetRunSettings(n_runs=2, n_production_steps=1000).n_frames
    100
    """

    n_runs: int = Field(4, ge=1, description="number of runs at each end, in one batch")
    n_equilibration_steps: int = Field(1000, ge=0, description="steps of each run before the first configuration")
    n_production_steps: int = Field(4000, gt=0, description="further steps of each run")
    n_frames: int = Field(
        100, ge=4, description="configurations at each end, of all runs, at which both potentials are evaluated"
    )

    @model_validator(mode="after")
    def _long_enough(self) -> TargetRunSettings:
        if self.n_production_steps < self.n_of_run or self.n_of_run < MIN_SAMPLES:
            raise ValueError(
                f"{self.n_frames} configurations in n_runs = {self.n_runs} runs need at least {MIN_SAMPLES} of each "
                f"run, and as many steps (n_production_steps = {self.n_production_steps})"
            )
        return self

    @property
    def n_of_run(self) -> int:
        """Number of configurations of each run."""
        return math.ceil(self.n_frames / self.n_runs)

    @property
    def interval_steps(self) -> int:
        """Number of steps between two configurations of a run."""
        return self.n_production_steps // self.n_of_run


class SampledTarget(BaseModel):
    """Runs with the target at one end, and the change of the free energy by BAR between both potentials."""

    n_runs: int
    n_frames: int = Field(description="number of configurations of all runs")
    inefficiency: float = Field(description="statistical inefficiency of ΔU over the configurations of a run")
    mean_eV: float = Field(description="⟨ΔU⟩ over the configurations of the target")
    spread_eV: float = Field(description="standard deviation of ΔU over these")
    overlap: float = Field(
        description="overlap of the distributions of ΔU of both potentials, from 0 to 1; should be at least 0.1"
    )
    bar: Estimate | None = Field(description="Bennett acceptance ratio; none if it has no solution")
    halves_sigma: float | None = Field(
        description="difference of BAR between the first and the second halves of all runs in standard errors"
    )


class FailedFrame(BaseModel):
    """A frame that the target could not evaluate, and that is left out."""

    index: int = Field(description="index of the frame at its end, from 0")
    time_fs: float
    error: str


class EndCorrection(BaseModel):
    """Change of the free energy of one end of a path, or of one state, when its potential is replaced by the target.

    ΔU is the energy with the target minus that with the sampled potential.
    """

    lambda_value: float | None = Field(description="none for a state that is no end of a path")
    formula: str
    n_frames: int = Field(description="number of evaluated frames")
    failed: list[FailedFrame] = Field(description="frames that were left out")
    spacing_fs: float | None = Field(description="time between successive frames; none for a single frame")
    correlation_time_fs: float = Field(description="integrated autocorrelation time of the sampled potential energy")
    inefficiency: float = Field(description="statistical inefficiency of ΔU over the frames")
    n_effective: float = Field(description="effective sample size of the weights exp(−β ΔU), in independent frames")
    mean_eV: float = Field(description="⟨ΔU⟩, which contains any constant difference of the two potentials")
    spread_eV: float = Field(description="standard deviation of ΔU")
    exponential: Estimate = Field(description="−k_B T ln⟨exp(−β ΔU)⟩")
    cumulant: Estimate = Field(description="⟨ΔU⟩ − (β/2) var(ΔU)")
    target_run: SampledTarget | None = Field(None, description="runs with the target; none if it was not sampled")
    estimator: Literal["exponential", "cumulant", "bar"] = Field(description="the estimate that `best` is")
    best: Estimate = Field(
        description="the estimate that is used: BAR if the target was sampled and overlaps; the error "
        "of the cumulant includes the part of its difference from the "
        "exponential average that chance does not explain"
    )
    curve_eV: list[float | None] = Field(
        description="`best` from the first part of the frames, for each of `fractions`"
    )
    curve_errors_eV: list[float | None]
    halves_sigma: float | None = Field(
        description="difference between the first and the second half of the frames in standard errors"
    )


class EvaluationLimits(MakerField):
    """How many frames are evaluated; without limits, all.

    Frames are evaluated in rounds, beginning with ten of each end. They are evenly spread over the stored ones, and
    divided among the ends so that the error needs the fewest.

    Examples
    --------
    >>> EvaluationLimits(target_error_eV_per_atom=0.001, max_evaluations=60).max_evaluations
    60
    """

    target_error_eV_per_atom: float | None = Field(
        None, gt=0, description="target standard error of the correction (eV/atom), after which no more are evaluated"
    )
    max_evaluations: int | None = Field(None, ge=8, description="largest number of frames of both ends together")


class CorrectionStage(BaseModel):
    """An earlier stage of a correction in several stages: from one potential to the next."""

    target: str = Field(description="name of the potential to which this stage leads")
    initial: EndCorrection
    final: EndCorrection
    correction: Estimate = Field(description="change of ΔF or ΔG by this stage")


class CorrectionDocument(Document):
    """Free-energy difference of a ladder, corrected to another potential by reweighting frames of both ends.

    In several stages, `initial` and `final` are those of the last one: ΔU is then the energy with the target minus that
    with the target of the stage before.
    """

    ladder: str = Field(description="jobflow's identifier of the corrected free energy")
    ensemble: Ensemble = Field(description="NVT: ΔF at constant volume; NPT: ΔG at constant pressure")
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    counts: Counts
    initial_formula: str
    final_formula: str
    source: PotentialRecord | None = Field(description="the potential that was sampled")
    target: str = Field(description="name of the target: a potential, a calculator with its arguments, or a maker")
    frame_jobs: list[str] = Field(
        [],
        description="identifiers of the jobs that evaluated the frames, if the target is a maker",
    )
    stages: list[CorrectionStage] = Field(
        [], description="earlier stages, if there are several: from the sampled potential to cheaper targets"
    )
    initial: EndCorrection
    final: EndCorrection
    fractions: list[float] = Field(description="fractions of the frames of the convergence curves")
    correction: Estimate = Field(
        description="ΔΔF or ΔΔG: `best` at λ = 1 minus that at λ = 0, summed over all stages; the error contains the "
        "correlation of the stages"
    )
    uncorrected: Estimate = Field(description="`total` of the ladder")
    covariance_eV2: float | None = Field(
        None,
        description="covariance of the errors of the ladder and of its correction, which share samples of both ends; "
        "none if windows of the ladder are no longer stored",
    )
    total: Estimate = Field(
        description="`uncorrected` plus `correction`; the error contains their covariance, if known"
    )
    energies: PackedArrays = Field(
        description="energies of frames (eV), in the additional store `data`: `initial_source_eV`, "
        "`initial_target_eV`, `final_source_eV`, `final_target_eV` of the frames evaluated with the target, where the "
        "source is the potential of the stage before; and `initial_all_eV`, `final_all_eV` of all frames with each "
        "target, shape (number of stages, number of frames), NaN where a frame was not evaluated; and if the target "
        "was sampled, `initial_run_eV`, `final_run_eV`: energies of the configurations of its runs with the sampled "
        "potential and with the target, shape (number of runs, 2, number of configurations)"
    )
    verdict: Verdict
    provenance: Provenance = Field(description="`potential` is the target; none for a calculator or a maker")

    @property
    def differences_eV(self) -> tuple[Any, Any]:
        """ΔU of the evaluated frames at λ = 0 and at λ = 1 (eV), two arrays."""
        arrays = self.energies.arrays()
        initial, final = (arrays[f"{end}_target_eV"] - arrays[f"{end}_source_eV"] for end in ("initial", "final"))
        return initial, final
