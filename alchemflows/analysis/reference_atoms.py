"""Distances of atoms from those of reference frames, such as training data, in the features of a potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase.data import chemical_symbols
from scipy.spatial import cKDTree

from alchemflows.errors import InvalidInputError

#: Largest number of reference frames that are compared with all others to find the unit; they are evenly spaced.
MAX_COMPARED = 100
#: Distance below which two atoms have the same features, in units of the root mean square of the features: well above
#: the rounding of single precision (10⁻⁶), and below the change by a displacement of 10⁻⁴ Å.
SAME = 1e-5


@dataclass(frozen=True)
class ReferenceAtoms:
    """The atoms of reference frames, by their features.

    Attributes
    ----------
    trees
        Features of the reference atoms of each element, by atomic number.
    units
        Unit of distance of each element: the median, over its reference atoms, of the Euclidean distance to the nearest
        atom of this element in another reference frame. A distance of 1 is thus as far as reference atoms typically are
        from one another.
    between_frames
        Distance of reference frames from all others, in these units, as :meth:`distance` would return it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> numbers, features = np.array([11, 17]), rng.normal(size=(20, 2, 8))
    >>> reference = ReferenceAtoms.of([(numbers, each) for each in features])
    >>> reference.distance(numbers, features[3]), bool(reference.distance(numbers, features[3] + 5) > 2)
    (0.0, True)
    """

    trees: dict[int, cKDTree] = field(repr=False)
    units: dict[int, float]
    between_frames: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, frames: Sequence[tuple[np.ndarray, np.ndarray]]) -> ReferenceAtoms:
        """Return the atoms of reference frames.

        Parameters
        ----------
        frames
            Atomic numbers, shape (N,), and features, shape (N, F), of each frame.

        Raises
        ------
        InvalidInputError
            If an element is in one frame only, or most of its atoms have equal ones in other frames: distances then
            have no unit.
        """
        owner = np.repeat(np.arange(len(frames)), [len(numbers) for numbers, _ in frames])
        numbers, features = (np.concatenate(each) for each in zip(*frames, strict=True))
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MAX_COMPARED)).round().astype(int))
        trees, units, largest = {}, {}, np.zeros(len(frames))
        for z in np.unique(numbers).tolist():
            points, frame = features[numbers == z], owner[numbers == z]
            name = chemical_symbols[z]
            present = np.unique(frame)
            if len(present) < 2:
                raise InvalidInputError(
                    f"only one of the reference frames has {name}; give at least two, since distances are in units of "
                    "those between reference frames"
                )
            trees[z] = cKDTree(points)
            compared = np.intersect1d(present, chosen) if np.isin(present, chosen).any() else present[:MAX_COMPARED]
            nearest = [_nearest_of_others(trees[z], points, frame, k) for k in compared]
            units[z] = float(np.median(np.concatenate(nearest)))
            if not units[z] > SAME * float(np.sqrt(np.mean(points**2))):
                raise InvalidInputError(
                    f"most {name} atoms of the reference frames have the same surroundings in another frame, so "
                    "distances have no unit; remove repeated frames"
                )
            for k, distances in zip(compared, nearest, strict=True):
                largest[k] = max(largest[k], distances.max() / units[z])
        return cls(trees, units, largest[chosen])

    def distance(self, numbers: np.ndarray, features: np.ndarray) -> float:
        """Return the largest distance of an atom from the nearest reference atom of its element.

        Parameters
        ----------
        numbers, features
            Atomic numbers, shape (N,), and features, shape (N, F). Each element must be in the reference.
        """
        return max(
            float(self.trees[z].query(features[numbers == z])[0].max()) / self.units[z]
            for z in np.unique(numbers).tolist()
        )


def _nearest_of_others(tree: cKDTree, points: np.ndarray, frame: np.ndarray, own: int) -> np.ndarray:
    """Return for each atom of a frame the distance to the nearest one of another frame, shape (n,)."""
    atoms = points[frame == own]
    distances, found = tree.query(atoms, k=len(atoms) + 1)  # at least one of them is of another frame
    return np.where(frame[found] == own, np.inf, distances).min(axis=1)
