"""Photographs: read, aligned, inverted, tuned, pasted back."""

from __future__ import annotations

import io
import math
import struct
import threading
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import StyledGenerator
from torch import Tensor

from facenb.assets import asset_path
from facenb.errors import FacenbError
from facenb.latents import Latents
from facenb.photos import PLAIN, Aligner, Inversion, PhotoError, Square, read_photo, to_image
from facenb.photos.align import ffhq_square
from facenb.photos.paste import matched, pasted
from facenb.photos.photograph import save_image
from facenb.storage.checkpoints import CheckpointError


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def astronaut() -> Tensor:
    return read_photo(asset_path("astronaut/astronaut.png"))


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


# --- reading


def ramp(mode: str) -> Image.Image:
    """80 × 70 pixels, three quarters of full brightness at the left, a quarter at the right."""
    values = np.repeat(np.linspace(0.75, 0.25, 80)[None], 70, 0)
    if mode == "I;16":
        return Image.fromarray((values * 65535).astype(np.uint16))
    if mode == "F":
        return Image.fromarray(values.astype(np.float32))
    grey = Image.fromarray((values * 255).round().astype(np.uint8))
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("I;16", "TIFF"),
     ("F", "TIFF"), ("RGBA", "PNG"), ("CMYK", "TIFF"), ("CMYK", "JPEG"), ("RGB", "WEBP")],
)  # fmt: skip
def test_every_mode_is_read_as_the_same_picture(mode, kind):
    photo = read_photo(encoded(ramp(mode), kind))
    assert photo.shape == (1, 3, 70, 80)
    expected = torch.linspace(0.75, 0.25, 80) * 2 - 1
    torch.testing.assert_close(photo.mean((0, 1, 2)), expected, rtol=0, atol=0.06)


def test_transparency_becomes_white():
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert (read_photo(encoded(image)) == 1).all()


def test_a_turned_photograph_is_set_upright():
    image = ramp("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it
    photo = read_photo(encoded(image, "JPEG", exif=exif, quality=98))
    assert photo.shape == (1, 3, 80, 70)
    # its left edge, the brighter one, is above then
    assert photo[0, :, 0].mean() > 0.4 > -0.4 > photo[0, :, -1].mean()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"GIF89a but no more", "damaged|not an image"),
        (b"<html>no picture</html>", "not an image that can be read"),
        (b"", "not an image"),
        (bomb(60_000, 60_000), "at most 80,000,000 pixels"),
        (bomb(12_000, 8_000), "12,000 × 8,000"),
        (bomb(500, 500), "damaged or cut short"),
        (encoded(Image.new("RGB", (63, 900))), "64 pixels and more, given 63 × 900"),
        (encoded(ramp("RGB"), "JPEG")[:400], "damaged"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(content, says):
    with pytest.raises(PhotoError, match=says):
        read_photo(content)


def test_a_path_is_read_and_a_missing_one_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(ramp("RGB")))
    assert read_photo(path).shape == (1, 3, 70, 80)
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        read_photo(tmp_path / "b.png")


def test_an_image_survives_writing_and_reading(tmp_path):
    photo = read_photo(encoded(ramp("RGB")))
    save_image(tmp_path / "x.png", photo)
    assert torch.equal(read_photo(tmp_path / "x.png"), photo)
    with pytest.raises(FacenbError, match=r"ends in \.jpg"):
        save_image(tmp_path / "x.exe", photo)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


# --- the square


def plane(height: int, width: int) -> Tensor:
    """Red is x and green is y, in pixels divided by 1000."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)])[None] / 1000


def test_a_square_in_words_and_back():
    square = Square((50.0, 40.0), (0.0, 10.0))  # turned by a quarter, 20 pixels wide
    assert square.side == 20 and square.roll == 90
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    found = square.to_photo(corners)
    # the upper left corner of the square lies at the photograph's right, above
    torch.testing.assert_close(found, torch.tensor([[60.0, 30.0], [60.0, 50.0], [50.0, 40.0]]))
    torch.testing.assert_close(square.to_square(found), corners)


@pytest.mark.parametrize("side", [40, 64, 200, 700])
def test_a_cut_has_the_photographs_pixels_at_any_size(side):
    photo = plane(1000, 1100)
    square = Square((550.0, 500.0), (side * 0.4, side * 0.3))
    cut = square.cut(photo, 64)
    steps = (torch.arange(64) + 0.5) / 64
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    expected = square.to_photo(torch.stack([x, y], -1)).permute(2, 0, 1) / 1000
    torch.testing.assert_close(cut[0, :2], expected, rtol=0, atol=2e-3)


def test_beyond_the_edge_the_photograph_is_mirrored():
    photo = plane(100, 100)
    cut = Square((0.0, 50.0), (20.0, 0.0)).cut(photo, 40)
    torch.testing.assert_close(cut[0, 0, 20, :20], cut[0, 0, 20, 20:].flip(0), atol=1e-4, rtol=0)


def test_what_was_cut_out_comes_back_to_its_place():
    photo = plane(300, 400)
    square = Square((200.0, 150.0), (60.0, 25.0))
    face, mask = square.cut(photo, 256), torch.ones(1, 1, 256, 256)
    again = pasted(photo, square, face, mask)
    torch.testing.assert_close(again, photo, rtol=0, atol=3e-3)
    black = pasted(photo, square, torch.zeros_like(face), mask)
    changed = (black != photo).any(1)[0]
    area = square.side**2
    assert abs(int(changed.sum()) - area) < 0.03 * area  # and nothing outside of the square
    assert black[0, :, 150, 200].abs().max() == 0
    half = pasted(photo, square, torch.zeros_like(face), mask / 2)
    torch.testing.assert_close(half[0, :, 150, 200], photo[0, :, 150, 200] / 2)


def test_ffhqs_square_by_hand():
    mesh = torch.zeros(478, 2)
    from facenb.photos.align import LEFT_EYE, MOUTH, RIGHT_EYE

    mesh[list(LEFT_EYE)] = torch.tensor([40.0, 50.0])
    mesh[list(RIGHT_EYE)] = torch.tensor([60.0, 50.0])
    mesh[list(MOUTH)] = torch.tensor([[45.0, 75.0], [55.0, 75.0]])
    square = ffhq_square(mesh)
    # eyes 20 apart, 25 above the mouth: half a side of max(2 · 20, 1.8 · 25), 2.5 below the eyes
    assert square.centre == pytest.approx((50, 52.5))
    assert square.across == pytest.approx((45, 0))


def test_colours_are_matched_under_the_mask_alone():
    random = torch.Generator().manual_seed(0)
    before = torch.rand(1, 3, 8, 8, generator=random) * 0.4
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    target = before * 1.2 - 0.3
    target[..., 4:] = 0.9  # not under the mask
    torch.testing.assert_close(matched(before, before, target, mask)[..., :4], target[..., :4])
    redder = before + torch.tensor([0.1, 0, 0]).view(3, 1, 1)
    shift = matched(redder, before, target, mask) - matched(before, before, target, mask)
    torch.testing.assert_close(shift[:, 0], torch.full((1, 8, 8), 0.12))  # the edit's own red stays
    assert shift[:, 1:].abs().max() < 1e-6


# --- faces


def test_the_astronaut_is_aligned(aligner, astronaut):
    aligned = aligner(astronaut)
    assert aligned.image.shape == (1, 3, 1024, 1024) and aligned.faces == 1
    face = aligned.face
    assert math.dist(face.square.centre, (225, 107)) < 4 and abs(face.square.side - 171) < 6
    assert face.outside < 0.01 and face.score > 0.8 and not face.cut_by
    # what is aligned stays as it is when it is aligned again
    (again,) = aligner.find(aligned.image)
    assert math.dist(again.square.centre, (512, 512)) < 15
    assert abs(again.square.side / 1024 - 1) < 0.03 and abs(again.square.roll) < 1.5


def test_a_turned_face_is_turned_back(aligner, astronaut):
    turned = read_photo(to_image(astronaut).rotate(-25, expand=True, fillcolor="white"))
    face = aligner(turned).face
    assert abs(face.square.roll - 2.3 - 25) < 2.5
    assert abs(face.square.side - 171) < 8


def test_of_several_faces_the_largest_or_the_chosen(aligner, astronaut):
    image = to_image(astronaut)
    both = Image.new("RGB", (900, 512), "grey")
    both.paste(image.crop((60, 0, 400, 340)).resize((280, 280)), (10, 100))
    both.paste(image.crop((60, 0, 400, 340)), (500, 60))
    photo = read_photo(both)
    aligned = aligner(photo)
    assert aligned.faces == 2 and aligned.face.square.centre[0] > 500
    assert aligner(photo, face=1).face.square.centre[0] < 300
    with pytest.raises(PhotoError, match="2 faces, counted from 0"):
        aligner(photo, face=2)


def test_a_small_face_in_a_large_photograph_is_found(aligner, astronaut):
    large = Image.new("RGB", (2600, 1800), "darkgreen")
    large.paste(to_image(astronaut), (1900, 900))
    face = aligner(read_photo(large)).face
    assert math.dist(face.square.centre, (1900 + 225, 900 + 107)) < 6


@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((0, 250, 512, 512), "no face was found in the photograph of 512 × 262"),
        ((225, 0, 512, 400), "cut by the left edge"),
        ((0, 110, 400, 400), "cut by the top edge"),
        ((40, 0, 225, 400), "cut by the right edge"),
    ],
)
def test_no_face_or_half_a_face_is_refused(aligner, astronaut, box, says):
    with pytest.raises(PhotoError, match=f"{says}|no face"):
        aligner(read_photo(to_image(astronaut).crop(box)))


def test_a_face_of_few_pixels_is_refused(aligner, astronaut):
    small = to_image(astronaut).crop((60, 0, 400, 340)).resize((170, 170))
    with pytest.raises(PhotoError, match="too small: its square of the photograph has 8"):
        aligner(read_photo(small))


def test_noise_has_no_face(aligner):
    noise = torch.rand(1, 3, 300, 500, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert aligner.find(noise) == []


# --- inversion


def small(space: str, start: Latents | None = None, seed: int = 3, **options) -> Inversion:
    generator = StyledGenerator()
    target = generator.synthesize(generator.sample(2, seed=seed), size=64)
    return Inversion(generator, target, space, start, PLAIN, size=64, **options)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_the_code_of_a_generated_image_is_found_again(space):
    inversion = small(space, rate=0.1)
    before = inversion.generator.synthesize(inversion.best, size=64)
    inversion.run(steps=150, quiet=True)
    after = inversion.generator.synthesize(inversion.best, size=64)
    error = (after - inversion.loss.targets).abs().mean()
    assert error < 0.15 * (before - inversion.loss.targets).abs().mean()
    assert inversion.best.space == space and inversion.latents.values.shape == (2, 4, 6)
    assert inversion.step == 150 == len(inversion.history)


def test_each_image_keeps_the_best_of_its_own_codes():
    inversion = small("w", rate=2.0)  # far too fast: it jumps about
    lowest = torch.full((2,), math.inf)

    def watch(now: Inversion) -> None:
        nonlocal lowest
        assert (now.losses <= lowest).all()
        lowest = now.losses

    inversion.run(steps=60, shown=watch, quiet=True)
    images = inversion.generator.synthesize(inversion.best, size=64)
    with torch.no_grad():
        values = inversion._values.clone()
        inversion._values.copy_(inversion._best)
        loss = inversion.loss(images)[0] + inversion._pull()
        inversion._values.copy_(values)
    torch.testing.assert_close(loss, inversion.losses)
    assert inversion.losses.min() < inversion.history[-1]["loss"]


def test_it_goes_on_where_it_was_stopped(tmp_path):
    def run(inversion: Inversion, total: int, at: int | None = None) -> None:
        """As `run(steps=total)`, up to step `at`."""
        for step in range(inversion.step, total if at is None else at):
            inversion._one_step(step / total)
            inversion._spent.steps += 1

    whole, first, second = small("w+"), small("w+"), small("w+")
    run(whole, 30)
    run(first, 30, 12)
    first.save(tmp_path / "x")
    assert second.resume(tmp_path / "x") and second.step == 12
    run(second, 30)
    assert torch.equal(second.best.values, whole.best.values)
    assert second.history == whole.history
    assert not second.resume(tmp_path / "none")
    with pytest.raises(CheckpointError, match="images"):
        small("w+", seed=4).resume(tmp_path / "x")


def test_an_interrupt_or_stop_ends_it_and_keeps_the_best():
    inversion = small("w+")

    calls = []

    def interrupt(now: Inversion) -> None:
        calls.append(now.step)
        if len(calls) == 1:
            raise KeyboardInterrupt

    inversion.run(steps=1000, shown=interrupt, quiet=True)
    assert calls == [20, 20] and inversion.step == 20 and torch.isfinite(inversion.losses).all()
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    inversion.run(seconds=100, stop=stop, quiet=True)
    assert 20 < inversion.step and inversion.spent < 20
    step = inversion.step
    inversion.run(seconds=0.1, quiet=True)  # spent already: nothing happens
    assert inversion.step == step


def test_the_pull_is_none_at_the_mean_and_that_of_mahalanobis_elsewhere():
    inversion = small("w+")
    weights = inversion.weights
    with torch.no_grad():
        inversion._values.copy_(inversion.mean.expand(2, 4, 6))
        assert inversion._pull().abs().max() < 1e-9
        inversion._values[0] += 3.0
        inversion._values[1, 0] += 3.0
    far = ((torch.full((6,), 3.0)) @ inversion.whiten).square().mean()
    pull = inversion._pull()
    torch.testing.assert_close(pull[0], weights.mean * far)
    # one layer of four, 3 away: a mean of .75, and a variance of 9 · 3/16
    expected = weights.mean * far / 16 + weights.layers * 9 * 3 / 16 / inversion.variance
    torch.testing.assert_close(pull[1], expected)


def test_what_does_not_fit_is_refused():
    generator = StyledGenerator()
    image = generator.synthesize(generator.sample(1), size=64)
    with pytest.raises(ValueError, match="expected 1 latents, given 2"):
        Inversion(generator, image, "w+", generator.sample(2, space="w"), PLAIN, size=64)
    with pytest.raises(ValueError, match="multiple of 256"):
        Inversion(generator, image, "w+", weights=PLAIN)
    with pytest.raises(ValueError, match="expected none in space 'z'"):
        Inversion(generator, image, "z", generator.sample(1), PLAIN, size=64)
    with pytest.raises(ValueError, match="either seconds or steps"):
        small("w").run()
