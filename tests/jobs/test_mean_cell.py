"""Tests of the noise of a mean cell, with cells drawn from the fluctuations of a crystal of known elastic constants."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from crystals import CUBIC, HEXAGONAL, MONOCLINIC, TETRAGONAL, TRICLINIC
from harmonic import assert_honest
from pymatgen.core import Lattice, Structure
from scipy.signal import lfilter

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.strains import log_strains
from alchemflows.alchemy.symmetrise import symmetrised
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.free_energy.cells import cell_noise
from alchemflows.jobs.equilibrium import EquilibriumMaker, assess_mean_cell
from alchemflows.sampling.equilibrium import Equilibrium
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec

T = 300.0
KT = units.kB * T
N_SAMPLES, INEFFICIENCY = 240, 8.0
PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
SCALE = np.array([1.0, 1.0, 1.0, 2**0.5, 2**0.5, 2**0.5])


def tensor(vector: np.ndarray) -> np.ndarray:
    found = np.empty((3, 3))
    for k, (i, j) in enumerate(PAIRS):
        found[i, j] = found[j, i] = vector[k] / SCALE[k]
    return found


def vector(strain: np.ndarray) -> np.ndarray:
    return np.array([strain[i, j] for i, j in PAIRS]) * SCALE


def elastic_tensor(crystal: Structure, seed: int = 0) -> np.ndarray:
    """Return elastic constants (eV/Å³) with the symmetry of a crystal, shape (6, 6) in Mandel notation."""
    noise = np.random.default_rng(seed).normal(size=(6, 6))
    stiffness = np.diag([1.5, 1.5, 1.5, 0.7, 0.7, 0.7]) + 0.05 * (noise + noise.T)
    stiffness[:3, :3] += 0.6
    h, total = crystal.lattice.matrix, np.zeros((6, 6))
    rotations = symmetry_of(AlchemicalSystem(crystal)).point_group
    for rotation in rotations:
        r = h.T @ rotation @ np.linalg.inv(h.T)
        turn = np.array([vector(r @ tensor(unit) @ r.T) for unit in np.eye(6)]).T
        total += turn @ stiffness @ turn.T / len(rotations)
    return total


def parameters(cells: np.ndarray) -> np.ndarray:
    """Return lengths (Å) and angles (degrees) of cells, shape (N, 6)."""
    lengths = np.linalg.norm(cells, axis=2)
    a, b, c = np.moveaxis(cells / lengths[:, :, None], 1, 0)
    cosines = [(one * other).sum(axis=1) for one, other in ((b, c), (a, c), (a, b))]
    return np.column_stack([lengths, *np.degrees(np.arccos(cosines))])


def run_of(crystal: Structure, strains: np.ndarray) -> Equilibrium:
    """Return a run of one replica with the given strains and all atoms on their sites."""
    h = crystal.lattice.matrix
    values, vectors = np.linalg.eigh(np.array([tensor(e) for e in strains]))
    cells = h @ np.einsum("nij,nj,nkj->nik", vectors, np.exp(values), vectors)
    n, atoms = len(cells), len(crystal)
    series = np.zeros((n, 1))
    return Equilibrium(
        time_fs=np.arange(n),
        energy_eV=series,
        volume_A3=np.abs(np.linalg.det(cells))[:, None],
        temperature_K=series,
        cell_parameters=parameters(cells)[:, None],
        mean_displacement_A=np.zeros((1, atoms, 3)),
        msd_A2=np.zeros((1, atoms)),
        structure=crystal,
        state=SimpleNamespace(),
    )


def correlated(rng: np.random.Generator, n: int, inefficiency: float) -> np.ndarray:
    """Return six series of unit variance whose means have the variance of n / inefficiency samples."""
    decay = (inefficiency - 1) / (inefficiency + 1)
    values = np.empty((n, 6))
    values[0] = rng.normal(size=6)
    for k in range(1, n):
        values[k] = decay * values[k - 1] + np.sqrt(1 - decay**2) * rng.normal(size=6)
    return values


def settings(**changes) -> DynamicsSettings:
    return DynamicsSettings(**{"temperature_K": T, "pressure_GPa": 0.0, "cell_freedom": "full"} | changes)


def sampled(crystal: Structure, n_seeds: int, *, symmetrise: bool, shift: np.ndarray | float = 0.0):
    """Return elastic energies at the mean cell, assessments of that cell, and reasons against it, one per seed."""
    system, symmetry = AlchemicalSystem(crystal), symmetry_of(AlchemicalSystem(crystal))
    masses = system.masses([])
    stiffness = crystal.volume * elastic_tensor(crystal)
    spread = np.linalg.cholesky(KT * np.linalg.inv(stiffness))
    energies, cells, reasons = [], [], []
    for seed in range(n_seeds):
        noise = correlated(np.random.default_rng(seed), N_SAMPLES, INEFFICIENCY)
        run = run_of(crystal, noise @ spread.T + shift)
        mean = run.mean_structure()
        if symmetrise:
            mean = symmetrised(mean, system, masses)
        strain = log_strains(mean.lattice.parameters, crystal.lattice.matrix)
        energies.append(0.5 * strain @ stiffness @ strain)
        cell, against = assess_mean_cell(run, symmetry, settings(), symmetrise)
        cells.append(cell)
        reasons.append(against)
    return np.array(energies), cells, reasons


@pytest.mark.parametrize(
    ("crystal", "symmetrise", "n_free", "rival"),
    [
        pytest.param(CUBIC, True, 1, 1.0, id="cubic"),
        pytest.param(HEXAGONAL * (2, 2, 1), True, 2, 1.0, id="hexagonal"),
        pytest.param(TETRAGONAL * (1, 1, 2), True, 2, 1.0, id="tetragonal", marks=pytest.mark.slow),
        pytest.param(MONOCLINIC, True, 4, 0.0, id="monoclinic", marks=pytest.mark.slow),
        pytest.param(TRICLINIC, True, 6, 0.0, id="triclinic", marks=pytest.mark.slow),
        pytest.param(HEXAGONAL * (2, 2, 1), False, 6, 0.0, id="hexagonal, not symmetrised", marks=pytest.mark.slow),
    ],
)
def test_corrected_energy_is_unbiased_with_a_calibrated_error(crystal, symmetrise, n_free, rival):
    """The excess energy is a sum of few squares; its error is tested alone and with the error of a switching."""
    n_seeds = 160
    energies, cells, reasons = sampled(crystal, n_seeds, symmetrise=symmetrise)
    assert {cell.n_free_directions for cell in cells} == {n_free}
    biases, errors = np.array([[cell.bias_eV, cell.bias_error_eV] for cell in cells]).T
    n_independent = N_SAMPLES / INEFFICIENCY
    exact = 0.5 * KT * n_free / n_independent
    assert biases.mean() == pytest.approx(exact, rel=0.2)
    corrected = energies - biases
    assert abs(corrected.mean()) < 3 * corrected.std() / np.sqrt(n_seeds) + 0.1 * exact
    # Without the correction, the mean energy is significantly above zero.
    assert energies.mean() > 5 * energies.std() / np.sqrt(n_seeds)
    assert_honest(corrected, errors, 0.0)
    other = rival * KT * np.sqrt(n_free / 2) / n_independent
    noise = other * np.random.default_rng(99).normal(size=n_seeds)
    assert_honest(corrected + noise, np.hypot(errors, other), 0.0)
    # By chance, a lower symmetry may be reported once or twice.
    assert sum(bool(against) for against in reasons) <= 2


def test_parameters_of_cells_are_those_of_pymatgen():
    cells = TRICLINIC.lattice.matrix + np.random.default_rng(0).normal(0, 0.1, (3, 3, 3))
    np.testing.assert_allclose(parameters(cells), [Lattice(cell).parameters for cell in cells], rtol=1e-12)


def test_symmetrisation_reduces_the_noise_to_the_free_strains():
    crystal = HEXAGONAL * (2, 2, 1)
    energies = {kept: sampled(crystal, 60, symmetrise=kept)[0].mean() for kept in (True, False)}
    assert energies[True] == pytest.approx(energies[False] * 2 / 6, rel=0.35)


def test_cubic_cell_that_becomes_tetragonal_is_a_reason():
    """A c axis that is 1 % longer than in the cubic cell is significant even in a short run."""
    stretch = np.array([-0.0033, -0.0033, 0.0067, 0, 0, 0])
    _, cells, reasons = sampled(CUBIC * (2, 2, 2), 10, symmetrise=True, shift=stretch)
    assert all(len(against) == 1 and "space group 225" in against[0] for against in reasons)
    assert min(cell.symmetry_deviation_sigma for cell in cells) > 2
    # Without symmetrisation the deviation is reported but not a reason.
    _, cells, reasons = sampled(CUBIC * (2, 2, 2), 3, symmetrise=False, shift=stretch)
    assert not any(reasons) and min(cell.symmetry_deviation_sigma for cell in cells) > 2


def test_isotropic_cell_freedom_is_a_reason_for_a_hexagonal_crystal():
    crystal = HEXAGONAL * (2, 2, 1)
    strains = 1e-3 * correlated(np.random.default_rng(0), 100, 4.0)[:, :1] * np.array([1, 1, 1, 0, 0, 0])
    run, symmetry = run_of(crystal, strains), symmetry_of(AlchemicalSystem(crystal))
    cell, reasons = assess_mean_cell(run, symmetry, settings(cell_freedom="isotropic"), True)
    assert cell.n_free_directions == 1 and cell.symmetry_deviation_sigma is None
    assert len(reasons) == 1 and "isotropic" in reasons[0] and "186" in reasons[0]
    run = run_of(CUBIC, strains)
    _, reasons = assess_mean_cell(run, symmetry_of(AlchemicalSystem(CUBIC)), settings(cell_freedom="isotropic"), True)
    assert reasons == []


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_samples_count_as_one_independent_sample(n):
    strains = 1e-3 * np.random.default_rng(0).normal(size=(n, 6))
    cell, reasons = assess_mean_cell(
        run_of(TRICLINIC, strains), symmetry_of(AlchemicalSystem(TRICLINIC)), settings(), True
    )
    assert cell.n_free_directions == 6 and 0 < cell.bias_eV <= 3.001 * KT and reasons == []


@pytest.mark.parametrize("n_directions", [1, 2, 6])
def test_noise_from_four_independent_samples_has_little_bias(n_directions):
    """For overdamped strains with a memory of 12.5 samples, whose mean over 100 samples has a known variance."""
    rng, decay, n = np.random.default_rng(n_directions), np.exp(-1 / 12.5), 100
    lags = np.arange(1, n)
    exact = 0.5 * KT * n_directions * (1 + 2 * ((1 - lags / n) * decay**lags).sum()) / n
    found = []
    for _ in range(300 // n_directions):
        noise = rng.normal(size=(n, 1, n_directions))
        noise[1:] *= np.sqrt(1 - decay**2)
        found.append(cell_noise(lfilter([1], [1, -decay], noise, axis=0), T).bias_eV)
    assert np.mean(found) == pytest.approx(exact, rel=0.3)


@pytest.mark.slow
def test_mean_cell_of_aluminium_nitride_is_hexagonal(tmp_path, monkeypatch):
    """In a short run with full cells, the symmetrised mean cell has a lower energy than the noisy one."""
    monkeypatch.chdir(tmp_path)  # the job writes its progress there
    potential = PotentialSpec(name="mace-demo", device="cpu")
    crystal = Structure(Lattice.hexagonal(3.13, 5.02), HEXAGONAL.species, HEXAGONAL.frac_coords) * (2, 2, 1)
    system = AlchemicalSystem(crystal)
    dynamics = settings(timestep_fs=2.0, barostat_time_ps=0.1, n_equilibration_steps=60, n_production_steps=240)

    def document(symmetrise: bool):
        maker = EquilibriumMaker(potential=potential, dynamics=dynamics, symmetrise=symmetrise, seed=3)
        return EquilibriumMaker.make.original(maker, system, [])

    raw, found = document(False), document(True)
    assert raw.volume_A3 == pytest.approx(found.volume_A3)
    a, b, _, alpha, beta, gamma = found.cell_parameters
    assert a == pytest.approx(b, abs=1e-9) and (alpha, beta, gamma) == pytest.approx((90, 90, 120), abs=1e-9)
    assert symmetry_of(AlchemicalSystem(found.structure)).space_group == found.space_group == 186
    assert np.abs(np.array(raw.cell_parameters) - found.cell_parameters).max() > 0.05
    assert (found.mean_cell.n_free_directions, raw.mean_cell.n_free_directions) == (2, 6)
    assert found.mean_cell.bias_eV < raw.mean_cell.bias_eV
    model = AlchemicalPotential(system, load_potential(potential))
    static = [
        float(model.evaluate(s.cart_coords[None], s.lattice.matrix[None], np.zeros((1, 0))).energy[0])
        for s in (Structure(d.structure.lattice, crystal.species, found.structure.frac_coords) for d in (raw, found))
    ]
    print(f"raw: {raw.cell_parameters}; static energy {1e3 * (static[0] - static[1]) / 16:.3f} meV/atom above")
    assert static[0] - static[1] > 0.001
