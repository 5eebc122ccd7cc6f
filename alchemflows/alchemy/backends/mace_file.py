"""Read and write a ScaleShiftMACE as a safetensors file: tensors and a description in JSON, without code.

mace-torch pickles whole models. Loading a pickle runs code, and a pickle contains paths of the machine on which it was
written; a safetensors file avoids both. The description contains the arguments of MACE's own constructor; classes and
functions are given by name.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from e3nn import o3
from mace.modules import MACE, ScaleShiftMACE, gate_dict, interaction_classes, readout_classes
from mace.modules.radial import AgnesiTransform, BesselBasis, GaussianBasis, SoftTransform
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alchemflows.alchemy.backends import mace_internals as internals
from alchemflows.alchemy.backends.precision import default_dtype
from alchemflows.errors import PotentialError

SUFFIX = ".safetensors"

#: Key of the description in the metadata of the file. Only one key is used, since the order of several is not kept.
METADATA_KEY = "mace_model"

_RADIAL = {"bessel": BesselBasis, "gaussian": GaussianBasis}
_TRANSFORMS = {"Agnesi": AgnesiTransform, "Soft": SoftTransform}
_T = TypeVar("_T")

Width = Annotated[int, Field(ge=1, le=4096)]
Irreps = Annotated[str, Field(pattern=r"^\d{1,4}x\d{1,2}[eo](\+\d{1,4}x\d{1,2}[eo])*$")]


class MACEArchitecture(BaseModel):
    """Arguments of MACE's constructor that do not follow from the tensors.

    Values are bounded, so that a damaged or malicious description cannot request too much memory.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model_class: Literal["ScaleShiftMACE"] = "ScaleShiftMACE"
    dtype: Literal["float32", "float64"]
    heads: list[str] | None
    r_max: float = Field(gt=0, le=50)
    radial_type: Literal["bessel", "gaussian"]
    num_bessel: Width
    num_polynomial_cutoff: int = Field(ge=1, le=100)
    distance_transform: Literal["None", "Agnesi", "Soft"]
    apply_cutoff: bool
    pair_repulsion: bool
    radial_MLP: list[Width]
    max_ell: int = Field(ge=0, le=11)
    interaction_cls_first: str
    interaction_cls: str
    num_interactions: int = Field(ge=1, le=16)
    hidden_irreps: Irreps
    edge_irreps: Irreps | None
    use_edge_irreps_first: bool
    keep_last_layer_irreps: bool
    avg_num_neighbors: float
    correlation: list[Annotated[int, Field(ge=1, le=6)]]
    use_reduced_cg: bool
    use_so3: bool
    use_agnostic_product: bool
    use_last_readout_only: bool
    readout_cls: str
    MLP_irreps: Irreps
    gate: str

    @model_validator(mode="after")
    def _known(self) -> MACEArchitecture:
        for name, known in (
            (self.interaction_cls_first, interaction_classes),
            (self.interaction_cls, interaction_classes),
            (self.readout_cls, readout_classes),
            (self.gate, gate_dict),
        ):
            if name not in known:
                raise ValueError(f"{name!r} is not one of {', '.join(known)}")
        if len(self.correlation) != self.num_interactions:
            raise ValueError(
                f"correlation must have one value for each of the {self.num_interactions} interactions; "
                f"got {len(self.correlation)}"
            )
        return self


class _Description(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: str
    description: str
    architecture: MACEArchitecture


def save_mace(model: torch.nn.Module, path: Path, *, name: str, description: str) -> None:
    """Write a ScaleShiftMACE to a safetensors file, after checking that the file gives the same energies.

    Parameters
    ----------
    model
        Model with all parameters in the same precision, float32 or float64.
    path
        Path of the file, ending with ``.safetensors``.
    name, description
        Free text for readers.

    Raises
    ------
    PotentialError
        If the format cannot describe the model.
    """
    # Subclasses have other parts.
    if type(model) is not ScaleShiftMACE:
        raise PotentialError(f"a {type(model).__name__} cannot be written; only ScaleShiftMACE is supported")
    if path.suffix != SUFFIX:
        raise PotentialError(f"the name of {path} must end with {SUFFIX}")
    # A copy on the CPU, since buffers may be views of one another.
    model = copy.deepcopy(model).to("cpu").eval()
    tensors = {k: v.detach().contiguous().clone() for k, v in model.state_dict().items()}
    about = _Description(name=name, description=description, architecture=_describe(model))
    data = safetensors.torch.save(tensors, {METADATA_KEY: about.model_dump_json()})
    if not _same_energies(model, load_mace(data)):
        raise PotentialError("the model cannot be written: rebuilt from its description, it gives different energies")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def load_mace(data: bytes) -> ScaleShiftMACE:
    """Return the model from the content of a file that :func:`save_mace` wrote, in its original precision.

    Raises
    ------
    PotentialError
        If the content is damaged or does not describe a MACE model.
    """
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise PotentialError(f"not a valid safetensors file: {error}") from error
    architecture = _description(data).architecture
    try:
        with default_dtype(getattr(torch, architecture.dtype)):
            model = ScaleShiftMACE(**_arguments(architecture, tensors))
        constants = {name: value for name, value in model.state_dict().items() if internals.is_constant(name)}
        model.load_state_dict(constants | tensors, strict=True)
    except KeyError as error:
        raise PotentialError(f"the file lacks the tensor {error}") from error
    except Exception as error:  # constructors of mace and e3nn may raise any error
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PotentialError(f"the tensors do not match the description: {first}") from error
    return model.eval()


def _description(data: bytes) -> _Description:
    # safetensors returns metadata only from files on disk; it has already validated the header.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        raise PotentialError(f"the safetensors file has no description {METADATA_KEY!r} of a MACE model")
    try:
        return _Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or METADATA_KEY
        raise PotentialError(f"the description of the MACE model is not valid: {where}: {first['msg']}") from error


def _arguments(architecture: MACEArchitecture, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return the arguments of MACE's constructor, from the description and from the tensors."""
    # A release of mace-torch that lacks an option does what later ones do where it is false.
    known = inspect.signature(MACE).parameters
    arguments = architecture.model_dump(exclude={"model_class", "dtype"})
    arguments = {name: value for name, value in arguments.items() if value is not False or name in known}
    for name in ("interaction_cls_first", "interaction_cls"):
        arguments[name] = interaction_classes[arguments[name]]
    for name in ("hidden_irreps", "edge_irreps", "MLP_irreps"):
        arguments[name] = None if arguments[name] is None else o3.Irreps(arguments[name])
    numbers = tensors["atomic_numbers"]
    return arguments | {
        "readout_cls": readout_classes[architecture.readout_cls],
        "gate": gate_dict[architecture.gate],
        "atomic_numbers": [int(z) for z in numbers],
        "num_elements": len(numbers),
        "atomic_energies": tensors["atomic_energies_fn.atomic_energies"].numpy(),
        "atomic_inter_scale": tensors["scale_shift.scale"].numpy(),
        "atomic_inter_shift": tensors["scale_shift.shift"].numpy(),
    }


def _describe(model: Any) -> MACEArchitecture:
    if internals.embeds_other_inputs(model):
        raise PotentialError("the model cannot be written: it takes other inputs besides the elements")
    dtypes = {v.dtype for v in model.state_dict().values() if v.is_floating_point()}
    first, last, radial = model.interactions[0], model.interactions[-1], model.radial_embedding
    hidden = o3.Irreps(str(model.products[0].linear.irreps_out))
    final = o3.Irreps(str(model.products[-1].linear.irreps_out))
    n_layers, n_heads = len(model.interactions), len(getattr(model, "heads", None) or ["Default"])
    readout = model.readouts[-1]
    mlp = o3.Irreps(str(getattr(readout, "hidden_irreps", "1x0e")))
    edge_irreps = getattr(model, "edge_irreps", None)
    try:
        return MACEArchitecture(
            dtype=_only(str(d).removeprefix("torch.") for d in dtypes),
            heads=getattr(model, "heads", None),
            r_max=float(model.r_max),
            radial_type=_name_of(_RADIAL, type(radial.bessel_fn)),
            num_bessel=radial.out_dim,
            num_polynomial_cutoff=int(radial.cutoff_fn.p),
            distance_transform=(
                _name_of(_TRANSFORMS, type(radial.distance_transform))
                if internals.has_distance_transform(model)
                else "None"
            ),
            apply_cutoff=getattr(model, "apply_cutoff", True),
            pair_repulsion=internals.has_pair_repulsion(model),
            radial_MLP=list(first.radial_MLP),
            max_ell=model.spherical_harmonics.irreps_out.lmax,
            interaction_cls_first=_name_of(interaction_classes, type(first)),
            interaction_cls=_name_of(interaction_classes, type(last)),
            num_interactions=n_layers,
            hidden_irreps=str(hidden),
            edge_irreps=None if edge_irreps is None else str(o3.Irreps(edge_irreps)),
            use_edge_irreps_first=getattr(model, "use_edge_irreps_first", False),
            keep_last_layer_irreps=n_layers > 1 and len(final) > 1,
            avg_num_neighbors=float(first.avg_num_neighbors),
            correlation=[internals.correlation(product) for product in model.products],
            use_reduced_cg=getattr(model, "use_reduced_cg", False),
            use_so3=getattr(model, "use_so3", False),
            use_agnostic_product=getattr(model, "use_agnostic_product", False),
            use_last_readout_only=getattr(model, "use_last_readout_only", False),
            readout_cls=_name_of(readout_classes, type(readout)),
            MLP_irreps=f"{max(1, mlp.count(o3.Irrep(0, 1)) // n_heads)}x0e",
            gate=_gate(readout),
        )
    except (AttributeError, ValidationError) as error:
        raise PotentialError(f"the model cannot be written: {error}") from error


def _gate(readout: Any) -> str:
    activation = getattr(readout, "non_linearity", None)
    if activation is None:
        return "None"
    # e3nn wraps the function to normalise its second moment; `f` is the original.
    return _name_of(gate_dict, getattr(activation.acts[0], "f", activation.acts[0]))


def _name_of(known: Mapping[str, Any], value: Any) -> str:
    for name, candidate in known.items():
        if candidate is value:
            return name
    raise PotentialError(f"the model cannot be written: {getattr(value, '__name__', value)} is not supported")


def _only(values: Iterator[_T]) -> _T:
    found = sorted(set(values), key=str)
    if len(found) != 1:
        raise PotentialError(f"the model cannot be written: it mixes {', '.join(map(str, found))}")
    return found[0]


def _same_energies(one: ScaleShiftMACE, other: ScaleShiftMACE) -> bool:
    """Return whether two models give bitwise equal energies for a cluster with all elements, for every head."""
    for head in range(len(getattr(one, "heads", None) or ["Default"])):
        example = cluster(one, head)
        first, second = (cast(Any, m)(dict(example), compute_force=False)["node_energy"] for m in (one, other))
        if not torch.equal(first, second):
            return False
    return True


def cluster(model: Any, head: int = 0) -> dict[str, torch.Tensor]:
    """Return the input of a model's forward method for a random cluster with all its elements."""
    n_elements = len(model.atomic_numbers)
    rng = np.random.default_rng(0)
    n = max(8, n_elements)
    dtype = next(v.dtype for v in model.state_dict().values() if v.is_floating_point())
    positions = torch.tensor(rng.uniform(0, 0.6 * float(model.r_max), (n, 3)), dtype=dtype)
    apart = torch.linalg.vector_norm(positions[:, None] - positions[None], dim=-1)
    sender, receiver = ((apart > 0) & (apart < model.r_max)).nonzero(as_tuple=True)
    zero = torch.zeros(len(sender), 3, dtype=dtype)
    return {
        "positions": positions,
        "node_attrs": torch.nn.functional.one_hot(torch.arange(n) % n_elements, n_elements).to(dtype),
        "edge_index": torch.stack([sender, receiver]),
        "shifts": zero,
        "unit_shifts": zero,
        "cell": torch.eye(3, dtype=dtype) * 100,
        "batch": torch.zeros(n, dtype=torch.int64),
        "ptr": torch.tensor([0, n]),
        "head": torch.tensor([head]),
    }
