"""Time series of a window, and the packed form in which they are stored."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pybase64
from pydantic import ConfigDict, Field

from alchemflows.schemas.document import Document

_END = "end_"


@dataclass(frozen=True)
class WindowSeries:
    """Time series of one window: n samples, with energies at K values of λ.

    Attributes
    ----------
    time_fs
        Time since production began, shape (n,).
    energy_eV
        Potential energy U, shape (n,).
    dudl_eV
        dU/dλ along the path, shape (n,).
    temperature_K
        Kinetic temperature, shape (n,).
    energies_eV
        U of each sampled configuration at every λ of the grid, shape (n, K); u_nk is β (U + PV).
    volume_A3
        Volume of the cell, shape (n,).
    """

    time_fs: np.ndarray
    energy_eV: np.ndarray
    dudl_eV: np.ndarray
    temperature_K: np.ndarray
    energies_eV: np.ndarray
    volume_A3: np.ndarray

    def __len__(self) -> int:
        return len(self.time_fs)

    def after(self, fraction: float) -> WindowSeries:
        """Return the series without the given fraction of samples at its start."""
        start = int(fraction * len(self))
        return WindowSeries(**{name: values[start:] for name, values in vars(self).items()})


class PackedArrays(Document):
    """Named arrays as one string, which a database stores fast and without rounding.

    The string is the base64 form of an uncompressed NumPy ``.npz`` file;
    ``numpy.load(io.BytesIO(base64.b64decode(npz_base64)))`` reads it.
    """

    model_config = ConfigDict(extra="forbid")

    npz_base64: str = Field(repr=False)

    @staticmethod
    def encode(**arrays: np.ndarray) -> str:
        """Return arrays as a string."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return pybase64.b64encode_as_string(buffer.getbuffer())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays, bitwise as they were packed."""
        packed = pybase64.b64decode(self.npz_base64, validate=True)  # much faster than the standard library
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return dict(arrays)


class PackedSeries(PackedArrays):
    """A packed :class:`WindowSeries`; arrays are named like its attributes, except the energies at all λ.

    These make up most of the data and are stored as mean and fluctuations: ``energies_eV`` = ``energy_eV[:, None]`` +
    ``energy_offsets_eV`` (K) + ``energy_fluctuations_eV`` (n, K, single precision). This halves the size in the
    database; the relative rounding error of a fluctuation is 6e-8, far below kT.

    Arrays whose names begin with ``end_`` are the final state of the window. They are stored here, since a separate
    file for each window would add a tenth to the database requests of a worker.
    """

    n_samples: int

    @classmethod
    def pack(cls, series: WindowSeries, end: Mapping[str, np.ndarray] | None = None) -> PackedSeries:
        """Pack a series, and optionally the arrays of its final state."""
        columns = {name: values for name, values in vars(series).items() if name != "energies_eV"}
        gaps = series.energies_eV - series.energy_eV[:, None]
        offsets = gaps.mean(axis=0) if len(series) else np.zeros(gaps.shape[1])
        gaps -= offsets
        columns |= {f"{_END}{name}": values for name, values in (end or {}).items()}
        packed = cls.encode(**columns, energy_offsets_eV=offsets, energy_fluctuations_eV=gaps.astype(np.float32))
        return cls(n_samples=len(series), npz_base64=packed)

    def unpack(self) -> WindowSeries:
        """Return the series as it was packed, except for the rounding of `energies_eV`."""
        arrays = {name: values for name, values in self.arrays().items() if not name.startswith(_END)}
        energies = arrays.pop("energy_fluctuations_eV").astype(np.float64)
        energies += arrays.pop("energy_offsets_eV")  # in place, since the array may have 100 MB
        energies += arrays["energy_eV"][:, None]
        return WindowSeries(**arrays, energies_eV=energies)

    def end(self) -> dict[str, np.ndarray]:
        """Return the arrays of the final state."""
        return {name.removeprefix(_END): values for name, values in self.arrays().items() if name.startswith(_END)}
