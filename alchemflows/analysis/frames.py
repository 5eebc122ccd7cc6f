"""Frames of both ends of a ladder, from the documents of the jobs that sampled it, and of both ends of switches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from pymbar.timeseries import statistical_inefficiency

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.schemas.frames import Frames
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
        steps_fs = np.diff(frames.time_fs)
        replicas = np.split(frames.energy_eV, np.flatnonzero(steps_fs <= 0) + 1)
        spacing_fs = float(np.median(steps_fs[steps_fs > 0])) if (steps_fs > 0).any() else None
        deviations = [energies - energies.mean() for energies in replicas]
        variance = sum(float(part @ part) for part in deviations)
        inefficiency = correlated_variance(deviations).value / variance if variance > 0 else 1.0
        time_fs = max(0.0, inefficiency - 1) / 2 * (spacing_fs or 0.0)
        found.append(SampledFrames(frames, spacing_fs, time_fs))
    return found[0], found[1]


def _sampled(value: float, parts: list[WindowDocument]) -> SampledFrames:
    """Return the frames of one window, from the documents of the jobs that sampled it in the order of time."""
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
