"""Whether atoms are where a crystal has them."""

from __future__ import annotations

import numpy as np
import torch
from pymatgen.core import Structure

from alchemflows.errors import UnstableCrystalError

#: An atom whose mean place is further from its site than this share of the distance to the nearest other site has
#: found another structure (tilted octahedra, say), though it is still between the same neighbours.
MAX_SHIFT_SHARE = 0.15
#: Beyond this share of the distance to the nearest other site, an atom is no longer on its own.
MAX_DISPLACEMENT_SHARE = 0.5


class Sites:
    """Sites of a crystal, in units of its cell, and how far an atom may go from them.

    Parameters
    ----------
    structure
        The crystal; its sites are those at the start.
    device
        Where positions will be.
    """

    def __init__(self, structure: Structure, device: torch.device | str = "cpu") -> None:
        self.structure = structure
        self.fractional = torch.as_tensor(np.array(structure.frac_coords), dtype=torch.float64, device=device)
        distances = structure.distance_matrix + np.diag(np.full(len(structure), np.inf))
        # An atom alone in its cell has its own images for neighbours.
        nearest = np.minimum(distances.min(axis=1), min(structure.lattice.abc))
        self.nearest_A = torch.as_tensor(nearest, dtype=torch.float64, device=device)

    def displacements(self, positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Vectors from the sites, which move with the cell, to the atoms, Å, shape (B, N, 3)."""
        return positions - self.fractional @ cells

    def check(self, positions: torch.Tensor, cells: torch.Tensor, when: str) -> None:
        """Refuse atoms that have left their sites.

        Raises
        ------
        UnstableCrystalError
            Naming replica, atom and how far it went.
        """
        distance = torch.linalg.vector_norm(self.displacements(positions, cells), dim=2)
        ratio = distance / self.nearest_A
        if bool((ratio > MAX_DISPLACEMENT_SHARE).any()):
            b, atom = divmod(int(ratio.argmax()), ratio.shape[1])
            raise UnstableCrystalError(
                f"{self.structure.composition.reduced_formula} is not mechanically stable, or an atom diffuses: "
                f"{when}, atom {atom} ({self.structure[atom].species_string}) of replica {b} was "
                f"{float(distance[b, atom]):.2f} Å from its site, more than half of the way to the next "
                f"({float(self.nearest_A[atom]):.2f} Å)"
            )

    def check_mean(self, mean: torch.Tensor, cell: torch.Tensor, noise_A: torch.Tensor | None = None) -> None:
        """Refuse a crystal whose mean positions are those of another structure.

        A motion of all atoms together does not count.

        Parameters
        ----------
        mean
            Mean positions in units of the cell, shape (N, 3).
        cell
            Å, shape (3, 3).
        noise_A
            Standard error of the mean position of each atom, Å, shape (N,); a shift below three of them says nothing.

        Raises
        ------
        UnstableCrystalError
            Naming the atom that moved farthest.
        """
        shift = (mean - self.fractional) @ cell
        shift = torch.linalg.vector_norm(shift - shift.mean(dim=0), dim=1)
        limit = MAX_SHIFT_SHARE * self.nearest_A
        if noise_A is not None:
            limit = torch.maximum(limit, 3 * noise_A)
        if bool((shift > limit).any()):
            atom = int((shift / limit).argmax())
            raise UnstableCrystalError(
                f"{self.structure.composition.reduced_formula} is not mechanically stable as given: the mean position "
                f"of atom {atom} ({self.structure[atom].species_string}) is {float(shift[atom]):.2f} Å from its site, "
                f"more than {MAX_SHIFT_SHARE:.0%} of the distance to the next; relax it, or start from the structure "
                "that it turns into"
            )
