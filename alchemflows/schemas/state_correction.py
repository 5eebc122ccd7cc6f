"""Documents of absolute free energies that are corrected to another potential, and of shifted transitions."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.correction import EndCorrection
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict


class CorrectedState(BaseModel):
    """One state, corrected to another potential; values are for the cell."""

    name: str = Field(description="phase, formula and temperature")
    phase: str = Field(description="name of the phase; empty for a single crystal or liquid")
    composition: float | None = Field(description="fraction of a substitution; none without one")
    formula: str
    counts: Counts
    temperature_K: float = Field(description="temperature of the frames; of a curve, that of its anchor")
    reweighting: EndCorrection = Field(description="reweighting of the frames; `best` is ΔΔG")
    entropy_eV_per_K: float = Field(description="ΔΔS, by which ΔΔG changes with the temperature: −∂ΔΔG/∂T")
    entropy_error_eV_per_K: float
    uncorrected: FreeEnergyValue = Field(description="G with the sampled potential, without ideal mixing")
    total: FreeEnergyValue = Field(description="G with the target")


class ShiftedTransition(BaseModel):
    """A transition temperature, or a melting point, corrected to another potential."""

    composition: float | None
    low_temperature_phase: str
    high_temperature_phase: str
    temperature_K: float = Field(description="with the sampled potential")
    error_K: float | None
    entropy_eV_per_K_per_atom: float = Field(description="entropy of the transition with the sampled potential")
    difference_eV_per_atom: float = Field(
        description="ΔΔG of the high-temperature phase minus that of the low-temperature phase, at the transition"
    )
    difference_error_eV_per_atom: float
    entropy_change_eV_per_K_per_atom: float = Field(description="change of the entropy of the transition")
    entropy_change_error_eV_per_K_per_atom: float
    shift_K: float = Field(description="`difference` ÷ entropy of the transition, to first order in the potential")
    shift_error_K: float
    next_shift_K: float | None = Field(
        description="shift with the changed entropy of the transition; none if that changes its sign"
    )
    corrected_K: float = Field(description="`temperature_K` plus `shift_K`")
    corrected_error_K: float | None


class UncorrectedTransition(BaseModel):
    """A transition temperature, or a melting point, that is not corrected, since a phase has no frames."""

    composition: float | None
    low_temperature_phase: str
    high_temperature_phase: str
    temperature_K: float = Field(description="with the sampled potential")
    error_K: float | None
    without_frames: list[str] = Field(description="phases none of whose states has frames; see `left_out`")


class StateCorrectionDocument(Document):
    """Absolute free energies corrected to another potential by reweighting frames, and the shifts of transitions.

    ΔΔG contains constant differences between both potentials. They cancel between states of the same composition, if
    they are the same for each atom of an element.
    """

    result: str = Field(description="jobflow's identifier of the corrected result")
    formula: str
    temperature_K: float | None = Field(description="of a single state; none for several")
    pressure_GPa: float
    source: PotentialRecord | None = Field(description="the potential that was sampled")
    target: str = Field(description="name of the target: a potential, or a calculator with its arguments")
    states: list[CorrectedState]
    left_out: list[str] = Field(description="states that are not corrected, with the reason")
    transitions: list[ShiftedTransition] = Field(description="none for a single state")
    uncorrected: list[UncorrectedTransition] = Field(
        [], description="transitions that are not corrected, since a phase has no frames; empty in older documents"
    )
    fractions: list[float] = Field(description="fractions of the frames of the convergence curves")
    energies: PackedArrays = Field(
        description="energies of the evaluated frames (eV), in the additional store `data`: `source_k_eV` and "
        "`target_k_eV` of the k-th state, from 0"
    )
    verdict: Verdict
    provenance: Provenance = Field(description="`potential` is the target; none for a calculator")
