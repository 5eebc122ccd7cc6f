"""Figures of corrections to another potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from ase import units
from matplotlib.figure import Figure
from scipy.stats import norm

from alchemflows.plotting.labels import legend_below, subscripted, with_error
from alchemflows.schemas.correction import CorrectionDocument, EndCorrection
from alchemflows.schemas.state_correction import StateCorrectionDocument


@dataclass(frozen=True)
class _Reweighted:
    """A state in a figure: its label, its reweighting, ΔU of its frames (eV) and its temperature."""

    label: str
    found: EndCorrection
    differences_eV: np.ndarray
    temperature_K: float


def plot_correction(document: CorrectionDocument) -> Figure:
    """Plot the distribution of ΔU at both ends, and the convergence of the correction of each end.

    Left: histograms of ΔU minus its mean, with the Gaussian that the second-order cumulant assumes. Right: the estimate
    from the first part of the frames minus that from all frames, with standard errors.
    """
    ends = zip((document.initial, document.final), document.differences_eV, strict=True)
    states = [
        _Reweighted(f"{subscripted(end.formula)} (λ = {end.lambda_value:g})", end, differences, document.temperature_K)
        for end, differences in ends
    ]
    symbol = "ΔΔF" if document.ensemble == "NVT" else "ΔΔG"
    path = f"{subscripted(document.initial_formula)} → {subscripted(document.final_formula)}"
    found = with_error(document.correction.delta_f_eV, document.correction.error_eV)
    title = f"{path}, {document.counts.title}, to {document.target}: {symbol} = {found}"
    return _figure(states, document.fractions, title)


def plot_state_correction(document: StateCorrectionDocument) -> Figure:
    """Plot the distribution of ΔU in each state, and the convergence of its correction, as :func:`plot_correction`."""
    arrays = document.energies.arrays()
    states = [
        _Reweighted(
            f"{state.phase} {subscripted(state.formula)}, {state.temperature_K:g} K".strip(),
            state.reweighting,
            arrays[f"target_{k}_eV"] - arrays[f"source_{k}_eV"],
            state.temperature_K,
        )
        for k, state in enumerate(document.states)
    ]
    title = f"{subscripted(document.formula)}, to {document.target}"
    if document.transitions:
        first = document.transitions[0]
        phases = f"{first.low_temperature_phase} → {first.high_temperature_phase}"
        title += f": T({phases}) {first.temperature_K:.0f} → {first.corrected_K:.0f} K"
    elif len(document.states) == 1:
        best = document.states[0].reweighting.best
        title += f": ΔΔG = {with_error(best.delta_f_eV, best.error_eV)}"
    return _figure(states, document.fractions, title)


def _figure(states: Sequence[_Reweighted], fractions: Sequence[float], title: str) -> Figure:
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9, 4.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        for k, state in enumerate(states):
            x = (state.differences_eV - state.differences_eV.mean()) / (units.kB * state.temperature_K)
            left.hist(x, bins="auto", density=True, histtype="step", color=f"C{k}", label=state.label)
            if (spread := float(x.std(ddof=1))) > 0:
                grid = np.linspace(x.min(), x.max(), 200)
                left.plot(grid, norm.pdf(grid, scale=spread), "--", linewidth=0.9, color=f"C{k}")
            known = [
                (fraction * state.found.n_frames, 1e3 * (value - state.found.best.delta_f_eV), 1e3 * error)
                for fraction, value, error in zip(
                    fractions, state.found.curve_eV, state.found.curve_errors_eV, strict=True
                )
                if value is not None and error is not None
            ]
            n_frames, values, errors = zip(*known, strict=True)
            right.errorbar(n_frames, values, yerr=errors, marker="o", capsize=3, color=f"C{k}", label=state.label)
        left.plot([], [], "--", color="0.3", linewidth=0.9, label="Gaussian")
        left.set_xlabel("ΔU − ⟨ΔU⟩ ($k_B T$)")
        left.locator_params(axis="x", nbins=5)
        left.set_ylabel("density")
        legend_below(figure, left)
        right.axhline(0, color="0.6", linewidth=0.8)
        right.set_xlabel("number of frames")
        right.set_ylabel("estimate − estimate from all frames (meV)")
        figure.suptitle(title, fontsize=10)
    return figure
