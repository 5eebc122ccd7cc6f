"""Calculators and Monte Carlo of other packages, beside which those of this package are measured.

symmetrix-xl is MACE compiled for the processor. torch-sim has swap Monte Carlo in batches. Both are installed from PyPI
into folders of their own, without the dependencies that are here already.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator

SYMMETRIX = ("symmetrix-xl==0.1.1",)
#: tables and what follows it are used by the trajectories of torch-sim, which imports them at once.
TORCH_SIM = (
    "torch-sim-atomistic==0.3.0",
    "vesin",
    "vesin-torch",
    "tables",
    "blosc2",
    "numexpr",
    "ndindex",
    "py-cpuinfo",
)


def sevennet_calculator() -> Callable[[], Calculator]:
    """Return a function that makes a plain SevenNet-0 calculator.

    Raises
    ------
    ImportError
        If the package sevenn is not installed.
    """
    from sevenn.calculator import SevenNetCalculator

    return lambda: SevenNetCalculator("7net-0", device="cpu")


def chgnet_calculator() -> Callable[[], Calculator]:
    """Return a function that makes a plain CHGNet calculator.

    Raises
    ------
    ImportError
        If the package chgnet is not installed.
    """
    from chgnet.model import CHGNet, CHGNetCalculator

    def make() -> Calculator:
        with contextlib.redirect_stdout(io.StringIO()):  # chgnet prints its device
            return CHGNetCalculator(CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")

    return make


def install(folder: Path, packages: Sequence[str]) -> None:
    """Install packages, the first of which is wanted, into a folder from which they can be imported.

    Raises
    ------
    ImportError
        If it cannot be installed.
    """
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        error = (done.stderr.strip() or "pip failed").splitlines()[-1]
        raise ImportError(f"{packages[0]} cannot be installed: {error}")
    sys.path.append(str(folder))


def symmetrix_calculator(model_file: Path, folder: Path, threads: int) -> tuple[Calculator, float]:
    """Return the calculator of a MACE model in float32, and the seconds that converting and compiling it took.

    Parameters
    ----------
    model_file
        File of the model.
    folder
        Folder into which the package is installed, and where it keeps what it compiles.
    threads
        Number of OpenMP threads; it cannot be changed in the same process.

    Raises
    ------
    ImportError
        If the package cannot be installed.
    """
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "false"}
    os.environ["SYMMETRIX_JIT_CACHE"] = str(folder / "compiled")
    install(folder / "packages", SYMMETRIX)
    from symmetrix import Symmetrix

    started = perf_counter()
    logging.disable(logging.WARNING)  # the list of all elements
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            calculator: Calculator = Symmetrix(str(model_file), dtype="float32")
    finally:
        logging.disable(logging.NOTSET)
    return calculator, perf_counter() - started


class TorchSimSwaps:
    """The swap Monte Carlo of torch-sim as published, with a MACE model, one arrangement at a time.

    It swaps any two atoms of different elements, also cations with anions, and builds the neighbour list at each
    attempt. After an accepted swap the next arrangement follows, so that each attempt starts from one that was given.

    Parameters
    ----------
    model
        The MACE model; it is converted to float32.
    arrangements
        Equilibrated states.
    temperature_K
        Temperature (K).
    folder
        Folder into which the package is installed.

    Attributes
    ----------
    energies_eV
        Energies of the arrangements (eV).
    n_attempts, n_accepted
        Numbers of attempted and of accepted swaps.

    Raises
    ------
    ImportError
        If the package cannot be installed.
    """

    def __init__(
        self, model: torch.nn.Module, arrangements: Sequence[Atoms], temperature_K: float, folder: Path
    ) -> None:
        install(folder, TORCH_SIM)
        import torch_sim
        from torch_sim.models.mace import MaceModel
        from torch_sim.monte_carlo import swap_monte_carlo

        device, dtype = torch.device("cpu"), torch.float32
        energies = MaceModel(model, device=device, dtype=dtype, compute_forces=False, compute_stress=False)
        start, self._step = swap_monte_carlo(model=energies, kT=temperature_K * units.kB, seed=0)
        self._starts = [start(torch_sim.io.atoms_to_state([atoms], device, dtype)) for atoms in arrangements]
        self._same = torch.arange(len(arrangements[0]))
        self._state = self._starts[0].clone()
        self.energies_eV = [float(state.energy) for state in self._starts]
        self.n_attempts = self.n_accepted = 0

    def attempt(self) -> None:
        """Attempt one swap."""
        self._state = self._step(self._state)
        self.n_attempts += 1
        if not torch.equal(self._state.last_permutation, self._same):
            self.n_accepted += 1
            self._state = self._starts[self.n_accepted % len(self._starts)].clone()
