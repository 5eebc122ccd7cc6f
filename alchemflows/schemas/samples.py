"""Time series of a window, and the packed form in which they are stored."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pybase64
from pydantic import ConfigDict, Field

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.document import Document

_END = "end_"
_EXCHANGED = "exchanged_"


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

    def arrays(self, chosen: Callable[[str], bool] = lambda _: True) -> dict[str, np.ndarray]:
        """Return the arrays, or those with chosen names, bitwise as they were packed."""
        packed = pybase64.b64decode(self.npz_base64, validate=True)  # much faster than the standard library
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if chosen(name)}


class PackedSeries(PackedArrays):
    """A packed :class:`WindowSeries`; arrays are named like its attributes, except the energies at all λ.

    These make up most of the data and are stored as mean and fluctuations: ``energies_eV`` = ``energy_eV[:, None]`` +
    ``energy_offsets_eV`` (K) + ``energy_fluctuations_eV`` (n, K, single precision). This halves the size in the
    database; the relative rounding error of a fluctuation is 6e-8, far below kT.

    Arrays whose names begin with ``end_`` are the final state of the window. They are stored here, since a separate
    file for each window would add a tenth to the database requests of a worker. For the same reason, arrays whose names
    begin with ``exchanged_`` are the samples of replicas at T other temperatures with which the window exchanged its
    configurations: ``exchanged_temperatures_K`` (T), and the arrays above for all temperatures, with a first axis of
    length T. Their times are those of the window.
    """

    n_samples: int

    @classmethod
    def pack(
        cls,
        series: WindowSeries,
        end: Mapping[str, np.ndarray] | None = None,
        exchanged: Mapping[float, WindowSeries] | None = None,
    ) -> PackedSeries:
        """Pack a series, and optionally the arrays of its final state and the series at exchanged temperatures (K).

        Examples
        --------
        >>> import numpy as np
        >>> from alchemflows.schemas.samples import PackedSeries, WindowSeries
        >>> def series(temperature_K):
        ...     return WindowSeries(*np.full((4, 5), temperature_K), np.ones((5, 2)), np.ones(5))
        >>> packed = PackedSeries.pack(series(300.0), exchanged={400.0: series(400.0)})
        >>> packed.exchanged_temperatures_K, packed.unpack(400.0).energy_eV[0].item()
        ([400.0], 400.0)
        """
        arrays = _compressed(series) | {f"{_END}{name}": values for name, values in (end or {}).items()}
        arrays["time_fs"] = series.time_fs
        if exchanged:
            others = [_compressed(each) for each in exchanged.values()]
            arrays[f"{_EXCHANGED}temperatures_K"] = np.array(list(exchanged))
            arrays |= {f"{_EXCHANGED}{name}": np.stack([other[name] for other in others]) for name in others[0]}
        return cls(n_samples=len(series), npz_base64=cls.encode(**arrays))

    @property
    def exchanged_temperatures_K(self) -> list[float]:
        """Other temperatures (K) whose samples are stored; none in documents of earlier releases."""
        found = self.arrays(lambda name: name == f"{_EXCHANGED}temperatures_K")
        return [temperature for values in found.values() for temperature in values.tolist()]

    def unpack(self, temperature_K: float | None = None) -> WindowSeries:
        """Return the series as it was packed, except for the rounding of `energies_eV`.

        Parameters
        ----------
        temperature_K
            One of the exchanged temperatures (K) whose series is returned; None for the window itself.

        Raises
        ------
        InvalidInputError
            If no samples at this temperature are stored.
        """
        if temperature_K is None:
            return _restored(self.arrays(lambda name: not name.startswith((_END, _EXCHANGED))))
        stacked = self.arrays(lambda name: name == "time_fs" or name.startswith(_EXCHANGED))
        known = stacked.pop(f"{_EXCHANGED}temperatures_K", np.empty(0)).tolist()
        if temperature_K not in known:
            raise InvalidInputError(f"no samples at {temperature_K:g} K are stored, only at {known}")
        at = known.index(temperature_K)
        time_fs = stacked.pop("time_fs")
        own = {name.removeprefix(_EXCHANGED): values[at] for name, values in stacked.items()}
        return _restored(own | {"time_fs": time_fs})

    def end(self) -> dict[str, np.ndarray]:
        """Return the arrays of the final state."""
        return {n.removeprefix(_END): each for n, each in self.arrays(lambda name: name.startswith(_END)).items()}


def _compressed(series: WindowSeries) -> dict[str, np.ndarray]:
    """Return the arrays of a series but its times, the energies at all λ as mean and fluctuations."""
    gaps = series.energies_eV - series.energy_eV[:, None]
    offsets = gaps.mean(axis=0) if len(series) else np.zeros(gaps.shape[1])
    gaps -= offsets
    columns = {name: values for name, values in vars(series).items() if name not in ("energies_eV", "time_fs")}
    return columns | {"energy_offsets_eV": offsets, "energy_fluctuations_eV": gaps.astype(np.float32)}


def _restored(arrays: dict[str, np.ndarray]) -> WindowSeries:
    energies = arrays.pop("energy_fluctuations_eV").astype(np.float64)
    energies += arrays.pop("energy_offsets_eV")  # in place, since the array may have 100 MB
    energies += arrays["energy_eV"][:, None]
    return WindowSeries(**arrays, energies_eV=energies)
