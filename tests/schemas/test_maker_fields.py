"""Settings come back from what jobs hold, in each form that monty writes."""

from __future__ import annotations

import json

import pytest
from monty.json import MontyDecoder, MontyEncoder

from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.monte_carlo import CompositionControl
from alchemflows.schemas.optimization import Target
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.refinement import RefinementSettings

SETTINGS = [
    PotentialSpec(name="mace-demo", device="cpu", sha256="0" * 64),
    DynamicsSettings(temperature_K=310.5, pressure_GPa=1.0, n_production_steps=70),
    RefinementSettings(target_error_eV_per_atom=1e-3, budget=7),
    Target(quantity="a_A", value=5.9),
    CompositionControl(exchange_mu_eV={"2 Ca -> Na + La": 0.1}),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: type(settings).__name__)
def test_settings_come_back(settings):
    as_field = settings.as_dict()
    assert set(as_field) == {"@module", "@class", "json"}
    as_argument = json.loads(json.dumps(settings, cls=MontyEncoder))
    for written in (as_field, as_argument):
        assert MontyDecoder().process_decoded(json.loads(json.dumps(written))) == settings
        assert type(settings).from_dict(written) == settings
