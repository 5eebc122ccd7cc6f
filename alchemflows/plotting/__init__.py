"""Plot result documents with matplotlib."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from alchemflows.errors import InvalidInputError
from alchemflows.plotting.defects import plot_vacancy_sizes, plot_vacancy_temperatures
from alchemflows.plotting.figures import figures_of
from alchemflows.plotting.free_energies import (
    plot_convergence,
    plot_gradient,
    plot_overlap,
    plot_phases,
    plot_sizes,
    plot_switching,
)
from alchemflows.plotting.lattices import plot_lattices
from alchemflows.plotting.optimization import plot_optimization
from alchemflows.plotting.ordering import plot_order, plot_search
from alchemflows.plotting.sweeps import plot_sweep

__all__ = [
    "figures_of",
    "plot_convergence",
    "plot_gradient",
    "plot_lattices",
    "plot_optimization",
    "plot_order",
    "plot_overlap",
    "plot_phases",
    "plot_search",
    "plot_sizes",
    "plot_sweep",
    "plot_switching",
    "plot_vacancy_sizes",
    "plot_vacancy_temperatures",
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
