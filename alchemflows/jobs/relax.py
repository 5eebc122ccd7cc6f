"""Relaxation of an alchemical system at fixed weights, by atomate2's force-field maker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import Maker, job

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsError
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument

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
    require_convergence
        Whether to fail where the maker's steps do not suffice, rather than hand on what is there.
    """

    name: str = "alchemical relax"
    maker: ForceFieldRelaxMaker = field(default_factory=_default_maker)
    require_convergence: bool = True

    @job(output_schema=RelaxDocument)
    def make(self, system: AlchemicalSystem, weights: Sequence[float], potential: PotentialSpec) -> RelaxDocument:
        """Relax a system.

        Parameters
        ----------
        system
            Where to start.
        weights
            Weights, shape (C,), on the simplex.
        potential
            The potential; evaluated in float64, since relaxations need smooth energies.

        Raises
        ------
        AlchemflowsError
            If it does not converge.
        """
        started = time.perf_counter()
        precise = potential.model_copy(update={"dtype": "float64"})
        maker = replace(
            self.maker,
            force_field_name=_CALCULATOR,
            calculator_kwargs={
                "system": system.as_dict(),
                "weights": system.check_weights(weights).tolist(),
                "potential": precise.model_dump(),
            },
            # filled by the maker itself, with the name of the force field that is replaced
            task_document_kwargs={k: v for k, v in self.maker.task_document_kwargs.items() if k != "force_field_name"},
        )
        done = type(maker).make.original(maker, system.structure)  # type: ignore[attr-defined]
        if self.require_convergence and not done.is_force_converged:
            raise AlchemflowsError(f"the relaxation has not converged in {maker.steps} steps")
        return RelaxDocument(
            structure=done.structure,
            formula=system.formula(weights),
            weights=list(weights),
            weight_labels=list(system.weight_labels),
            coupling=system.coupling,
            n_atoms=system.n_atoms,
            energy_eV=done.output.energy,
            volume_A3=done.structure.volume,
            max_force_eV_per_A=float(np.linalg.norm(done.output.forces, axis=1).max()),
            n_steps=done.output.n_steps,
            converged=bool(done.is_force_converged),
            relax_cell=maker.relax_cell,
            provenance=Provenance(potential=load_potential(precise).record, wall_time_s=time.perf_counter() - started),
        )
