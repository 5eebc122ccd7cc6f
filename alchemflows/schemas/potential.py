"""The specification of a potential, and the record of a loaded potential."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from alchemflows.errors import PotentialError
from alchemflows.schemas.base import MakerField

Dtype = Literal["float32", "float64"]
Kernels = Literal["built-in", "cuequivariance"]

#: Small potential included in this package, for learning and tests; see docs/mace-demo.md.
DEMO = "mace-demo"
#: Note wherever results of it are shown.
DEMO_NOTE = f"{DEMO}, for learning and tests, not for publications"
#: Prefixes of the names of potentials that are included in the package sevenn.
SEVENNET_PREFIXES = ("sevennet-", "7net-")


class PotentialSpec(MakerField):
    """Specification of a potential.

    If a SHA-256 is given, it is compared with that of the model file before the file is loaded, since most model files
    are pickles, which can run code when they are loaded.

    Examples
    --------
    >>> from alchemflows import PotentialSpec
    >>> PotentialSpec(name="mace-demo", dtype="float64", device="cpu").dtype
    'float64'
    """

    name: str = Field(
        description="`mace-demo`, `sevennet-0`, a name of `mace_mp` (`small`, `medium-mpa-0`, ...), or a model file"
    )
    dtype: Dtype = Field("float32", description="precision of the potential; positions and sums are float64")
    device: str = Field("auto", description="`cpu`, `cuda`, `cuda:1`, ...; `auto` uses CUDA if available")
    head: str | None = Field(None, description="head of a multi-head MACE model")
    sha256: str | None = Field(None, description="SHA-256 that the model file must have")
    kernels: Kernels = Field(
        "built-in", description="kernels of MACE potentials: built-in or cuequivariance (NVIDIA GPUs)"
    )


class PotentialRecord(BaseModel):
    """The potential that was loaded."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="name as specified")
    backend: str = Field(description="`mace` or `sevennet`")
    sha256: str = Field(description="SHA-256 of the model file")
    dtype: Dtype
    device: str
    head: str | None = None
    kernels: Kernels = "built-in"

    def spec(self, device: str = "auto") -> PotentialSpec:
        """Return the specification of the same potential, whose file must have the same SHA-256, on any device."""
        return PotentialSpec(name=self.name, dtype=self.dtype, device=device, head=self.head, sha256=self.sha256)


def is_sevennet(name: str) -> bool:
    """Tell whether a name means a potential of the package sevenn, and not a file."""
    return name.lower().startswith(SEVENNET_PREFIXES) and not Path(name).is_file()


def check_sevennet(name: str) -> None:
    """Raise an error if the package of SevenNet potentials is not installed.

    Parameters
    ----------
    name
        Name of the potential, for the error.

    Raises
    ------
    PotentialError
        Naming the extra to install.
    """
    if find_spec("sevenn") is None:
        raise PotentialError(f'{name} requires the package sevenn (GPL-3): pip install "alchemflows[sevennet]"')
