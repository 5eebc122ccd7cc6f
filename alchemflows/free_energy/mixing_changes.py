r"""Free energy of mixing, and the phase diagram, with other potentials than the one that was sampled.

At constant N the semi-grand bias is constant, so the samples with N at one temperature are a canonical sample, whatever
their chemical potential. Reweighting of their configurations (:mod:`~alchemflows.free_energy.reweighting`) gives the
change of the free energy ΔA(N, T), and

    ΔG_mix(N) = [ΔA(N) − (1 − x) ΔA(0) − x ΔA(M)] / M,  x = N / M.

Differences of the potentials that are linear in N, such as those of the energies of isolated atoms, drop out. A
Redlich–Kister polynomial of ΔG_mix, added to that of the sampled potential, gives the binodal and the consolute point.

Several potentials are evaluated at the same configurations, so their errors are correlated. The covariance of two
changes at the same N is the sum of the products of the influences of the configurations, scaled so that the variance of
each is that of its reweighting. Different N have different configurations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.redlich_kister import RedlichKister, RedlichKisterFit
from alchemflows.free_energy.reweighting import MIN_FRAMES, Reweighting, reweight

#: Scatter of ΔU (k_B T) below which configurations are alike, and their correlation does not matter.
NEGLIGIBLE = 1e-3
#: Smallest steps of numerical derivatives with respect to h (eV) and s (eV/K).
_STEPS = (1e-5, 1e-8)


@dataclass(frozen=True)
class MixingChange:
    """Change of the free energy of mixing by one potential, per mixing site.

    Attributes
    ----------
    temperatures_K
        Temperatures (K), ascending, shape (T,).
    reweightings
        Reweighting at each temperature for N = 0, ..., M; None with too few configurations.
    excess_eV_per_site
        ΔG_mix, which is also the change of the excess (eV), shape (T, M + 1); NaN where it is not known.
    mixing_errors_eV_per_site
        Standard errors (eV) of G_mix with this potential, that of the sampled one included, shape (T, M + 1).
    mixing_deviations_eV_per_site
        Influence of each of B independent sources of error on ΔG_mix (eV), shape (B, T, M + 1). All potentials have
        the same sources.
    """

    temperatures_K: np.ndarray
    reweightings: list[list[Reweighting | None]] = field(repr=False)
    excess_eV_per_site: np.ndarray
    mixing_errors_eV_per_site: np.ndarray
    mixing_deviations_eV_per_site: np.ndarray = field(repr=False)

    @property
    def x(self) -> np.ndarray:
        """Fraction of the second species for N = 0, ..., M, shape (M + 1,)."""
        return np.linspace(0.0, 1.0, self.excess_eV_per_site.shape[1])

    @property
    def errors_eV_per_site(self) -> np.ndarray:
        """Standard errors of ΔG_mix alone (eV), shape (T, M + 1)."""
        return np.linalg.norm(self.mixing_deviations_eV_per_site, axis=0)


def mixing_changes(
    differences_eV: Sequence[Sequence[np.ndarray]],
    n_second: Sequence[np.ndarray],
    of_state_K: Sequence[float],
    errors_eV_per_site: np.ndarray,
    min_independent: float = MIN_FRAMES,
) -> list[MixingChange]:
    """Return the change of the free energy of mixing by each potential.

    Parameters
    ----------
    differences_eV
        For each of K potentials and each state, ΔU of its configurations in the order of time (eV), NaN if it failed.
    n_second
        For each state, the number of sites with the second species in each configuration.
    of_state_K
        Temperature of each state (K).
    errors_eV_per_site
        Errors of the free energy of mixing of the sampled potential (eV), shape (T, M + 1), for ascending temperatures.
    min_independent
        Smallest number of independent configurations at a composition with which its change is used. It does not hold
        where all have the same ΔU, as those of a pure composition at constant positions.

    Raises
    ------
    InvalidInputError
        If shapes differ, or a composition does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> n = np.repeat([0, 1, 2], 20)
    >>> (found,) = mixing_changes([[3.0 + 0.1 * n * (2 - n)]], [n], [600.0], np.zeros((1, 3)))
    >>> found.excess_eV_per_site.round(3).tolist()  # 0.1 eV at N = 1, for two sites
    [[0.0, 0.05, 0.0]]
    """
    temperatures, of_state = np.unique(of_state_K, return_inverse=True)
    shape = errors_eV_per_site.shape
    n_sites = shape[1] - 1
    numbers = [np.asarray(each) for each in n_second]
    if shape[0] != len(temperatures) or any(
        [len(values) for values in each] != [len(values) for values in numbers] for each in differences_eV
    ):
        raise InvalidInputError("differences_eV, n_second and of_state_K must have the same states and configurations")
    if any(len(each) and not 0 <= each.min() <= each.max() <= n_sites for each in numbers):
        raise InvalidInputError(f"n_second must be from 0 to {n_sites}")
    n_potentials = len(differences_eV)
    values = np.full((n_potentials, *shape), np.nan)
    found: list[list[list[Reweighting | None]]] = [[[None] * shape[1] for _ in temperatures] for _ in differences_eV]
    sources: list[tuple[int, int, np.ndarray]] = []
    for t, temperature_K in enumerate(temperatures):
        states = np.flatnonzero(of_state == t)
        number = np.concatenate([numbers[int(k)] for k in states])
        all_differences = np.array([np.concatenate([each[int(k)] for k in states]) for each in differences_eV])
        for n in range(shape[1]):
            at = all_differences[:, number == n]
            influences = np.zeros(at.shape)
            for k, row in enumerate(at):
                kept = np.isfinite(row)
                if kept.sum() < MIN_FRAMES:
                    continue
                result = reweight(row[kept], float(temperature_K))
                found[k][t][n] = result
                if result.n_independent < min_independent and scatters(result, float(temperature_K)):
                    continue
                values[k, t, n] = result.best[0]
                norm = float(np.linalg.norm(result.influences_eV))
                if norm > 0:
                    influences[k, kept] = result.influences_eV * (result.best[1] / norm)
            if influences.any():
                sources.append((t, n, np.asarray(np.linalg.qr(influences.T, mode="r"))))
    deviations = np.zeros((n_potentials, sum(len(rows) for *_, rows in sources), *shape))
    first = 0
    for t, n, rows in sources:
        deviations[:, first : first + len(rows), t, n] = rows.T
        first += len(rows)
    changes = []
    for k in range(n_potentials):
        influence = _of_mixing(deviations[k])
        own = np.linalg.norm(influence, axis=0)
        whole = np.hypot(own, errors_eV_per_site)
        changes.append(MixingChange(temperatures, found[k], _of_mixing(values[k]), whole, influence))
    return changes


def scatters(result: Reweighting, temperature_K: float) -> bool:
    """Return whether ΔU differs between the configurations of one composition."""
    return result.spread_eV > NEGLIGIBLE * units.kB * temperature_K


def _of_mixing(of_cell_eV: np.ndarray) -> np.ndarray:
    """Return a quantity of each N minus those of the pure compositions, per mixing site, shape (..., M + 1)."""
    n_sites = of_cell_eV.shape[-1] - 1
    x = np.arange(n_sites + 1) / n_sites
    return (of_cell_eV - (1 - x) * of_cell_eV[..., :1] - x * of_cell_eV[..., -1:]) / n_sites


def changed_diagram(
    sampled: RedlichKister, covariance: np.ndarray, change: RedlichKisterFit | None, temperatures_K: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the phase diagram of the sum of two Redlich–Kister polynomials, with its sources of error.

    Parameters
    ----------
    sampled, covariance
        Coefficients of n terms with the sampled potential, and their covariance, shape (2 n, 2 n).
    change
        Fit of their change; None for the sampled potential itself.
    temperatures_K
        T temperatures (K).

    Returns
    -------
    values, influences
        Left and right composition of the binodal at each temperature, and the temperature of the consolute point (K;
        NaN with one temperature), shape (2 T + 1,), NaN where there is no gap; and the influences on them of 2 n
        sources of error of the sampled potential, then of those of the change, shape (B, 2 T + 1). They are linear in
        the coefficients, and NaN if a gap disappears within the errors.
    """
    n = sampled.enthalpies_eV.shape[-1]
    n_terms = n if change is None else max(n, change.n_terms)
    factor = _padded(_root(covariance), n, n_terms)
    coefficients = _padded(np.concatenate([sampled.enthalpies_eV, sampled.entropies_eV_per_K])[None], n, n_terms)[0]
    if change is not None:
        own = np.concatenate([change.values.enthalpies_eV, change.values.entropies_eV_per_K])[None]
        coefficients = coefficients + _padded(own, change.n_terms, n_terms)[0]
        factor = np.concatenate([factor, _padded(change.covariance_factor, change.n_terms, n_terms)])
    steps = np.maximum(np.linalg.norm(factor, axis=0) / 2, np.repeat(_STEPS, n_terms))
    trials = np.concatenate([coefficients[None], coefficients + np.diag(steps), coefficients - np.diag(steps)])
    diagrams = _diagrams(RedlichKister(*np.split(trials, 2, axis=1)), temperatures_K)
    up, down = np.split(diagrams[1:], 2)
    slopes = (up - down) / (2 * steps[:, None])
    return diagrams[0], factor @ slopes


def _diagrams(coefficients: RedlichKister, temperatures_K: Sequence[float]) -> np.ndarray:
    """Return the phase diagrams of D sets of coefficients, shape (D, 2 T + 1)."""
    columns = [side for temperature_K in temperatures_K for side in coefficients.binodal(temperature_K)]
    highest = coefficients.consolute()[0]
    columns.append(highest if len(temperatures_K) > 1 else np.full_like(highest, np.nan))
    return np.stack(columns, axis=1)


def _padded(rows: np.ndarray, n: int, n_terms: int) -> np.ndarray:
    """Return rows of (h, s) with n terms as rows with more terms, which are zero."""
    padded = np.zeros((len(rows), 2, n_terms))
    padded[:, :, :n] = rows.reshape(len(rows), 2, n)
    return padded.reshape(len(rows), 2 * n_terms)


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return independent sources of error with this covariance, shape (n, n)."""
    errors = np.sqrt(np.diag(covariance))
    scale = np.where(errors > 0, errors, 1.0)
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T * errors
