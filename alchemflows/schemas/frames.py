"""Frames: stored configurations of a sampled state, and the packed form in which they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import PackedArrays

#: Largest rounding of a coordinate (Å) of displacements that are stored with 16 bits.
RESOLUTION_A = 1e-4


@dataclass(frozen=True)
class Frames:
    """Configurations of one sampled state: m frames of N sites, in the order of time.

    Attributes
    ----------
    numbers
        Atomic numbers of the elements on each site, shape (N, M); 0 where a site has fewer than M elements.
    shares
        Share of each of these elements, shape (N, M); 1 on ordered sites. With `occupied`, 1 for each element that can
        be on the site.
    fractional
        Fractional coordinates, shape (m, N, 3). Trajectories are not wrapped into the cell.
    cells_A
        Lattice vectors as rows (Å), shape (m, 3, 3).
    energy_eV
        Potential energy with the potential that was sampled (eV), shape (m,).
    time_fs
        Time since production began (fs), shape (m,).
    occupied
        Index (along the second axis of `numbers`) of the element on each site in each frame, shape (m, N), −1 for a
        vacant site, if arrangements differ between frames; otherwise None.
    sweeps
        Number of production sweeps of Monte Carlo up to each frame, shape (m,); None without Monte Carlo.

    Examples
    --------
    >>> frames = Frames.of([{11: 1.0}, {17: 1.0}], [[[0, 0, 0], [2.9, 0, 0]]], [np.eye(3) * 5.8], [-6.1], [20.0])
    >>> frames.structures()[0].formula, frames.atoms()[0].get_potential_energy()
    ('Na1 Cl1', -6.1)
    """

    numbers: np.ndarray = field(repr=False)
    shares: np.ndarray = field(repr=False)
    fractional: np.ndarray = field(repr=False)
    cells_A: np.ndarray = field(repr=False)
    energy_eV: np.ndarray
    time_fs: np.ndarray
    occupied: np.ndarray | None = field(default=None, repr=False)
    sweeps: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        composition: Sequence[Mapping[int, float]],
        positions_A: np.ndarray | Sequence,
        cells_A: np.ndarray | Sequence,
        energy_eV: np.ndarray | Sequence[float],
        time_fs: np.ndarray | Sequence[float],
    ) -> Frames:
        """Return frames from Cartesian positions.

        Parameters
        ----------
        composition
            Share of each element, by atomic number, for each site.
        positions_A
            Positions (Å), shape (m, N, 3).
        cells_A
            Lattice vectors as rows (Å), shape (m, 3, 3).
        energy_eV
            Potential energies (eV), shape (m,).
        time_fs
            Times (fs), shape (m,).
        """
        width = max(1, *(len(site) for site in composition))
        numbers = np.zeros((len(composition), width), dtype=np.uint8)
        shares = np.zeros((len(composition), width))
        for site, elements in enumerate(composition):
            numbers[site, : len(elements)] = list(elements)
            shares[site, : len(elements)] = list(elements.values())
        cells = np.asarray(cells_A, dtype=float)
        fractional = np.asarray(positions_A, dtype=float) @ np.linalg.inv(cells)
        return cls(numbers, shares, fractional, cells, np.asarray(energy_eV), np.asarray(time_fs))

    def __len__(self) -> int:
        return len(self.energy_eV)

    @property
    def positions_A(self) -> np.ndarray:
        """Cartesian positions (Å), shape (m, N, 3)."""
        return self.fractional @ self.cells_A

    @property
    def volume_A3(self) -> np.ndarray:
        """Volumes of the cells (Å³), shape (m,)."""
        return np.abs(np.linalg.det(self.cells_A))

    @property
    def is_ordered(self) -> bool:
        """Whether every site has one element, or is vacant."""
        return self.occupied is not None or bool(np.isin(self.shares, (0.0, 1.0)).all())

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers of all elements."""
        return frozenset(int(z) for z in np.unique(self.numbers[self.shares > 0]))

    def structures(self) -> list[Structure]:
        """Return the frames as pymatgen structures, without vacant sites; mixed sites have partial occupancies."""
        if self.is_ordered:
            found = zip(self._elements(), self.cells_A, self.fractional, strict=True)
            return [
                Structure(Lattice(cell), elements[elements > 0].tolist(), coordinates[elements > 0])
                for elements, cell, coordinates in found
            ]
        kept = self.shares.sum(axis=1) > 0
        species = [
            {chemical_symbols[z]: float(share) for z, share in zip(site, shares, strict=True) if share > 0}
            for site, shares in zip(self.numbers[kept], self.shares[kept], strict=True)
        ]
        return [
            Structure(Lattice(cell), species, coordinates)
            for cell, coordinates in zip(self.cells_A, self.fractional[:, kept], strict=True)
        ]

    def atoms(self) -> list[Atoms]:
        """Return the frames as ASE Atoms with their potential energies, without vacant sites.

        Raises
        ------
        InvalidInputError
            If a site has several elements.
        """
        if not self.is_ordered:
            raise InvalidInputError("the frames have sites with several elements, which ASE Atoms cannot have")
        found = []
        states = zip(self._elements(), self.positions_A, self.cells_A, self.energy_eV, strict=True)
        for elements, positions, cell, energy in states:
            kept = elements > 0
            atoms = Atoms(numbers=elements[kept], positions=positions[kept], cell=cell, pbc=True)
            atoms.calc = SinglePointCalculator(atoms, energy=float(energy))
            found.append(atoms)
        return found

    def _elements(self) -> np.ndarray:
        """Return the atomic number on each site of each frame without mixed sites, shape (m, N); 0 if it is vacant."""
        if self.occupied is None:
            elements = np.where(self.shares.sum(axis=1) > 0, self.numbers[self._sites, self.shares.argmax(axis=1)], 0)
            return np.broadcast_to(elements, (len(self), len(elements)))
        return np.where(self.occupied >= 0, self.numbers[self._sites, np.maximum(self.occupied, 0)], 0)

    @property
    def _sites(self) -> np.ndarray:
        return np.arange(len(self.numbers))

    def packed(self) -> PackedArrays:
        """Return the frames in the form in which they are stored.

        Coordinates are stored as multiples of a step from their mean over the frames: with 16 bits if they are then
        rounded by at most :data:`RESOLUTION_A`, otherwise with 32 bits. They take no space if they are equal in all
        frames, as without dynamics. Cells are stored as their mean and, if they vary, their deviations in single
        precision.
        """
        fixed = (self.fractional == self.fractional[0]).all()
        mean = self.fractional[0] if fixed else self.fractional.mean(axis=0)
        moved = self.fractional - mean
        largest = float(np.abs(moved).max()) or 1.0
        longest_A = float(np.linalg.norm(self.cells_A, axis=2).max())
        kind = np.int16 if largest * longest_A / np.iinfo(np.int16).max / 2 <= RESOLUTION_A else np.int32
        step = largest / np.iinfo(kind).max
        cell = self.cells_A[0] if (self.cells_A == self.cells_A[0]).all() else self.cells_A.mean(axis=0)
        changes = (self.cells_A - cell).astype(np.float32)
        optional = {}
        if self.occupied is not None:
            optional["occupied"] = self.occupied.astype(np.int8)
        if self.sweeps is not None:
            optional["sweeps"] = self.sweeps.astype(np.int32)
        return PackedArrays(
            npz_base64=PackedArrays.encode(
                numbers=self.numbers,
                shares=self.shares,
                mean=mean,
                steps=np.rint((moved[:0] if fixed else moved) / step).astype(kind),
                step=np.array(step),
                cell_A=cell,
                cell_changes_A=changes if changes.any() else changes[:0],
                energy_eV=self.energy_eV,
                time_fs=self.time_fs,
                **optional,
            )
        )

    @classmethod
    def unpacked(cls, packed: PackedArrays) -> Frames:
        """Return stored frames."""
        arrays = packed.arrays()
        n = len(arrays["energy_eV"])
        fractional = np.tile(arrays["mean"], (n, 1, 1))
        if len(arrays["steps"]):
            fractional += arrays["steps"] * arrays["step"]
        cells = np.tile(arrays["cell_A"], (n, 1, 1))
        if len(arrays["cell_changes_A"]):
            cells += arrays["cell_changes_A"]
        return cls(
            arrays["numbers"],
            arrays["shares"],
            fractional,
            cells,
            arrays["energy_eV"],
            arrays["time_fs"],
            arrays.get("occupied"),
            arrays.get("sweeps"),
        )

    @classmethod
    def joined(cls, parts: Sequence[Frames]) -> Frames:
        """Return the frames of several parts of one run, or of several replicas, as one.

        Raises
        ------
        InvalidInputError
            If the parts have different elements.
        """
        first = parts[0]
        if any(not np.array_equal(part.numbers, first.numbers) for part in parts[1:]):
            raise InvalidInputError("the frames are of different crystals: their elements differ")
        names = ["fractional", "cells_A", "energy_eV", "time_fs"]
        names += [name for name in ("occupied", "sweeps") if getattr(first, name) is not None]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(first.numbers, first.shares, **joined)


def packed_bytes(n_frames: int, n_sites: int, *, cells_vary: bool, atoms_move: bool = True, n_elements: int = 0) -> int:
    """Return the approximate size of packed frames in the database (bytes), with coordinates of 16 bits.

    Parameters
    ----------
    n_frames, n_sites
        Numbers of frames and of sites.
    cells_vary, atoms_move
        Whether cells and positions differ between frames.
    n_elements
        Number of elements that are distributed over sites, if their arrangements differ between frames; otherwise 0.
    """
    arranged = n_elements > 0
    of_frame = n_sites * (6 * atoms_move + arranged) + 16 + 36 * cells_vary + 4 * arranged
    of_all = n_sites * (24 + 9 * max(1, n_elements)) + 2000 + 600 * arranged
    return (n_frames * of_frame + of_all) * 4 // 3 if n_frames else 0
