"""Flows of a campaign, and a database that the tests of a module share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from campaigns import campaign_metadata
from jobflow import Flow

from alchemflows.campaign.database import Database, start_private
from alchemflows.campaign.mongod import PrivateMongod
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.settings import Settings


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory) -> Iterator[Database]:
    """Start a private MongoDB for the tests of one module."""
    home = tmp_path_factory.mktemp("home")
    try:
        yield start_private(Settings(home=home))
    finally:
        PrivateMongod(home).stop()


@pytest.fixture(scope="module")
def ladder_flow(gentle_model, perovskite) -> Callable[..., Flow]:
    """Return what makes a short flow of a ladder, a repeat of the campaign."""

    def make(repeat: int, **settings: object) -> Flow:
        short = {"n_windows": 3, "n_equilibration_steps": 20, "n_production_steps": 200, "relax_maker": None}
        plain = {"potential": str(gentle_model), "temperature": 200.0, "seed": 20 + repeat}
        flow = ThermodynamicIntegrationMaker(**plain | short | settings).make(perovskite, {"Pb": "Sn"})
        flow.update_metadata(campaign_metadata(repeat, pressure_GPa=settings.get("pressure_GPa")))
        return flow

    return make
