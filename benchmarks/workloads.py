"""Systems of the benchmarks: a model with the architecture of MACE-MP-0 small, and CsPbI3 in which every Pb becomes Sn.

The model has random parameters, because their values do not affect the time. Its initial forces are about 1e-4 eV/Å,
so that dynamics are stable. Atoms then move freely at their thermal speeds, and leave the skin of a neighbour list at
least as often as those of a crystal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mace  # noqa: F401  (before e3nn and sevenn: it allows e3nn's own constants to load)
import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace.modules import RealAgnosticResidualInteractionBlock, ScaleShiftMACE
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.schemas.potential import PotentialSpec

LATTICE_PARAMETER_A = 6.39
RATTLE_A = 0.05
SEED = 1


@dataclass(frozen=True)
class Shape:
    """Size of a MACE model; the defaults are those of MACE-MP-0 small."""

    channels: int = 128
    max_ell: int = 3
    correlation: int = 3
    n_elements: int = 89

    @property
    def label(self) -> str:
        """Name of a model of this shape."""
        full = self == Shape()
        return f"{self.n_elements}-element MACE" + ("" if full else f" of {self.channels} channels")


FULL = Shape()
QUICK = Shape(channels=8, max_ell=1, correlation=2)


def random_mace(file: Path, shape: Shape) -> Path:
    """Write a random ScaleShiftMACE in float32 to a file.

    Elements are Z = 1 … 89. Couplings are not reduced, as in models of 2023, in every version of mace-torch.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(SEED)
    try:
        model = ScaleShiftMACE(
            r_max=6.0,
            num_bessel=10,
            num_polynomial_cutoff=5,
            max_ell=shape.max_ell,
            num_interactions=2,
            num_elements=shape.n_elements,
            hidden_irreps=o3.Irreps(f"{shape.channels}x0e"),
            MLP_irreps=o3.Irreps("16x0e"),
            atomic_energies=np.random.default_rng(SEED).normal(-4, 1, shape.n_elements),
            avg_num_neighbors=60.0,
            atomic_numbers=list(range(1, shape.n_elements + 1)),
            correlation=shape.correlation,
            gate=torch.nn.functional.silu,
            radial_MLP=[64, 64, 64],
            radial_type="bessel",
            atomic_inter_scale=0.8,
            atomic_inter_shift=0.16,
            interaction_cls=RealAgnosticResidualInteractionBlock,
            interaction_cls_first=RealAgnosticResidualInteractionBlock,
            use_reduced_cg=False,
        )
    finally:
        torch.set_default_dtype(before)
    torch.save(model, file)
    return file


@cache
def perovskite(repeats: int) -> AlchemicalPath:
    """Return CsPbI3 → CsSnI3 on repeats³ slightly rattled cubic cells of five atoms; every Pb changes."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    structure = Structure(Lattice.cubic(LATTICE_PARAMETER_A), ["Cs", "Pb", "I", "I", "I"], sites)
    structure *= (repeats, repeats, repeats)
    rattle = np.random.default_rng(SEED).normal(0, RATTLE_A, (len(structure), 3))
    structure = Structure(
        structure.lattice, structure.species, structure.cart_coords + rattle, coords_are_cartesian=True
    )
    return AlchemicalPath.from_substitution(structure, {"Pb": "Sn"})


def atoms(path: AlchemicalPath) -> Atoms:
    """Return the path's structure with the elements at λ = 0, for a plain calculator."""
    structure = path.system.structure
    return Atoms(
        symbols=[site.specie.symbol for site in structure],
        positions=structure.cart_coords,
        cell=structure.lattice.matrix,
        pbc=True,
    )


def potential(
    name: str | Path, path: AlchemicalPath, device: str = "cpu", *, cuda_graphs: bool = False, compiled: bool = False
) -> AlchemicalPotential:
    """Load a potential in float32 for a path's system."""
    loaded = load_potential(PotentialSpec(name=str(name), device=device))
    return AlchemicalPotential(path.system, loaded, cuda_graphs=cuda_graphs, compiled=compiled)


def replicas(path: AlchemicalPath, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (n, N, 3) and cells (n, 3, 3) of replicas that differ by small random displacements."""
    structure = path.system.structure
    noise = np.random.default_rng(SEED).normal(0, 0.01, (n, path.system.n_sites, 3))
    return structure.cart_coords + noise, np.repeat(structure.lattice.matrix[None], n, axis=0)
