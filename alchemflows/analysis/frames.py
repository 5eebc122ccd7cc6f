"""Frames of sampled states, from documents: ends of ladders and of switches, mean cells, Monte Carlo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pymatgen.core import Element

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.schemas.crystal import EquilibriumDocument
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.liquid import LiquidDocument
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.windows import WindowDocument, WindowsDocument


@dataclass(frozen=True)
class SampledFrames:
    """Frames of one end of a ladder, and the times that say how independent they are.

    Attributes
    ----------
    frames
        The frames.
    spacing_fs
        Time between successive frames (fs); None for a single frame.
    correlation_time_fs
        Integrated autocorrelation time of the potential energy (fs), from all samples of the window: with the
        statistical inefficiency g and the sampling interval Δt it is (g − 1) Δt / 2 (Chodera et al., J. Chem. Theory
        Comput. 3, 26, 2007).
    """

    frames: Frames
    spacing_fs: float | None
    correlation_time_fs: float


@dataclass(frozen=True)
class StateFrames:
    """Frames of any sampled state, for lists and files.

    Attributes
    ----------
    name
        Name of the state.
    conditions
        Its conditions by name, such as `lambda` or `temperature_K`.
    frames
        The frames; those of one replica follow those of the other.
    spacing
        Distance between successive frames in the unit; None for a single frame.
    correlation
        Integrated autocorrelation time of the potential energy in the unit.
    unit
        Whether both are times (fs) or numbers of sweeps of Monte Carlo.
    """

    name: str
    conditions: Mapping[str, float | str]
    frames: Frames
    spacing: float | None
    correlation: float
    unit: Literal["fs", "sweeps"] = "fs"

    @classmethod
    def of_end(cls, name: str, lambda_value: float, temperature_K: float, sampled: SampledFrames) -> StateFrames:
        """Return the state of one end of a path."""
        conditions = {"lambda": lambda_value, "temperature_K": temperature_K}
        return cls(name, conditions, sampled.frames, sampled.spacing_fs, sampled.correlation_time_fs)


def end_frames(documents: Iterable[WindowsDocument]) -> tuple[SampledFrames, SampledFrames]:
    """Return the frames of the windows at λ = 0 and at λ = 1.

    Parameters
    ----------
    documents
        Outputs of the jobs that sampled or extended these windows; other windows are skipped.

    Raises
    ------
    InvalidInputError
        If a window has no frames.
    """
    windows = [window for document in documents for window in document.windows]
    initial, final = (
        _sampled(value, sorted((w for w in windows if w.lambda_value == value), key=lambda w: w.first_run))
        for value in (0.0, 1.0)
    )
    return initial, final


def switching_frames(document: SwitchingDocument) -> tuple[SampledFrames, SampledFrames]:
    """Return the frames of both ends of switches, those of one replica after those of the other.

    The correlation time is that of the energies of the frames, since others are not stored: it is zero if frames are
    independent.

    Parameters
    ----------
    document
        Result of the switches.

    Raises
    ------
    InvalidInputError
        If it has no frames.
    """
    found = []
    for packed in (document.initial_frames, document.final_frames):
        if packed is None:
            raise InvalidInputError(
                "the switches have no stored configurations: they were run with n_frames = 0 or without equilibration, "
                "or by an earlier release"
            )
        frames = Frames.unpacked(packed)
        found.append(SampledFrames(frames, *_spacing_and_correlation(frames)))
    return found[0], found[1]


def _sampled(value: float, parts: list[WindowDocument]) -> SampledFrames:
    """Return the frames of one window, from the documents of the jobs that sampled it in the order of time."""
    from pymbar.timeseries import statistical_inefficiency

    found, energies, end_fs, interval_fs = [], [], 0.0, 0.0
    for part in parts:
        series = part.series.unpack()
        if part.frames is not None:
            frames = Frames.unpacked(part.frames)
            found.append(replace(frames, time_fs=frames.time_fs + end_fs))
        energies.append(series.energy_eV)
        interval_fs = float(series.time_fs[0])
        end_fs += float(series.time_fs[-1])
    if not found:
        raise InvalidInputError(
            f"the window λ = {value:g} has no stored configurations: it was sampled with n_frames = 0, or by an "
            "earlier release"
        )
    joined, energy = Frames.joined(found), np.concatenate(energies)
    inefficiency = statistical_inefficiency(energy) if np.ptp(energy) > 0 else 1.0
    return SampledFrames(
        frames=joined,
        spacing_fs=float(np.median(np.diff(joined.time_fs))) if len(joined) > 1 else None,
        correlation_time_fs=(inefficiency - 1) / 2 * interval_fs,
    )


def equilibrium_state(document: EquilibriumDocument | LiquidDocument, name: str | None = None) -> StateFrames:
    """Return the frames of a run that sampled a mean cell, or the mean volume of a liquid.

    Parameters
    ----------
    document
        Result of the run.
    name
        Name of the state; by default formula and temperature.

    Raises
    ------
    InvalidInputError
        If it has none.
    """
    frames = _joined([document.frames], "mean cell")
    name = name or f"{document.formula}, {document.temperature_K:g} K"
    return StateFrames(name, {"temperature_K": document.temperature_K}, frames, *_spacing_and_correlation(frames))


def monte_carlo_states(document: MonteCarloDocument) -> list[StateFrames]:
    """Return the frames of each point of Monte Carlo.

    The correlation is that of the energy over all samples.

    Raises
    ------
    InvalidInputError
        If there are none.
    """
    states = []
    for index, point in enumerate(document.points):
        replicas = [replica for replica in document.replicas if replica.point == index]
        frames = _joined([replica.frames for replica in replicas], f"Monte Carlo at {point.label}")
        spacing, _ = _spacing_and_correlation(frames)
        inefficiency = _inefficiency([replica.series.unpack().energy_eV for replica in replicas])
        conditions: dict[str, float | str] = {"temperature_K": point.temperature_K}
        if point.composition_label:
            conditions["composition"] = point.composition_label
        states.append(StateFrames(point.label, conditions, frames, spacing, (inefficiency - 1) / 2, "sweeps"))
    return states


def mixing_states(document: MixingDocument) -> list[StateFrames]:
    """Return the frames of each state of a ladder of chemical potentials and temperatures.

    The correlation is that of the energies of the frames.

    Raises
    ------
    InvalidInputError
        If there are none.
    """
    states = []
    for state in document.states:
        name, conditions = f"{state.temperature_K:g} K", {"temperature_K": state.temperature_K}
        if state.delta_mu_eV is not None:
            name += f", Δμ = {state.delta_mu_eV:.4g} eV"
            conditions["delta_mu_eV"] = state.delta_mu_eV
        frames = _joined([state.frames], f"Monte Carlo at {name}")
        states.append(StateFrames(name, conditions, frames, *_spacing_and_correlation(frames), "sweeps"))
    return states


def arranged_frames(
    arrangements: Arrangements,
    series: ArrangementSeries,
    recorded: tuple[np.ndarray, np.ndarray, np.ndarray],
    settings: MonteCarloSettings,
) -> Frames:
    """Return the frames of one replica of Monte Carlo.

    Parameters
    ----------
    arrangements
        All arrangements.
    series
        Time series of the replica.
    recorded
        Indices of the samples that were kept, shape (m,), their positions and cells (Å), shapes (m, N, 3) and
        (m, 3, 3).
    settings
        Settings of the run.
    """
    kept, positions, cells = recorded
    system, n = arrangements.system, len(arrangements.species)
    composition: list[dict[int, float]] = [{int(z): 1.0} for z in system.numbers]
    occupied = np.zeros((len(kept), system.n_sites), dtype=np.int8)
    symbols = [symbol for symbol in arrangements.species if symbol != VACANCY]
    of_species = np.array([*range(len(symbols)), *[-1] * (n - len(symbols))])
    for k, group in enumerate(system.groups):
        composition[group.sites[0]] = {Element(symbol).Z: 1.0 for symbol in symbols}
        occupied[:, group.sites[0]] = of_species[series.labels[kept, k]]
    sweep_fs = settings.sweep_fs(int((arrangements.allowed.sum(axis=1) > 1).sum()))
    frames = Frames.of(composition, positions, cells, series.energy_eV[kept], (kept + 1) * sweep_fs)
    return replace(frames, occupied=occupied, sweeps=kept + 1)


def _joined(parts: Sequence[PackedArrays | None], what: str) -> Frames:
    """Return the frames of all replicas as one."""
    known = [Frames.unpacked(part) for part in parts if part is not None]
    if not known:
        raise InvalidInputError(
            f"{what}: there are no stored configurations; it was run with n_frames = 0, or by an earlier release"
        )
    return Frames.joined(known)


def _spacing_and_correlation(frames: Frames) -> tuple[float | None, float]:
    """Return the spacing of frames, and the correlation time of their energies; it is zero if they are independent.

    Both are in sweeps for frames of Monte Carlo, otherwise in fs.
    """
    steps = np.diff(frames.time_fs if frames.sweeps is None else frames.sweeps)
    spacing = float(np.median(steps[steps > 0])) if (steps > 0).any() else None
    inefficiency = _inefficiency(np.split(frames.energy_eV, np.flatnonzero(steps <= 0) + 1))
    return spacing, (inefficiency - 1) / 2 * (spacing or 0.0)


def _inefficiency(replicas: Sequence[np.ndarray]) -> float:
    """Return the statistical inefficiency of the energies of several replicas."""
    from alchemflows.free_energy.influences import joint_inefficiency

    return joint_inefficiency([energies - energies.mean() for energies in replicas])
