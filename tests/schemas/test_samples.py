"""Samples come back from their packed form."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import PackedSeries, WindowSeries


def series(n: int, offset_eV: float) -> WindowSeries:
    """Return samples whose energies at the three λ differ by multiples of an offset, and fluctuate by some eV."""
    rng = np.random.default_rng(3)
    columns = {field.name: rng.normal(size=n) for field in fields(WindowSeries) if field.name != "energies_eV"}
    columns["energy_eV"] -= 1e5
    gaps = offset_eV * np.arange(3) + rng.normal(size=(n, 3), scale=[0.0, 1.0, 5.0])
    return WindowSeries(**columns, energies_eV=columns["energy_eV"][:, None] + gaps)


@pytest.mark.parametrize("offset_eV", [0.0, 7e4])
def test_energies_are_rounded_far_below_kT_whatever_their_offsets(offset_eV):
    """Elements whose reference energies differ by thousands of eV, as in models of total energies, cost nothing."""
    before = series(500, offset_eV)
    packed = PackedSeries.pack(before)
    after = packed.unpack()
    assert packed.n_samples == len(after) == 500
    for field in fields(WindowSeries):
        if field.name != "energies_eV":
            assert np.array_equal(getattr(after, field.name), getattr(before, field.name)), field.name
    np.testing.assert_allclose(after.energies_eV, before.energies_eV, rtol=0, atol=2e-6)
    assert after.energies_eV.dtype == np.float64


def test_the_end_is_with_the_samples():
    before, end = series(5, 0.0), {"positions_A": np.eye(3), "cell_A": np.zeros((3, 3))}
    packed = PackedSeries.pack(before, end)
    assert packed.end().keys() == end.keys()
    assert all(np.array_equal(packed.end()[name], values) for name, values in end.items())
    assert np.array_equal(packed.unpack().dudl_eV, before.dudl_eV)
    assert PackedSeries.pack(before).end() == {}


def test_exchanged_temperatures_are_with_the_samples():
    before, others = series(5, 0.0), {250.0: series(5, 7.0), 400.0: series(5, -3.0)}
    packed = PackedSeries.pack(before, {"cell_A": np.eye(3)}, others)
    assert packed.exchanged_temperatures_K == [250.0, 400.0] and list(packed.end()) == ["cell_A"]
    for temperature_K, expected in [(None, before), *others.items()]:
        after = packed.unpack(temperature_K)
        assert np.array_equal(after.energy_eV, expected.energy_eV) and np.array_equal(after.time_fs, before.time_fs)
        np.testing.assert_allclose(after.energies_eV, expected.energies_eV, rtol=0, atol=2e-6)
    with pytest.raises(InvalidInputError, match=r"300 K.*250\.0"):
        packed.unpack(300.0)
    assert PackedSeries.pack(before).exchanged_temperatures_K == []
    with pytest.raises(InvalidInputError, match="300 K"):
        PackedSeries.pack(before).unpack(300.0)


def test_no_samples():
    after = PackedSeries.pack(series(0, 1.0)).unpack()
    assert len(after) == 0 and after.energies_eV.shape == (0, 3)
