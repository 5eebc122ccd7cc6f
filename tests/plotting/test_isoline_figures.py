"""Figures, tables and summaries of curves over temperature and pressure, from the stored examples."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from stored import DOCUMENTS, read_example

from alchemflows.cli.shown import show
from alchemflows.plotting import figures_of
from alchemflows.results.kinds import KINDS
from alchemflows.schemas.isolines import (
    CurveValues,
    PressureSweepDocument,
    QuantumCorrections,
    TemperatureSweepDocument,
)


def stored(kind):
    output = read_example(DOCUMENTS / f"{kind.__name__}-1.json")["outputs"][0]["output"]
    return output, kind.read({**output, "work": {**output["work"], "curves": {"npz_base64": ""}}})


@pytest.mark.parametrize("kind", [TemperatureSweepDocument, PressureSweepDocument])
def test_figure_table_and_summary(kind):
    output, document = stored(kind)
    (drawn,) = figures_of(document).values()
    panels = drawn().axes
    assert len(panels) == (4 if kind is TemperatureSweepDocument else 3)
    line = panels[0].lines[0].get_ydata()
    np.testing.assert_allclose(line, np.array(document.gibbs_eV.values) / 16)
    text = StringIO()
    show(document, Console(file=text, width=200))
    assert f"{document.gibbs_eV.values[-1] / 16:.5f}" in text.getvalue() and "anchor at" in text.getvalue()
    row = {
        "pressure_GPa": output.get("pressure_GPa"),
        "curve_values": output["gibbs_eV"]["values"],
        "curve_errors": output["gibbs_eV"]["errors"],
        **{name: output.get(name) for name in ("formula", "counts", "temperatures_K", "pressures_GPa")},
    }
    summary = KINDS[kind.__name__].summary(row)
    assert summary.value == pytest.approx(document.gibbs_eV.values[-1] / 16) and summary.unit == "eV/atom"
    assert summary.quantity in ("G (80 K)", "G (0.5 GPa)")


def test_the_range_where_the_expansion_does_not_hold_is_behind_the_curve():
    _, document = stored(TemperatureSweepDocument)
    n = len(document.temperatures_K)
    terms = CurveValues(values=[0.1] * n, errors=[0.01] * n)
    quantum = QuantumCorrections(
        wigner_kirkwood_eV=terms, next_terms=[0.1] * n, holds_from_K=60.0, harmonic_eV=[0.08] * n
    )
    (drawn,) = figures_of(document.model_copy(update={"quantum": quantum})).values()
    figure = drawn()
    (grey,) = figure.axes[-1].patches
    assert (grey.get_x(), grey.get_x() + grey.get_width()) == (document.temperatures_K[0], 60.0)
    assert all(grey.get_zorder() < band.get_zorder() for band in figure.axes[-1].collections)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["harmonic quantum correction"]
