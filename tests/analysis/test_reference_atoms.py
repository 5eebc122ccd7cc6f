"""Distances of frames from reference frames: their unit, their order, and references that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.analysis.reference_atoms import ReferenceAtoms
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec

NA, CL = 11, 17


def test_the_unit_is_the_distance_between_atoms_of_different_frames():
    """On a line: atoms of one frame are closer to one another than to those of the other frames."""
    numbers = np.array([NA, NA, CL])
    frames = [(numbers, np.array([[x, 0.0], [x + 0.1, 0.0], [0.0, 3 * x]])) for x in (0.0, 10.0, 20.0)]
    reference = ReferenceAtoms.of(frames)
    assert reference.units == pytest.approx({NA: 9.9, CL: 30.0})
    assert reference.between_frames == pytest.approx(np.array([10 / 9.9, 1, 10 / 9.9]))
    for each in frames:
        assert reference.distance(*each) == 0
    assert reference.distance(np.array([NA]), np.array([[20.1, 9.9]])) == pytest.approx(1.0)
    assert reference.distance(np.array([NA, CL]), np.array([[0.0, 0.0], [0.0, 105.0]])) == pytest.approx(1.5)


def test_frames_are_compared_with_all_others_also_where_these_are_many():
    rng = np.random.default_rng(1)
    frames = [(np.array([NA] * 4), each) for each in rng.normal(size=(150, 4, 6))]
    reference = ReferenceAtoms.of(frames)
    assert len(reference.between_frames) == 100
    others = np.concatenate([features for _, features in frames[1:]])
    nearest = np.linalg.norm(frames[0][1][:, None] - others, axis=2).min(axis=1)
    assert reference.between_frames[0] == pytest.approx(nearest.max() / reference.units[NA])


def test_references_without_a_unit_are_refused():
    numbers, features = np.array([NA, CL]), np.random.default_rng(2).normal(size=(2, 2, 5))
    with pytest.raises(InvalidInputError, match="Cl"):
        ReferenceAtoms.of([(numbers, features[0]), (numbers[:1], features[1][:1])])
    with pytest.raises(InvalidInputError, match="repeated"):
        ReferenceAtoms.of([(numbers, features[0]), (numbers, features[0])])
    with pytest.raises(InvalidInputError, match="repeated"):  # equivalent frames in single precision
        ReferenceAtoms.of([(numbers, features[0]), (numbers, features[0] * (1 + 2e-6))])


def test_displaced_and_strained_frames_are_farther():
    """With the features of a potential: the larger displacements and strains, the larger the distance."""
    rng = np.random.default_rng(3)
    salt = bulk("NaCl", "rocksalt", 5.69, cubic=True)

    def moved(displacement_A: float, strain: float = 0.0) -> Atoms:
        atoms = salt.copy()
        atoms.set_cell(salt.cell * (1 + strain), scale_atoms=True)
        atoms.positions += rng.normal(0, displacement_A, atoms.positions.shape)
        return atoms

    target = PotentialTarget(PotentialSpec(name="mace-demo", device="cpu"))
    images = [moved(0.1) for _ in range(30)]
    reference = ReferenceAtoms.of([(a.numbers, f) for a, f in zip(images, target.features_of_all(images), strict=True)])

    def distance(atoms: Atoms) -> float:
        return reference.distance(atoms.numbers, target.features_of_all([atoms])[0])

    alike = [distance(moved(0.1)) for _ in range(8)]
    assert distance(images[4]) == pytest.approx(0, abs=1e-3)
    assert np.median(alike) < 2 * np.median(reference.between_frames)
    assert max(alike) < distance(moved(0.3)) < distance(moved(0.6))
    assert max(alike) < distance(moved(0.1, 0.1)) < distance(moved(0.1, 0.25))
    assert distance(moved(0.1, 0.25)) > 3 * reference.between_frames.max()
