"""Titles of figures of phases and of switches, from the stored examples."""

from __future__ import annotations

import numpy as np
import pytest
from stored import DOCUMENTS, read_example

from alchemflows.plotting import plot_boundary, plot_phases, plot_switching
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.phases import PhaseBoundary, PhaseStabilityDocument, PhaseTransition
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.vacancy import RemovalDocument


def stored(kind, **changes):
    output = read_example(DOCUMENTS / f"{kind.__name__}-1.json")["outputs"][0]["output"]
    return kind.read({**output, **changes})


def transition(temperature_K, **fields):
    return PhaseTransition(
        **{"composition": None, "low_temperature_phase": "small", "high_temperature_phase": "large"}
        | {"temperature_K": temperature_K, "error_K": None if temperature_K is None else 3.21}
        | {"entropy_eV_per_K_per_atom": 1e-4, "probability": 0.9}
        | fields
    )


@pytest.mark.parametrize(
    ("transitions", "lines"),
    [
        ([transition(71.23)], ["small → large: 71.2 ± 3.2 K"]),
        ([transition(71.23, composition=0.5, error_K=None)], ["small → large, x = 0.5: 71.2 ± ? K"]),
        ([transition(None)], ["no transition at these temperatures"]),
        ([transition(50.0 + k) for k in range(4)], ["4 transitions"]),
        ([], []),
    ],
)
def test_the_title_of_phases_has_the_transitions(transitions, lines):
    document = stored(PhaseStabilityDocument).model_copy(update={"transitions": transitions})
    first, *others = plot_phases(document).axes[0].get_title().splitlines()
    assert first == "Fe, 1 atm" and others == lines


def test_the_title_of_a_boundary_has_its_slope():
    known = {"boundary_K_per_GPa": -20.04, "boundary_error_K_per_GPa": 1.53}
    boundary = PhaseBoundary(
        composition=None,
        phases=("small", "large"),
        pressures_GPa=[0.0, 0.5],
        transitions=[transition(None), transition(70.0, **known)],
        deviations_K=[None],
        deviation_errors_K=[None],
    )
    document = stored(PhaseStabilityDocument).model_copy(update={"boundaries": [boundary]})
    figure = plot_boundary(document)
    assert figure.axes[0].get_title().splitlines() == [
        "Fe: boundaries between phases",
        "small and large: dT/dp = −20.0 ± 1.5 K/GPa at 0.5 GPa",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["small and large"]


@pytest.mark.parametrize(
    ("kind", "value", "symbol"),
    [
        (FrenkelLaddDocument, "gibbs", "G = "),
        (LiquidFreeEnergyDocument, "gibbs", "G = "),
        (RemovalDocument, "removal", "G(N−1) − G(N) = "),
    ],
)
def test_the_title_of_switches_has_the_free_energy_with_its_error(kind, value, symbol):
    output = read_example(DOCUMENTS / f"{kind.__name__}-1.json")["outputs"][0]["output"]
    zeros = np.zeros((2, 3))
    curves = PackedArrays.encode(lambdas=np.linspace(0, 1, 3), forward_dudl_eV=zeros, backward_dudl_eV=zeros)
    document = stored(kind, work={**output["work"], "curves": {"npz_base64": curves}})
    if value == "gibbs":
        expected, error = document.gibbs.value_eV, document.gibbs.error_eV
    else:
        expected, error = document.removal_eV, document.removal_error_eV
    text = f"{symbol}{expected:.4f} ± {error:.4f} eV".replace("-", "−")
    assert text in plot_switching(document).get_suptitle()
