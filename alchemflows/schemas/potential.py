"""What a potential is: what the user asks for, and what was loaded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from alchemflows.schemas.base import MakerField

Dtype = Literal["float32", "float64"]
Kernels = Literal["built-in", "cuequivariance"]


class PotentialSpec(MakerField):
    """A request for a potential.

    The SHA-256, if given, is compared with that of the file before anything in it is read: most model files are
    pickles, which can run code when they are loaded.

    Examples
    --------
    >>> from alchemflows import PotentialSpec
    >>> PotentialSpec(name="mace-demo", dtype="float64", device="cpu").dtype
    'float64'
    """

    name: str = Field(
        description="`mace-demo`, `sevennet-0`, a name that `mace_mp` knows (`small`, `medium-mpa-0`, ...), or a file"
    )
    dtype: Dtype = Field("float32", description="precision of the model; positions and sums are float64")
    device: str = Field("auto", description="`cpu`, `cuda`, `cuda:1`, ...; `auto`: CUDA where there is one")
    head: str | None = Field(None, description="head of a multi-head MACE model")
    sha256: str | None = Field(None, description="SHA-256 that the model file must have")
    kernels: Kernels = Field("built-in", description="of MACE models: ours, or cuEquivariance's (for NVIDIA GPUs)")


class PotentialRecord(BaseModel):
    """The potential that was loaded."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="as it was asked for")
    backend: str = Field(description="`mace` or `sevennet`")
    sha256: str = Field(description="SHA-256 of the model file")
    dtype: Dtype
    device: str
    head: str | None = None
    kernels: Kernels = "built-in"
