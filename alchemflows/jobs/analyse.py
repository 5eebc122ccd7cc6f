"""The job that turns the windows of a ladder into a free-energy difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker, job

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument, WindowStatistics
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.windows import WindowsDocument

#: What windows of one ladder have in common.
_OF_ONE_LADDER = (
    "lambdas",
    "temperature_K",
    "n_atoms",
    "volume_A3",
    "initial_formula",
    "final_formula",
    "coupling",
    "initial_weights",
    "final_weights",
    "dynamics",
)


@dataclass
class AnalyseMaker(Maker):
    """Estimate ΔF = F(λ=1) − F(λ=0) from all windows of a ladder.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "free energy"

    @job(output_schema=FreeEnergyDocument)
    def make(self, path: AlchemicalPath, documents: Sequence[WindowsDocument]) -> FreeEnergyDocument:
        """Analyse the windows of one ladder.

        Parameters
        ----------
        path
            The path that was sampled; its masses give the mass term.
        documents
            Outputs of the window jobs, together every window once.

        Raises
        ------
        InvalidInputError
            If a window is missing or there twice, or the documents are of different ladders.
        """
        return free_energy(path, documents)


def free_energy(path: AlchemicalPath, documents: Sequence[WindowsDocument]) -> FreeEnergyDocument:
    """Return the free-energy document of a ladder; see :meth:`AnalyseMaker.make`."""
    first = documents[0]
    for field in _OF_ONE_LADDER:
        values = [getattr(document, field) for document in documents]
        if any(value != values[0] for value in values):
            raise InvalidInputError(f"the windows are of different ladders: {field} is not the same in all")
    if len({document.provenance.potential and document.provenance.potential.sha256 for document in documents}) > 1:
        raise InvalidInputError("the windows are of different ladders: they were sampled with different models")
    if (first.initial_weights, first.final_weights) != (list(path.initial), list(path.final)):
        raise InvalidInputError("the windows are of another path than the one given")
    windows = sorted((w for document in documents for w in document.windows), key=lambda w: w.index)
    if [window.index for window in windows] != list(range(len(first.lambdas))):
        raise InvalidInputError(
            f"{len(first.lambdas)} windows are needed, each once; got {[window.index for window in windows]}"
        )
    result = analyse_ladder(first.lambdas, (window.series.unpack() for window in windows), first.temperature_K)
    n_atoms = first.n_atoms
    mass_term = mass_term_eV(path.system.masses(path.initial), path.system.masses(path.final), first.temperature_K)
    overlaps: list[float | None] = [float(result.overlap[k, k + 1]) for k in range(len(windows) - 1)]
    return FreeEnergyDocument(
        temperature_K=first.temperature_K,
        n_atoms=n_atoms,
        volume_A3=first.volume_A3,
        initial_formula=first.initial_formula,
        final_formula=first.final_formula,
        coupling=first.coupling,
        weight_labels=first.weight_labels,
        initial_weights=first.initial_weights,
        final_weights=first.final_weights,
        dynamics=first.dynamics,
        windows=[
            WindowStatistics(
                lambda_value=window.lambda_value,
                mean_dudl_eV=result.mean_dudl_eV[k],
                error_dudl_eV=result.error_dudl_eV[k],
                n_samples=window.n_samples,
                n_independent=result.n_independent[k],
                statistical_inefficiency=result.inefficiency[k],
                mean_temperature_K=window.mean_temperature_K,
                overlap_with_next=overlap,
            )
            for k, (window, overlap) in enumerate(zip(windows, [*overlaps, None], strict=True))
        ],
        ti=Estimate.of(*result.ti, n_atoms),
        bar=None if result.bar is None else Estimate.of(*result.bar, n_atoms),
        mbar=Estimate.of(*result.mbar, n_atoms),
        mass_term_eV=mass_term,
        mass_term_eV_per_atom=mass_term / n_atoms,
        total=Estimate.of(result.mbar[0] + mass_term, result.mbar[1], n_atoms),
        overlap_matrix=result.overlap.tolist(),
        warnings=result.warnings,
        provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
    )
