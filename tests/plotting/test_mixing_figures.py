"""Figures and tables of free energies of mixing."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from ase import units
from mixtures import drawn
from rich.console import Console

from alchemflows.analysis.mixing import analyse_mixing
from alchemflows.cli.mixing_tables import mixing_tables
from alchemflows.free_energy.mixing import semi_grand_bias_eV
from alchemflows.plotting import plot_mixing, plot_phase_diagram
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.provenance import Provenance

N_SITES = 8


@pytest.fixture(scope="module")
def document():
    n = np.arange(N_SITES + 1)
    states = [(t, semi_grand_bias_eV(mu, N_SITES)) for t in (600.0, 1200.0) for mu in np.linspace(-0.3, 0.3, 7)]
    return analyse_mixing(
        drawn(0.16 * n * (N_SITES - n) / N_SITES, states, 150, 0),
        formula="Na0.5K0.5Cl",
        species=("Na", "K"),
        counts=Counts(atoms=2 * N_SITES, sites=2 * N_SITES, formula_units=N_SITES),
        provenance=Provenance(),
    )


def test_free_energies_are_per_mixing_site(document):
    left, right = plot_mixing(document).axes
    points = {line.get_label(): line.get_ydata() for line in left.lines if line.get_label().endswith(" K")}
    np.testing.assert_allclose(points["1200 K"], 1e3 * document.isotherms[1].mixing_eV_per_mixing_site)
    dotted = [line.get_ydata() for line in left.lines if line.get_linestyle() == ":"]
    assert dotted[1][25] == pytest.approx(-1e3 * units.kB * 1200 * np.log(N_SITES) / N_SITES)  # N = 1
    full = [line for line in left.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 100]
    assert np.abs(full[1].get_ydata()[::25] - points["1200 K"]).max() < 5
    dashed = [line.get_ydata() for line in left.lines if line.get_linestyle() == "--"]
    assert dashed[1][100] == pytest.approx(40 - 1e3 * units.kB * 1200 * np.log(2), abs=3)
    assert sum(len(each.get_label()) > 0 for each in right.containers) == 2


def test_phase_diagram(document):
    (axes,) = plot_phase_diagram(document).axes
    labels = axes.get_legend_handles_labels()[1]
    assert "binodal of the fit" in labels and "consolute point" in labels
    binodal = [line for line in axes.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2]
    cold = document.isotherms[0].binodal
    assert any(line.get_xdata()[0] == cold.left and line.get_ydata()[1] > 700 for line in binodal)


def test_table(document):
    console = Console(width=160, file=StringIO())
    console.print(mixing_tables(document))
    text = console.file.getvalue()
    energy = 1e3 * document.isotherms[0].mixing_eV_per_atom[4]
    for each in (f"{energy:.2f} ±", f"{document.consolute.temperature_K:.0f} ±", "0.500", document.isotherms[0].gap):
        assert each in text
