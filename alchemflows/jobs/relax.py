"""Relaxation of an alchemical system at fixed weights with atomate2's force-field maker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsError
from alchemflows.identity import fingerprint, not_default
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.jobflow_parts import run_in_this_job
from alchemflows.jobs.stores import require_store
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.silence import LOGM, without_warning

if TYPE_CHECKING:
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker

#: Scientific fields of a relaxation with the defaults that they had when they were added to this table. These must
#: never change (:func:`alchemflows.identity.not_default`). `fmax` (eV/Å) is part of the maker's `relax_kwargs` and
#: `optimizer` of its `optimizer_kwargs`; `relax_options` and `optimizer_options` hold the rest of these two.
RELAXATION_FIELDS: Mapping[str, Any] = MappingProxyType(
    {
        "relax_cell": True,
        "relax_shape": False,
        "fix_symmetry": False,
        "symprec": 0.01,
        "steps": 500,
        "fmax": 0.01,
        "optimizer": "FIRE",
        "relax_options": {},
        "optimizer_options": {},
    }
)
#: Defaults of atomate2 for values that a maker does not set.
_ATOMATE2 = {"fmax": 0.1, "optimizer": "FIRE"}
_CALCULATOR = {"@module": "alchemflows.alchemy.calculator", "@callable": "AlchemicalCalculator"}


def _atomate2_maker(**settings: Any) -> ForceFieldRelaxMaker:
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker

    return ForceFieldRelaxMaker(relax_cell=True, **settings)


def _with_fewer_steps(relaxation: AlchemicalRelaxMaker, steps: int) -> ForceFieldRelaxMaker:
    return replace(relaxation.maker, steps=min(relaxation.maker.steps, steps))


class _MadeWhenRead:
    """A field whose value may be a `partial`, which is called when the field is first read.

    Importing atomate2 takes seconds, and flows are checked without it.
    """

    def __init__(self, default: partial[Any]) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self._default
        value = vars(instance)[self._name]
        if isinstance(value, partial):
            value = vars(instance)[self._name] = value()
        return value

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self._name] = value


@dataclass
class AlchemicalRelaxMaker(Maker):
    """Relax atoms, and optionally the cell, at fixed weights.

    Parameters
    ----------
    name
        Name of the job.
    maker
        atomate2's maker with the settings of the relaxation (by default the cell is relaxed too, in at most 500 steps,
        to forces below 0.01 eV/Å); its force field is replaced by the alchemical potential.
    require_convergence
        Whether a relaxation that has not converged fails; otherwise its last structure is returned.

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
    maker: ForceFieldRelaxMaker = _MadeWhenRead(  # type: ignore[assignment]
        partial(_atomate2_maker, steps=500, relax_kwargs={"fmax": 0.01})
    )
    require_convergence: bool = True

    def shortened(self, steps: int) -> AlchemicalRelaxMaker:
        """Return a maker that ends after a maximum number of steps, converged or not."""
        later: Any = partial(_with_fewer_steps, self, steps)
        return replace(self, maker=later, require_convergence=False)

    def cost(
        self,
        system: AlchemicalSystem,
        weights: Sequence[float],
        potential: PotentialSpec,
        structure: object = None,
        later_store: str | None = None,
    ) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`: one relaxation from each start."""
        return JobCost("relaxation", n_relaxations=len(structure) if isinstance(structure, list | tuple) else 1)

    def key(self, system: AlchemicalSystem, weights: Sequence[float], potential: PotentialSpec) -> str:
        """Return a hash of all inputs of a relaxation except its start structure.

        Parameters
        ----------
        system, weights
            As for :meth:`make`.
        potential
            Potential spec with the SHA-256 of the model file (:func:`alchemflows.alchemy.backends.resolve`).
        """
        groups = [{"sites": group.sites, "channels": group.channels} for group in system.groups]
        return fingerprint(
            {
                "crystal": system.structure,
                "groups": groups,
                "coupling": system.coupling,
                "weights": np.round(system.check_weights(weights), 9),
                "potential": [potential.sha256, potential.head],
                "relaxation": self.scientific_fields(),
            }
        )

    def scientific_fields(self) -> dict[str, Any]:
        """Return the fields of :data:`RELAXATION_FIELDS` that differ from their defaults, for keys."""
        relax, optimizer = dict(self.maker.relax_kwargs or {}), dict(self.maker.optimizer_kwargs or {})
        fields = {name: getattr(self.maker, name) for name in RELAXATION_FIELDS if hasattr(self.maker, name)}
        fields["fmax"] = relax.pop("fmax", _ATOMATE2["fmax"])
        algorithm = optimizer.pop("optimizer", _ATOMATE2["optimizer"])
        fields["optimizer"] = getattr(algorithm, "__name__", algorithm)  # a name, or a class of ASE
        fields |= {"relax_options": relax, "optimizer_options": optimizer}
        return not_default(fields, RELAXATION_FIELDS)

    @job(output_schema=RelaxDocument, config=JobConfig(expose_store=True))
    def make(
        self,
        system: AlchemicalSystem,
        weights: Sequence[float],
        potential: PotentialSpec,
        structure: Structure | Sequence[Structure | None] | None = None,
        later_store: str | None = None,
    ) -> RelaxDocument:
        """Relax a system.

        Parameters
        ----------
        system
            The system to relax.
        weights
            Weights, shape (C,), on the simplex.
        potential
            The potential; evaluated in float64, since relaxations need smooth energies.
        structure
            Positions and cell to start from; those of the system if None. If several are given, each is relaxed, and
            the result of lowest energy is returned.
        later_store
            Name of the additional store of the JobStore that later jobs of the flow need; checked before the
            relaxation.

        Raises
        ------
        AlchemflowsError
            If the relaxation does not converge.
        DatabaseError
            If the additional store is missing.
        """
        from alchemflows.alchemy.backends import load_potential
        from alchemflows.alchemy.potential import AlchemicalPotential

        if later_store is not None:
            require_store(later_store)
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
            # atomate2's maker adds the name of the force field, which is replaced here (seen in atomate2 0.1.5)
            task_document_kwargs={k: v for k, v in self.maker.task_document_kwargs.items() if k != "force_field_name"},
        )
        # started_from reports references that could not be resolved.
        starts: list[Any] = list(structure) if isinstance(structure, list | tuple) else [structure]
        given = [start for start in starts if start is not None]
        if len(given) < len(starts):
            given.append(None)
        with without_warning(LOGM):
            relaxed = [run_in_this_job(maker, started_from(system, start).structure) for start in given]
        converged = [result for result in relaxed if result.is_force_converged]
        if self.require_convergence and not converged:
            raise AlchemflowsError(f"the relaxation has not converged in {maker.steps} steps; allow more steps")
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
    """Return a maker that relaxes atoms and cell until all forces are below a bound, in a maximum number of steps.

    ASE's ``FIRE`` is robust far from a minimum; ``BFGS`` needs far fewer steps near one, especially if some directions
    are much softer than others.
    """
    later: Any = partial(
        _atomate2_maker, steps=steps, relax_kwargs={"fmax": fmax_eV_per_A}, optimizer_kwargs={"optimizer": optimizer}
    )
    return AlchemicalRelaxMaker(maker=later)
