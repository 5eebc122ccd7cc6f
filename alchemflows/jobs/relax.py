"""Relaxation of an alchemical system at fixed weights, by atomate2's force-field maker."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import Maker, job
from monty.json import MontyEncoder
from pymatgen.core import Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.jobflow_parts import run_in_this_job
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument

#: What of atomate2's maker a result depends on.
_SETTINGS = ("relax_cell", "relax_shape", "fix_symmetry", "symprec", "steps", "relax_kwargs", "optimizer_kwargs")
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

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalPath, AlchemicalRelaxMaker, PotentialSpec
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> path = AlchemicalPath.from_substitution(salt, {"Na": "K"})
    >>> potential = PotentialSpec(name="mace-demo")
    >>> job = AlchemicalRelaxMaker().make(path.system, path.weights(0.5).tolist(), potential)
    >>> job.name, job.output_schema.__name__  # run_locally(job) relaxes it here
    ('alchemical relax', 'RelaxDocument')
    """

    name: str = "alchemical relax"
    maker: ForceFieldRelaxMaker = field(default_factory=_default_maker)
    require_convergence: bool = True

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return what a job costs, see :mod:`alchemflows.jobs.cost`: steps of relaxations are not counted."""
        return JobCost("relaxation")

    def key(self, system: AlchemicalSystem, weights: Sequence[float], potential: PotentialSpec) -> str:
        """Return a hash of all that a relaxation depends on, but for where it starts.

        Parameters
        ----------
        system, weights
            As for :meth:`make`.
        potential
            With its SHA-256 (:func:`alchemflows.alchemy.backends.resolve`).
        """
        maker = {name: getattr(self.maker, name, None) for name in _SETTINGS}
        what = {
            "system": system.as_dict(),
            "weights": np.round(system.check_weights(weights), 9).tolist(),
            "potential": [potential.sha256, potential.head],
            "maker": maker,
        }
        return hashlib.sha256(json.dumps(what, cls=MontyEncoder, sort_keys=True).encode()).hexdigest()

    @job(output_schema=RelaxDocument)
    def make(
        self,
        system: AlchemicalSystem,
        weights: Sequence[float],
        potential: PotentialSpec,
        structure: Structure | Sequence[Structure | None] | None = None,
    ) -> RelaxDocument:
        """Relax a system.

        Parameters
        ----------
        system
            What to relax.
        weights
            Weights, shape (C,), on the simplex.
        potential
            The potential; evaluated in float64, since relaxations need smooth energies.
        structure
            Positions and cell to start from, in place of the system's. Of several (None is the system's own) each is
            relaxed, and the one of lowest energy kept.

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
            # filled by the maker itself, with the name of the force field that is replaced (seen in atomate2 0.1.5)
            task_document_kwargs={k: v for k, v in self.maker.task_document_kwargs.items() if k != "force_field_name"},
        )
        # A reference that was left unresolved is for started_from.
        starts: list[Any] = list(structure) if isinstance(structure, list | tuple) else [structure]
        given = [start for start in starts if start is not None]
        if len(given) < len(starts):
            given.append(None)
        relaxed = [run_in_this_job(maker, started_from(system, start).structure) for start in given]
        converged = [result for result in relaxed if result.is_force_converged]
        if self.require_convergence and not converged:
            raise AlchemflowsError(f"the relaxation has not converged in {maker.steps} steps")
        done = min(converged or relaxed, key=lambda result: result.output.energy)
        model = AlchemicalPotential(system, load_potential(precise))
        x, h = done.structure.cart_coords[None], done.structure.lattice.matrix[None]
        gradients = model.evaluate(x, h, [list(weights)], forces=False, stress=False).weight_gradients
        assert gradients is not None
        return RelaxDocument(
            structure=done.structure,
            formula=system.formula(weights),
            weights=list(weights),
            weight_labels=list(system.weight_labels),
            coupling=system.coupling,
            counts=system.counts(weights),
            energy_eV=done.output.energy,
            weight_gradients_eV=gradients[0].tolist(),
            volume_A3=done.structure.volume,
            cell_parameters=list(done.structure.lattice.parameters),
            max_force_eV_per_A=float(np.linalg.norm(done.output.forces, axis=1).max()),
            n_steps=done.output.n_steps,
            converged=bool(done.is_force_converged),
            relax_cell=maker.relax_cell,
            key=self.key(system, weights, potential.model_copy(update={"sha256": model.record.sha256})),
            provenance=Provenance(potential=model.record, wall_time_s=time.perf_counter() - started),
        )


def relaxing(fmax_eV_per_A: float, steps: int = 500, optimizer: str = "FIRE") -> AlchemicalRelaxMaker:
    """Return what relaxes atoms and cell to forces below a bound, in so many steps at most.

    ASE's ``FIRE`` finds its way from anywhere; ``BFGS`` takes a fraction of the steps near a minimum, above all where
    some directions are far softer than others.
    """
    maker = ForceFieldRelaxMaker(
        relax_cell=True,
        steps=steps,
        relax_kwargs={"fmax": fmax_eV_per_A},
        optimizer_kwargs={"optimizer": optimizer},
    )
    return AlchemicalRelaxMaker(maker=maker)
