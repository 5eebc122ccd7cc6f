"""Measure the space and the time that the frames of both ends add to a ladder with default settings.

    python benchmarks/stored_frames.py [--quick] [--threads N] [--json FILE]

The ladder is CsPbI3 → CsSnI3 with mace-demo: 11 windows of 5000 + 20,000 steps with a sample every 10 steps, of which
100 configurations at λ = 0 and at λ = 1 are stored. A part of it is run; numbers of the whole are scaled from it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from measure import Report
from workloads import perovskite, potential

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.windows import run_windows
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.samples import PackedSeries, WindowSeries

LADDER = ThermodynamicIntegrationMaker()
N_STEPS = LADDER.n_equilibration_steps + LADDER.n_production_steps
N_SAMPLES = LADDER.n_production_steps // LADDER.sample_interval_steps
TEMPERATURE_K = 400.0


class TimedRecorder(FrameRecorder):
    """A recorder that measures its own time (s)."""

    seconds = 0.0

    def see(self, *arguments: object, **options: object) -> None:
        """Keep a configuration."""
        started = time.perf_counter()
        super().see(*arguments, **options)  # type: ignore[arg-type]
        self.seconds += time.perf_counter() - started


def measure(report: Report, size: int, n_samples: int, pressure_GPa: float | None) -> None:
    """Measure one crystal of size³ cubic cells, at constant volume or pressure."""
    path = perovskite(size)
    lambdas = np.linspace(0, 1, LADDER.n_windows).tolist()
    windows = [0, LADDER.n_windows - 1]
    dynamics = DynamicsSettings(
        temperature_K=TEMPERATURE_K,
        pressure_GPa=pressure_GPa,
        n_equilibration_steps=0,
        n_production_steps=n_samples * LADDER.sample_interval_steps,
        sample_interval_steps=LADDER.sample_interval_steps,
    )
    recorder = TimedRecorder(range(2), n_samples, n_samples)
    model = potential("mace-demo", path)
    crystal = path.system.structure
    model.evaluate([crystal.cart_coords], [crystal.lattice.matrix], [path.weights(0.5)])  # loads and compiles
    started = time.perf_counter()
    run = run_windows(model, path, lambdas, windows, dynamics, [1, 2], recorder=recorder)
    step_s = (time.perf_counter() - started) / (2 * dynamics.n_production_steps)
    started = time.perf_counter()
    packed = [frames(path, recorder, k, run.series[k], LADDER.n_frames).packed() for k in range(2)]
    packing_s = time.perf_counter() - started
    n_bytes = sum(len(each.npz_base64) for each in packed)
    of_samples = LADDER.n_windows * len(PackedSeries.pack(repeated(run.series[0], N_SAMPLES)).npz_base64)
    ladder_s = LADDER.n_windows * N_STEPS * step_s
    frames_s = recorder.seconds / n_samples * LADDER.n_frames + packing_s
    title = f"{path.system.n_sites} atoms, constant {'volume' if pressure_GPa is None else 'pressure'}"
    report.target(
        1, f"bytes of frames ÷ bytes of samples, {title}", np.array([n_bytes / of_samples]), 0.1, unit="share"
    )
    report.target(
        2, f"time of frames ÷ time of the ladder, {title}", np.array([frames_s / ladder_s]), 0.02, unit="share"
    )
    report.measure(f"frames, {title}", n_bytes / 1e3, "kB")
    report.measure(f"samples, {title}", of_samples / 1e3, "kB")


def frames(path: AlchemicalPath, recorder: FrameRecorder, window: int, series: WindowSeries, n: int) -> Frames:
    """Return n frames of a window, the recorded ones repeated."""
    found = recorder.of_window(window)
    assert found is not None
    kept, positions, cells = found
    rows = np.resize(np.arange(len(kept)), n)
    composition = path.system.site_composition(path.weights(float(window)))
    return Frames.of(
        composition, positions[rows], cells[rows], series.energy_eV[kept][rows], series.time_fs[kept][rows]
    )


def repeated(series: WindowSeries, n: int) -> WindowSeries:
    """Return a series of n samples, the given ones repeated."""
    rows = np.resize(np.arange(len(series)), n)
    return WindowSeries(**{name: values[rows] for name, values in vars(series).items()})


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small cell and few samples: to test the script")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads (default: 1)")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    report = Report(
        "Frames of a ladder", "benchmarks/stored_frames.py", {"quick": chosen.quick, "threads": chosen.threads}
    )
    for size in (1,) if chosen.quick else (2, 3):
        for pressure_GPa in (None, 1e-4):
            measure(report, size, 4 if chosen.quick else 6, pressure_GPa)
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
