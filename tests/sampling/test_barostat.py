"""Volumes and cells at constant pressure against distributions that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, chain

from alchemflows.errors import TrajectoryError
from alchemflows.sampling.barostat import Barostat, _exponential
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.dynamics import Conditions

T = 400.0
KT = units.kB * T
N = 3
PRESSURE_GPa = 0.6
PRESSURE = PRESSURE_GPa * units.GPa
V0 = 120.0
BULK = KT / (V0 * 0.055**2)  # volumes fluctuate by 5.5 %, so that a wrong power of V shifts them by as much of that


def volume_moments(power: float, energy=lambda v: 0.5 * BULK * (v - V0) ** 2 / V0) -> tuple[float, float]:
    """Mean and variance of ρ(V) ∝ V^power exp[−β(U + PV)]."""
    v = np.linspace(0.4 * V0, 1.8 * V0, 20001)
    exponent = power * np.log(v) - (energy(v) + PRESSURE * v) / KT
    density = np.exp(exponent - exponent.max())
    density /= density.sum()
    mean = density @ v
    return float(mean), float(density @ (v - mean) ** 2)


def assert_mean(values: np.ndarray, expected: float, what: str = "") -> None:
    """Compare the mean over samples (n, B) of independent replicas with what is expected, to 4 sigma."""
    means = values.mean(axis=0)
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - expected) < 4 * error, f"{what} {means.mean()} ± {error}, not {expected}"


class SolidElasticity:
    """U = V0 [μ tr ε² + ½ λ (tr ε)²] of the strain ε = ½ (h0⁻¹ h hᵀ h0⁻ᵀ − 1) of a cell, whatever the atoms do."""

    def __init__(self, cell: np.ndarray, lame: tuple[float, float]):
        self.cell = torch.as_tensor(cell)
        self.inverse = torch.linalg.inv(self.cell)
        self.volume = float(torch.linalg.det(self.cell))
        self.lame, self.mu = lame

    def energy(self, strain: np.ndarray) -> np.ndarray:
        trace = np.trace(strain, axis1=1, axis2=2)
        return self.volume * (self.mu * (strain**2).sum(axis=(1, 2)) + 0.5 * self.lame * trace**2)

    def stress(self, cells: torch.Tensor) -> torch.Tensor:
        gradient = self.inverse @ cells
        unit = torch.eye(3, dtype=torch.float64)
        strain = (gradient @ gradient.mT - unit) / 2
        second = 2 * self.mu * strain + self.lame * strain.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None] * unit
        return self.volume * gradient.mT @ second @ gradient / torch.linalg.det(cells)[:, None, None]


def run_cells(
    model, cells: torch.Tensor, freedom: str, n_steps: int, every: int, share: float, bulk: float, start: int
):
    """Drive cells alone by the barostat; share is Δt/τ. Returns cells of shape (samples, B, 3, 3)."""
    conditions = Conditions(
        temperature_K=T, pressure_GPa=PRESSURE_GPa, cell_freedom=freedom, timestep_fs=1000 * share, barostat_time_ps=1.0
    )
    barostat = Barostat(conditions)
    barostat.set_stiffness(torch.full((len(cells),), bulk, dtype=torch.float64), torch.linalg.det(cells))
    generator = torch.Generator().manual_seed(1)
    kept = []
    for step in range(n_steps):
        noise = torch.randn(len(cells), barostat.n_directions, generator=generator, dtype=torch.float64)
        cells = cells @ barostat.deformation(cells, model.stress(cells), N, noise)
        if step >= start and step % every == 0:
            kept.append(cells.numpy())
    return np.array(kept)


class VolumeEnergy:
    def stress(self, cells: torch.Tensor) -> torch.Tensor:
        volumes = torch.linalg.det(cells)[:, None, None]
        return BULK * (volumes - V0) / V0 * torch.eye(3, dtype=torch.float64)


@pytest.mark.slow
def test_volume_of_an_ideal_gas_held_together():
    """The energy depends on the volume alone: ρ(V) ∝ V^N exp[−β(U + PV)]."""
    cells = torch.eye(3, dtype=torch.float64).expand(10000, 3, 3) * V0 ** (1 / 3)
    volumes = np.linalg.det(run_cells(VolumeEnergy(), cells, "isotropic", 600, 10, 0.02, BULK, 300))
    mean, variance = volume_moments(N)
    assert_mean(volumes, mean, "volume")
    assert_mean((volumes - mean) ** 2 / 1.01, variance, "variance")  # 1 % from the time step, Δt / 2τ
    for wrong in (N - 1, N + 1):
        with pytest.raises(AssertionError):
            assert_mean(volumes, volume_moments(wrong)[0])
    for factor in (0.93, 1.07):
        with pytest.raises(AssertionError):
            assert_mean((volumes - mean) ** 2, factor * variance)


def test_volumes_relax_in_the_time_that_was_asked_for():
    """A volume 10 % too large comes back as exp(−t/τ), in linear response; cells of all freedoms alike."""
    mean = volume_moments(N)[0]
    for freedom in ("isotropic", "axes", "full"):
        cells = torch.eye(3, dtype=torch.float64).expand(4000, 3, 3) * (1.05 * mean) ** (1 / 3)
        volumes = np.linalg.det(run_cells(VolumeEnergy(), cells, freedom, 101, 1, 0.01, BULK * 1.05 * mean / V0, 0))
        left = (volumes.mean(axis=1) - mean) / (0.05 * mean)
        np.testing.assert_allclose(left[[49, 99]], np.exp([-0.5, -1.0]), atol=0.07)


OBLIQUE = np.array([[4.6, 0.3, -0.2], [0.8, 5.2, 0.4], [-0.5, 0.9, 5.0]])


def weighted_strains(model: SolidElasticity) -> tuple[np.ndarray, np.ndarray]:
    """Strains and weights of the distribution of whole cells, drawn directly.

    dh V^(N−2) over cells h is, but for rotations, dG V^(N−3) over metrics G = h hᵀ, and ε is linear in G: Gaussian
    strains weighted by V^(N−3) exp(−βPV) have the exact distribution, without any dynamics.
    """
    rng = np.random.default_rng(0)
    n = 400_000
    stretch = np.full((3, 3), model.lame) + 2 * model.mu * np.eye(3)
    diagonal = rng.multivariate_normal(np.zeros(3), KT / model.volume * np.linalg.inv(stretch), size=n)
    shear = rng.normal(scale=np.sqrt(KT / (4 * model.mu * model.volume)), size=(n, 3))
    strain = np.zeros((n, 3, 3))
    strain[:, range(3), range(3)] = diagonal
    for k, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        strain[:, i, j] = strain[:, j, i] = shear[:, k]
    volumes = model.volume * np.sqrt(np.linalg.det(np.eye(3) + 2 * strain))
    weights = np.exp((N - 3) * np.log(volumes / model.volume) - PRESSURE * (volumes - model.volume) / KT)
    return strain, weights / weights.sum()


def shapes(cells: np.ndarray) -> np.ndarray:
    """Volume, squared lengths and scalar products of the cell vectors, which rotations leave alone; (..., 7)."""
    metric = cells @ cells.swapaxes(-1, -2)
    i, j = np.triu_indices(3)
    return np.concatenate([np.abs(np.linalg.det(cells))[..., None], metric[..., i, j]], axis=-1)


@pytest.mark.slow
def test_whole_cells_have_the_distribution_of_all_strains():
    model = SolidElasticity(OBLIQUE, (0.6 * BULK, 0.5 * BULK))
    strain, weights = weighted_strains(model)
    # h = h0 (1 + 2ε)^½, by the Cholesky factor
    reference = shapes(OBLIQUE @ np.linalg.cholesky(np.eye(3) + 2 * strain))
    means = weights @ reference
    variances = weights @ (reference - means) ** 2
    bulk = (0.6 + 2 / 3 * 0.5) * BULK
    cells = torch.as_tensor(OBLIQUE).expand(4000, 3, 3)
    found = shapes(run_cells(model, cells, "full", 900, 20, 0.02, bulk, 300))
    for k, name in enumerate(("V", "aa", "ab", "ac", "bb", "bc", "cc")):
        # The reference itself has a share of 400 000⁻½ of the width as its error.
        assert_mean(found[..., k], means[k], name)
        assert_mean((found[..., k] - means[k]) ** 2 / 1.01, variances[k], f"variance of {name}")
    shift = variances[0] / means[0]  # of the volume with one atom more
    for wrong in (means[0] - shift, means[0] + shift):
        with pytest.raises(AssertionError):
            assert_mean(found[..., 0], wrong)


@pytest.mark.slow
def test_axes_change_their_lengths_alone():
    """ρ(a, b, c) ∝ V^N exp[−β(U + PV)] of a stretched oblique cell, summed on a grid."""
    model = SolidElasticity(OBLIQUE, (0.6 * BULK, 0.5 * BULK))
    stretches = np.linspace(0.75, 1.3, 61)
    grid = np.stack(np.meshgrid(stretches, stretches, stretches, indexing="ij"), axis=-1).reshape(-1, 3)
    inverse = np.linalg.inv(OBLIQUE)
    gradient = inverse @ (grid[:, :, None] * OBLIQUE)
    strain = (gradient @ gradient.swapaxes(1, 2) - np.eye(3)) / 2
    volumes = model.volume * grid.prod(axis=1)
    weights = np.exp(N * np.log(volumes / V0) - (model.energy(strain) + PRESSURE * volumes) / KT)
    weights /= weights.sum()
    bulk = (0.6 + 2 / 3 * 0.5) * BULK
    cells = run_cells(model, torch.as_tensor(OBLIQUE).expand(4000, 3, 3), "axes", 900, 20, 0.02, bulk, 300)
    lengths = np.linalg.norm(cells, axis=-1) / np.linalg.norm(OBLIQUE, axis=1)
    np.testing.assert_allclose(cells, lengths[..., None] * OBLIQUE, atol=1e-9)  # the angles stay
    found = np.concatenate([lengths, lengths.prod(axis=-1, keepdims=True)], axis=-1)
    reference = np.concatenate([grid, grid.prod(axis=1, keepdims=True)], axis=1)
    means = weights @ reference
    variances = weights @ (reference - means) ** 2
    for k, name in enumerate(("a", "b", "c", "V")):
        assert_mean(found[..., k], means[k], name)
        assert_mean((found[..., k] - means[k]) ** 2 / 1.01, variances[k], f"variance of {name}")
    for wrong in (-1, 1):
        with pytest.raises(AssertionError):
            assert_mean(found[..., 3], means[3] + wrong * variances[3] / means[3])


# With atoms

SITES = [[0.1, 0.1, 0.2], [0.5, 0.4, 0.6], [0.8, 0.9, 0.7]]
MASSES = np.array([20.0, 60.0, 110.0])
SPRINGS = (np.diag([1.0, 2.0, 4.0]) + chain(3, (0.5, 1.0)), np.diag([2.0, 2.0, 6.0]))


def run_crystal(model, weights, freedom: str, n_replicas: int, n_steps: int, start: int, fixed: bool):
    """Sample volumes, kinetic temperatures, displacements (n, B, …) with the package's dynamics."""
    cell = np.eye(3) * V0 ** (1 / 3)
    conditions = Conditions(
        temperature_K=T, pressure_GPa=PRESSURE_GPa, cell_freedom=freedom, friction_per_ps=20, barostat_time_ps=0.1
    )
    langevin = Langevin.under(
        conditions,
        model,
        (np.broadcast_to(np.array(SITES) @ cell, (n_replicas, 3, 3)), np.broadcast_to(cell, (n_replicas, 3, 3))),
        np.broadcast_to(weights, (n_replicas, len(weights))),
        np.broadcast_to(MASSES, (n_replicas, 3)),
        range(n_replicas),
        fix_centre_of_mass=fixed,
    )
    volumes, temperatures, displacements = [], [], []
    for step in range(n_steps):
        langevin.step()
        if step >= start and step % 20 == 0:
            volumes.append(langevin.volumes().numpy())
            temperatures.append(langevin.kinetic_temperatures().numpy())
            displacements.append((langevin.positions - langevin.model.sites @ langevin.cells).numpy())
    return langevin, np.array(volumes), np.array(temperatures), np.array(displacements)


@pytest.mark.slow
def test_a_mixed_crystal_whose_sites_move_with_the_cell():
    """Halfway between two crystals; springs hold each atom in its share of V, so that ρ(V) ∝ exp[−β(U + PV)]."""
    model = HarmonicCrystal(SITES, SPRINGS, (1.2 * BULK, 0.8 * BULK), (0.95 * V0, 1.05 * V0))
    weights = np.array([0.5, 0.5])

    def energy(v):
        return sum(
            0.5 * w * b * (v - v0) ** 2 / v0
            for w, b, v0 in zip(weights, model.moduli.tolist(), model.volumes.tolist(), strict=True)
        )

    mean, variance = volume_moments(0, energy)
    _, volumes, temperatures, displacements = run_crystal(model, weights, "isotropic", 600, 1400, 300, fixed=False)
    assert_mean(volumes, mean, "volume")
    assert_mean((volumes - mean) ** 2 / 1.01, variance, "variance")
    assert_mean(temperatures, T, "temperature")
    covariance = KT * np.linalg.inv(sum(w * k for w, k in zip(weights, SPRINGS, strict=True)))
    for i in range(N):
        assert_mean((displacements[:, :, i] ** 2).mean(axis=-1), covariance[i, i], f"atom {i}")
    for wrong in (-1, 1):
        with pytest.raises(AssertionError):
            assert_mean(volumes, mean + wrong * variance / mean)


@pytest.mark.slow
def test_a_crystal_with_its_centre_of_mass_at_rest():
    """Bonds hold N − 1 atoms, the centre of mass may be anywhere in V: ρ(V) ∝ V exp[−β(U + PV)], though it rests."""
    model = HarmonicCrystal(SITES, [chain(3, (2.0, 4.0))], [BULK], [V0])
    mean, variance = volume_moments(1)
    langevin, volumes, temperatures, _ = run_crystal(model, [1.0], "axes", 600, 1400, 300, fixed=True)
    assert_mean(volumes, mean, "volume")
    assert_mean((volumes - mean) ** 2 / 1.01, variance, "variance")
    assert_mean(temperatures, T, "temperature of 3N − 3 degrees of freedom")
    with pytest.raises(AssertionError):
        assert_mean(temperatures * 6 / 9, T)
    shares = torch.as_tensor(MASSES / MASSES.sum())
    fractional = langevin.positions @ torch.linalg.inv(langevin.cells)
    centre = torch.einsum("i,bix->bx", shares, fractional - langevin.model.sites)
    np.testing.assert_allclose(centre, 0, atol=1e-9)
    np.testing.assert_allclose(torch.einsum("i,bix->bx", shares, langevin.velocities), 0, atol=1e-12)


def test_replicas_of_a_batch_do_not_know_of_each_other():
    model = HarmonicCrystal(SITES, SPRINGS, (BULK, BULK), (V0, V0))
    together, *_ = run_crystal(model, [0.3, 0.7], "full", 3, 60, 60, fixed=False)
    alone, *_ = run_crystal(model, [0.3, 0.7], "full", 1, 60, 60, fixed=False)
    torch.testing.assert_close(together.cells[0], alone.cells[0], rtol=0, atol=1e-12)
    assert not torch.allclose(together.cells[1], alone.cells[0])


def test_a_crystal_that_flies_apart_is_an_error():
    """Springs that move with the cell do not hold the volume: nothing else does, here."""
    with pytest.raises(TrajectoryError, match=r"replica \d .*step \d+"):
        run_crystal(HarmonicCrystal(SITES, SPRINGS), [0.0, 1.0], "isotropic", 2, 20000, 20000, fixed=False)


def test_exponentials_of_deformations():
    """Also of steps much larger than those of a barostat."""
    matrices = torch.randn(50, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for norm in (0.01, 0.5):
        scaled = norm * matrices / torch.linalg.matrix_norm(matrices)[:, None, None]
        torch.testing.assert_close(_exponential(scaled), torch.linalg.matrix_exp(scaled), rtol=0, atol=1e-14)
