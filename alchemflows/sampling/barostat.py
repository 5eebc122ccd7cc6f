"""A stochastic barostat for a batch of replicas: overdamped Langevin dynamics of the cell.

This is stochastic cell rescaling (Bernetti & Bussi, J. Chem. Phys. 153, 114107, 2020; for anisotropic cells Del Tatto,
Raiteri, Bernetti & Bussi, Appl. Sci. 12, 1139, 2022), formulated on the group of deformations. Cell and positions are
deformed by exp(Σ_k ξ_k E_k); velocities do not change. The isothermal–isobaric distribution in the Haar measure of that
group is ρ ∝ V^(N+1) exp[−β(U + PV)] (dV for isotropic and V⁻² dh for full cells, as in Martyna, Tobias & Klein,
J. Chem. Phys. 101, 4177, 1994). The equation

    dξ_k = D ∂_k ln ρ dt + √(2D) dW_k,   ∂_k ln ρ = (N + 1 − βPV) tr E_k − βV σ : E_k

samples it with a constant D and without further terms, since the directions E_k preserve the measure.
"""

from __future__ import annotations

import torch
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import float64_tensor
from alchemflows.alchemy.volumes import volumes
from alchemflows.schemas.dynamics import CellFreedom, Conditions

#: Smallest bulk modulus (GPa) used to set the mobility, so that an initially unstable cell does not move too fast.
MIN_BULK_MODULUS_GPA = 2.0
#: Degree of the Taylor series of exponentials of matrices, and number of squarings after it.
TAYLOR_DEGREE = 8
SQUARINGS = 3


class Barostat:
    """Stochastic barostat for the cells of B replicas.

    Parameters
    ----------
    conditions
        Conditions of the dynamics, including a pressure.
    temperatures_K
        Temperature of each replica (K), shape (B,); by default that of the conditions.
    device
        Device of the cells.

    Attributes
    ----------
    mobility_step
        Mobility times time step, D Δt, of each replica, shape (B,); None until :meth:`set_stiffness` is called.
    """

    def __init__(
        self,
        conditions: Conditions,
        temperatures_K: ArrayLike | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008  (immutable)
    ) -> None:
        if conditions.pressure_GPa is None:
            raise ValueError("pressure_GPa must be set for a barostat")
        self.freedom: CellFreedom = conditions.cell_freedom
        self.pressure = conditions.pressure_GPa * units.GPa  # eV/Å³
        temperature = float64_tensor(conditions.temperature_K if temperatures_K is None else temperatures_K, device)
        self._beta = 1 / (units.kB * temperature)
        self._share = conditions.timestep_fs * 1e-3 / conditions.barostat_time_ps
        self.mobility_step: torch.Tensor | None = None
        self._constant: torch.Tensor | None = None

    @property
    def n_directions(self) -> int:
        """Number of degrees of freedom of the cell."""
        return {"isotropic": 1, "axes": 3, "full": 6}[self.freedom]

    def set_stiffness(self, bulk_moduli: torch.Tensor, start_volumes: torch.Tensor) -> None:
        """Set the mobility D from the relaxation time; it affects the speed of relaxation, not the distribution.

        D must be constant afterwards: a mobility proportional to the current 1/V would sample ρ ∝ V^(N+2).

        Parameters
        ----------
        bulk_moduli
            Bulk moduli (eV/Å³), shape (B,).
        start_volumes
            Volumes (Å³), shape (B,).
        """
        moduli = bulk_moduli.clamp(min=MIN_BULK_MODULUS_GPA * units.GPa)
        # D Δt for which volumes relax by Δt/τ per step; the curvature of −ln ρ along E = 1/√3 is 3 β V B.
        self.mobility_step = self._share / (3 * self._beta * start_volumes * moduli)

    def set_temperatures(self, temperatures_K: torch.Tensor) -> None:
        """Change the temperature of each replica (K), shape (B,); the relaxation times stay the same."""
        beta = 1 / (units.kB * temperatures_K)
        if self.mobility_step is not None:
            self.mobility_step = self.mobility_step * (self._beta / beta)
        self._beta = beta

    def deformation(self, cells: torch.Tensor, stress: torch.Tensor, n_atoms: int, noise: torch.Tensor) -> torch.Tensor:
        """Return the deformation F of one time step, shape (B, 3, 3); positions become x F and cells h F.

        Parameters
        ----------
        cells
            Lattice vectors as rows (Å), shape (B, 3, 3).
        stress
            Stress ∂U/∂ε / V (eV/Å³), shape (B, 3, 3).
        n_atoms
            Number of atoms N.
        noise
            Standard normal random numbers, shape (B, n_directions).
        """
        assert self.mobility_step is not None
        directions = self._directions(cells)
        share = self.mobility_step[:, None]
        trace = directions.diagonal(dim1=2, dim2=3).sum(dim=2)
        work = torch.einsum("bij,bkij->bk", stress, directions)
        reduced = (self._beta * volumes(cells))[:, None]
        slope = (n_atoms + 1) * trace - reduced * torch.add(work, trace, alpha=self.pressure)
        steps = torch.addcmul(share * slope, torch.sqrt(2 * share), noise)
        if self.freedom == "isotropic":
            return torch.exp(steps / 3**0.5)[:, :, None] * (3**0.5 * directions[:, 0])
        return _exponential(torch.einsum("bk,bkij->bij", steps, directions))

    def _directions(self, cells: torch.Tensor) -> torch.Tensor:
        """Return the directions E_k, shape (B, n_directions, 3, 3)."""
        if self.freedom == "axes":
            # Direction k stretches cell vector k only: row k of h E_k equals that of h, the other rows are zero.
            inverse, _ = torch.linalg.inv_ex(cells)
            return torch.einsum("bik,bkj->bkij", inverse, cells)
        if self._constant is None:
            self._constant = self._constant_directions(cells)
        return self._constant

    def _constant_directions(self, cells: torch.Tensor) -> torch.Tensor:
        unit = torch.eye(3, dtype=cells.dtype, device=cells.device)
        if self.freedom == "isotropic":
            return (unit / 3**0.5).expand(len(cells), 1, 3, 3)
        shears = [
            (unit[i, :, None] * unit[j] + unit[j, :, None] * unit[i]) / 2**0.5 for i, j in ((0, 1), (0, 2), (1, 2))
        ]
        stretches = [unit[i, :, None] * unit[i] for i in range(3)]
        return torch.stack(stretches + shears).expand(len(cells), 6, 3, 3)


def _exponential(matrices: torch.Tensor) -> torch.Tensor:
    """Return the exponentials of matrices, shape (B, 3, 3), with a number of products that does not depend on them.

    torch.linalg.matrix_exp chooses it from the norms, for which the host waits for the device. The relative error is
    about 1e-16 for norms up to ½, a hundred times those of a step.
    """
    scaled = matrices / 2**SQUARINGS
    unit = torch.eye(3, dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
    result = unit
    for k in range(TAYLOR_DEGREE, 0, -1):
        result = torch.baddbmm(unit, scaled, result, alpha=1 / k)
    for _ in range(SQUARINGS):
        result = result @ result
    return result
