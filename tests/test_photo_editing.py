"""Photographs edited from end to end, with the real nets: encoder, tuning, files, widget."""

from __future__ import annotations

import io
import re
import sys
import threading

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from facenb import load_editors, load_generator, load_identity, load_scorers
from facenb.assets import asset_path
from facenb.data import data_path
from facenb.errors import FacenbError
from facenb.generators.mobilestylegan import MobileStyleGAN
from facenb.latents import Latents
from facenb.photos import (
    ImageLoss,
    Photograph,
    Weights,
    load_encoder,
    read_photo,
    tune,
    tuned,
)
from facenb.photos.__main__ import main
from facenb.photos.encoder import encoder_provenance
from facenb.photos.known import BOTH, ENCODED, IN_W, IN_Z, TRUE, WAYS, load_known
from facenb.photos.measure import KEPT, PSNR, SFACE, TRUTH, VGG, Editability, Reconstruction
from facenb.storage import cache
from facenb.storage.cache import cache_dir
from facenb.widgets.photo import _WORKERS, PhotoEditor


@pytest.fixture(scope="module")
def generator() -> MobileStyleGAN:
    return load_generator()


@pytest.fixture(scope="module")
def photograph(generator) -> Photograph:
    found = Photograph(generator, asset_path("astronaut/astronaut.png"))
    found.invert(steps=8, quiet=True)
    return found


@pytest.fixture(scope="module")
def faces(generator) -> tuple[Latents, Tensor]:
    codes = generator.truncate(generator.sample(6, seed=77, space="w"), 0.7)
    fast = generator.variant(precision=torch.bfloat16)
    with torch.no_grad():
        return codes, torch.cat([fast.synthesize(code, size=512) for code in codes])


def test_the_encoder_knows_codes_that_it_has_not_seen(generator, faces):
    codes, images = faces
    with torch.no_grad():
        found = load_encoder()(images)
    assert found.space == "w+" and found.values.shape == (6, 23, 512)
    mean = generator.network.w_avg
    error = (found.values.mean(1) - codes.values).square().sum(1)
    assert (error < 0.8 * (codes.values - mean).square().sum(1)).all()
    nearest = torch.cdist(found.values.mean(1), codes.values).argmin(1)
    assert nearest.tolist() == list(range(6))


def test_the_encoder_ships_small_and_says_how_it_was_made():
    path = data_path("encoder_mobilestylegan-ffhq-1024.safetensors")
    assert path.stat().st_size < 20e6
    found = encoder_provenance()
    assert "scripts.train_encoder" in found["command"]
    curve = next(value for key, value in found.items() if key.startswith("curve"))
    best = {count: min(e for c, _, e in curve if c == count) for count, *_ in curve}
    errors = [best[count] for count in sorted(best)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5


def test_every_part_of_the_loss_is_least_for_the_image_itself(faces):
    images = F.avg_pool2d(faces[1][:2], 2)
    loss = ImageLoss(images, Weights())
    same, parts = loss(images)
    other, parts_other = loss(images.flip(0))
    assert set(parts) == {"pixels", "vgg", "identity", "landmarks"}
    for name in parts:
        assert (parts[name] < 0.3 * parts_other[name]).all(), name
    assert (same < 0.1 * other).all()
    moved = images.clone().requires_grad_()
    loss(moved.flip(0))[0].sum().backward()
    assert moved.grad.isfinite().all() and moved.grad.abs().sum() > 0


def test_inversion_brings_the_astronaut_nearer_than_the_encoder(photograph, generator):
    measured = Reconstruction(photograph.aligned.image, load_identity())
    before, after = measured(generator, photograph.encoded), measured(generator, photograph.latents)
    assert after["SFace cosine"] > before["SFace cosine"] + 0.1
    assert after["VGG distance (HED)"] < before["VGG distance (HED)"] - 0.5
    assert after["PSNR"] > before["PSNR"] + 1


def test_edits_of_a_known_code_are_measured_against_the_true_ones(generator, faces):
    codes, images = faces[0][:2], faces[1][:2]
    fast = generator.variant(precision=torch.bfloat16)
    boundaries = load_editors("interfacegan").in_layers(0, generator.w_layers)
    edits = {"age": (boundaries["age"], (-3.0, 3.0))}
    scorers, identity = load_scorers(["age"]), load_identity()
    measure = Editability(scorers, identity, images, edits, (fast, codes))
    own, swapped = measure(fast, codes), measure(fast, codes[torch.tensor([1, 0])])
    assert own[TRUTH].max() < 0.05 and swapped[TRUTH].min() > 1  # VGG distance to the true edit
    assert (own["age, change"] > 10).all()  # years
    torch.testing.assert_close(swapped["age, change"], own["age, change"].flip(0))
    assert (own[KEPT] > swapped[KEPT]).all() and own[KEPT].max() < 1
    assert TRUTH not in Editability(scorers, identity, images, edits)(fast, codes)


def test_a_code_can_be_assigned_and_inversion_takes_over(generator, photograph):
    before, given = photograph.latents, generator.sample(1, seed=4, space="w")
    photograph.latents = given
    assert torch.equal(photograph.latents.values, generator.map(given, "w+").values)
    with pytest.raises(ValueError, match="expected one, given 2"):
        photograph.latents = generator.sample(2, space="w")
    photograph.invert(steps=8, quiet=True)  # spent already: nothing is added
    assert torch.equal(photograph.latents.values, before.values)


def test_known_codes_ship_with_their_measures(generator):
    known = load_known(generator)
    assert set(known.measured) == set(WAYS)
    assert "scripts.invert_known" in known.provenance["command"]
    assert known.provenance["generator"] == generator.fingerprint
    assert all(codes.values.shape == (16, 23, 512) for codes in known.latents.values())
    for way, measured in known.measured.items():
        assert all(values.shape == (16,) for values in measured.values())
        assert all(values.isfinite().all() for values in measured.values())
        assert measured[SFACE].max() <= 1.001, way
    assert known.measured[TRUE][PSNR].min() > 40  # rounded to half precision
    mean = {way: float(measured[VGG].mean()) for way, measured in known.measured.items()}
    assert mean[TRUE] < mean[BOTH] < mean[ENCODED] < mean[IN_Z]
    # one in W is the same in every layer
    assert (known.latents[IN_W].values == known.latents[IN_W].values[:, :1]).all()
    assert known.latents[BOTH].values.std(1).min() > 0


def test_tuning_brings_its_image_nearer_and_leaves_the_generator_alone(
    photograph, generator, tmp_path, monkeypatch
):
    image, codes = photograph.aligned.image, photograph.latents
    before = generator.synthesize(codes, size=512)
    bent = tune(generator, image, codes, steps=3, quiet=True)
    target = F.avg_pool2d(image, 2)
    with torch.no_grad():
        after = bent.synthesize(codes, size=512)
        assert torch.equal(generator.synthesize(codes, size=512), before)
    assert (after - target).abs().mean() < 0.99 * (before - target).abs().mean()
    assert bent.fingerprint != generator.fingerprint
    truncated = [g.variant(truncation=0.7).fingerprint for g in (bent, generator)]
    assert truncated[0] != truncated[1]
    assert bent.space_fingerprint == generator.space_fingerprint
    load_editors("interfacegan").check(bent)
    monkeypatch.setattr(cache, "cache_dir", lambda: tmp_path)
    kept = tuned(generator, image, codes, 3)
    assert kept.fingerprint == bent.fingerprint
    module = sys.modules["facenb.photos.tune"]  # the function of that name hides it
    monkeypatch.setattr(module, "spend", None)  # from what was kept: nothing learns
    again = tuned(generator, image, codes, 3)
    with torch.no_grad():
        assert torch.equal(again.synthesize(codes, size=512), after)
    with pytest.raises(ValueError, match="one image"):
        tune(generator, image.repeat(2, 1, 1, 1), codes, steps=1)


def test_an_edit_changes_the_face_and_the_photograph_around_it_stays(photograph, tmp_path):
    plain, older = (photograph.edited({"age": s}, ["glasses"], size=512) for s in (0.0, 4.0))
    assert (older - plain).abs().mean() > 0.03
    photograph.save(tmp_path / "older.png", older)
    found, photo = read_photo(tmp_path / "older.png"), photograph.aligned.photo
    changed = (found - photo).abs().amax(1)[0] > 0.02
    assert changed[60:150, 180:270].float().mean() > 0.5
    assert not changed[230:].any() and not changed[:, :120].any() and not changed[:, 330:].any()
    with pytest.raises(FacenbError, match=re.escape("ends in .jpg")):
        photograph.save(tmp_path / "older.xyz", older)


def test_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("facenb.photos.__main__.cache_dir", lambda: tmp_path)
    photo, out = str(asset_path("astronaut/astronaut.png")), tmp_path / "out.jpg"
    command = ["edit", photo, "--age", "3", "--hold", "glasses", "--seconds", "1"]
    assert main([*command, "--out", str(out), "--crop", str(tmp_path / "face.png")]) == 0
    assert Image.open(out).size == (512, 512)
    assert Image.open(tmp_path / "face.png").size == (1024, 1024)
    (kept,) = (tmp_path / "photos").iterdir()
    content = kept.read_bytes()
    assert main([*command, "--out", str(out)]) == 0  # from what was kept: nothing to optimise
    assert kept.read_bytes() == content
    assert main(["faces", photo]) == 0
    assert "face 0: around (225, 107), 171 pixels" in capsys.readouterr().out
    grey = tmp_path / "grey.png"
    Image.new("L", (300, 300), 128).save(grey)
    assert main(["edit", str(grey), "--smile", "2", "--out", str(out)]) == 1
    assert "no face was found" in capsys.readouterr().err
    assert main(["edit", str(tmp_path / "none.png"), "--smile", "2", "--out", str(out)]) == 1
    with pytest.raises(SystemExit):
        main(["edit", photo, "--hold", "moustache", "--out", str(out)])
    assert cache_dir() != tmp_path


def shown(widget) -> Image.Image:
    return Image.open(io.BytesIO(widget.value)).convert("RGB")


def test_the_widget_inverts_edits_saves_and_refuses(generator, tmp_path):
    editors = load_editors("interfacegan").select(["smile", "age"])
    editor = PhotoEditor(generator, editors, seconds=1.5)
    assert "nothing is sent" in editor._status.value
    content = asset_path("astronaut/astronaut.png").read_bytes()
    editor._uploaded({"new": ({"name": "a.png", "content": memoryview(content)},)})
    first = editor.photograph
    editor.open(content, "again")  # a second one replaces it
    assert editor.photograph is not first
    editor.wait()
    assert first.inversion.spent < 1.5 <= editor.photograph.inversion.spent  # it was given up
    assert editor._progress.value == 1 and "Inverted after" in editor._status.value
    assert shown(editor._before).size == (320, 320)
    before = editor._after.value
    editor._sliders["smile"].value = -4.0
    editor.wait()
    assert editor._after.value != before
    stream = io.BytesIO()
    Image.new("RGB", (200, 200), "red").save(stream, "PNG")
    kept = editor._after.value
    assert not editor.open(stream.getvalue(), "red.png")
    assert "no face was found" in editor._status.value and editor._after.value == kept
    editor._file.value = str(tmp_path / "x.png")
    editor._save()
    editor.wait()
    assert Image.open(tmp_path / "x.png").size == (512, 512)
    editor._file.value = str(tmp_path / "x.doc")
    editor._save()
    editor.wait()
    assert "ends in" in editor._status.value
    editor.close()
    assert not any(worker._users for worker in _WORKERS)


def test_moving_a_slider_waits_for_no_image(generator, monkeypatch):
    editor = PhotoEditor(generator, load_editors("interfacegan").select(["smile"]), seconds=0.1)
    begun, free, drawn = threading.Event(), threading.Event(), []

    def slow(photograph, size=None):
        begun.set()
        free.wait(20)
        drawn.append(editor._sliders["smile"].value)
        return torch.zeros(1, 3, 64, 64)

    editor.photograph = photograph = object()
    monkeypatch.setattr(editor, "_edited", slow)
    editor._sliders["smile"].value = 1.0
    assert begun.wait(20)  # the worker draws, and the slider goes on
    for value in (2.0, 3.0, 4.0):
        editor._sliders["smile"].value = value
    assert editor.photograph is photograph and not drawn
    free.set()
    editor._frames.wait()
    assert len(drawn) == 2 and drawn[-1] == 4.0  # what lies between was never drawn
    editor.close()
