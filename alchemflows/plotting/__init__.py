"""Plot result documents with matplotlib."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.plotting.combination import plot_combination, plot_state_overlaps
from alchemflows.plotting.committees import plot_committee
from alchemflows.plotting.corrections import plot_correction
from alchemflows.plotting.defects import plot_schottky, plot_vacancy_sizes, plot_vacancy_temperatures
from alchemflows.plotting.figures import figures_of
from alchemflows.plotting.free_energies import (
    plot_convergence,
    plot_gradient,
    plot_overlap,
    plot_sizes,
    plot_switching,
)
from alchemflows.plotting.isolines import plot_isoline, plot_melting
from alchemflows.plotting.lattices import plot_lattices
from alchemflows.plotting.mixing import plot_mixing, plot_phase_diagram
from alchemflows.plotting.monte_carlo import plot_arrangement_series, plot_monte_carlo, plot_warren_cowley
from alchemflows.plotting.optimization import plot_optimization
from alchemflows.plotting.ordering import plot_order, plot_search
from alchemflows.plotting.phases import plot_boundary, plot_phases
from alchemflows.plotting.reanalysis import plot_reanalysis
from alchemflows.plotting.sweeps import plot_sweep
from alchemflows.plotting.transition import plot_transition
from alchemflows.schemas.document import Document

__all__ = [
    "figures_of",
    "plot",
    "plot_arrangement_series",
    "plot_boundary",
    "plot_combination",
    "plot_committee",
    "plot_convergence",
    "plot_correction",
    "plot_gradient",
    "plot_isoline",
    "plot_lattices",
    "plot_melting",
    "plot_mixing",
    "plot_monte_carlo",
    "plot_optimization",
    "plot_order",
    "plot_overlap",
    "plot_phase_diagram",
    "plot_phases",
    "plot_reanalysis",
    "plot_schottky",
    "plot_search",
    "plot_sizes",
    "plot_state_overlaps",
    "plot_sweep",
    "plot_switching",
    "plot_transition",
    "plot_vacancy_sizes",
    "plot_vacancy_temperatures",
    "plot_warren_cowley",
    "png",
    "save",
]

#: Resolution of PNG images (dots per inch).
_DPI = 150


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG image."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Save a figure in the format given by the extension of the file, and return the path.

    Raises
    ------
    InvalidInputError
        If the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=_DPI)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def plot(document: Document, path: Path | str | None = None, figure: str | None = None) -> Figure:
    """Draw a figure of a result, save it if a file is given, and return it.

    A notebook shows the figure if this call is the last line of a cell, after ``%matplotlib inline``.

    Parameters
    ----------
    document
        A result of any kind that has figures.
    path
        File to write (.png, .pdf or .svg).
    figure
        Name of the figure, see :func:`figures_of`; the main figure if not given.

    Raises
    ------
    InvalidInputError
        If the result has no such figure, or the file cannot be written.
    """
    figures = figures_of(document)
    if not figures:
        raise InvalidInputError(f"{type(document).__name__} has no figures")
    name = next(iter(figures)) if figure is None else figure
    check_choice("figure", name, figures)
    drawn = figures[name]()
    if path is not None:
        save(drawn, Path(path))
    return drawn
