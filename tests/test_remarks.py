"""What notebooks say of other generators, and that they say nothing of their own."""

import pytest
import torch
from tiny import small_stylegan2
from torch import Tensor

from facenb import load_generator
from facenb.errors import FacenbError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.remarks import Remarks


class Own(Generator):
    name, resolution, latent_dim, spaces, fingerprint = "own", 4, 3, ("z",), "0123456789abcdef"

    def __init__(self, moved: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(moved * torch.ones(3, 48))

    def _synthesize(self, latents: Latents) -> Tensor:
        return (latents.values @ self.weight).clamp(-1, 1).view(-1, 3, 4, 4)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr("facenb.remarks.display", lambda markdown: texts.append(markdown.data))
    return texts


def test_another_generator_is_introduced_and_remarked_on(shown: list[str]):
    remark = Remarks(Own(0.1))
    remark("nothing ships for it.")
    assert not remark.own and not remark.styles
    assert "**own** (sha256 0123456789ab): 4 × 4 pixels, z of 3." in shown[0]
    assert shown[1:] == ["> **On another generator:** nothing ships for it."]


def test_of_its_own_generator_nothing_is_said(shown: list[str]):
    remark = Remarks(load_generator("digiface-dcgan-64"), "digiface-dcgan-64")
    remark("nothing ships for it.")
    assert remark.own and not shown


def test_a_style_based_generator_is_known_by_its_w(shown: list[str]):
    assert Remarks(small_stylegan2()).styles and "w of " in shown[0]


def test_a_generator_of_one_picture_is_refused_with_the_reason(shown: list[str]):
    with pytest.raises(FacenbError, match="own: eight latents give one and the same image"):
        Remarks(Own(0.0))
