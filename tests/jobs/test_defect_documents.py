"""Tests of defect documents with artificial free energies: exact identities, and errors over many seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from ase import units
from harmonic import assert_honest
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.jobs.defect_pairs import FrenkelPairJoinMaker, SchottkyDefectMaker, displacements_A
from alchemflows.jobs.vacancy import VacancyComparisonMaker, VacancySizesMaker, VacancyTemperaturesMaker
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue, FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.vacancy import RemovalDocument, VacancyDocument
from alchemflows.schemas.verdict import Verdict

PROVENANCE = Provenance(seed=1)
#: Exact free energies (eV) of a cell of eight formula units of KCl, and of potassium (per atom).
G_KCL, V_KCL = -54.0, 500.0
REMOVAL = {"K": 5.1, "Cl": 5.6}
POTASSIUM = -1.2
ERRORS = {"perfect": 0.03, "defective": 0.03, "removal": 0.01, "reference": 0.002, "volume": 0.4}


@cache
def salt(repeats: int = 1) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.3), ["K", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return cell * (repeats, repeats, 2)


def iron() -> Structure:
    return Structure(Lattice.cubic(2.84), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * (2, 2, 2)


def absolute(structure, gibbs_eV, error_eV, volume_A3=100.0, temperature_K=800.0) -> FrenkelLaddDocument:
    counts = Counts(atoms=len(structure), sites=len(structure), formula_units=1)
    return FrenkelLaddDocument.model_construct(
        structure=structure,
        counts=counts,
        temperature_K=temperature_K,
        pressure_GPa=0.0,
        volume_A3=volume_A3,
        gibbs=FreeEnergyValue.of(gibbs_eV, error_eV, counts),
        verdict=Verdict.of([]),
        provenance=PROVENANCE,
    )


def removal_of(structure, site, value_eV, error_eV, temperature_K=800.0) -> RemovalDocument:
    n = len(structure)
    return RemovalDocument.model_construct(
        element=structure[site].specie.symbol,
        site=site,
        counts=Counts(atoms=n, sites=n, formula_units=1),
        temperature_K=temperature_K,
        pressure_GPa=0.0,
        removal_eV=value_eV,
        removal_error_eV=error_eV,
        verdict=Verdict.of([]),
        provenance=PROVENANCE,
    )


def without(structure, site) -> Structure:
    rest = structure.copy()
    rest.remove_sites([site])
    return rest


@dataclass
class Runs:
    """Documents of all runs for defects in KCl, with or without noise."""

    perfect: FrenkelLaddDocument
    vacant: dict[str, FrenkelLaddDocument]
    removals: dict[str, RemovalDocument]
    potassium: FrenkelLaddDocument
    interstitial: FrenkelLaddDocument

    @classmethod
    def of(cls, seed: int | None, repeats: int = 1, temperature_K: float = 800.0) -> Runs:
        rng = np.random.default_rng(seed)
        crystal, metal = salt(repeats), Structure(Lattice.cubic(5.3), ["K", "K"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        size = repeats**2

        def noisy(value, kind):
            return value if seed is None else value + ERRORS[kind] * rng.normal()

        first = {site.specie.symbol: index for index, site in reversed(list(enumerate(crystal)))}
        squeezed = {"K": -10.0, "Cl": -20.0}
        added = crystal.copy()
        added.append("K", [0.125, 0.125, 0.0625])

        def run(structure, gibbs_eV, kind, volume_A3):
            return absolute(structure, noisy(gibbs_eV, kind), ERRORS[kind], noisy(volume_A3, "volume"), temperature_K)

        return cls(
            run(crystal, G_KCL * size, "perfect", V_KCL * size),
            {
                e: run(without(crystal, k), G_KCL * size + REMOVAL[e], "defective", V_KCL * size + squeezed[e])
                for e, k in first.items()
            },
            {
                e: removal_of(crystal, k, noisy(REMOVAL[e], "removal"), ERRORS["removal"], temperature_K)
                for e, k in first.items()
            },
            run(metal, 2 * POTASSIUM, "reference", 150.0),
            run(added, G_KCL * size - 2.0, "defective", V_KCL * size + 30.0),
        )

    def vacancy(self, element, given=None, references=None, **settings) -> VacancyDocument:
        maker = VacancyComparisonMaker(**settings)
        volumes = [ERRORS["volume"]] * 2
        documents = dict.fromkeys(references or (), self.potassium)
        return VacancyComparisonMaker.make.original(
            maker, self.perfect, self.vacant[element], self.removals[element], volumes, given or {}, documents,
            dict.fromkeys(documents, ERRORS["volume"]), 8,
        )  # fmt: skip

    def schottky(self):
        return SchottkyDefectMaker.make.original(
            SchottkyDefectMaker(), self.perfect, list(self.vacant.values()), list(self.removals.values()), [8, 8],
            [1.0, 1.0], ERRORS["volume"], [ERRORS["volume"]] * 2,
        )  # fmt: skip

    def pair(self):
        return FrenkelPairJoinMaker.make.original(
            FrenkelPairJoinMaker(), self.perfect, self.vacant["K"], self.interstitial, self.removals["K"],
            [0.125, 0.125, 0.0625], 8, 16, [ERRORS["volume"]] * 3,
        )  # fmt: skip


EXACT = Runs.of(None)
G_UNIT = G_KCL / 8
SCHOTTKY = sum(REMOVAL.values()) + G_UNIT


def test_formation_of_a_vacancy_uses_the_chemical_potential_of_its_element():
    """G_f contains the chemical potential of the removed element, not the mean free energy per atom."""
    chlorine = G_UNIT - POTASSIUM
    k = EXACT.vacancy("K", references=["K"])
    cl = EXACT.vacancy("Cl", references=["K"])
    assert k.alchemical_eV == pytest.approx(REMOVAL["K"] + POTASSIUM) == k.frenkel_ladd_eV
    assert cl.alchemical_eV == pytest.approx(REMOVAL["Cl"] + chlorine)
    assert (k.chemical_potential.source, cl.chemical_potential.source) == ("reference", "compound")
    assert "K-rich" in k.chemical_potential.limit and "K-rich" in cl.chemical_potential.limit
    average = G_KCL / 16
    assert k.alchemical_eV != pytest.approx(REMOVAL["K"] + average, abs=0.1)


@pytest.mark.parametrize("potassium", [-4.0, -1.2, 0.0, 3.3])
def test_vacancies_of_a_formula_unit_sum_to_the_schottky_defect(potassium):
    given = {"K": (potassium, 0.0)}
    parts = [EXACT.vacancy(element, given) for element in ("K", "Cl")]
    schottky = EXACT.schottky()
    for route in ("alchemical_eV", "frenkel_ladd_eV"):
        assert sum(getattr(v, route) for v in parts) == pytest.approx(getattr(schottky, route)) == SCHOTTKY
    product = sum(v.concentration.ln_site_fraction for v in parts)
    ln_c = [v.concentration.ln_site_fraction for v in schottky.vacancies]
    if all(v.concentration.site_fraction < 1e-6 for v in parts):  # the dilute limit
        assert sum(ln_c) == pytest.approx(product)
    assert ln_c[0] == pytest.approx(ln_c[1]) == pytest.approx(-SCHOTTKY / (2 * units.kB * 800.0))


def test_rich_and_poor_limits_are_given_if_all_chemical_potentials_are_known():
    document = EXACT.vacancy("K", {"Cl": (-5.3, 0.0)}, ["K"])
    rich, poor = document.limits
    assert document.alchemical_eV == rich.alchemical_eV == pytest.approx(REMOVAL["K"] + POTASSIUM)
    assert poor.alchemical_eV == pytest.approx(REMOVAL["K"] + G_UNIT + 5.3)
    # the limits differ by the free energy of formation of the compound
    assert document.stability_eV == pytest.approx(poor.alchemical_eV - rich.alchemical_eV)
    assert document.verdict.converged
    unstable = EXACT.vacancy("K", {"Cl": (-6.5, 0.0)}, ["K"])
    assert unstable.stability_eV > 0 and "KCl" in "; ".join(unstable.verdict.reasons)


def test_vacancy_in_an_element_uses_the_crystal_as_its_reference():
    crystal = iron()
    perfect, defective = absolute(crystal, -130.0, 0.02, 180.0), absolute(without(crystal, 3), -120.3, 0.03, 172.0)
    removal = removal_of(crystal, 3, 9.68, 0.005)
    document = VacancyComparisonMaker.make.original(VacancyComparisonMaker(), perfect, defective, removal, [0.3, 0.4])
    assert document.frenkel_ladd_eV == pytest.approx(-120.3 + 15 / 16 * 130.0)
    assert document.frenkel_ladd_error_eV == pytest.approx(np.hypot(0.03, 15 / 16 * 0.02))
    assert document.alchemical_eV == pytest.approx(9.68 - 130.0 / 16)
    assert document.alchemical_error_eV == pytest.approx(np.hypot(0.005, 0.02 / 16))
    assert document.difference_error_eV == pytest.approx(np.sqrt(0.005**2 + 0.03**2 + 0.02**2))
    assert document.formation_volume_A3 == pytest.approx(172.0 - 15 / 16 * 180.0)
    assert document.formation_volume_error_A3 == pytest.approx(np.hypot(0.4, 15 / 16 * 0.3))
    assert document.verdict.notes == []  # no note on charges for a metal


@pytest.mark.parametrize(
    ("element", "given", "references"),
    [
        ("K", {"K": -1.2}, []),
        ("K", {}, ["K"]),
        ("Cl", {}, ["K"]),
        ("Cl", {"K": -1.2}, []),
        ("K", {"Cl": -5.55}, []),
    ],
)
def test_errors_of_a_vacancy_are_calibrated(element, given, references):
    """All runs have independent noise; that of the perfect crystal enters the difference and μ."""
    found, sigma = [], 0.01
    for seed in range(400):
        rng = np.random.default_rng(10_000 + seed)
        noisy = {e: (value + sigma * rng.normal(), sigma) for e, value in given.items()}
        found.append(Runs.of(seed).vacancy(element, noisy, references))
    exact = EXACT.vacancy(element, {e: (value, sigma) for e, value in given.items()}, references)
    for name in ("frenkel_ladd", "alchemical", "difference"):
        values, errors = ([getattr(d, f"{name}{end}_eV") for d in found] for end in ("", "_error"))
        assert_honest(values, errors, getattr(exact, f"{name}_eV"))
    concentrations = [d.concentration for d in found]
    assert_honest(
        [c.ln_site_fraction for c in concentrations], [c.ln_error for c in concentrations],
        exact.concentration.ln_site_fraction,
    )  # fmt: skip
    assert_honest(
        [d.relaxation_volume_A3 for d in found], [d.relaxation_volume_error_A3 for d in found],
        exact.relaxation_volume_A3,
    )  # fmt: skip
    if references:
        volumes, errors = ([getattr(d, f"formation_volume{end}_A3") for d in found] for end in ("", "_error"))
        assert_honest(volumes, errors, exact.formation_volume_A3)
    else:
        assert {d.formation_volume_A3 for d in found} == {None}


@pytest.mark.parametrize("kind", ["schottky", "pair"])
def test_errors_of_neutral_defects_are_calibrated(kind):
    found, exact = [getattr(Runs.of(seed), kind)() for seed in range(400)], getattr(EXACT, kind)()
    for name, unit in (("frenkel_ladd", "eV"), ("alchemical", "eV"), ("difference", "eV"), ("formation_volume", "A3")):
        values, errors = ([getattr(d, f"{name}{end}_{unit}") for d in found] for end in ("", "_error"))
        assert_honest(values, errors, getattr(exact, f"{name}_{unit}"))
    fractions = [d.vacancies[0].concentration if kind == "schottky" else d.vacancies for d in found]
    known = exact.vacancies[0].concentration if kind == "schottky" else exact.vacancies
    assert_honest([f.ln_site_fraction for f in fractions], [f.ln_error for f in fractions], known.ln_site_fraction)


def test_volumes_and_concentrations_of_neutral_defects():
    schottky, pair = EXACT.schottky(), EXACT.pair()
    assert schottky.formation_volume_A3 == pytest.approx(-10.0 - 20.0 + V_KCL / 8)
    assert pair.formation_volume_A3 == pytest.approx(-10.0 + 30.0)
    assert pair.alchemical_eV == pytest.approx(REMOVAL["K"] - 2.0) == pair.frenkel_ladd_eV
    ln_v, ln_i = pair.vacancies.ln_site_fraction, pair.interstitials.ln_site_fraction
    assert ln_v + ln_i == pytest.approx(-pair.alchemical_eV / (units.kB * 800.0))
    assert pair.vacancies.per_cm3 == pytest.approx(pair.interstitials.per_cm3)  # equal concentrations of both
    assert schottky.vacancies[0].concentration.sites_per_formula_unit == 1


def test_verdict_of_ionic_compounds_notes_that_the_potential_has_no_charges():
    for document in (EXACT.vacancy("K", references=["K"]), EXACT.schottky(), EXACT.pair()):
        assert document.verdict.converged  # the note does not change the status
        (caveat,) = document.verdict.notes
        assert "charges" in caveat and "electrostatic" in caveat and "K +1" in caveat


def test_extrapolation_in_size_adds_the_error_of_the_shared_reference():
    documents = [Runs.of(None, n).vacancy("K", references=["K"]) for n in (1, 2, 3)]
    result = VacancySizesMaker.make.original(VacancySizesMaker(), documents)
    assert result.n_atoms == [16, 64, 144] and result.formation_limit_eV == pytest.approx(REMOVAL["K"] + POTASSIUM)
    reference = ERRORS["reference"] / 2
    assert result.shared_error_eV == pytest.approx(reference)
    assert result.errors_eV == pytest.approx([ERRORS["removal"]] * 3)
    x = 1 / np.array(result.n_atoms)
    own = ERRORS["removal"] * np.sqrt(1 / 3 + x.mean() ** 2 / ((x - x.mean()) ** 2).sum())
    assert result.limit_error_eV == pytest.approx(np.hypot(own, reference))
    with pytest.raises(InvalidInputError, match="sizes"):
        VacancySizesMaker.make.original(VacancySizesMaker(), documents[:1] * 2)
    with pytest.raises(InvalidInputError, match="element"):
        VacancySizesMaker.make.original(
            VacancySizesMaker(), [documents[0], Runs.of(None, 2).vacancy("Cl", references=["K"])]
        )


def test_size_logarithm_enters_by_the_chemical_potential_of_the_compound_only():
    """The term −½ k_B T ln N of G(N) enters G_f by the μ of the compound, not by that of an elemental crystal."""
    sizes = (1, 2, 3)
    for element, share in (("Cl", 1.0), ("K", 0.0)):
        documents = []
        for n in sizes:
            run = Runs.of(None, n)
            atoms, gibbs = len(run.perfect.structure), run.perfect.gibbs.value_eV
            shift = -0.5 * units.kB * 800.0 * np.log(atoms)
            for document in (run.perfect, *run.vacant.values()):
                document.gibbs = FreeEnergyValue.of(document.gibbs.value_eV + shift, 0.03, document.counts)
            assert run.perfect.gibbs.value_eV != gibbs
            documents.append(run.vacancy(element, references=["K"]))
        result = VacancySizesMaker.make.original(VacancySizesMaker(), documents)
        exact = REMOVAL[element] + (POTASSIUM if element == "K" else G_UNIT - POTASSIUM)
        bare = exact + share * np.array([-0.5 * units.kB * 800.0 * np.log(n) / (n / 2) for n in result.n_atoms])
        assert result.formation_eV == pytest.approx(bare)
        assert result.formation_limit_eV == pytest.approx(exact)


@pytest.mark.slow
def test_errors_of_the_extrapolated_vacancy_are_calibrated():
    found = []
    for seed in range(300):
        runs = [Runs.of(seed * 3 + n, n) for n in (1, 2, 3)]
        for run in runs[1:]:
            run.potassium = runs[0].potassium  # all sizes share one reference
        documents = [run.vacancy("K", references=["K"]) for run in runs]
        found.append(VacancySizesMaker.make.original(VacancySizesMaker(), documents))
    assert_honest([d.formation_limit_eV for d in found], [d.limit_error_eV for d in found], REMOVAL["K"] + POTASSIUM)


def test_entropy_and_enthalpy_follow_from_several_temperatures():
    documents = [Runs.of(None, temperature_K=t).vacancy("K", {"K": (-1.2 + 3e-4 * t, 0.0)}) for t in (400.0, 200.0)]
    result = VacancyTemperaturesMaker.make.original(VacancyTemperaturesMaker(), documents)
    assert result.temperatures_K == [200.0, 400.0] and result.degree == 1
    assert result.entropy_eV_per_K == pytest.approx([-3e-4] * 2)
    assert result.enthalpy_eV == pytest.approx([REMOVAL["K"] - 1.2] * 2)
    assert result.entropy_error_eV_per_K == pytest.approx([np.sqrt(2) * ERRORS["removal"] / 200] * 2)


def test_verdict_warns_if_vacancies_are_not_dilute():
    document = EXACT.vacancy("K", {"K": (-5.0, 0.0)})
    assert not document.verdict.converged and any("dilute" in reason for reason in document.verdict.reasons)


def test_dilute_concentration_is_proportional_to_the_degeneracy():
    one, six = (EXACT.vacancy("K", {"K": (-1.2, 0.0)}, degeneracy=g).concentration for g in (1.0, 6.0))
    assert six.site_fraction == pytest.approx(6 * one.site_fraction)
    assert one.per_cm3 == pytest.approx(one.site_fraction * 8 / (V_KCL * 1e-24))


def test_runs_with_different_conditions_are_refused():
    other = Runs.of(None, temperature_K=500.0)
    mixed = Runs(EXACT.perfect, other.vacant, EXACT.removals, EXACT.potassium, EXACT.interstitial)
    with pytest.raises(InvalidInputError, match="temperature_K"):
        mixed.vacancy("K", {"K": (-1.2, 0.0)})
    with pytest.raises(InvalidInputError, match=r"\bK\b"):
        EXACT.vacancy("K")


def test_displaced_interstitial_is_a_reason_against_the_frenkel_pair():
    crystal, place = salt(), [0.25, 0.25, 0.125]
    there = crystal.copy()
    there.append("K", place)
    # A drift of the whole crystal is not a displacement.
    drifted = Structure(there.lattice, there.species, there.frac_coords + np.array([0.3, 0.1, 0.0]))
    assert displacements_A(crystal, drifted, place)[0] == pytest.approx(0.0, abs=1e-9)
    assert displacements_A(crystal, drifted, place)[1] == []
    gone = there.copy()
    gone.replace(len(gone) - 1, "K", [0.5, 0.25, 0.125])
    shift, reasons = displacements_A(crystal, gone, place)
    assert shift == pytest.approx(0.25 * 6.3) and f"{shift:.2f} Å" in reasons[0]
