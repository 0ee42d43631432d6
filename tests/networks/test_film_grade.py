"""The networks of the second opinion: what NumPy computes is what MONAI trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kneeimg.errors import ModelError
from kneeimg.io.kl_cnn import shipped_ensemble
from kneeimg.measure.kl_opinion import network_answer
from kneeimg.networks.film_grade import HEAD, GradeNetworkSpec, build_body, grade_network
from kneeimg.settings.resources import model_path

SPEC = GradeNetworkSpec(channels=(4, 6, 8, 10), blocks=(2, 1, 1, 2))
Arrays = dict[str, NDArray[np.float32]]


def body_of(spec: GradeNetworkSpec = SPEC) -> torch.nn.Module:
    """A body whose normalisation is not that of a new one."""
    torch.manual_seed(3)
    body = build_body(spec)
    for name, value in body.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2.0)
        elif value.ndim == 1:  # means, scales and shifts
            value.normal_()
    return body.eval()


def arrays_of(body: torch.nn.Module, channels: int, cells: tuple[int, int]) -> Arrays:
    random = np.random.default_rng(4)
    arrays = {f"0.body.{n}": v.numpy() for n, v in body.state_dict().items() if v.ndim}
    shapes = dict.fromkeys(HEAD, (2, channels)) | {"mean_map": (2, *cells)}
    return arrays | {
        f"0.head.{name}": random.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("shape", [(96, 80), (33, 47)])
def test_means_and_maps_are_those_of_the_torch_network(shape: tuple[int, int]) -> None:
    body = body_of()
    crops = np.random.default_rng(5).normal(size=(2, *shape)).astype(np.float32)
    images = torch.from_numpy(crops)[:, None]
    last: list[Tensor] = []
    body.layer4.register_forward_hook(lambda _, __, found: last.append(found))
    with torch.no_grad():
        means = body(images).numpy()
    cells = last[0].numpy()
    network = grade_network(arrays_of(body, 10, cells.shape[2:]), 0, SPEC)
    answer = network_answer(crops, network)
    np.testing.assert_allclose(answer.features, means, atol=2e-4, rtol=1e-4)
    wanted = np.einsum("kc,kcij->kij", network.weight, cells) / cells[0, 0].size
    np.testing.assert_allclose(answer.maps, wanted, atol=2e-4, rtol=1e-4)


def test_the_map_is_gradient_times_activation() -> None:
    # Grad-CAM (Selvaraju 2017) without its rectifier: the head is linear in the mean features
    body = body_of()
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(6))
    last: list[Tensor] = []
    body.layer4.register_forward_hook(lambda _, __, found: last.append(found))
    arrays = arrays_of(body, 10, (4, 4))
    score = (body(images) * torch.from_numpy(arrays["0.head.weight"])).sum()
    (gradient,) = torch.autograd.grad(score, last)
    wanted = (gradient.mean(dim=(2, 3), keepdim=True) * last[0]).sum(1).detach().numpy()
    answer = network_answer(images[:, 0].numpy(), grade_network(arrays, 0, SPEC))
    np.testing.assert_allclose(answer.maps, wanted, atol=2e-4, rtol=1e-4)
    assert answer.maps.sum() == pytest.approx(score.item(), rel=1e-4)


def test_monai_runs_the_weights_that_ship() -> None:
    from safetensors.numpy import load_file

    ensemble = shipped_ensemble()
    tensors = load_file(model_path("kl_cnn") / "models" / "model.safetensors")
    body = build_body(GradeNetworkSpec())
    state = {
        name.removeprefix("2.body."): torch.from_numpy(value).float()
        for name, value in tensors.items()
        if name.startswith("2.body.")
    }
    missing, unknown = body.load_state_dict(state, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert not unknown
    crop = ensemble.crop
    crops = np.random.default_rng(7).normal(size=(2, crop.rows, crop.columns)).astype(np.float32)
    with torch.no_grad():
        means = body.eval()(torch.from_numpy(crops)[:, None]).numpy()
    found = network_answer(crops, ensemble.networks[2]).features
    np.testing.assert_allclose(found, means, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"0.body.layer2.0.conv1.weight": None}, "lack an array"),
        ({"0.head.feature_sd": None}, "lack an array"),
        ({"0.body.bn1.bias": np.full(4, np.nan, np.float32)}, "not finite"),
        ({"0.body.conv1.weight": np.zeros((5, 1, 5, 5), np.float32)}, "do not fit"),
        ({"0.head.weight": np.zeros((2, 9), np.float32)}, "head of a network"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, NDArray[np.float32] | None], words: str
) -> None:
    arrays: dict[str, NDArray[np.float32] | None] = {**arrays_of(body_of(), 10, (2, 2)), **change}
    kept = {name: value for name, value in arrays.items() if value is not None}
    with pytest.raises(ModelError, match=words):
        grade_network(kept, 0, SPEC)
