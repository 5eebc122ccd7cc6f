"""Free energy along a path from the work of forward and backward switches until each point of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import independent_variance
from alchemflows.free_energy.work import MIN_WORK_OVERLAP, MODERATE_WORK_OVERLAP, WorkResult, analyse_work


@dataclass(frozen=True)
class WorkCurve:
    """Free energy F(λ_k) − F(0) (eV) at m points of a path, and what each switch contributes to it.

    Attributes
    ----------
    values_eV
        F(λ_k) − F(0), shape (m,).
    influences_eV
        Contribution of each forward and each backward switch to the values, up to a constant for each direction, two
        arrays of shape (n, m).
    mean_influences_eV
        The same for the mean of both directions.
    dissipation_eV
        Half the difference of the mean works of both directions between λ = 0 and λ_k, shape (m,).
    ends
        Analysis of the works of the whole path.
    """

    values_eV: np.ndarray
    influences_eV: tuple[np.ndarray, np.ndarray]
    mean_influences_eV: tuple[np.ndarray, np.ndarray]
    dissipation_eV: np.ndarray
    ends: WorkResult

    def combined(self, factors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return linear combinations of the values, and their standard errors (eV).

        Parameters
        ----------
        factors
            Factors of the values, shape (k, m), for example 1 and −1 for a difference.

        Returns
        -------
        values, errors
            Shapes (k,). As for the whole path, an error is at least that of the mean work if the works overlap little,
            and at least the dissipation if they do not overlap.
        """
        rows = np.atleast_2d(np.asarray(factors, dtype=float))
        errors = _errors(self.influences_eV, rows)
        if self.ends.overlap < MODERATE_WORK_OVERLAP:
            errors = np.maximum(errors, _errors(self.mean_influences_eV, rows))
        if self.ends.overlap < MIN_WORK_OVERLAP or self.ends.bar is None:
            errors = np.maximum(errors, np.abs(rows @ self.dissipation_eV))
        return rows @ self.values_eV, errors


def work_curve(forward_eV: ArrayLike, backward_eV: ArrayLike, temperature_K: float) -> WorkCurve:
    """Estimate the free energy along a path from switches in both directions.

    With the solution of BAR for the whole path, each switch has a weight 1 / [n_f + n_b exp(β(ΔF − W))], with the work
    W from λ = 0 to 1, and exp[−βF(λ_k)] is the weighted sum of exp[−βW_k] with the work W_k from 0 to λ_k (Minh & Adib,
    Phys. Rev. Lett. 100, 180602, 2008). If the works of both directions do not overlap, the result is the mean of both.

    Parameters
    ----------
    forward_eV, backward_eV
        Work of each switch until each point (eV) in the order of time, shape (n, m); backward switches pass the points
        in reverse order.
    temperature_K
        Temperature of the dynamics (K).

    Raises
    ------
    InvalidInputError
        If the shapes differ, there are fewer than two switches in each direction, or a work is not a finite number.
    """
    forward, backward = np.asarray(forward_eV, dtype=float), np.asarray(backward_eV, dtype=float)
    if forward.ndim != 2 or backward.ndim != 2 or forward.shape[1] != backward.shape[1]:
        raise InvalidInputError(
            f"forward_eV and backward_eV must have the shapes (n, m); got {forward.shape} and {backward.shape}"
        )
    ends = analyse_work(forward[:, -1], backward[:, -1], temperature_K)
    kT = units.kB * temperature_K
    # Work from λ = 0 to each λ_k; a backward switch does it with the opposite sign after it has passed λ_k.
    up, down = forward / kT, (backward - backward[:, -1:])[:, ::-1] / kT
    mean = up / (2 * len(up)), down / (2 * len(down))
    values, influences = sum(part.sum(axis=0) for part in mean), mean
    if ends.bar is not None and ends.overlap >= MIN_WORK_OVERLAP:
        values, influences = _bidirectional(up, down, ends.bar[0] / kT)
    return WorkCurve(
        values_eV=kT * np.asarray(values),
        influences_eV=(kT * influences[0], kT * influences[1]),
        mean_influences_eV=(kT * mean[0], kT * mean[1]),
        dissipation_eV=kT * (up.mean(axis=0) - down.mean(axis=0)) / 2,
        ends=ends,
    )


def _bidirectional(
    up: np.ndarray, down: np.ndarray, delta_f: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return F(λ_k) − F(0) in k_B T, shape (m,), and its influences, from works from 0 to λ_k of both directions."""
    works, n, m = np.concatenate([up, down]), len(up), len(down)
    weights = 1 / (n + m * np.exp(delta_f - works[:, -1]))
    least = works.min(axis=0)
    terms = weights[:, None] * np.exp(least - works)
    values = least - np.log(terms.sum(axis=0))
    shares = terms / terms.sum(axis=0)
    # Linearisation of Σ w_i(ΔF) = 1 and of Σ w_i(ΔF) exp(F_k − W_ik) = 1.
    slopes = weights * (1 - n * weights)
    influences = -shares + np.outer(weights / slopes.sum(), (1 - n * weights) @ shares)
    return values, (influences[:n], influences[n:])


def _errors(influences: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> np.ndarray:
    return np.array([independent_variance([part @ row for part in influences]).error for row in rows])
