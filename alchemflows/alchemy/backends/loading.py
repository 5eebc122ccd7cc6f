"""Find a model file by name or path, check it, and hand it to the backend that fits."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import torch

from alchemflows.alchemy.backends.mace import MACEBackend, mace_model_file, mace_names
from alchemflows.alchemy.backends.mace_file import SUFFIX, load_mace
from alchemflows.alchemy.interfaces import Backend
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialSpec

#: The small model of this package, for learning and tests; see docs/mace-demo.md.
DEMO = "mace-demo"

#: Names that start so are models that the package sevenn ships.
SEVENNET_PREFIXES = ("sevennet-", "7net-")


def load_potential(spec: PotentialSpec | str) -> Backend:
    """Load a model, once per process for each distinct request.

    Parameters
    ----------
    spec
        What to load; a plain string is a name or a path with the defaults of :class:`PotentialSpec`.

    Raises
    ------
    PotentialError
        If the file is missing, not a model, not the one whose SHA-256 was asked for, or cannot be
        supported exactly; if a package or a device is missing.

    Examples
    --------
    >>> from alchemflows import load_potential
    >>> backend = load_potential("mace-demo")
    >>> backend.record.backend, backend.record.dtype
    ('mace', 'float32')
    """
    spec = PotentialSpec(name=spec) if isinstance(spec, str) else spec
    device = check_device(spec.device)
    path = _model_file(spec.name)
    # What has the SHA-256 asked for is not read again, however often it is asked for: models can be large.
    sha256 = spec.sha256 or hashlib.sha256(_read(path)).hexdigest()
    return _load(spec.model_copy(update={"sha256": sha256, "device": str(device)}), path)


def resolve(spec: PotentialSpec | str) -> tuple[PotentialSpec, Backend]:
    """Load the potential here, on the CPU, and fill in the file's full path and SHA-256.

    Jobs made from the specification refuse any other file, in whatever folder and on whatever machine they run;
    its device need not exist on this one.

    Returns
    -------
    spec, backend
        The specification to hand to jobs, and the model.

    Raises
    ------
    PotentialError
        As :func:`load_potential`.
    """
    spec = PotentialSpec(name=spec) if isinstance(spec, str) else spec
    backend = load_potential(spec.model_copy(update={"device": "cpu"}))
    path = Path(spec.name).expanduser()
    name = str(path.resolve()) if not _is_known_name(spec.name) and path.is_file() else spec.name
    return spec.model_copy(update={"sha256": backend.record.sha256, "name": name}), backend


# The SHA-256 is part of the key: another file of that name is another model.
@lru_cache(maxsize=4)
def _load(spec: PotentialSpec, path: Path) -> Backend:
    # A profiled TorchScript module rounds otherwise in its first evaluations than later; a run that goes on in another
    # process would not give the same numbers. Private to torch; seen in torch 2.13.0.
    torch._C._jit_set_profiling_mode(False)
    device = torch.device(spec.device)
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        raise PotentialError(f"{spec.name}: the file's SHA-256 is {found}, not {spec.sha256} as asked for")
    content = _content(data, spec.name, path)
    try:
        if isinstance(content, dict) and {"model_state_dict", "config"} <= set(content):
            _need_sevennet(spec.name)
            from alchemflows.alchemy.backends.sevennet import SevenNetBackend

            return SevenNetBackend(content, spec, found, device)
        if isinstance(content, torch.nn.Module):
            return MACEBackend(content, spec, found, device)
    except PotentialError:
        raise
    except Exception as error:  # a model of another version lacks what is looked for
        raise PotentialError(
            f"{spec.name} holds a model that cannot be used: {type(error).__name__}: {_line(error)}"
        ) from error
    raise PotentialError(f"{spec.name} holds {type(content).__name__}, not a MACE model or SevenNet checkpoint")


def _content(data: bytes, name: str, path: Path) -> object:
    if path.suffix == SUFFIX:
        try:
            return load_mace(data)
        except PotentialError as error:
            raise PotentialError(f"{name}: {error}") from error
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)
    except Exception as error:  # an unpickler raises what the bytes lead it to
        raise PotentialError(f"{name} is not a model file that can be read: {_line(error)}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PotentialError(f"cannot read {path}: {error.strerror}") from error


def _is_known_name(name: str) -> bool:
    return name in (DEMO, *mace_names()) or (name.lower().startswith(SEVENNET_PREFIXES) and not Path(name).is_file())


def _model_file(name: str) -> Path:
    if name == DEMO:
        return Path(str(files("alchemflows") / "data" / f"{DEMO}{SUFFIX}"))
    if name in mace_names():
        return mace_model_file(name)
    if _is_known_name(name):
        _need_sevennet(name)
        from alchemflows.alchemy.backends.sevennet import sevennet_model_file

        return sevennet_model_file(name)
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    known = ", ".join([DEMO, "sevennet-0", *mace_names()])
    raise PotentialError(f"no model file {name!r}, and no potential of that name (known: {known})")


def _need_sevennet(name: str) -> None:
    if find_spec("sevenn") is None:
        raise PotentialError(f'{name} needs the package sevenn (GPL-3): pip install "alchemflows[sevennet]"')


def check_device(name: str) -> torch.device:
    """Return the device of a name, after checking that this machine can use it.

    Raises
    ------
    PotentialError
        If it cannot.
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
