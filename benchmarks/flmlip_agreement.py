"""Compare F and computing time with flmlip, an independent Frenkel–Ladd program based on ASE.

    pip install flmlip
    python benchmarks/flmlip_agreement.py [--temperature 100] [--json FILE]

Both programs use the potential mace-demo in float32, the same cell of bcc Fe (2×2×2 cubic cells), and the same
springs, time step, friction, and numbers of equilibration and switching steps. flmlip runs one switch in each
direction after the other with the plain MACECalculator; alchemflows runs all switches in one batch. flmlip fixes one
atom and gives the free energy of 3N − 3 modes. Therefore F without the term k_B T ln(Λ³/v) of the centre of mass in
the primitive cell is compared.

The ratio of the times for the same error is the ratio of σ² t, because errors are inversely proportional to the square
root of the time. σ is the standard error from the scatter of independent switches, so the ratio is known to about 50 %.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from mace.calculators import MACECalculator
from measure import Report
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows.alchemy.backends.loading import _model_file
from alchemflows.alchemy.backends.mace_file import load_mace
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.free_energy.einstein import HBAR
from alchemflows.jobs.frenkel_ladd import EinsteinSwitchesMaker
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.structures.prototypes import bcc_iron

TIMESTEP_FS = 3.0
FRICTION_PER_PS = 5.0
SPRING_EV_PER_A2 = 4.0
A_A = 2.84


def vibrational_F_eV(document) -> float:
    """Return F of the 3N − 3 modes (eV), without the motion of the centre of mass in the primitive cell."""
    kT = units.kB * document.temperature_K
    mass = 55.845 * document.counts.atoms
    wavelength = np.sqrt(2 * np.pi * HBAR**2 / (mass * kT))
    return document.helmholtz.value_eV + kT * np.log(document.free_volume_A3 / wavelength**3)


def ours(structure, temperature_K: float, repeats: int, equilibration: int, switching: int):
    """Return the document of one batch and its time (s)."""
    maker = EinsteinSwitchesMaker(
        potential=PotentialSpec(name="mace-demo", device="cpu"),
        settings=SwitchingSettings(
            temperature_K=temperature_K,
            timestep_fs=TIMESTEP_FS,
            friction_per_ps=FRICTION_PER_PS,
            n_repeats=repeats,
            n_equilibration_steps=equilibration,
            n_switching_steps=switching,
        ),
        n_sampling_steps=20,
        springs_eV_per_A2={"Fe": SPRING_EV_PER_A2},
    )
    start = time.perf_counter()
    document = type(maker).make.original(maker, AlchemicalSystem(structure), [])  # type: ignore[attr-defined]
    return document, time.perf_counter() - start


def theirs(atoms: Atoms, temperature_K: float, seed: int, equilibration: int, switching: int) -> tuple[float, float]:
    """Return F (eV) of one switch in each direction by flmlip, and its time (s)."""
    from flmlip import frenkel_ladd

    start = time.perf_counter()
    result = frenkel_ladd(
        atoms.copy(),
        {"Fe": SPRING_EV_PER_A2},
        calc=atoms.calc,
        temperature=temperature_K,
        timestep=TIMESTEP_FS,
        friction=FRICTION_PER_PS * 1e-3,
        t_switch=switching,
        t_equil=equilibration,
        seed=seed,
        anchor=0,
    )
    return float(result.helmholtz), time.perf_counter() - start


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description="Compare Frenkel–Ladd results with flmlip.")
    parser.add_argument("--temperature", type=float, default=100.0, help="temperature (K)")
    parser.add_argument("--repeats", type=int, default=8, help="number of switches in each direction, in both programs")
    parser.add_argument("--equilibration", type=int, default=500, help="number of equilibration steps")
    parser.add_argument("--switching", type=int, default=1000, help="number of switching steps")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    lengths = chosen.equilibration, chosen.switching
    report = Report(
        "Frenkel–Ladd of bcc Fe with alchemflows and flmlip",
        "benchmarks/flmlip_agreement.py",
        {name: getattr(chosen, name) for name in ("temperature", "repeats", "equilibration", "switching", "threads")},
    )
    structure = bcc_iron(A_A) * (2, 2, 2)
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = MACECalculator(
        models=[load_mace(_model_file("mace-demo").read_bytes())], device="cpu", default_dtype="float32"
    )
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        ours(structure, chosen.temperature, 2, 10, 10)  # TorchScript compiles
        theirs(atoms, chosen.temperature, 0, 10, 10)
        # Half of the flmlip runs are before the alchemflows run and half after it.
        halves = [range(1, 1 + chosen.repeats // 2), range(1 + chosen.repeats // 2, 1 + chosen.repeats)]
        runs = [theirs(atoms, chosen.temperature, seed, *lengths) for seed in halves[0]]
        document, seconds = ours(structure, chosen.temperature, chosen.repeats, *lengths)
        runs += [theirs(atoms, chosen.temperature, seed, *lengths) for seed in halves[1]]
        os.chdir(before)
    n = len(structure)
    values, times = np.array([f for f, _ in runs]), np.array([t for _, t in runs])
    error = values.std(ddof=1) / np.sqrt(len(values))
    own, own_error = vibrational_F_eV(document), document.helmholtz.error_eV
    report.measure("F of the 3N − 3 modes, alchemflows", own / n, "eV/atom")
    report.measure("its standard error", 1e3 * own_error / n, "meV/atom")
    report.measure("F of the 3N − 3 modes, flmlip, mean", values.mean() / n, "eV/atom")
    report.measure("its standard error", 1e3 * error / n, "meV/atom")
    report.measure("difference", 1e3 * (own - values.mean()) / n, "meV/atom")
    report.measure("time of all switches, alchemflows", seconds, "s")
    report.measure("time of all switches, flmlip", times.sum(), "s")
    sigmas = abs(own - values.mean()) / np.hypot(error, own_error)
    report.target(1, "difference of the two F in standard errors", np.array([sigmas]), 2.0)
    ratio = own_error**2 * seconds / (error**2 * times.sum())
    report.target(2, "time for the same error, alchemflows / flmlip", np.array([ratio]), 0.5)
    report.target(
        3, "time for the same number of switches, alchemflows / flmlip", np.array([seconds / times.sum()]), None
    )
    report.note(f"F: {own / n:.6f} and {values.mean() / n:.6f} eV/atom.")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
