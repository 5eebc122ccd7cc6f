"""Text in figures: formulas, values with errors, legends, and the note on the potential for learning."""

from __future__ import annotations

import re

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.provenance import demo_note

#: Units by the ending of a quantity's name.
_UNITS = {"_eV_per_atom": "eV/atom", "_A3": "Å³", "_A": "Å", "_GPa": "GPa", "_eV": "eV"}
#: Size of the font of a legend (points).
_LEGEND_PT = 8
#: Length of the name of a member of a committee.
_LONGEST = 34
_AMOUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+(?:\.\d+)?)")


def subscripted(formula: str) -> str:
    """Return a chemical formula with its amounts as subscripts, for matplotlib.

    Examples
    --------
    >>> subscripted("Cs(Pb0.5Sn0.5)I3")
    'Cs(Pb$_{0.5}$Sn$_{0.5}$)I$_{3}$'
    """
    return _AMOUNT.sub(r"$_{\1}$", formula)


def shortened(name: str) -> str:
    """Return the name of a member of a committee; of a long one the end, such as the arguments of a calculator."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


def with_error(value_eV: float, error_eV: float | None) -> str:
    """Return an energy (eV) with its standard error; the error is "?" if it is unknown."""
    error = "?" if error_eV is None else f"{error_eV:.4f}"
    return f"{value_eV:.4f} ± {error} eV".replace("-", "−")


def pressure_label(pressure_GPa: float | None) -> str:
    """Return a pressure with its unit; "constant volume" for None.

    Examples
    --------
    >>> pressure_label(0.5)
    '0.5 GPa'
    """
    if pressure_GPa is None:
        return "constant volume"
    return "1 atm" if pressure_GPa == ATMOSPHERE_GPA else f"{pressure_GPa:g} GPa"


def legend_below(figure: Figure, *axes: Axes) -> None:
    """Add one legend for some axes below all axes of a figure, where it covers no data; none without labels.

    It has as many columns as fit into the width of the figure. A label that several axes have is shown once.
    """
    entries: dict[str, Artist] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if not entries:
        return
    widest_pt = _LEGEND_PT * (0.5 * max(map(len, entries)) + 5)  # 0.5 em for each letter, and 5 em for symbol and gaps
    columns = max(1, min(len(entries), int(72 * figure.get_figwidth() / widest_pt)))
    figure.legend(
        list(entries.values()),
        list(entries),
        frameon=False,
        fontsize=_LEGEND_PT,
        loc="outside lower center",
        ncols=columns,
    )


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
