"""The specification of a potential, and the record of a loaded potential."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from alchemflows.errors import PotentialError
from alchemflows.schemas.base import MakerField

Dtype = Literal["float32", "float64"]
Kernels = Literal["built-in", "compiled", "cuequivariance"]

#: Small potential included in this package, for learning and tests; see docs/mace-demo.md.
DEMO = "mace-demo"
#: Note wherever results of it are shown.
DEMO_NOTE = f"{DEMO}, for learning and tests, not for publications"
#: Prefixes of the names of potentials that are included in the package sevenn.
SEVENNET_PREFIXES = ("sevennet-", "7net-")
#: Files of these potentials in the package's folder ``pretrained_potentials``, by name without prefix.
SEVENNET_FILES = {
    "0": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "0_11jul2024": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "0_11july2024": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "0_22may2024": "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
    "l3i5": "SevenNet_l3i5/checkpoint_l3i5.pth",
    "mf-0": "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
}
#: Files of the potentials that are included in the package chgnet, by name.
CHGNET_FILES = {
    "chgnet": "pretrained/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "chgnet-r2scan": "pretrained/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}


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
        description="`mace-demo`, `sevennet-0`, `chgnet`, a name of `mace_mp` (`small`, `medium-mpa-0`, ...), or a "
        "model file"
    )
    dtype: Dtype = Field("float32", description="precision of the potential; positions and sums are float64")
    device: str = Field("auto", description="`cpu`, `cuda`, `cuda:1`, ...; `auto` uses CUDA if available")
    head: str | None = Field(
        None, description="head of a multi-head MACE model, or modality of a multi-modal SevenNet checkpoint"
    )
    sha256: str | None = Field(None, description="SHA-256 that the model file must have")
    kernels: Kernels = Field(
        "built-in",
        description="`built-in`; `compiled` for long runs of MACE and SevenNet on a CPU; `cuequivariance` for MACE on "
        "NVIDIA GPUs",
    )


class PotentialRecord(BaseModel):
    """The potential that was loaded."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="name as specified")
    backend: str = Field(description="`mace`, `sevennet` or `chgnet`")
    sha256: str = Field(description="SHA-256 of the model file")
    dtype: Dtype
    device: str
    head: str | None = None
    kernels: Kernels = "built-in"

    def spec(self, device: str = "auto") -> PotentialSpec:
        """Return the specification of the same potential, whose file must have the same SHA-256, on any device."""
        return PotentialSpec(name=self.name, dtype=self.dtype, device=device, head=self.head, sha256=self.sha256)


def package_of(name: str) -> str | None:
    """Return the optional package that contains a potential, by its name; None for files and other names."""
    if name in CHGNET_FILES:
        return "chgnet"
    return "sevenn" if name.lower().startswith(SEVENNET_PREFIXES) and not Path(name).is_file() else None


def check_package(package: str | None, name: str) -> None:
    """Raise an error if the optional package of a potential is not installed.

    Parameters
    ----------
    package
        As of :func:`package_of`.
    name
        Name of the potential, for the error.

    Raises
    ------
    PotentialError
        Naming the extra to install.
    """
    if package is not None and find_spec(package) is None:
        licence, extra = {"sevenn": ("GPL-3", "sevennet"), "chgnet": ("BSD", "chgnet")}[package]
        raise PotentialError(f'{name} requires the package {package} ({licence}): pip install "alchemflows[{extra}]"')
