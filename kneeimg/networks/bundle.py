"""A model folder in the layout of a MONAI bundle: numbers and weights are read, code never.

    <name>/configs/metadata.json      what the model is; its table `kneeimg` holds all that is used
    <name>/models/model.safetensors   the weights, with their SHA-256 in the metadata

The other files of the bundle (inference, train and evaluate configs, model card) are for people and
for MONAI's own commands. A MONAI config is code (`_target_`, `$...`): none is opened here. The
network is built from numbers (`CascadeSpec`); weights are safetensors, which cannot hold code, and
a pickled checkpoint (`.pt`) is never opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from kneeimg.errors import ModelError, ReasonCode
from kneeimg.networks.spec import CascadeSpec
from kneeimg.settings.base import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from kneeimg.networks.cascade import KneeCascade

METADATA = Path("configs") / "metadata.json"
WEIGHTS = Path("models") / "model.safetensors"

_PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".bin")
_CODE_KEYS = ("_target_", "_requires_", "_disabled_", "_mode_")
_CODE_STARTS = ("$", "@", "%")


Maturity = Literal["preview", "release"]


class BundleTable(Settings):
    """The table `kneeimg` of a bundle's metadata.

    Attributes
    ----------
    format : Layout of this table and what the networks are shown. Those of layout 1 saw images
        clipped at their 99th percentile; shown more, they would draw something else.
    cascade : The two networks.
    weights_sha256 : Hash of `models/model.safetensors`.
    maturity : A preview has not met the accuracy that thickness needs: every row says so.
    """

    format: Literal[2] = 2
    maturity: Maturity = "release"
    cascade: CascadeSpec
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model folder whose metadata is sound; its weights have not been opened.

    Attributes
    ----------
    root : The folder.
    name, version : As the metadata says; the name is that of the folder if it says none.
    table : What the network is built from.
    """

    root: Path
    name: str
    version: str
    table: BundleTable

    @property
    def sha256(self) -> str:
        """The hash that the weights must have."""
        return self.table.weights_sha256


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a model: its metadata, sound or not."""
    return (folder / METADATA).is_file()


def read_bundle(root: Path) -> Bundle:
    """Read and check the metadata of a model folder.

    Raises
    ------
    ModelError
        MODEL_REFUSED: no bundle, no table `kneeimg`, an unknown key or network in it, code in it,
        or no safetensors.
    """
    root = Path(root)
    metadata = _metadata(root)
    table = metadata.get("kneeimg")
    if not isinstance(table, dict):
        raise _refused(root, "a table `kneeimg` in the metadata", "a bundle of another program")
    _require_plain(table, root)
    if table.get("format") == 1:
        raise _refused(
            root,
            "layout 2, whose networks see how bright the brightest tissue is",
            "layout 1, taught on images clipped at their 99th percentile: train these weights on",
        )
    try:
        checked = BundleTable.model_validate(table)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors(include_url=False)
        ]
        raise _refused(root, "a network that kneeimg builds", "; ".join(problems)[:400]) from error
    _require_weights(root)
    name = metadata.get("name")
    return Bundle(
        root=root,
        name=name if isinstance(name, str) and name else root.name,
        version=str(metadata.get("version", "")) or "unknown",
        table=checked,
    )


def load_cascade(bundle: Bundle) -> KneeCascade:
    """The networks of a bundle with its weights, on the CPU, ready to infer.

    Raises
    ------
    ModelError
        MODEL_HASH_MISMATCH if the weights are not those of the metadata; MODEL_REFUSED if they
        are no safetensors, do not fit the network, or are not finite.
    """
    from kneeimg.networks.cascade import KneeCascade

    content = _bytes(bundle)
    require_hash(content, bundle.sha256, bundle.root)
    state = parse_weights(content, bundle.root.name)
    model = KneeCascade(bundle.table.cascade)
    fit_weights(model, state, bundle.root.name)
    return model.eval()


def require_hash(content: bytes, sha256: str, root: Path, action: str = "") -> None:
    """MODEL_HASH_MISMATCH unless the weights of a folder are those that its metadata name."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(
            "the weights are not those that the model names",
            code=ReasonCode.MODEL_HASH_MISMATCH,
            where=f"{root.name}/{WEIGHTS.as_posix()}",
            expected=f"SHA-256 {sha256[:16]}…",
            found=f"{found[:16]}…",
            action=action,
        )


def parse_weights(content: bytes, where: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file; MODEL_REFUSED if it is none, or not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            "the weights are no safetensors", where=where, found=str(error)[:200]
        ) from error
    bad = [name for name, value in state.items() if not bool(value.isfinite().all())]
    if bad:
        raise ModelError("weights are not finite", where=where, found=", ".join(bad[:5]))
    return state


def fit_weights(model: KneeCascade, state: Mapping[str, Tensor], where: str) -> None:
    """Copy weights into a model; MODEL_REFUSED unless names and shapes are exactly its own."""
    own = {name: tuple(value.shape) for name, value in own_tensors(model).items()}
    every = model.state_dict()
    given = {name: tuple(value.shape) for name, value in state.items()}
    problems = [f"missing {name}" for name in own if name not in given]
    problems += [f"unknown {name}" for name in given if name not in every]
    problems += [
        f"{name} {given[name]} instead of {shape}"
        for name, shape in own.items()
        if name in given and given[name] != shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ModelError(
            "the weights do not fit the network that the model describes",
            where=where,
            expected=f"{len(own)} tensors of the shapes of the network",
            found="; ".join(problems[:5]) + more,
        )
    model.load_state_dict(dict(state), strict=False)


def own_tensors(model: KneeCascade) -> dict[str, Tensor]:
    """Every tensor of a model once, under its first name.

    MONAI's DynUNet holds each of its blocks twice, so its state dict names most weights twice.
    """
    names: dict[int, str] = {}
    state = model.state_dict()
    for name, value in state.items():
        names.setdefault(value.data_ptr(), name)
    return {name: state[name] for name in names.values()}


def write_weights(model: KneeCascade, root: Path) -> str:
    """Write `models/model.safetensors` (float32, contiguous); its SHA-256."""
    from safetensors.torch import save

    state = {
        name: value.detach().to("cpu").float().contiguous()
        for name, value in own_tensors(model).items()
    }
    content = save(state)
    path = root / WEIGHTS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def write_bundle(
    model: KneeCascade,
    root: Path,
    *,
    version: str,
    about: Mapping[str, Any] | None = None,
    maturity: Maturity = "release",
) -> Bundle:
    """Write weights and metadata of a model folder; other files in it stay as they are.

    Parameters
    ----------
    model : The networks with their weights.
    root : The folder; its name is the model's name unless `about` says another.
    version : Version of the weights.
    about : Further entries of the metadata (`authors`, `eval_metrics`, ...).
    maturity : Whether its thickness may be used, as far as the maker knows.
    """
    from kneeimg.networks.metadata import describe

    sha256 = write_weights(model, root)
    table = BundleTable(cascade=model.spec, weights_sha256=sha256, maturity=maturity)
    metadata = describe(model.spec, name=root.name, version=version)
    metadata |= dict(about or {})
    metadata["kneeimg"] = table.model_dump(mode="json")
    path = root / METADATA
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return read_bundle(root)


def _metadata(root: Path) -> dict[str, Any]:
    path = root / METADATA
    if not path.is_file():
        raise _refused(root, METADATA.as_posix(), _instead(root))
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(root, "a JSON object", str(error)[:200]) from error
    if not isinstance(metadata, dict):
        raise _refused(root, "a JSON object", type(metadata).__name__)
    return metadata


def _require_plain(value: Any, root: Path, where: str = "kneeimg") -> None:
    """Refuse what MONAI's config parser would run."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _CODE_KEYS:
                raise _refused(root, "numbers and names", f"code: {where}.{key}")
            _require_plain(item, root, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _require_plain(item, root, where)
    elif isinstance(value, str) and value.startswith(_CODE_STARTS):
        raise _refused(root, "numbers and names", f"code in {where}")


def _require_weights(root: Path) -> None:
    if not (root / WEIGHTS).is_file():
        raise _refused(root, WEIGHTS.as_posix(), _instead(root))


def _instead(root: Path) -> str:
    """What lies where the weights should be, to say why it is not taken."""
    files = sorted(p for p in (root, *root.glob("models/*")) if p.is_file())
    pickles = [path.name for path in files if path.suffix.lower() in _PICKLES]
    if pickles:
        return f"{', '.join(pickles)}: pickled checkpoints can run code and are never opened"
    return "nothing of that name"


def _bytes(bundle: Bundle) -> bytes:
    try:
        return (bundle.root / WEIGHTS).read_bytes()
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise _refused(bundle.root, WEIGHTS.as_posix(), found) from error


def _refused(root: Path, expected: str, found: str) -> ModelError:
    return ModelError(
        "the model folder is refused", where=root.name, expected=expected, found=found
    )
