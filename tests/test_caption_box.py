"""The text field for captions: what is typed is walked to, said of, and survives mistakes."""

import io

import pytest
import torch
from PIL import Image
from torch import nn

from facenb.generators.base import Generator
from facenb.latents import Latents
from facenb.methods.sgf import MappingConfig, SurrogateGradientField
from facenb.widgets import live
from facenb.widgets.caption_box import CaptionBox

# A generator of one grey for each code, and captions that tell three greys apart
VECTORS = {
    "a dark face": [-1.0, 0.0],
    "a face": [0.0, 1.0],
    "a bright face": [1.0, 0.0],
    "an unheard-of <face>": [20.0, 20.0],
}
FACES = Latents(torch.tensor([[-1.0, 0.3, 0.0, 0.0], [0.1, -0.3, 0.2, 0.1]]), "z")


class Grey(Generator):
    name, resolution, latent_dim, spaces, fingerprint = "grey", 4, 4, ("z",), "grey-1"

    def __init__(self):
        super().__init__()
        self.register_parameter("_where", nn.Parameter(torch.zeros(1)))  # tells the device

    def _synthesize(self, latents):
        return latents.values[:, :1, None, None].clamp(-1, 1).expand(-1, 3, 4, 4).contiguous()


class Words(nn.Module):
    names = ("caption 0", "caption 1")

    def encoder(self, sentences):
        return torch.tensor([VECTORS[sentence] for sentence in sentences])

    def captions(self, images):
        grey = images.mean((1, 2, 3)).tolist()
        return [
            "a dark face" if g < -0.4 else "a bright face" if g > 0.4 else "a face" for g in grey
        ]

    def forward(self, images):
        return self.encoder(self.captions(images))


@pytest.fixture(scope="module")
def field():
    generator, words = Grey(), Words()
    codes = generator.sample(600, seed=0)
    config = MappingConfig(layers=2, steps=200, batch=64, noise=1.0)
    conditions = words(generator.synthesize(codes))
    return SurrogateGradientField(config).fit_latents(codes.values, conditions, words.names)


@pytest.fixture
def box(field):
    return CaptionBox(Grey(), field, Words(), FACES, "a bright face", size=8)


def grey(image):
    return Image.open(io.BytesIO(image.value)).getpixel((3, 3))[0]


def test_the_first_sentence_is_walked_to_at_once_and_the_faces_are_shown(box):
    assert (box.found.latents != FACES.values).any(dim=1).all()
    edited = box._generator.synthesize(Latents(box.found.latents, "z"))
    for i, words in enumerate(Words().captions(edited)):
        assert abs(grey(box._after[i]) - (float(edited[i].mean()) + 1) * 127.5) < 1
        assert (
            f"<b>{words}</b>" in box._notes[i].value and box.found.status[i] in box._notes[i].value
        )
    assert "like those" in box._status.value


def test_what_is_typed_is_walked_to_once_with_enter_and_a_click(box, monkeypatch):
    walks = []
    walk_to = box.walk_to
    monkeypatch.setattr(
        box, "walk_to", lambda sentence: walks.append(sentence) or walk_to(sentence)
    )
    box._text.value = "a dark face"
    box._button.click()
    assert walks == ["a dark face"] and not box._button.disabled
    assert box.found.conditions.shape[1:] == (2, 2)
    assert torch.equal(box.found.target[0], torch.tensor(VECTORS["a dark face"]))
    assert box.found.status[0] == "already met"  # the first face is dark: left as it is
    assert torch.equal(box.found.latents[0], FACES.values[0])


def test_a_sentence_unlike_all_captions_is_announced(box):
    box._text.value = "an unheard-of <face>"
    assert box.found.out_of_range.all() and "may stop short" in box._status.value


def test_a_mistake_is_said_and_the_faces_stay(box):
    before, pictures = box.found, [image.value for image in box._after]
    box._text.value = "  "
    assert 'role="alert"' in box._status.value and "expected a sentence" in box._status.value
    assert box.found is before and [image.value for image in box._after] == pictures
    assert not box._button.disabled
    box._text.value = "a face"
    assert "alert" not in box._status.value


def test_a_page_without_a_kernel_has_the_pictures(box, monkeypatch):
    displayed = []
    monkeypatch.setattr(live, "display", lambda what, **_: displayed.append(what))
    box._ipython_display_()
    picture, bundle = displayed
    assert Image.open(io.BytesIO(picture.data)).size == (4 * 8 + 3 * 8, 8)
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == box.root.model_id


def test_what_does_not_fit_is_refused(field):
    with pytest.raises(ValueError, match="expected a sentence"):
        CaptionBox(Grey(), field, Words(), FACES, "")
    other = Words()
    other.names = ("smile",)
    with pytest.raises(ValueError, match=r"a field of captions \(1 numbers\), given one of 2"):
        CaptionBox(Grey(), field, other, FACES, "a face")
