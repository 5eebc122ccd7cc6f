"""Tests of the figure of the MBAR overlap matrix."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from alchemflows.plotting import plot_overlap


def ladder(n_windows: int) -> SimpleNamespace:
    """Return the fields of a ladder that the figure reads; the overlap of neighbours decreases towards λ = 1."""
    overlaps = np.linspace(0.4, 0.002, n_windows - 1)
    matrix = np.diag(overlaps, 1) + np.diag(overlaps, -1)
    matrix += np.diag(1 - matrix.sum(axis=1))
    windows = [SimpleNamespace(lambda_value=value) for value in np.linspace(0, 1, n_windows)]
    return SimpleNamespace(overlap_matrix=matrix.tolist(), windows=windows)


def test_overlap_figure_shows_the_matrix_and_its_numbers():
    document = ladder(4)
    axes, _ = plot_overlap(document).axes
    assert axes.images[0].get_array().tolist() == document.overlap_matrix
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.333", "0.667", "1"]
    assert "0.002" in axes.get_title()
    drawn = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert drawn[(1, 0)] == drawn[(0, 1)] == "0.40" and drawn[(3, 3)] == "1.00"
    assert (3, 2) not in drawn and (3, 0) not in drawn  # numbers that would be printed as 0.00 are omitted


@pytest.mark.parametrize("n_windows", [13, 40])
def test_overlap_figure_of_many_windows_has_no_numbers_and_few_ticks(n_windows):
    axes, _ = plot_overlap(ladder(n_windows)).axes
    places = axes.get_xticks()
    assert not axes.texts and len(places) <= 13
    for place, label in zip(places, axes.get_xticklabels(), strict=True):
        assert float(label.get_text()) == pytest.approx(place / (n_windows - 1), abs=5e-4)
