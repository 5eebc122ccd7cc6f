"""Committees on a regular solution with exact results: coverage of the errors of G_mix, its gap and their spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.optimize import brentq
from scipy.signal import lfilter

from alchemflows.analysis.members import EvaluatedMember
from alchemflows.analysis.mixing import stored_fit
from alchemflows.analysis.mixing_committee import mixing_committee_document
from alchemflows.free_energy.mixing import MixingCurves, log_arrangements
from alchemflows.free_energy.redlich_kister import fit_excess
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.mixing import MixingDocument, MixingIsotherm, MixingState
from alchemflows.schemas.mixing_committee import MixingCommitteeDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict

#: The sampled potential is a regular solution, w x (1 − x) per site; its consolute temperature is w / (2 k_B).
N_SITES, CONSOLUTE_K = 8, 700.0
INTERACTION_EV = 2 * units.kB * CONSOLUTE_K
TEMPERATURES_K = (500.0, 650.0)
#: Standard error of its G_mix (eV per site), from as many blocks of samples.
NOISE_EV, N_BLOCKS = 4e-4, 40
#: Interaction of each member but the sampled one, relative to that of the sampled potential.
MEMBERS = (0.9, 1.15)
#: Scatter of ΔU over the configurations of one composition, in k_B T.
SCATTER = 0.5


def mixing_committee_rows(n_frames: int, memories: Sequence[float], n_repeats: int) -> Iterator[Row]:
    """Yield the rows of a committee from some frames of each composition, for several correlation times.

    The members change the interaction, and add a normally distributed energy that the sampled potential does not have.
    Results with a reason in the verdict are left out.

    Parameters
    ----------
    n_frames
        Mean number of frames of each composition.
    memories
        Correlation times of the added energy, in units of the spacing of frames; 0 for independent frames.
    n_repeats
        Number of committees.
    """
    exact = np.array([1.0, *MEMBERS])
    lefts = np.array([_left(scale * INTERACTION_EV) for scale in exact])
    half = N_SITES // 2
    for memory in memories:
        rng = np.random.default_rng([n_frames, round(10 * memory)])
        z: dict[str, list[float]] = {}

        def add(name: str, value: float | None, known: float, error: float | None, z: dict = z) -> None:
            if value is not None and error:
                z.setdefault(name, []).append((value - known) / error)

        for _ in range(n_repeats):
            found = _committee(n_frames, memory, rng)
            if found.verdict.reasons:
                continue
            member, cold = found.members[1], found.members[1].isotherms[0]
            change = (MEMBERS[0] - 1) * INTERACTION_EV * N_SITES / 4
            add("ΔG_mix", cold.change_eV[half], change, cold.change_errors_eV[half])
            if cold.binodal is not None:
                add("gap of a member", cold.binodal.left, lefts[1], cold.binodal.left_error)
            add("consolute temperature of a member", member.consolute_K, MEMBERS[0] * CONSOLUTE_K,
                member.consolute_error_K)  # fmt: skip
            for each in found.spreads:
                values = exact * CONSOLUTE_K if each.quantity == "consolute" else lefts
                chosen = (each.quantity, each.temperature_K) in (("consolute", None), ("binodal-left", 500.0))
                if chosen and each.n_members == len(exact):
                    add(f"mean {each.quantity}", each.mean, values.mean(), each.sigma_stat)
                    add(f"σ_model of {each.quantity}", each.sigma_model, values.std(ddof=1), each.sigma_model_error)
        correlated = f", correlation time {memory:g}" if memory else ""
        for name, values in z.items():
            yield row(f"{name}, {n_frames} frames of each composition{correlated}", values, n_repeats)


def _left(interaction_eV: float) -> float:
    """Return the left composition of the gap of a large crystal at the lower temperature."""
    thermal = units.kB * TEMPERATURES_K[0]
    return brentq(lambda x: interaction_eV * (1 - 2 * x) + thermal * np.log(x / (1 - x)), 1e-6, 0.499)


def _committee(n_frames: int, memory: float, rng: np.random.Generator) -> MixingCommitteeDocument:
    document = _sampled(rng)
    n, order = np.arange(N_SITES + 1), rng.permutation
    numbers = [order(np.repeat(n, n_frames)) for _ in document.states]
    members = []
    for scale in MEMBERS:
        differences = []
        for number, state in zip(numbers, document.states, strict=True):
            added = SCATTER * (_remembered(rng.normal(size=len(number)), memory) + SCATTER / 2)
            change = (scale - 1) * INTERACTION_EV * number * (N_SITES - number) / N_SITES
            differences.append(change + units.kB * state.temperature_K * added + 1.3 * number - 4.0)
        members.append(EvaluatedMember(f"× {scale:g}", "", None, differences))
    return mixing_committee_document("", document, numbers, members)


def _sampled(rng: np.random.Generator) -> MixingDocument:
    """Return the document of the sampled potential, with noise that agrees with its errors."""
    temperatures = np.array(TEMPERATURES_K)
    shape = (len(temperatures), N_SITES + 1)
    x, thermal = np.arange(N_SITES + 1) / N_SITES, units.kB * temperatures[:, None]
    exact = N_SITES * INTERACTION_EV * x * (1 - x) / thermal - log_arrangements(N_SITES)
    blocks = rng.normal(size=(N_BLOCKS, *shape)) * NOISE_EV * N_SITES / thermal / np.sqrt(N_BLOCKS)
    blocks[..., [0, -1]] = 0
    curves = MixingCurves(
        N_SITES, temperatures, exact + blocks.sum(axis=0), np.ones(shape, dtype=int), blocks, np.zeros(2),
        np.zeros((N_BLOCKS, 2)), np.zeros(shape), np.eye(2), np.zeros(2, dtype=int), 1.0, np.array([100, 100]),
    )  # fmt: skip
    counts = Counts(atoms=2 * N_SITES, sites=2 * N_SITES, formula_units=N_SITES)
    isotherms = [
        MixingIsotherm(
            temperature_K=temperature_K,
            counts=counts,
            n_mixing_sites=N_SITES,
            mixing_eV=(N_SITES * curves.mixing_eV_per_site[t]).tolist(),
            mixing_errors_eV=(N_SITES * curves.mixing_errors_eV_per_site[t]).tolist(),
            n_samples=[100] * (N_SITES + 1),
            gap="uncertain",
            gap_probability=0.5,
            coexistence=None,
            binodal=None,
            spinodal=None,
        )
        for t, temperature_K in enumerate(TEMPERATURES_K)
    ]
    states = [
        MixingState(temperature_K=each, delta_mu_eV=None, fraction=0.5, fraction_error=0.1, n_samples=100, component=0)
        for each in TEMPERATURES_K
    ]
    return MixingDocument(
        formula="KNaCl2",
        species=("Na", "K"),
        counts=counts,
        n_mixing_sites=N_SITES,
        pressure_GPa=None,
        temperatures_K=list(TEMPERATURES_K),
        isotherms=isotherms,
        states=states,
        inefficiency=1.0,
        fit=stored_fit(fit_excess(curves, 1)),
        consolute=None,
        verdict=Verdict.of([], []),
        provenance=Provenance(),
    )


def _remembered(noise: np.ndarray, memory: float) -> np.ndarray:
    if not memory:
        return noise
    decay = np.exp(-1 / memory)
    noise[1:] *= np.sqrt(1 - decay**2)
    return np.asarray(lfilter([1.0], [1.0, -decay], noise))
