"""Jobs that compute the formation free energy of a vacancy, its limit for large cells, and its entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jobflow import Maker, job

from alchemflows.alchemy.defects import charge_caveats
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.defects import thermal_fit
from alchemflows.free_energy.size import logarithmic_term_eV_per_atom, straight_line
from alchemflows.jobs.chemical_potentials import concentration, known_potentials, limits_of, stability_eV
from alchemflows.jobs.defects import check_conditions, dilution, disagreement, quadrature
from alchemflows.jobs.inputs import check_same, reasons_of
from alchemflows.schemas.chemical_potentials import ChemicalPotential
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.vacancy import (
    RemovalDocument,
    VacancyDocument,
    VacancyLimit,
    VacancySizes,
    VacancyTemperatures,
)
from alchemflows.schemas.verdict import Verdict

#: Fields that must be equal in all documents of one vacancy.
_OF_A_VACANCY = ("element", "formula", "chemical_potential.limit")


@dataclass
class VacancyComparisonMaker(Maker):
    """Compute the formation free energy of a vacancy, G_f = G(N−1, vacancy) − G(N) + μ, by two routes.

    Parameters
    ----------
    name
        Name of the job.
    degeneracy
        Number g of states of the vacancy on one site (spin, orientations of a distortion), vibrations not counted.
    """

    name: str = "vacancy"
    degeneracy: float = 1.0

    @job(output_schema=VacancyDocument, data=["curves"])
    def make(
        self,
        perfect: FrenkelLaddDocument,
        defective: FrenkelLaddDocument,
        removal: RemovalDocument,
        volume_errors_A3: Sequence[float] = (0.0, 0.0),
        given: Mapping[str, tuple[float, float]] | None = None,
        references: Mapping[str, FrenkelLaddDocument] | None = None,
        reference_volume_errors_A3: Mapping[str, float] | None = None,
        n_sites: int = 1,
    ) -> VacancyDocument:
        """Compute G_f by both routes and compare them.

        Parameters
        ----------
        perfect, defective
            Absolute free energies of the crystal with N and with N − 1 atoms.
        removal
            Removal of an atom of the perfect crystal.
        volume_errors_A3
            Standard errors of the mean volumes of the perfect and the defective crystal.
        given
            Chemical potentials by element (eV/atom), with standard errors; not needed for an elemental crystal.
        references
            Elemental crystals by element, whose G per atom is the chemical potential.
        reference_volume_errors_A3
            Standard errors of the mean volumes of these crystals.
        n_sites
            Number of sites of the perfect cell that are equivalent to that of the vacancy.

        Raises
        ------
        InvalidInputError
            If the runs do not belong together, or the chemical potential of the element cannot be determined.
        """
        check_conditions([perfect, defective, removal, *(references or {}).values()])
        n = len(perfect.structure)
        if (len(defective.structure), removal.counts.sites) != (n - 1, n):
            raise InvalidInputError(
                f"the crystals and the removal must have N, N − 1 and N atoms; got {n}, {len(defective.structure)} and "
                f"{removal.counts.sites}"
            )
        known = known_potentials(given or {}, references or {}, reference_volume_errors_A3 or {})
        limits = [
            _limit(potential, perfect, defective, removal, volume_errors_A3, n_sites, self.degeneracy)
            for potential in limits_of(removal.element, perfect, known)
        ]
        stability = stability_eV(perfect, known)
        # μ cancels in the difference of the routes, and G(N) remains once.
        difference = removal.removal_eV - (defective.gibbs.value_eV - perfect.gibbs.value_eV)
        difference_error = float(
            np.hypot(np.hypot(removal.removal_error_eV, defective.gibbs.error_eV), perfect.gibbs.error_eV)
        )
        against = disagreement(difference, difference_error)
        reasons = reasons_of(
            [
                ("perfect crystal", perfect),
                ("vacancy", defective),
                ("removal", removal),
                *((f"reference {element}", document) for element, document in (references or {}).items()),
            ]
        )
        reasons += against
        formula = perfect.structure.composition.reduced_formula
        if stability is not None and stability[0] > 2 * stability[1]:
            excess, excess_error = stability
            reasons.append(Reason.UNSTABLE_COMPOUND.because(formula=formula, excess=excess, error=excess_error))
        reasons += dilution(limits[0].concentration)
        return VacancyDocument(
            **dict(limits[0]),
            element=removal.element,
            formula=formula,
            counts=perfect.counts,
            temperature_K=perfect.temperature_K,
            pressure_GPa=perfect.pressure_GPa,
            difference_eV=difference,
            difference_error_eV=difference_error,
            agree=not against,
            relaxation_volume_A3=defective.volume_A3 - perfect.volume_A3,
            relaxation_volume_error_A3=quadrature(*volume_errors_A3),
            limits=limits,
            stability_eV=stability and stability[0],
            stability_error_eV=stability and stability[1],
            perfect=perfect,
            defective=defective,
            removal=removal,
            references=dict(references or {}),
            verdict=Verdict.of(reasons, charge_caveats(perfect.structure)),
            provenance=Provenance(potential=perfect.provenance.potential, seed=perfect.provenance.seed),
        )


@dataclass
class VacancySizesMaker(Maker):
    """Extrapolate G_f of a vacancy from cells of several sizes to a large crystal, by a straight line in 1/N.

    The elastic interaction of the vacancy with its images decays as 1/V at leading order (Leslie & Gillan,
    J. Phys. C 18, 973, 1985; Varvenne et al., Phys. Rev. B 88, 134102, 2013).

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "vacancy, sizes"

    @job(output_schema=VacancySizes, data=["curves"])
    def make(self, documents: Sequence[VacancyDocument]) -> VacancySizes:
        """Extrapolate to a large crystal.

        Parameters
        ----------
        documents
            Results for cells of at least two sizes, of the same vacancy under the same conditions.

        Raises
        ------
        InvalidInputError
            If vacancies or conditions differ, or all cells have the same size.
        """
        first = documents[0]
        check_same("vacancies", documents, *_OF_A_VACANCY, "temperature_K", "pressure_GPa")
        n_atoms, values = [d.counts.atoms for d in documents], [d.alchemical_eV for d in documents]
        shared = first.chemical_potential.independent_error_eV
        errors = [own_error_eV(d) for d in documents]
        # G(N) contains −½ k_B T ln N; G_f contains a share of it through μ.
        counted = np.array([d.counts.atoms * d.chemical_potential.crystal_share for d in documents])
        logarithms = counted * logarithmic_term_eV_per_atom(n_atoms, first.temperature_K)
        limit = straight_line(n_atoms, np.array(values) - logarithms, errors)
        error = float(np.hypot(limit.error, shared))
        largest = max(documents, key=lambda d: d.counts.atoms)
        n_sites, degeneracy = largest.concentration.n_sites, largest.concentration.degeneracy
        reasons = list(dict.fromkeys(reasons_of((d.counts.title, d) for d in documents))) + limit.reasons
        return VacancySizes(
            element=first.element,
            formula=first.formula,
            temperature_K=first.temperature_K,
            pressure_GPa=first.pressure_GPa,
            limit=first.chemical_potential.limit,
            n_atoms=n_atoms,
            formation_eV=values,
            errors_eV=errors,
            shared_error_eV=shared,
            formation_limit_eV=limit.limit,
            limit_error_eV=error,
            chi_squared_per_degree=limit.chi_squared_per_degree,
            concentration=concentration(largest.perfect, limit.limit, error, n_sites, degeneracy),
            cells=list(documents),
            verdict=Verdict.of(reasons, first.verdict.notes),
            provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
        )


@dataclass
class VacancyTemperaturesMaker(Maker):
    """Compute the formation entropy and enthalpy of a vacancy from G_f at several temperatures.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "vacancy, temperatures"

    @job(output_schema=VacancyTemperatures, data=["curves"])
    def make(self, documents: Sequence[VacancyDocument]) -> VacancyTemperatures:
        """Fit G_f(T).

        Parameters
        ----------
        documents
            Results for the same vacancy, cell and pressure at two or more temperatures.

        Raises
        ------
        InvalidInputError
            If vacancies, sizes or pressures differ, or there is only one temperature.
        """
        found = sorted(documents, key=lambda d: d.temperature_K)
        first = found[0]
        check_same("vacancies", found, *_OF_A_VACANCY, "pressure_GPa", "counts")
        temperatures = [d.temperature_K for d in found]
        values, errors = [d.alchemical_eV for d in found], [d.alchemical_error_eV for d in found]
        fit = thermal_fit(temperatures, values, errors)
        reasons = reasons_of((f"{d.temperature_K:g} K", d) for d in found) + fit.reasons
        return VacancyTemperatures(
            element=first.element,
            formula=first.formula,
            counts=first.counts,
            pressure_GPa=first.pressure_GPa,
            limit=first.chemical_potential.limit,
            temperatures_K=temperatures,
            formation_eV=values,
            errors_eV=errors,
            degree=fit.degree,
            entropy_eV_per_K=fit.entropy_eV_per_K.tolist(),
            entropy_error_eV_per_K=fit.entropy_error_eV_per_K.tolist(),
            enthalpy_eV=fit.enthalpy_eV.tolist(),
            enthalpy_error_eV=fit.enthalpy_error_eV.tolist(),
            chi_squared_per_degree=fit.chi_squared_per_degree,
            concentrations=[d.concentration for d in found],
            points=found,
            verdict=Verdict.of(reasons, first.verdict.notes),
            provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
        )


def _limit(
    potential: ChemicalPotential,
    perfect: FrenkelLaddDocument,
    defective: FrenkelLaddDocument,
    removal: RemovalDocument,
    volume_errors_A3: Sequence[float],
    n_sites: int,
    degeneracy: float,
) -> VacancyLimit:
    """Return G_f in one limit; the error of G(N) is counted once, with the sum of its coefficients."""
    g, error, share = perfect.gibbs.value_eV, perfect.gibbs.error_eV, potential.crystal_share
    independent = potential.independent_error_eV
    one = removal.removal_eV + potential.value_eV
    one_error = quadrature(removal.removal_error_eV, share * error, independent)
    volume = volume_error = None
    if potential.volume_A3 is not None and potential.volume_independent_error_A3 is not None:
        volume = defective.volume_A3 - perfect.volume_A3 + potential.volume_A3
        volume_error = quadrature(
            volume_errors_A3[1], (1 - share) * volume_errors_A3[0], potential.volume_independent_error_A3
        )
    return VacancyLimit(
        chemical_potential=potential,
        frenkel_ladd_eV=defective.gibbs.value_eV - g + potential.value_eV,
        frenkel_ladd_error_eV=quadrature(defective.gibbs.error_eV, (1 - share) * error, independent),
        alchemical_eV=one,
        alchemical_error_eV=one_error,
        formation_volume_A3=volume,
        formation_volume_error_A3=volume_error,
        concentration=concentration(perfect, one, one_error, n_sites, degeneracy),
    )


def own_error_eV(document: VacancyDocument) -> float:
    """Return the standard error of G_f (removal) without the part of μ that is independent of the perfect crystal."""
    share = document.chemical_potential.crystal_share
    return quadrature(document.removal.removal_error_eV, share * document.perfect.gibbs.error_eV)
