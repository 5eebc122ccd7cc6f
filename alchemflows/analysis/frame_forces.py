"""Forces at the frames of one end of a ladder, as they become known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from alchemflows.errors import PotentialError
from alchemflows.schemas.frames import Frames


@dataclass
class EndForces:
    """Frames of one end, and their forces.

    Attributes
    ----------
    frames
        The frames.
    images
        The frames as ASE Atoms, without vacant sites.
    forces
        Forces (eV/Å), shape (m, N, 3), single precision; NaN until they are known.
    errors
        Error of each frame; empty if there is none.
    """

    frames: Frames
    images: list[Atoms] = field(repr=False)
    forces: np.ndarray = field(repr=False)
    errors: list[str]

    @classmethod
    def of(cls, frames: Frames) -> EndForces:
        """Return an end without forces.

        Raises
        ------
        InvalidInputError
            If a site has several elements.
        """
        images = frames.atoms()
        shape = (len(images), len(images[0]), 3)
        return cls(frames, images, np.full(shape, np.nan, dtype=np.float32), [""] * len(images))

    def batches(self, size: int) -> list[range]:
        """Return the indices of the frames in groups of a size."""
        n = len(self.images)
        return [range(start, min(start + size, n)) for start in range(0, n, size)]

    def record(self, rows: Sequence[int], found: Sequence[np.ndarray | str]) -> None:
        """Set the forces of some frames, or the errors if there are none."""
        for row, forces in zip(rows, found, strict=True):
            if isinstance(forces, str):
                self.errors[row] = forces
            else:
                self.forces[row] = forces

    def restore(self, forces: np.ndarray, errors: np.ndarray) -> None:
        """Set forces and errors from a checkpoint."""
        self.forces[:] = forces
        self.errors[:] = errors.tolist()

    @property
    def failed(self) -> list[tuple[int, str]]:
        """Index and error of each frame that failed."""
        return [(k, text) for k, text in enumerate(self.errors) if text]

    def check(self, target: str) -> None:
        """Raise PotentialError if all frames failed; the message contains the first error."""
        if len(self.failed) == len(self.errors):
            raise PotentialError(f"the target {target} gives no forces: {self.errors[0]}")
