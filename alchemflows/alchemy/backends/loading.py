"""Load a potential by name or from a file, with the backend for its architecture."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch

from alchemflows.alchemy.backends.mace import MACEBackend, mace_model_file
from alchemflows.alchemy.backends.mace_file import SUFFIX, load_mace
from alchemflows.alchemy.interfaces import Backend
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import CHGNET_FILES, DEMO, PotentialSpec, check_package
from alchemflows.schemas.potential_names import check_name, is_known_name, mace_names


def load_potential(spec: PotentialSpec | str) -> Backend:
    """Load a potential, once per process for each distinct spec.

    Parameters
    ----------
    spec
        Potential spec, or the name or path of a potential; then the defaults of :class:`PotentialSpec` are used.

    Raises
    ------
    PotentialError
        If the file is missing, contains no potential, has another SHA-256 than the spec, or its architecture is not
        supported; if a package or a device is missing; or if compiled kernels are requested on a GPU.

    Examples
    --------
    >>> from alchemflows import load_potential
    >>> backend = load_potential("mace-demo")
    >>> backend.record.backend, backend.record.dtype
    ('mace', 'float32')
    """
    spec = PotentialSpec(name=spec) if isinstance(spec, str) else spec
    device = check_device(spec.device)
    if spec.kernels == "compiled" and device.type != "cpu":
        raise PotentialError(f"kernels: compiled kernels are for CPUs; the device is {device}")
    path = _model_file(spec.name)
    # With a given SHA-256 the file is not read again if the potential is loaded already, since files can be large.
    sha256 = spec.sha256 or hashlib.sha256(_read(path)).hexdigest()
    return _load(spec.model_copy(update={"sha256": sha256, "device": str(device)}), path)


def mace_model(name: str) -> torch.nn.Module:
    """Return a MACE model as it is in its file, on the CPU; :func:`~.mace_file.save_mace` writes it without pickle.

    Parameters
    ----------
    name
        Name of a foundation model (`mace_mp`), which mace-torch downloads if it is not in its cache, or a path.

    Raises
    ------
    PotentialError
        If the file is missing or is not that of a MACE model.
    """
    path = _model_file(name)
    content = _content(_read(path), name, path)
    if not isinstance(content, torch.nn.Module):
        raise PotentialError(f"{name} is not a MACE model")
    return content


def resolve(spec: PotentialSpec | str) -> tuple[PotentialSpec, Backend]:
    """Load the potential on the CPU, and return its spec with the full path and the SHA-256 of the file.

    Jobs with this spec refuse any other file on every machine. The device of the spec need not exist on this machine.

    Returns
    -------
    spec, backend
        Potential spec for jobs, and the loaded potential.

    Raises
    ------
    PotentialError
        As for :func:`load_potential`.
    """
    spec = PotentialSpec(name=spec) if isinstance(spec, str) else spec
    backend = load_potential(spec.model_copy(update={"device": "cpu"}))
    path = Path(spec.name).expanduser()
    name = str(path.resolve()) if not is_known_name(spec.name) and path.is_file() else spec.name
    return spec.model_copy(update={"sha256": backend.record.sha256, "name": name}), backend


# The SHA-256 is part of the cache key: another file of the same name is another potential.
@lru_cache(maxsize=4)
def _load(spec: PotentialSpec, path: Path) -> Backend:
    # With profiling, the first evaluations of a TorchScript module round differently from later ones, and a run that is
    # continued in another process would give different results. Private to torch; seen in torch 2.13.0.
    torch._C._jit_set_profiling_mode(False)
    device = torch.device(spec.device)
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        raise PotentialError(f"{spec.name}: the file has the SHA-256 {found}, but the potential spec has {spec.sha256}")
    content = _content(data, spec.name, path)
    try:
        if isinstance(content, dict) and {"model_state_dict", "config"} <= set(content):
            from alchemflows.alchemy.backends.sevennet import SevenNetBackend

            return SevenNetBackend(content, spec, found, device)
        if isinstance(content, dict) and isinstance(content.get("model"), dict) and "model_args" in content["model"]:
            check_package("chgnet", spec.name)
            from alchemflows.alchemy.backends.chgnet import CHGNetBackend

            return CHGNetBackend(content["model"], spec, found, device)
        if isinstance(content, torch.nn.Module):
            return MACEBackend(content, spec, found, device)
    except PotentialError:
        raise
    except Exception as error:  # a potential of another library version may lack attributes
        raise PotentialError(
            f"{spec.name}: the potential in this file cannot be used: {type(error).__name__}: {_line(error)}"
        ) from error
    raise PotentialError(
        f"{spec.name} contains an object of type {type(content).__name__}; "
        "a MACE model, a SevenNet checkpoint or a CHGNet checkpoint is needed"
    )


def _content(data: bytes, name: str, path: Path) -> object:
    if path.suffix == SUFFIX:
        try:
            return load_mace(data)
        except PotentialError as error:
            raise PotentialError(f"{name}: {error}") from error
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling may raise any error
        raise PotentialError(f"{name} cannot be read as the file of a potential: {_line(error)}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PotentialError(f"cannot read {path}: {error.strerror}") from error


def _model_file(name: str) -> Path:
    check_name(name)
    if name == DEMO:
        return Path(str(files("alchemflows") / "data" / f"{DEMO}{SUFFIX}"))
    if name in mace_names():
        return mace_model_file(name)
    if name in CHGNET_FILES:
        return Path(str(files("chgnet"))) / CHGNET_FILES[name]
    if is_known_name(name):
        from alchemflows.alchemy.backends.sevennet import sevennet_model_file

        return sevennet_model_file(name)
    return Path(name).expanduser().resolve()


def check_device(name: str) -> torch.device:
    """Return the torch device of a name, and check that this machine has it.

    Raises
    ------
    PotentialError
        If the device cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PotentialError(f"the device {name!r} cannot be used: {_line(error)}") from error
    return device


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
