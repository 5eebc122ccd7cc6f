"""Analyse the work of switches and return its document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemflows.free_energy.work import WorkResult, analyse_work
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.switching import WorkDocument

if TYPE_CHECKING:
    from alchemflows.sampling.switching import Switches


def work_document(switches: Switches, settings: SwitchingSettings, counts: Counts) -> tuple[WorkResult, WorkDocument]:
    """Estimate free energies from the work of switches, and return the results and their document."""
    result = analyse_work(switches.forward_work_eV, switches.backward_work_eV, settings.temperature_K)
    return result, WorkDocument(
        forward_work_eV=switches.forward_work_eV.tolist(),
        backward_work_eV=switches.backward_work_eV.tolist(),
        mean=Estimate.of(*result.mean, counts),
        bar=None if result.bar is None else Estimate.of(*result.bar, counts),
        best=Estimate.of(*result.best, counts),
        dissipation_eV=result.dissipation_eV,
        dissipation_eV_per_atom=counts.per_atom(result.dissipation_eV),
        overlap=result.overlap,
        switching_time_fs=settings.n_switching_steps * settings.timestep_fs,
        curves=PackedArrays(
            npz_base64=PackedArrays.encode(
                lambdas=switches.lambdas,
                forward_dudl_eV=switches.forward_dudl_eV,
                backward_dudl_eV=switches.backward_dudl_eV,
            )
        ),
    )
