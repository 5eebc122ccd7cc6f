"""Mixed compositions: the momenta of every route agree, masses add by elements, and the entropy of mixing is apart."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from ase import units
from ase.data import atomic_masses, atomic_numbers
from harmonic import HarmonicCrystal, chain, fixed_free_energy_eV
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.symmetry import equivalent_sites
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
from alchemflows.analysis.terms import TransformationTerms, mixing_term_eV
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import (
    centre_of_mass_term_eV,
    classical_harmonic_free_energy_eV,
    einstein_free_energy_eV,
)
from alchemflows.free_energy.quantum import quantum_correction_eV
from alchemflows.free_energy.work import analyse_work
from alchemflows.sampling.switching import draw_einstein_crystal, equilibrate_ends, joined, switch
from alchemflows.schemas.dynamics import SwitchingSettings

T = 300.0
KT = units.kB * T
FREE_VOLUME = 45.0
N = 4
SITES = [[(i + 0.5) / N, 0.5, 0.5] for i in range(N)]
LI, K = (atomic_masses[atomic_numbers[symbol]] for symbol in ("Li", "K"))
#: Stiffness of the crystal of each channel; the two of the same crystal differ in no symmetry.
CRYSTALS = np.array([chain(N, (4.0, 2.0)), chain(N, (1.5, 3.5))])
STIFFNESS = np.array([1.5, 4.0, 2.0, 3.0])


def ring(occupancy: dict[str, float] | None = None) -> Structure:
    """Return a ring of Li and Cl."""
    return Structure(Lattice.orthorhombic(16.0, 8.0, 8.0), [occupancy or "Li", "Cl"] * 2, SITES)


def path_to(x: float, vacant: float = 0.0) -> AlchemicalPath:
    """Return the path from Li to a share x of K, on sites of which a share may be vacant."""
    occupancy = {"Li": 1 - vacant} if vacant else None
    return AlchemicalPath.from_substitution(ring(occupancy), {"Li": {"Li": 1 - x, "K": x}})


def absolute(system: AlchemicalSystem, weights, springs=CRYSTALS, stiffness=STIFFNESS) -> float:
    """Return F of the alchemical crystal as the Frenkel–Ladd job joins it, its switching part exact."""
    dynamics = system.masses(weights)
    crystal = np.einsum("c,cij->ij", weights, springs)
    switching = fixed_free_energy_eV(crystal, dynamics, T) - fixed_free_energy_eV(np.diag(stiffness), dynamics, T)
    momenta = system.masses(weights, "geometric"), T, system.occupancies(weights)
    centre = centre_of_mass_term_eV(stiffness, dynamics, FREE_VOLUME, T)
    return einstein_free_energy_eV(stiffness, *momenta) + switching + centre


def configurational(path: AlchemicalPath, springs=CRYSTALS) -> float:
    """Return what TI, BAR, MBAR and the work of switching converge to, from the eigenvalues of both ends."""
    ends = (np.linalg.eigvalsh(np.einsum("c,cij->ij", w, springs))[1:] for w in (path.initial, path.final))
    before, after = (np.log(eigenvalues).sum() for eigenvalues in ends)
    return 1.5 * KT * (after - before)


def total(path: AlchemicalPath, springs=CRYSTALS) -> float:
    return configurational(path, springs) + TransformationTerms.of(path, T).mass_eV


# Momenta


@pytest.mark.parametrize("vacant", [0.0, 0.25])
@pytest.mark.parametrize("x", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_transformation_is_the_difference_of_two_absolute_free_energies(x, vacant):
    """Exactly, whatever springs the Einstein crystal has; with vacancies they must be the same at both ends."""
    path = path_to(x, vacant)
    for stiffness in (STIFFNESS, np.array([0.3, 7.0, 0.3, 2.0])):
        ends = [absolute(path.system, weights, stiffness=stiffness) for weights in (path.initial, path.final)]
        assert ends[1] - ends[0] == pytest.approx(total(path), abs=1e-9)


def test_absolute_free_energies_do_not_depend_on_the_springs():
    path = path_to(0.3)
    exact = absolute(path.system, path.final)
    assert absolute(path.system, path.final, stiffness=np.array([0.3, 7.0, 0.5, 2.0])) == pytest.approx(exact, abs=1e-9)


def test_of_a_vacant_share_the_springs_decide_what_is_not_counted():
    """The coordinate of the vacant share is an oscillator on the site's spring, which is taken out."""
    path = path_to(0.3, vacant=0.25)
    other = np.array([0.3, 7.0, 0.5, 2.0])
    change = absolute(path.system, path.final, stiffness=other) - absolute(path.system, path.final)
    share = 1 - path.system.occupancies(path.final)
    np.testing.assert_allclose(share, [0.25, 0.0, 0.25, 0.0])
    assert change == pytest.approx(-1.5 * KT * (share * np.log(other / STIFFNESS)).sum(), abs=1e-9)


def test_isotopes_mix_linearly():
    """Elements that differ in mass only: classical F is linear in x, by both routes; the mean mass would bend it."""
    same = np.array([chain(N, (4.0, 2.0))] * 2)
    ends = [absolute(path_to(x).system, path_to(x).final, same) for x in (0.0, 1.0)]
    for x in (0.1, 0.5, 0.8):
        path = path_to(x)
        assert absolute(path.system, path.final, same) == pytest.approx((1 - x) * ends[0] + x * ends[1], abs=1e-9)
        assert total(path, same) == pytest.approx(x * (ends[1] - ends[0]), abs=1e-9)
        assert TransformationTerms.of(path, T).mass_eV == pytest.approx(2 * x * 1.5 * KT * np.log(LI / K))
    by_the_mean_mass = 1.5 * KT * np.log(LI / (0.5 * LI + 0.5 * K))
    assert by_the_mean_mass - 0.75 * KT * np.log(LI / K) == pytest.approx(-0.013, abs=1e-4)  # eV per site


def test_momenta_of_a_mixture_by_enumeration():
    """The mean over all arrangements of Li and K, with their weights, of F of crystals that differ in masses only."""
    springs, x = chain(N, (4.0, 2.0)), 0.3
    mean = 0.0
    for chosen in product((0, 1), repeat=2):
        masses = np.array([(LI, K)[chosen[0]], 35.45, (LI, K)[chosen[1]], 35.45])
        squares = np.linalg.eigvalsh(springs / np.sqrt(np.outer(masses, masses)))[1:]
        weight = np.prod([x if k else 1 - x for k in chosen])
        omegas = np.repeat(np.sqrt(squares), 3)
        mean += weight * classical_harmonic_free_energy_eV(omegas, masses, FREE_VOLUME, T)
    path = path_to(x)
    assert absolute(path.system, path.final, np.array([springs] * 2)) == pytest.approx(mean, abs=1e-9)


def test_a_path_over_a_mixture_adds_up():
    direct = AlchemicalPath.from_substitution(ring(), {"Li": "K"})
    mixed = tuple(direct.weights(0.4).tolist())
    legs = [
        AlchemicalPath(direct.system, direct.initial, mixed),
        AlchemicalPath(direct.system, mixed, direct.final),
    ]
    whole, *parts = (TransformationTerms.of(path, T) for path in (direct, *legs))
    for name in ("mass_eV", "mixing_eV", "arrangement_eV"):
        assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(whole, name), abs=1e-12)
    assert sum(total(path) for path in legs) == pytest.approx(total(direct), abs=1e-9)
    assert whole.mixing_eV == 0.0 and parts[0].mixing_eV < -0.03


def test_a_vacant_share_has_no_momentum():
    full, vacant = (TransformationTerms.of(path_to(1.0, share), T) for share in (0.0, 0.25))
    assert vacant.mass_eV == pytest.approx(0.75 * full.mass_eV)
    assert vacant.mixing_eV == pytest.approx(0.0, abs=1e-12)  # the same vacancies at both ends


def test_atoms_that_vanish_have_no_mass_term():
    path = AlchemicalPath.from_substitution(ring(), {"Li": None}, sites=[0])
    with pytest.raises(InvalidInputError, match="vanish"):
        TransformationTerms.of(path, T)


def test_a_mixed_crystal_by_switching():
    """Dynamics with mean masses, and the momenta of the mixture: the F that is known."""
    path = path_to(0.5)
    system, weights = path.system, np.array(path.final)
    model = TetheredPotential(HarmonicCrystal(SITES, CRYSTALS), Springs(SITES, STIFFNESS.tolist()))
    settings = SwitchingSettings(
        temperature_K=T, timestep_fs=2.0, friction_per_ps=20.0, n_equilibration_steps=200, n_switching_steps=400
    )
    line, n = TetheredPath.to_einstein_crystal(system, weights), 400
    dynamics = system.masses(weights)
    ends = equilibrate_ends(model, line, settings, range(2 * n), fix_centre_of_mass=True)
    cell = system.structure.lattice.matrix
    start = joined(
        ends.select(range(n)), draw_einstein_crystal(model.springs, cell, dynamics, T, range(9000, 9000 + n))
    )
    found = switch(model, line, settings, start, range(2 * n), fix_centre_of_mass=True)
    delta, error = analyse_work(found.forward_work_eV, found.backward_work_eV, T).best
    centre = centre_of_mass_term_eV(STIFFNESS, dynamics, FREE_VOLUME, T)
    sampled = einstein_free_energy_eV(STIFFNESS, system.masses(weights, "geometric"), T) - delta + centre
    squares = np.linalg.eigvalsh(
        np.einsum("c,cij->ij", weights, CRYSTALS) / np.sqrt(np.outer(*[system.masses(weights, "geometric")] * 2))
    )
    omegas = np.repeat(np.sqrt(squares[1:]), 3)
    exact = classical_harmonic_free_energy_eV(omegas, system.masses(weights, "geometric"), FREE_VOLUME, T)
    assert abs(sampled - exact) < 4 * error
    assert error < 0.003  # two mixed sites, with 13 meV each between the two rules for masses


# Quantum correction


@pytest.mark.parametrize(("temperature", "bound"), [(1.0, 0.05), (100.0, 0.05), (300.0, 0.01), (900.0, 0.002)])
def test_the_harmonic_mean_mass_is_right_to_leading_order(temperature, bound):
    """Of one force constant and two masses at random on each site, against the mean over all arrangements."""
    springs = chain(N, (4.0, 2.0))

    def correction(masses: np.ndarray) -> float:
        squares = np.linalg.eigvalsh(springs / np.sqrt(np.outer(masses, masses)))[1:]
        return quantum_correction_eV(np.repeat(np.sqrt(squares), 3), temperature)

    arrangements = [np.array([a, 35.45, b, 35.45]) for a in (LI, K) for b in (LI, K)]
    exact = np.mean([correction(masses) for masses in arrangements])
    path = path_to(0.5)
    deviation = {
        mean: abs(correction(path.system.masses(path.final, mean)) / exact - 1)
        for mean in ("arithmetic", "geometric", "harmonic")
    }
    assert deviation["harmonic"] < bound
    assert deviation["harmonic"] < deviation["geometric"] < deviation["arithmetic"]
    assert deviation["arithmetic"] > 0.15


# Mixing


def rocksalt(repeats: tuple[int, int, int] = (1, 1, 1)) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return cell * repeats


def entropy(*fractions: float) -> float:
    return sum(x * np.log(x) for x in fractions)


def test_mixing_of_ends():
    to_mixed = AlchemicalPath.from_substitution(rocksalt(), {"Na": {"Na": 0.25, "K": 0.75}})
    terms = TransformationTerms.of(to_mixed, T)
    assert terms.mixing_eV == pytest.approx(4 * KT * entropy(0.25, 0.75))
    assert terms.arrangement_eV == 0.0
    back = AlchemicalPath(to_mixed.system, to_mixed.final, to_mixed.initial)
    assert TransformationTerms.of(back, T).mixing_eV == pytest.approx(-terms.mixing_eV)
    pure = TransformationTerms.of(AlchemicalPath.from_substitution(rocksalt(), {"Na": "K"}), T)
    assert (pure.mixing_eV, pure.arrangement_eV) == (0.0, 0.0)


def test_mixing_counts_vacancies_and_every_site_on_its_own():
    system, weights = AlchemicalSystem.from_structure(ring({"Li": 0.5, "K": 0.3}))
    assert mixing_term_eV(system, weights, T) == pytest.approx(2 * KT * entropy(0.5, 0.3, 0.2))
    pure = AlchemicalSystem(ring())
    assert mixing_term_eV(pure, [], T) == 0.0


@pytest.mark.parametrize("backwards", [False, True])
def test_some_of_the_equivalent_sites(backwards):
    """One Na of eight becomes K: the end is one arrangement, which a random one exceeds in entropy."""
    path = AlchemicalPath.from_substitution(rocksalt((1, 1, 2)), {"Na": "K"}, sites=[0])
    sign = 1
    if backwards:
        path, sign = AlchemicalPath(path.system, path.final, path.initial), -1
    terms = TransformationTerms.of(path, T)
    assert terms.mixing_eV == 0.0
    assert terms.arrangement_eV == pytest.approx(sign * 8 * KT * entropy(1 / 8, 7 / 8))


def test_some_of_the_equivalent_sites_become_mixed():
    """Both terms together are the mixing of the mean composition."""
    path = AlchemicalPath.from_substitution(rocksalt(), {"Na": {"Na": 0.5, "K": 0.5}}, sites=[0, 1])
    terms = TransformationTerms.of(path, T)
    assert terms.mixing_eV == pytest.approx(2 * KT * entropy(0.5, 0.5))
    assert terms.mixing_eV + terms.arrangement_eV == pytest.approx(4 * KT * entropy(0.25, 0.75))


def test_sites_that_symmetry_keeps_apart_are_not_exchanged():
    """Cs on the corner and Cs on the face are different sites: to change one kind whole leaves nothing to arrange."""
    structure = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(6.3), ["Cs", "Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5]]
    )
    path = AlchemicalPath.from_substitution(structure, {"Cs": "Rb"}, sites=[0])
    labels = equivalent_sites(path)
    assert len({int(labels[0]), int(labels[1]), int(labels[4])}) == 3 and len(set(labels[1:4].tolist())) == 1
    assert TransformationTerms.of(path, T).arrangement_eV == 0.0
    one_face = AlchemicalPath.from_substitution(structure, {"Cs": "Rb"}, sites=[1])
    assert TransformationTerms.of(one_face, T).arrangement_eV == pytest.approx(3 * KT * entropy(1 / 3, 2 / 3))


@pytest.mark.parametrize("vacant", [0.0, 0.1])
@pytest.mark.parametrize(
    ("sites", "goal"), [(None, {"Na": 0.25, "K": 0.75}), ([0], "K"), ([0, 1], {"Na": 0.5, "K": 0.5})]
)
def test_repeating_the_cell_changes_nothing_per_site(sites, goal, vacant):
    """Mass, mixing and arrangement terms grow with the number of cells."""
    found = []
    for repeats in ((1, 1, 1), (2, 1, 1), (1, 2, 2)):
        structure, n = rocksalt(), int(np.prod(repeats))
        if vacant:
            structure.replace_species({"Na": {"Na": 1 - vacant}})
        chosen = None if sites is None else [site * n + k for site in sites for k in range(n)]
        path = AlchemicalPath.from_substitution(structure * repeats, {"Na": goal}, sites=chosen)
        terms = TransformationTerms.of(path, T)
        absolute_mixing = mixing_term_eV(path.system, path.final, T)
        found.append(np.array([terms.mass_eV, terms.mixing_eV, terms.arrangement_eV, absolute_mixing]) / n)
    np.testing.assert_allclose(found[1:], found[:1] * 2, atol=1e-12)
    assert abs(found[0][0]) > 0.01
