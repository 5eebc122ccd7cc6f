"""Keys of relaxations: the same for the same relaxation, in every release."""

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


def test_the_key_of_every_release(perovskite):
    """A change here makes every relaxation anew: nothing but a decision to do so may change it."""
    assert key(perovskite) == "221ce77f2984af17d36e1a5d9dcc950d5f241ec4513b91f583c78d0548368e2d"


def test_a_release_or_a_moved_module_changes_no_key(perovskite, monkeypatch):
    before = key(perovskite)
    monkeypatch.setattr(alchemflows, "__version__", "99.9", raising=False)
    monkeypatch.setattr(atomate2, "__version__", "99.9")
    for moved in (AlchemicalSystem, Structure, AlchemicalRelaxMaker):
        monkeypatch.setattr(moved, "__module__", "elsewhere")
    assert key(perovskite) == before


def test_what_changes_a_key(perovskite):
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
def test_what_does_not_change_a_key(perovskite, change):
    """A relaxation is in float64 whatever the precision asked for."""
    assert key(perovskite, potential=POTENTIAL.model_copy(update=change)) == key(perovskite)
