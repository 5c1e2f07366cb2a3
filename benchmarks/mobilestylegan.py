"""MobileStyleGAN against OpenVINO, for which its author published it, and against plain layers.

OpenVINO comes with the extra `bench`. It is told to compute in float32, which it does not do by
default on processors with bfloat16. The plain layers are `network.whole`, the network by definition
in plain torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks import seconds
from facenb import load_generator
from facenb.assets import asset_path
from facenb.generators.mobilestylegan import NAME, MobileStyleGAN, MobileStyleGANNetwork
from facenb.parallel import on_all_cores

ROUNDS = 9
EACH = 4  # images for each core, where many are computed
TOLERANCE = 2e-3  # a thousandth of [−1, 1]


def bench_mobilestylegan() -> dict[str, str]:
    """Images and their gradient, previews, and feature maps of many codes."""
    generator = load_generator(NAME)
    half = generator.variant(precision=torch.bfloat16)
    return _images(generator, half) | _maps(generator.network, half.network)


def _images(generator: MobileStyleGAN, half: MobileStyleGAN) -> dict[str, str]:
    """One image: of 1024 and 256 pixels, and with the gradient to w+."""
    latents = generator.map(generator.sample(1, seed=1), "w+")
    codes, network = latents.values, generator.network
    ways: dict[str, Callable[[], object]] = {
        "plain": partial(_forward, partial(_plain, network), codes)
    }
    for name, one in (("float32", generator), ("bfloat16", half)):
        ways |= {
            name: partial(_forward, one.network.synthesize, codes),
            f"{name}, 256 px": partial(_forward, partial(one.synthesize, size=256), latents),
            f"{name}, preview": partial(_forward, one.preview, latents),
            f"{name}, gradient": partial(_gradient, one.network.synthesize, codes),
        }
    if openvino := openvino_synthesis():
        ways["OpenVINO"] = partial(openvino, codes[:, 0])
        torch.testing.assert_close(openvino(codes[:, 0]), ways["float32"](), rtol=0, atol=TOLERANCE)
    spent = dict(zip(ways, seconds(*ways.values(), rounds=ROUNDS), strict=True))
    rows = {"MobileStyleGAN, OpenVINO": "not installed (extra `bench`)"}
    if openvino:
        rows = {"MobileStyleGAN, OpenVINO": f"{spent['OpenVINO'] * 1e3:.0f} ms for 1024 px"}
    for name in ("float32", "bfloat16"):
        full = spent[name]
        what = f"MobileStyleGAN, {name}"
        rows[f"{what}, 1024 px"] = f"{full * 1e3:.0f} ms, " + ", ".join(
            f"{full / spent[other]:.2f} × {words}"
            for other, words in (("OpenVINO", "OpenVINO in float32"), ("plain", "plain layers"))
            if other in spent
        )
        ratio = spent[f"{name}, gradient"] / full
        rows[f"{what}, 1024 px with the gradient to w+"] = f"{ratio:.1f} × without"
        for small in ("256 px", "preview"):
            took = spent[f"{name}, {small}"]
            rows[f"{what}, {small}"] = f"{took * 1e3:.0f} ms, {took / full:.2f} × 1024 px"
    return rows


def _maps(network: MobileStyleGANNetwork, half: MobileStyleGANNetwork) -> dict[str, str]:
    """The feature maps from which small images are made, of many codes, all cores at work."""
    cores = torch.get_num_threads()
    w = network.map(torch.randn(EACH * cores, 512, generator=torch.Generator().manual_seed(1)))
    rows = {}
    for side in (32, 64):
        plain, full, quick = seconds(
            partial(_on_all_cores, partial(_plain, network, side=side), w),
            partial(_on_all_cores, partial(network.features, side=side), w),
            partial(_on_all_cores, partial(half.features, side=side), w),
            rounds=ROUNDS,
        )
        rows[f"MobileStyleGAN, maps of {side} px, {EACH} codes to a core"] = (
            f"{full / len(w) * 1e3:.1f} ms each, {full / plain:.2f} × plain layers; "
            f"bfloat16 {quick / len(w) * 1e3:.1f} ms"
        )
    return rows


@torch.no_grad()
def _forward(way: Callable[[object], Tensor], codes: object) -> Tensor:
    return way(codes)


def _gradient(way: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
    values = codes.clone().requires_grad_()
    return torch.autograd.grad(way(values).square().sum(), values)[0]


def _on_all_cores(way: Callable[[Tensor], Tensor], w: Tensor) -> list[Tensor]:
    return list(on_all_cores(partial(_forward, way), w.split(EACH)))


def _plain(network: MobileStyleGANNetwork, codes: Tensor, side: int | None = None) -> Tensor:
    """Maps of `side`, or an image of 1024 pixels, by the layers over whole maps."""
    codes = codes if codes.ndim == 3 else codes[:, None].expand(-1, network.layout.w_layers, -1)
    size = network.layout.resolution if side is None else None
    return network.whole(codes, network.stored_noise(), side or size // 2, size)


def openvino_synthesis() -> Callable[[Tensor], Tensor] | None:
    """w (1, 512) → an image (1, 3, 1024, 1024) by the author's own file; None without OpenVINO."""
    try:
        import openvino
    except ImportError:
        return None
    asset_path(f"{NAME}/SynthesisNetwork.bin")  # is read from beside the other
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.read_model(asset_path(f"{NAME}/SynthesisNetwork.xml"))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda w: torch.from_numpy(request.infer([w.numpy()])[0])


if __name__ == "__main__":
    for name, value in bench_mobilestylegan().items():
        print(f"{name}: {value}")
