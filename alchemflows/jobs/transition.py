"""The job that finds the transition between order and disorder from Monte Carlo in one or several supercells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker, job

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.errors import AlchemflowsError
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.transition import TransitionDocument


@dataclass
class TransitionMaker(Maker):
    """Find the transition temperature from the samples of Monte Carlo.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "transition"

    @job(output_schema=TransitionDocument)
    def make(
        self,
        disorders: Sequence[Disorder],
        sampled: Sequence[MonteCarloDocument | dict | None],
        wave_vectors: Sequence[Sequence[float]] = (),
        jobs: Sequence[str] = (),
    ) -> TransitionDocument:
        """Analyse the samples.

        Parameters
        ----------
        disorders
            The crystal in each supercell.
        sampled
            Result of Monte Carlo in each supercell; None for a failed job.
        wave_vectors
            Waves of the order parameter; none for the strongest order at the lowest temperature.
        jobs
            Identifier of the job of Monte Carlo in each supercell, by which its stored configurations are found.

        Raises
        ------
        AlchemflowsError
            If Monte Carlo failed in a supercell.
        """
        from alchemflows.analysis.transition import SampledCell, transition_document

        cells = []
        of_cells: Sequence[str | None] = jobs or [None] * len(disorders)
        for disorder, found, uuid in zip(disorders, sampled, of_cells, strict=True):
            document = MonteCarloDocument.read(found)
            if document is None:
                raise AlchemflowsError("Monte Carlo failed in a supercell; see the error of that job")
            cells.append(SampledCell(disorder, document, uuid))
        return transition_document(cells, wave_vectors=wave_vectors)
