"""Tests of flows for vacancies in compounds, Schottky defects and Frenkel pairs: invalid input, and short runs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.defects import charge_caveats, equivalent_positions, equivalent_sites, formula_unit
from alchemflows.errors import InvalidInputError
from alchemflows.flows.defect_pairs import FrenkelPairMaker, SchottkyMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker, VacancyTemperatureMaker, as_wide_as
from alchemflows.jobs.vacancy import VacancyComparisonMaker
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")
SHORT = {
    "n_repeats": 2, "n_equilibration_steps": 10, "n_switching_steps": 20, "timestep_fs": 4.0, "relax_maker": None,
    "n_cell_steps": 60, "n_sampling_steps": 40,
}  # fmt: skip


def rocksalt(cation: str = "Na", anion: str = "Cl", a: float = 5.69) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def wurtzite() -> Structure:
    sites = [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.382]]
    return Structure.from_spacegroup("P6_3mc", Lattice.hexagonal(3.11, 4.98), ["Al", "N"], sites)


def fluorite() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.46), ["Ce", "O"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def bcc(element: str, a: float) -> Structure:
    return Structure(Lattice.cubic(a), [element] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])


def absolute(**settings) -> FrenkelLaddMaker:
    return FrenkelLaddMaker(**{"potential": DEMO, "temperature": 50.0} | SHORT | settings)


def vacancy(**settings) -> VacancyFreeEnergyMaker:
    return VacancyFreeEnergyMaker(frenkel_ladd_maker=absolute(**settings))


def run(flow, folder):
    """Run a flow and return the output of its last job."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, log=False, raise_immediately=True)
    return outputs[[job for job, _ in flow.iterflow()][-1].uuid][1].output


@pytest.mark.parametrize(
    ("crystal", "element"),
    [(rocksalt("K", a=6.37), "K"), (rocksalt("K", a=6.37), "Cl"), (wurtzite(), "Al"), (fluorite(), "Ce")],
    ids=["K in KCl", "Cl in KCl", "AlN", "CeO2"],
)
def test_vacancy_in_a_compound_requires_a_chemical_potential(crystal, element):
    site = [each.specie.symbol for each in crystal].index(element)
    (other,) = {each.specie.symbol for each in crystal} - {element}
    with pytest.raises(InvalidInputError, match=rf"chemical potential of {element}\b.*\b{other}\b") as error:
        vacancy().make(crystal, site)
    assert "\n" not in str(error.value)
    for given in ({element: -2.0}, {other: -2.0}, {element: (-2.0, 0.1), other: -3.0}):
        vacancy().make(crystal, site, chemical_potentials=ChemicalPotentials(given))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"values_eV": {"Xx": 1.0}}, "Xx"),
        ({"values_eV": {"Cl": float("nan")}}, "Cl.*nan"),
        ({"values_eV": {"Cl": (1.0, -0.1)}}, "Cl.*-0.1"),
        ({"values_eV": {"Na": 1.0}, "references": {"Na": bcc("Na", 4.2)}}, "Na"),
        ({"references": {"Na": rocksalt()}}, "Na.*Cl, Na"),
        ({"references": {"Na": bcc("K", 5.3)}}, "Na.*K"),
    ],
)
def test_invalid_chemical_potentials_are_refused(arguments, words):
    with pytest.raises(InvalidInputError, match=words):
        ChemicalPotentials(**arguments)


def test_chemical_potentials_that_do_not_match_crystal_or_temperature_are_refused():
    with pytest.raises(InvalidInputError, match=r"Li.*NaCl"):
        vacancy().make(rocksalt(), chemical_potentials=ChemicalPotentials({"Na": -1.0, "Li": -1.0}))
    with pytest.raises(InvalidInputError, match="Fe"):
        vacancy().make(bcc("Fe", 2.84) * (2, 2, 2), chemical_potentials=ChemicalPotentials({"Fe": -8.0}))
    chlorine = Structure(Lattice.cubic(6.0), ["Cl", "Cl"], [[0, 0, 0], [0.33, 0, 0]])
    with pytest.raises(InvalidInputError, match=r"Cl .*300 K"):
        vacancy(temperature=300.0).make(rocksalt(), 4, chemical_potentials=ChemicalPotentials({}, {"Cl": chlorine}))
    with pytest.raises(InvalidInputError, match="degeneracy"):
        VacancyFreeEnergyMaker(degeneracy=0.0, frenkel_ladd_maker=absolute()).make(bcc("Fe", 2.84))
    temperatures = VacancyTemperatureMaker(vacancy_maker=vacancy())
    with pytest.raises(InvalidInputError, match=r"Na .*temperature"):
        temperatures.make(rocksalt(), [50.0, 100.0], chemical_potentials=ChemicalPotentials({"Na": -1.0}))
    with pytest.raises(InvalidInputError, match="100 K"):
        temperatures.make(rocksalt(), [50.0, 100.0], chemical_potentials={50.0: ChemicalPotentials({"Na": -1.0})})
    with pytest.raises(InvalidInputError, match="50"):
        temperatures.make(bcc("Fe", 2.84) * (2, 2, 2), [50.0])


def test_reference_crystal_uses_the_settings_of_the_compound():
    known = ChemicalPotentials(references={"Na": bcc("Na", 4.2)})
    maker = vacancy(springs_eV_per_A2={"Na": 1.0, "Cl": 1.0})
    flow = maker.make(rocksalt(), 4, chemical_potentials=known)
    runs = [job for job, _ in flow.iterflow() if "Frenkel" in job.name]
    # The cells of the reference, of the perfect crystal and of the defective crystal have equal widths.
    assert [len(job.function_args[0].structure) for job in runs] == [16, 8, 7]
    reference, perfect = runs[0].maker, runs[1].maker
    assert reference.settings == perfect.settings and reference.springs_eV_per_A2 == {"Na": 1.0}
    (joined,) = [job for job, _ in flow.iterflow() if isinstance(job.maker, VacancyComparisonMaker)]
    assert list(joined.function_args[5]) == ["Na"]


def test_reference_cell_is_at_least_as_wide_as_the_crystal():
    host = rocksalt() * (2, 2, 3)
    primitive = Structure([[-2.1, 2.1, 2.1], [2.1, -2.1, 2.1], [2.1, 2.1, -2.1]], ["Na"], [[0, 0, 0]])
    wide = as_wide_as(primitive, host)
    heights = wide.volume / np.array(
        [np.linalg.norm(np.cross(*np.delete(wide.lattice.matrix, k, 0))) for k in range(3)]
    )
    assert heights.min() >= 2 * 5.69 > heights.min() - 4.2


@pytest.mark.parametrize(
    ("crystal", "units_of", "n"), [(rocksalt(), {"Cl": 1, "Na": 1}, 4), (fluorite(), {"Ce": 1, "O": 2}, 4)]
)
def test_formula_units_and_equivalent_sites(crystal, units_of, n):
    assert formula_unit(crystal) == (units_of, n)
    assert len(equivalent_sites(crystal, 0)) == 4
    assert len(equivalent_sites(crystal * (2, 1, 1), 0)) == 8


def test_number_of_equivalent_interstitial_positions():
    assert equivalent_positions(rocksalt(), [0.25, 0.25, 0.25]) == 8  # tetrahedral positions
    assert equivalent_positions(rocksalt() * (2, 1, 1), [0.125, 0.25, 0.25]) == 16
    assert equivalent_positions(fluorite(), [0.5, 0.5, 0.5]) == 4  # octahedral positions


def test_caveat_on_charges_is_given_for_ionic_crystals_only():
    assert charge_caveats(bcc("Fe", 2.84)) == []
    b2 = Structure(Lattice.cubic(2.88), ["Fe", "Sn"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert not any("K" in caveat for caveat in charge_caveats(b2))
    for crystal, ion in ((rocksalt(), "Na +1"), (wurtzite(), "N -3"), (fluorite(), "Ce +4")):
        assert ion in charge_caveats(crystal)[0]


@pytest.mark.slow
def test_formation_of_a_vacancy_in_a_compound(tmp_path):
    known = ChemicalPotentials({"Na": (-1.3, 0.02)})
    document = run(vacancy().make(rocksalt(), 6, chemical_potentials=known), tmp_path)
    d, mu = document, document.chemical_potential
    assert (d.element, d.formula, d.removal.site, mu.source) == ("Cl", "NaCl", 6, "compound")
    assert mu.value_eV == pytest.approx(d.perfect.gibbs.value_eV / 4 + 1.3)
    assert mu.error_eV == pytest.approx(np.hypot(d.perfect.gibbs.error_eV / 4, 0.02))
    assert d.alchemical_eV == pytest.approx(d.removal.removal_eV + mu.value_eV)
    assert d.frenkel_ladd_eV == pytest.approx(d.defective.gibbs.value_eV - d.perfect.gibbs.value_eV + mu.value_eV)
    assert d.concentration.ln_site_fraction == pytest.approx(-d.alchemical_eV / (units.kB * 50), rel=1e-6)
    assert (d.concentration.n_sites, d.concentration.sites_per_formula_unit) == (4, 1.0)
    assert d.relaxation_volume_A3 == pytest.approx(d.defective.volume_A3 - d.perfect.volume_A3)
    assert d.relaxation_volume_error_A3 > 0 and d.formation_volume_A3 is None
    assert "charges" in d.verdict.notes[0]


@pytest.mark.slow
def test_formation_of_a_schottky_defect(tmp_path):
    maker = SchottkyMaker(frenkel_ladd_maker=absolute())
    d = run(maker.make(rocksalt()), tmp_path)
    assert {(v.element, v.stoichiometry, v.site) for v in d.vacancies} == {("Cl", 1, 4), ("Na", 1, 0)}
    removed = sum(v.removal.removal_eV for v in d.vacancies)
    assert d.alchemical_eV == pytest.approx(removed + d.perfect.gibbs.value_eV / 4)
    without = sum(v.defective.gibbs.value_eV for v in d.vacancies)
    assert d.frenkel_ladd_eV == pytest.approx(without - 7 / 4 * d.perfect.gibbs.value_eV)
    assert d.formation_volume_error_A3 > 0 and d.vacancies[0].concentration.n_sites == 4
    # the two defective crystals differ; the perfect crystal is computed once
    assert len({id(v.defective) for v in d.vacancies}) == 2


def test_invalid_schottky_defects_are_refused():
    maker = SchottkyMaker(frenkel_ladd_maker=absolute())
    with pytest.raises(InvalidInputError, match="Fe"):
        maker.make(bcc("Fe", 2.84) * (2, 2, 2))
    with pytest.raises(InvalidInputError, match=r"Xe.*NaCl"):
        maker.make(rocksalt(), {"Xe": 0})
    with pytest.raises(InvalidInputError, match=r"site 0 .*Cl"):
        maker.make(rocksalt(), {"Cl": 0})
    with pytest.raises(InvalidInputError, match="Na"):
        SchottkyMaker(frenkel_ladd_maker=absolute(), degeneracies={"Na": -1.0}).make(rocksalt())
    # crystal with two inequivalent Cl sites
    cell = Structure(Lattice.tetragonal(5.0, 8.0), ["Pb", "Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.45]])
    with pytest.raises(InvalidInputError, match=r"Cl .*atoms 1 and 2"):
        maker.make(cell)
    maker.make(cell, {"Cl": 2})


def test_invalid_frenkel_pairs_are_refused():
    maker = FrenkelPairMaker(frenkel_ladd_maker=absolute())
    with pytest.raises(InvalidInputError, match=r"0\.5"):
        maker.make(rocksalt(), 0, [0.01, 0.0, 0.0])
    with pytest.raises(InvalidInputError, match=r"0\.25, 0\.25"):
        maker.make(rocksalt(), 0, [0.25, 0.25])
    with pytest.raises(InvalidInputError, match="site 8"):
        maker.make(rocksalt(), 8, [0.25, 0.25, 0.25])


@pytest.mark.slow
def test_formation_of_a_frenkel_pair(tmp_path):
    """The interstitial oxygen in CeO2 occupies the empty cube of the fluorite structure."""
    crystal = fluorite() * (2, 2, 1)
    site = [each.specie.symbol for each in crystal].index("O")
    d = run(FrenkelPairMaker(frenkel_ladd_maker=absolute()).make(crystal, site, [0.25, 0.25, 0.5]), tmp_path)
    perfect = d.perfect.gibbs.value_eV
    two = d.with_vacancy.gibbs.value_eV + d.with_interstitial.gibbs.value_eV - 2 * perfect
    assert d.frenkel_ladd_eV == pytest.approx(two)
    assert d.alchemical_eV == pytest.approx(d.removal.removal_eV + d.with_interstitial.gibbs.value_eV - perfect)
    assert (d.vacancies.n_sites, d.interstitials.n_sites) == (32, 16)
    assert d.with_interstitial.free_volume_A3 == pytest.approx(d.with_interstitial.volume_A3 / 16)
    assert d.alchemical_eV > 0 and d.interstitial_shift_A < 0.5


@pytest.mark.slow
def test_vacancies_of_several_sizes_are_extrapolated(tmp_path):
    """At each size, the perfect iron crystal of this size is the reference."""
    iron = bcc("Fe", 2.84)
    sizes = run(vacancy().make(iron, 1, supercells=[(2, 2, 1), (2, 2, 2)]), tmp_path)
    assert sizes.n_atoms == [8, 16] and [d.removal.site for d in sizes.cells] == [4, 8]
    for document in sizes.cells:
        removed = document.perfect.structure[document.removal.site].frac_coords * [2, 2, document.counts.atoms / 8]
        assert np.abs(removed - removed.round()).max() == pytest.approx(0.5, abs=0.1)  # atom at the cell centre
    # G(N)/N, and therefore μ of an element, contains −½ k_B T ln N / N
    small, large = np.array(sizes.formation_eV) + 0.5 * units.kB * 50 * np.log([8, 16]) / [8, 16]
    assert sizes.formation_limit_eV == pytest.approx(2 * large - small)


@pytest.mark.slow
def test_entropy_and_enthalpy_from_two_temperatures(tmp_path):
    maker = VacancyTemperatureMaker(vacancy_maker=vacancy())
    hot = run(maker.make(bcc("Fe", 2.84) * (2, 2, 1), [100.0, 50.0]), tmp_path)
    assert hot.temperatures_K == [50.0, 100.0]
    slope = (hot.formation_eV[1] - hot.formation_eV[0]) / 50
    assert hot.entropy_eV_per_K == pytest.approx([-slope] * 2)
    assert hot.enthalpy_eV[0] == pytest.approx(hot.formation_eV[0] - 50 * slope)
