"""Tests of the text in figures."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from alchemflows.plotting.labels import add_note, quantity_label, subscripted, with_error


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("NaCl", "NaCl"),
        ("CsPbI3", "CsPbI$_{3}$"),
        ("Cs(Pb0.5Sn0.5)I3", "Cs(Pb$_{0.5}$Sn$_{0.5}$)I$_{3}$"),
        ("Ca3(PO4)2", "Ca$_{3}$(PO$_{4}$)$_{2}$"),
    ],
)
def test_amounts_are_subscripts(formula, expected):
    assert subscripted(formula) == expected


def test_energies_have_an_error_and_a_minus_sign():
    assert with_error(-0.41456, 0.05131) == "−0.4146 ± 0.0513 eV"
    assert with_error(0.1, None) == "0.1000 ± ? eV"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("a_A", "a (Å)"),
        ("volume_A3", "volume (Å³)"),
        ("stress_in_plane_GPa", "stress in plane (GPa)"),
        ("energy_eV_per_atom", "energy (eV/atom)"),
        ("mu_0_0_1_eV", "mu 0 0 1 (eV)"),
        ("share", "share"),
    ],
)
def test_quantities_have_units(name, label):
    assert quantity_label(name) == label


@pytest.mark.parametrize(("name", "noted"), [("mace-demo", True), ("sevennet-0", False), (None, False)])
def test_results_of_the_demonstration_potential_say_so(name, noted):
    potential = None if name is None else SimpleNamespace(name=name)
    figure = add_note(Figure(), SimpleNamespace(provenance=SimpleNamespace(potential=potential)))
    assert ("not for publications" in figure.get_supxlabel()) == noted


def test_the_note_is_part_of_a_legend_below_the_axes():
    """Both would be at the bottom of the figure, one over the other."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], label="a curve with a long name")
    axes.plot([1, 0], label="another curve with a long name")
    figure.legend(loc="outside lower center", ncols=2)
    figure = add_note(figure, SimpleNamespace(provenance=SimpleNamespace(potential=SimpleNamespace(name="mace-demo"))))
    assert figure.get_supxlabel() == "" and "not for publications" in figure.legends[0].get_title().get_text()
    figure.draw_without_rendering()
    assert not figure.legends[0].get_window_extent().overlaps(axes.get_tightbbox())
