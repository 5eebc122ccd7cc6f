"""Jobs that combine free energies of cells with one defect into those of Schottky defects and Frenkel pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.defects import charge_caveats, formula_unit
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.defects import ln_frenkel_pairs, ln_schottky_units
from alchemflows.jobs.chemical_potentials import site_fraction
from alchemflows.jobs.defects import check_conditions, dilution, disagreement, quadrature
from alchemflows.jobs.inputs import reasons_of
from alchemflows.schemas.defect_pairs import FrenkelPairDocument, SchottkyDocument, SchottkyVacancy
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.vacancy import RemovalDocument
from alchemflows.schemas.verdict import Verdict


@dataclass
class SchottkyDefectMaker(Maker):
    """Combine the vacancies of all elements of a compound into a Schottky defect.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "Schottky defect"

    @job(output_schema=SchottkyDocument, data=["curves"])
    def make(
        self,
        perfect: FrenkelLaddDocument,
        defective: Sequence[FrenkelLaddDocument],
        removals: Sequence[RemovalDocument],
        n_sites: Sequence[int],
        degeneracies: Sequence[float],
        volume_error_A3: float = 0.0,
        volume_errors_A3: Sequence[float] | None = None,
    ) -> SchottkyDocument:
        """Compute the free energy of the Schottky defect.

        Parameters
        ----------
        perfect
            The perfect crystal.
        defective, removals
            For each element: the crystal with a vacancy, and the removal of that atom.
        n_sites
            Number of sites of the cell that are equivalent to the site of each vacancy.
        degeneracies
            Number of states of each vacancy on one site.
        volume_error_A3, volume_errors_A3
            Standard errors of the mean volumes of the perfect crystal and of the crystals with a vacancy.

        Raises
        ------
        InvalidInputError
            If the runs differ in conditions, or are not of the same perfect crystal.
        """
        check_conditions([perfect, *defective, *removals])
        nu, n_units = formula_unit(perfect.structure)
        elements, n = [removal.element for removal in removals], len(perfect.structure)
        if sorted(elements) != sorted(nu) or any(len(d.structure) != n - 1 for d in defective):
            raise InvalidInputError(
                f"a Schottky defect needs a vacancy of each of {', '.join(sorted(nu))}; got {', '.join(elements)}"
            )
        counts = [nu[element] for element in elements]
        gibbs, error, total = perfect.gibbs.value_eV, perfect.gibbs.error_eV, sum(counts)
        one = sum(k * r.removal_eV for k, r in zip(counts, removals, strict=True)) + gibbs / n_units
        two = sum(k * (d.gibbs.value_eV - gibbs) for k, d in zip(counts, defective, strict=True)) + gibbs / n_units
        removed = [k * r.removal_error_eV for k, r in zip(counts, removals, strict=True)]
        vacated = [k * d.gibbs.error_eV for k, d in zip(counts, defective, strict=True)]
        one_error = quadrature(*removed, error / n_units)
        two_error = quadrature(*vacated, (total - 1 / n_units) * error)
        difference_error = quadrature(*removed, *vacated, total * error)
        volumes = [d.volume_A3 - perfect.volume_A3 for d in defective]
        volume_errors = [0.0] * len(counts) if volume_errors_A3 is None else list(volume_errors_A3)
        ln_units, ln_error = ln_schottky_units(
            one, one_error, perfect.temperature_K, counts, [sites / n_units for sites in n_sites], degeneracies
        )
        vacancies = [
            SchottkyVacancy(
                element=element,
                site=removal.site,
                stoichiometry=k,
                frenkel_ladd_eV=document.gibbs.value_eV - gibbs,
                frenkel_ladd_error_eV=quadrature(document.gibbs.error_eV, error),
                alchemical_eV=removal.removal_eV,
                alchemical_error_eV=removal.removal_error_eV,
                concentration=site_fraction(perfect, ln_units + np.log(k * n_units / sites), ln_error, sites, g),
                defective=document,
                removal=removal,
            )
            for element, k, document, removal, sites, g in zip(
                elements, counts, defective, removals, n_sites, degeneracies, strict=True
            )
        ]
        reasons = reasons_of(
            [
                ("perfect crystal", perfect),
                *((f"vacancy of {v.element}", v.defective) for v in vacancies),
                *((f"removal of {v.element}", v.removal) for v in vacancies),
            ]
        )
        reasons += disagreement(one - two, difference_error)
        reasons += list(dict.fromkeys(reason for v in vacancies for reason in dilution(v.concentration)))
        return SchottkyDocument(
            formula=perfect.structure.composition.reduced_formula,
            counts=perfect.counts,
            temperature_K=perfect.temperature_K,
            pressure_GPa=perfect.pressure_GPa,
            n_vacancies=total,
            frenkel_ladd_eV=two,
            frenkel_ladd_error_eV=two_error,
            alchemical_eV=one,
            alchemical_error_eV=one_error,
            difference_eV=one - two,
            difference_error_eV=difference_error,
            agree=not disagreement(one - two, difference_error),
            formation_volume_A3=float(np.dot(counts, volumes)) + perfect.volume_A3 / n_units,
            formation_volume_error_A3=quadrature(
                *(k * e for k, e in zip(counts, volume_errors, strict=True)), (total - 1 / n_units) * volume_error_A3
            ),
            ln_defects_per_formula_unit=ln_units,
            ln_error=ln_error,
            vacancies=vacancies,
            perfect=perfect,
            verdict=Verdict.of(reasons, charge_caveats(perfect.structure)),
            provenance=Provenance(potential=perfect.provenance.potential, seed=perfect.provenance.seed),
        )


@dataclass
class FrenkelPairJoinMaker(Maker):
    """Combine a vacancy and an interstitial, computed in separate cells, into a Frenkel pair.

    Parameters
    ----------
    name
        Name of the job.
    vacancy_degeneracy, interstitial_degeneracy
        Number of states of each defect on one site, vibrations not counted.
    """

    name: str = "Frenkel pair"
    vacancy_degeneracy: float = 1.0
    interstitial_degeneracy: float = 1.0

    @job(output_schema=FrenkelPairDocument, data=["curves"])
    def make(
        self,
        perfect: FrenkelLaddDocument,
        with_vacancy: FrenkelLaddDocument,
        with_interstitial: FrenkelLaddDocument,
        removal: RemovalDocument,
        interstitial: Sequence[float],
        n_sites: int,
        n_interstitials: int,
        volume_errors_A3: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> FrenkelPairDocument:
        """Compute the free energy of the Frenkel pair.

        Parameters
        ----------
        perfect, with_vacancy, with_interstitial
            Crystals of N, N − 1 and N + 1 atoms; the interstitial is the last atom.
        removal
            Removal of the vacancy's atom from the perfect crystal.
        interstitial
            Requested position of the interstitial, fractional coordinates, shape (3,).
        n_sites, n_interstitials
            Number of sites of the cell that are equivalent to that of the vacancy, and to that of the interstitial.
        volume_errors_A3
            Standard errors of the mean volumes of the three crystals.

        Raises
        ------
        InvalidInputError
            If the runs differ in conditions, or are not of the same perfect crystal.
        """
        check_conditions([perfect, with_vacancy, with_interstitial, removal])
        n = len(perfect.structure)
        if (len(with_vacancy.structure), len(with_interstitial.structure)) != (n - 1, n + 1):
            raise InvalidInputError(
                f"the crystals must have N, N − 1 and N + 1 atoms; got {n}, {len(with_vacancy.structure)} and "
                f"{len(with_interstitial.structure)}"
            )
        gibbs, error = perfect.gibbs.value_eV, perfect.gibbs.error_eV
        insertion = with_interstitial.gibbs.value_eV - gibbs
        one = removal.removal_eV + insertion
        two = with_vacancy.gibbs.value_eV - gibbs + insertion
        one_error = quadrature(removal.removal_error_eV, with_interstitial.gibbs.error_eV, error)
        difference_error = quadrature(removal.removal_error_eV, with_vacancy.gibbs.error_eV, error)
        ratio = n_interstitials / n_sites
        ln_v, ln_error = ln_frenkel_pairs(
            one, one_error, perfect.temperature_K, ratio, self.vacancy_degeneracy * self.interstitial_degeneracy
        )
        vacancies = site_fraction(perfect, ln_v, ln_error, n_sites, self.vacancy_degeneracy)
        interstitials = site_fraction(
            perfect, ln_v - np.log(ratio), ln_error, n_interstitials, self.interstitial_degeneracy
        )
        reasons = reasons_of(
            [
                ("perfect crystal", perfect),
                ("vacancy", with_vacancy),
                ("interstitial", with_interstitial),
                ("removal", removal),
            ]
        )
        reasons += disagreement(one - two, difference_error)
        shift, displaced = displacements_A(perfect.structure, with_interstitial.structure, interstitial)
        reasons += displaced + list(dict.fromkeys([*dilution(vacancies), *dilution(interstitials)]))
        v_error, d_error, i_error = volume_errors_A3[0], volume_errors_A3[1], volume_errors_A3[2]
        return FrenkelPairDocument(
            element=removal.element,
            formula=perfect.structure.composition.reduced_formula,
            counts=perfect.counts,
            temperature_K=perfect.temperature_K,
            pressure_GPa=perfect.pressure_GPa,
            interstitial=list(interstitial),
            interstitial_shift_A=shift,
            frenkel_ladd_eV=two,
            frenkel_ladd_error_eV=quadrature(with_vacancy.gibbs.error_eV, with_interstitial.gibbs.error_eV, 2 * error),
            alchemical_eV=one,
            alchemical_error_eV=one_error,
            difference_eV=one - two,
            difference_error_eV=difference_error,
            agree=not disagreement(one - two, difference_error),
            formation_volume_A3=with_vacancy.volume_A3 + with_interstitial.volume_A3 - 2 * perfect.volume_A3,
            formation_volume_error_A3=quadrature(d_error, i_error, 2 * v_error),
            vacancies=vacancies,
            interstitials=interstitials,
            perfect=perfect,
            with_vacancy=with_vacancy,
            with_interstitial=with_interstitial,
            removal=removal,
            verdict=Verdict.of(reasons, charge_caveats(perfect.structure)),
            provenance=Provenance(potential=perfect.provenance.potential, seed=perfect.provenance.seed),
        )


def displacements_A(perfect: Structure, defective: Structure, interstitial: Sequence[float]) -> tuple[float, list[str]]:
    """Return the distance of an interstitial from its requested position (Å), and reasons against the result.

    Parameters
    ----------
    perfect
        Mean positions of the perfect crystal.
    defective
        Mean positions of the crystal with the interstitial; atoms in the same order, the interstitial last.
    interstitial
        Requested position, fractional coordinates.
    """
    moved = defective.frac_coords[:-1] - perfect.frac_coords
    moved -= moved.round()
    drift = moved.mean(axis=0)
    host = np.linalg.norm((moved - drift) @ defective.lattice.matrix, axis=1)
    apart = defective.frac_coords[-1] - np.asarray(interstitial) - drift
    shift = float(np.linalg.norm((apart - apart.round()) @ defective.lattice.matrix))
    distances, n = perfect.distance_matrix, len(perfect)
    half_way = 0.5 * float(distances[~np.eye(n, dtype=bool)].min()) if n > 1 else np.inf
    free = 0.5 * float(perfect.lattice.get_all_distances([interstitial], perfect.frac_coords).min())
    reasons = []
    if shift > free:
        reasons.append(Reason.INTERSTITIAL_MOVED.because(moved=shift))
    if host.max() > half_way:
        atom = int(host.argmax())
        reasons.append(Reason.HOST_MOVED.because(atom=atom, moved=host[atom]))
    return shift, reasons
