"""The job that collects the relaxations of a sweep over compositions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jobflow import Maker, job

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.system import WEIGHT_TOLERANCE
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.sweep import CompositionPoint, CompositionSweepDocument
from alchemflows.schemas.verdict import Verdict


@dataclass
class SweepMaker(Maker):
    """Collect the relaxed crystals of a grid of compositions.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "composition sweep"

    @job(output_schema=CompositionSweepDocument)
    def make(
        self,
        grid: CompositionGrid,
        keys: Sequence[str],
        documents: Sequence[RelaxDocument | None],
        n_known: int = 0,
    ) -> CompositionSweepDocument:
        """Collect the relaxations.

        Parameters
        ----------
        grid
            The compositions.
        keys
            Key of each relaxation.
        documents
            Relaxation of each point; None if it failed.
        n_known
            Number of documents from earlier relaxations.

        Raises
        ------
        InvalidInputError
            If no relaxation succeeded, or a document has another composition than its point.
        """
        found = [RelaxDocument.read(document) for document in documents]
        done = [document for document in found if document is not None]
        if not done:
            raise InvalidInputError("no relaxation of the sweep succeeded")
        for weights, document in zip(grid.weights, found, strict=True):
            if document is not None and not np.allclose(document.weights, weights):
                raise InvalidInputError(f"a relaxation of {document.formula} is not that of the grid's point {weights}")
        corners, shares, direction = grid.corners(), grid.corner_shares(), grid.direction()
        energies, volumes = (
            [None if document is None else getattr(document, name) for document in found]
            for name in ("energy_eV", "volume_A3")
        )
        straight = {"energy": _straight(energies, corners, shares), "volume": _straight(volumes, corners, shares)}
        atoms_slope = None if direction is None else float(grid.system.atoms_per_weight @ direction)
        points = []
        for k, document in enumerate(found):
            energy, volume = energies[k], volumes[k]
            line, vegard = straight["energy"][k], straight["volume"][k]
            gradients = None if document is None else document.weight_gradients_eV
            counts = grid.system.counts(grid.weights[k])
            slope = None
            if direction is not None and atoms_slope is not None and document is not None:
                slope = counts.per_atom_derivative(
                    document.energy_eV, float(direction @ document.weight_gradients_eV), atoms_slope
                )
            points.append(
                CompositionPoint(
                    weights=list(grid.weights[k]),
                    formula=grid.system.formula(grid.weights[k]),
                    counts=counts,
                    energy_eV=energy,
                    mixing_energy_eV=None if energy is None or line is None else energy - line,
                    volume_A3=volume,
                    volume_deviation=None
                    if volume is None or vegard is None or counts.atoms < counts.sites - WEIGHT_TOLERANCE
                    else volume / vegard - 1,
                    cell_parameters=document and document.cell_parameters,
                    weight_gradients_eV=gradients,
                    slope_eV_per_atom=slope,
                    converged=document is not None and document.converged,
                    key=keys[k],
                )
            )
        reasons = [
            (Reason.RELAXATION_FAILED if point.energy_eV is None else Reason.NOT_RELAXED).because(name=point.formula)
            for point in points
            if not point.converged
        ]
        return CompositionSweepDocument(
            weight_labels=list(grid.system.weight_labels),
            coupling=grid.system.coupling,
            n_sites=grid.system.n_sites,
            points=points,
            corners=corners,
            shares_of_corners=shares.tolist(),
            n_known=n_known,
            verdict=Verdict.of(reasons),
            provenance=Provenance(potential=done[0].provenance.potential),
        )


def _straight(
    values: Sequence[float | None], corners: Sequence[int] | None, shares: np.ndarray
) -> Sequence[float | None]:
    """Return at each point the mean of the values of the pure ends, weighted by their shares."""
    ends = [None] if corners is None else [values[k] for k in corners]
    if any(value is None for value in ends):
        return [None] * len(values)
    return (shares @ np.array(ends, dtype=float)).tolist()
