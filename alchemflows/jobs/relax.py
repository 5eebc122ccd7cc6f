"""Relaxation of an alchemical system at fixed weights, by atomate2's force-field maker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import Job, Maker

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.schemas.potential import PotentialSpec

_CALCULATOR = {"@module": "alchemflows.alchemy.calculator", "@callable": "AlchemicalCalculator"}


def _default_maker() -> ForceFieldRelaxMaker:
    return ForceFieldRelaxMaker(relax_cell=True, steps=500, relax_kwargs={"fmax": 0.01})


@dataclass
class AlchemicalRelaxMaker(Maker):
    """Relax atoms, and the cell if wanted, at given weights.

    Parameters
    ----------
    name
        Name of the job.
    maker
        atomate2's maker with the settings of the relaxation (forces in eV/Å, at most 500 steps and the
        cell free by default); its force field is replaced by the alchemical one.
    """

    name: str = "alchemical relax"
    maker: ForceFieldRelaxMaker = field(default_factory=_default_maker)

    def make(self, system: AlchemicalSystem, weights: Sequence[float], potential: PotentialSpec) -> Job:
        """Return a job whose output is atomate2's ``ForceFieldTaskDocument``.

        Parameters
        ----------
        system
            Where to start.
        weights
            Weights, shape (C,), on the simplex.
        potential
            The potential; evaluated in float64, since relaxations need smooth energies.
        """
        precise = potential.model_copy(update={"dtype": "float64"})
        maker = replace(
            self.maker,
            name=self.name,
            force_field_name=_CALCULATOR,
            calculator_kwargs={
                "system": system.as_dict(),
                "weights": system.check_weights(weights).tolist(),
                "potential": precise.model_dump(),
            },
            task_document_kwargs={},
        )
        return cast(Job, maker.make(system.structure))  # type: ignore[misc]
