"""Tests of the keys of relaxations, which must be the same in every release."""

from __future__ import annotations

import atomate2
import pytest
from pymatgen.core import Structure

import alchemflows
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.schemas.potential import PotentialSpec

POTENTIAL = PotentialSpec(name="a model", sha256="5" * 64)


def key(structure, weights=(0.5, 0.5), maker=None, potential=POTENTIAL, change=None, **options):
    system = AlchemicalPath.from_substitution(structure, change or {"Pb": "Sn"}, **options).system
    return (maker or AlchemicalRelaxMaker()).key(system, list(weights), potential)


def test_key_is_the_same_in_every_release(perovskite):
    """If this key changes, all stored relaxations are repeated; change it only on purpose."""
    assert key(perovskite) == "221ce77f2984af17d36e1a5d9dcc950d5f241ec4513b91f583c78d0548368e2d"


def test_key_does_not_depend_on_versions_or_module_names(perovskite, monkeypatch):
    before = key(perovskite)
    monkeypatch.setattr(alchemflows, "__version__", "99.9", raising=False)
    monkeypatch.setattr(atomate2, "__version__", "99.9")
    for moved in (AlchemicalSystem, Structure, AlchemicalRelaxMaker):
        monkeypatch.setattr(moved, "__module__", "elsewhere")
    assert key(perovskite) == before


def test_key_depends_on_crystal_composition_relaxation_and_potential(perovskite):
    doubled = perovskite * (2, 1, 1)
    keys = {
        "here": key(perovskite),
        "weights": key(perovskite, (0.25, 0.75)),
        "crystal": key(doubled),
        "elements": key(perovskite, change={"Pb": "Cs"}),
        "coupling": key(perovskite, coupling="mean-field"),
        "groups": key(doubled, (0.5, 0.5, 0.5, 0.5), site_resolved=True),
        "maker": key(perovskite, maker=relaxing(0.02)),
        "sha256": key(perovskite, potential=POTENTIAL.model_copy(update={"sha256": "6" * 64})),
        "head": key(perovskite, potential=POTENTIAL.model_copy(update={"head": "other"})),
    }
    assert len(set(keys.values())) == len(keys), keys


@pytest.mark.parametrize("change", [{"name": "elsewhere"}, {"device": "cpu"}, {"dtype": "float64"}])
def test_key_does_not_depend_on_name_device_or_precision_of_the_potential(perovskite, change):
    """A relaxation always uses float64, regardless of the chosen precision."""
    assert key(perovskite, potential=POTENTIAL.model_copy(update=change)) == key(perovskite)
