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
from alchemflows.schemas.isolines import PressureSweepDocument, TemperatureSweepDocument


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
