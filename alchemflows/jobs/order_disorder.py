"""The jobs that relax sampled arrangements, and compare ordered and disordered ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
from ase.units import kB
from jobflow import Maker, job

from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.free_energy.errors import error_of_mean
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.jobflow_parts import run_in_this_job
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.ordering import (
    Arrangement,
    Kind,
    OrderDisorderDocument,
    OrderingSearchDocument,
    SampledDisorderDocument,
)
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.verdict import Verdict

#: Numbers of atoms that differ by less than this count as equal, since weights have rounding errors.
ATOMS_TOLERANCE = 1e-3
COUPLINGS: tuple[Coupling, ...] = get_args(Coupling)


@dataclass
class SampledDisorderMaker(Maker):
    """Relax the arrangements that Monte Carlo sampled at one temperature.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential of the relaxations.
    relax_maker
        Maker that relaxes atoms and cell.
    n_sampled
        Number of sampled arrangements, for the cost of the job.
    """

    name: str = "relax sampled"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    relax_maker: AlchemicalRelaxMaker = field(default_factory=AlchemicalRelaxMaker)
    n_sampled: int = 4

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        return JobCost("relaxation", n_relaxations=self.n_sampled)

    @job(output_schema=SampledDisorderDocument)
    def make(self, sampled: MonteCarloDocument | dict | None) -> SampledDisorderDocument:
        """Relax the last arrangement of each replica.

        Parameters
        ----------
        sampled
            Result of Monte Carlo at one temperature and constant composition.

        Raises
        ------
        AlchemflowsError
            If Monte Carlo failed.
        """
        began = time.perf_counter()
        document = MonteCarloDocument.read(sampled)
        if document is None:
            raise AlchemflowsError("Monte Carlo failed; see the error of that job")
        relax = replace(self.relax_maker, require_convergence=False)
        arrangements = []
        for number, replica in enumerate(document.replicas, start=1):
            relaxed = run_in_this_job(relax, AlchemicalSystem(replica.final), [], self.potential)
            arrangements.append(Arrangement.of(f"sampled {number}", "sampled", relaxed))
        return SampledDisorderDocument(
            formula=document.formula,
            counts=document.counts,
            temperature_K=document.temperatures_K[0],
            arrangements=arrangements,
            verdict=document.verdict,
            provenance=Provenance(
                potential=document.provenance.potential,
                seed=document.provenance.seed,
                wall_time_s=time.perf_counter() - began,
            ),
        )


@dataclass
class OrderComparisonMaker(Maker):
    """Compare relaxed ordered and disordered arrangements of one composition.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "order against disorder"

    @job(output_schema=OrderDisorderDocument)
    def make(
        self,
        names: Sequence[tuple[str, Kind, int | None]],
        relaxations: Sequence[RelaxDocument | dict | None],
        search: OrderingSearchDocument | dict | None,
        counts: Counts,
        entropy_kB: float,
        rounding: str = "",
        sampled: SampledDisorderDocument | dict | None = None,
        sampled_temperature_K: float | None = None,
    ) -> OrderDisorderDocument:
        """Compare the arrangements.

        Parameters
        ----------
        names
            Name, kind and multiplicity of each relaxed arrangement.
        relaxations
            Documents of the relaxations; None for a failed relaxation.
        search
            Result of a search for ordered arrangements; None if there was no search, or it failed.
        counts
            Atoms and sites of the cell, vacant sites included; all arrangements must have the same number of atoms.
        entropy_kB
            Ideal configurational entropy of the cell when it is disordered, k_B.
        rounding
            How the composition was rounded to whole atoms.
        sampled
            Arrangements sampled by Monte Carlo; None if there are none, or their job failed.
        sampled_temperature_K
            Their temperature (K); None without such sampling.

        Raises
        ------
        InvalidInputError
            If no ordered or no random arrangement was relaxed, or the numbers of atoms differ.
        """
        reasons = []
        arrangements = []
        potential = None
        for (name, kind, multiplicity), found in zip(names, relaxations, strict=True):
            if found is None:
                reasons.append(Reason.RELAXATION_FAILED.because(name=name))
                continue
            document = RelaxDocument.read(found)
            potential = document.provenance.potential
            arrangements.append(Arrangement.of(name, kind, document, multiplicity=multiplicity))
        searched = OrderingSearchDocument.read(search)
        if searched is not None:
            arrangements += searched.arrangements
            reasons += searched.verdict.reasons
        if sampled_temperature_K is not None:
            monte_carlo = SampledDisorderDocument.read(sampled)
            if monte_carlo is None:
                reasons.append(Reason.RELAXATION_FAILED.because(name=f"sampled at {sampled_temperature_K:g} K"))
            else:
                arrangements += monte_carlo.arrangements
                reasons += [f"sampled arrangements: {reason}" for reason in monte_carlo.verdict.reasons]
        for each in arrangements:
            if abs(each.counts.atoms - counts.atoms) > ATOMS_TOLERANCE:
                raise InvalidInputError(
                    f"{each.name} has {each.counts.title}, the disordered cell {counts.title}: their "
                    "energies cannot be compared"
                )
        reasons += [Reason.NOT_RELAXED.because(name=each.name) for each in arrangements if not each.converged]
        by_kind: dict[Kind, list[Arrangement]] = {}
        for arrangement in arrangements:
            by_kind.setdefault(arrangement.kind, []).append(arrangement)
        if "ordered" not in by_kind or "random" not in by_kind:
            raise InvalidInputError(f"no ordered or no random arrangement was relaxed: {'; '.join(reasons)}")
        best = min(by_kind["ordered"], key=lambda arrangement: arrangement.energy_eV)
        random = [arrangement.energy_eV for arrangement in by_kind["random"]]
        disorder: dict[str, float] = {
            kind: float(np.mean([arrangement.energy_eV for arrangement in found]))
            for kind, found in by_kind.items()
            if kind != "ordered"
        }
        ordering = {kind: best.energy_eV - energy for kind, energy in disorder.items()}
        of_sampled = [arrangement.energy_eV for arrangement in by_kind.get("sampled", [])]
        deviations = {kind: disorder[kind] - disorder["random"] for kind in COUPLINGS if kind in disorder}
        if not deviations:
            raise InvalidInputError("neither the paired nor the mean-field alchemical cell was relaxed")
        rightly = {kind: (ordering[kind] < 0) == (ordering["random"] < 0) for kind in deviations}
        reasons += [Reason.RANKING.because(coupling=kind) for kind, right in rightly.items() if not right]
        return OrderDisorderDocument(
            formula=best.formula,
            counts=counts,
            arrangements=arrangements,
            best_ordered=best.name,
            random_energy_eV=disorder["random"],
            random_error_eV=error_of_mean(random),
            sampled_temperature_K=sampled_temperature_K,
            sampled_error_eV=error_of_mean(of_sampled),
            ordering_energies_eV=ordering,
            entropy_kB=entropy_kB,
            transition_temperatures_K={
                kind: -energy / (kB * entropy_kB) if energy < 0 and kind != "sampled" else None
                for kind, energy in ordering.items()
            },
            coupling_deviations_eV=deviations,
            nearest_coupling=min(deviations, key=lambda kind: abs(deviations[kind])),
            ranks_rightly=rightly,
            rounding=rounding,
            verdict=Verdict.of(dict.fromkeys(reasons), [rounding] if rounding else []),
            provenance=Provenance(potential=potential),
        )
