"""Text in figures: formulas with subscripts, values with errors, and the note on the potential for learning."""

from __future__ import annotations

import re

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import demo_note

#: Units by the ending of a quantity's name.
_UNITS = {"_eV_per_atom": "eV/atom", "_A3": "Å³", "_A": "Å", "_GPa": "GPa", "_eV": "eV"}
_AMOUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)")


def subscripted(formula: str) -> str:
    """Return a chemical formula with its amounts as subscripts, for matplotlib.

    Examples
    --------
    >>> subscripted("Cs(Pb0.5Sn0.5)I3")
    'Cs(Pb$_{0.5}$Sn$_{0.5}$)I$_{3}$'
    """
    return _AMOUNT.sub(r"$_{\1}$", formula)


def with_error(value_eV: float, error_eV: float | None) -> str:
    """Return an energy (eV) with its standard error; the error is "?" if it is unknown."""
    error = "?" if error_eV is None else f"{error_eV:.4f}"
    return f"{value_eV:.4f} ± {error} eV".replace("-", "−")


def quantity_label(name: str) -> str:
    """Return the label of a quantity of an optimization, with its unit.

    Examples
    --------
    >>> quantity_label("bulk_modulus_GPa")
    'bulk modulus (GPa)'
    """
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def add_note(figure: Figure, document: Document) -> Figure:
    """Add a note below a figure if its numbers are from the potential for learning and tests; return the figure."""
    note = demo_note(document)
    if note is None:
        return figure
    if figure.legends:  # below the axes, where the note would be; a title has room of its own
        figure.legends[-1].set_title(note, FontProperties(size=6))
        figure.legends[-1].get_title().set_color("0.4")
    else:
        figure.supxlabel(note, fontsize=6, color="0.4", x=0.99, ha="right")
    return figure
