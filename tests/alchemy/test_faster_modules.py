"""Modules with fewer operations give the values and gradients of those that they replace."""

from __future__ import annotations

from copy import deepcopy

import mace  # noqa: F401  (before e3nn: it allows e3nn's own constants to load)
import pytest
import torch
from e3nn import nn, o3
from mace.modules.radial import PolynomialCutoff

from alchemflows.alchemy.backends.equivariant import Gate, Linear, replace_modules
from alchemflows.alchemy.backends.harmonics import Harmonics
from alchemflows.alchemy.backends.precision import default_dtype
from alchemflows.alchemy.backends.radial import Cutoff, RadialNetwork

IRREPS = o3.Irreps("6x0e+4x1o+3x2e")
GATE = (o3.Irreps("5x0e"), [torch.nn.functional.silu], o3.Irreps("4x0e+3x0e"), [torch.tanh] * 2)
GATED = o3.Irreps("4x1o+3x2e")


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    with default_dtype(torch.float64):
        yield


def compare(module, original, values: torch.Tensor) -> None:
    """Compare values and gradients of a random function of them."""
    results = []
    for each in (module, original):
        x = values.clone().requires_grad_()
        y = each(x)
        weights = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
        results.append((y.detach(), *torch.autograd.grad((weights * y).sum(), x)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("normalization", ["component", "norm"])
def test_harmonics(degree, normalization):
    irreps = o3.Irreps.spherical_harmonics(degree)
    original = o3.SphericalHarmonics(irreps, normalize=True, normalization=normalization)
    compare(Harmonics(original), original, 3 * torch.randn(50, 3))


@pytest.mark.parametrize(
    "original",
    [
        o3.SphericalHarmonics(o3.Irreps.spherical_harmonics(4), normalize=True),
        o3.SphericalHarmonics(o3.Irreps.spherical_harmonics(2), normalize=False),
        o3.SphericalHarmonics(o3.Irreps("1x1o"), normalize=True),
    ],
)
def test_other_harmonics_are_refused(original):
    with pytest.raises(ValueError, match="SphericalHarmonics"):
        Harmonics(original)


def test_radial_networks():
    original = nn.FullyConnectedNet([8, 16, 12, 5], torch.nn.functional.silu, variance_in=2, variance_out=3)
    compare(RadialNetwork(original), original, torch.randn(20, 8))
    with pytest.raises(ValueError, match="radial network"):
        RadialNetwork(nn.FullyConnectedNet([8, 16], torch.tanh, out_act=True))


@pytest.mark.parametrize("p", [5, 6])
def test_cutoff_functions(p):
    original = PolynomialCutoff(r_max=4.5, p=p)
    compare(Cutoff(original), original, torch.linspace(0.1, 6.0, 60)[:, None])


@pytest.mark.parametrize("out", [IRREPS, o3.Irreps("2x0e"), o3.Irreps("3x2e+5x1o+2x1o+7x0e")])
def test_linear_maps(out):
    original = o3.Linear(IRREPS, out)
    compare(Linear(original), original, torch.randn(9, IRREPS.dim))


def test_other_linear_maps_are_refused():
    for original in (
        o3.Linear(IRREPS, IRREPS, biases=True),
        o3.Linear(IRREPS, IRREPS, internal_weights=False, shared_weights=False),
        o3.Linear(IRREPS, IRREPS + o3.Irreps("2x3o")),
    ):
        with pytest.raises(ValueError, match="linear map"):
            Linear(original)


@pytest.mark.parametrize("scalars", ["5x0e", "5x0o"])
def test_gates(scalars):
    original = nn.Gate(o3.Irreps(scalars), [torch.tanh], *GATE[2:], GATED)
    compare(Gate(original), original, torch.randn(9, original.irreps_in.dim))


@pytest.mark.parametrize(
    "original",
    [
        nn.Gate(o3.Irreps("5x0e"), [torch.nn.functional.silu], o3.Irreps(), [], o3.Irreps()),
        nn.Gate(o3.Irreps("5x0e"), [torch.sigmoid], o3.Irreps("4x0e+3x0e"), [torch.tanh, torch.sigmoid], GATED),
        nn.Gate(*GATE[:2], o3.Irreps("4x0o+3x0o"), [torch.tanh] * 2, GATED),
        nn.Gate(*GATE, o3.Irreps("4x2e+3x1o")),
    ],
)
def test_other_gates_are_refused(original):
    with pytest.raises(ValueError, match="gate"):
        Gate(original)


def test_what_is_not_supported_stays_in_the_model():
    model = torch.nn.ModuleDict(
        {
            "inner": torch.nn.Sequential(o3.Linear(IRREPS, IRREPS), o3.Linear(IRREPS, IRREPS, biases=True)),
            "gate": nn.Gate(*GATE, GATED),
        }
    )
    original = deepcopy(model)
    replace_modules(model)
    assert [type(module) for module in (*model["inner"], model["gate"])] == [Linear, o3.Linear, Gate]
    compare(model["inner"], original["inner"], torch.randn(4, IRREPS.dim))
