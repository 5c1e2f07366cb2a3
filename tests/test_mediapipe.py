"""MediaPipe's nets in torch: against LiteRT's own outputs, on a photograph, and by hand."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from facenb.assets import asset_path
from facenb.scorers.nets.blendshapes import (
    ACTION_UNITS,
    NAMES,
    POINTS,
    Blendshapes,
    action_units,
)
from facenb.scorers.nets.mediapipe import (
    FaceDetector,
    FaceMesh478,
    PersonMask,
    anchors,
    decode,
    merge_overlapping,
)


@pytest.fixture(scope="module")
def reference(repository):
    """LiteRT's outputs (scripts/references/make_litert_reference.py)."""
    return load_file(repository / "tests" / "fixtures" / "litert_reference.safetensors")


@pytest.fixture(scope="module")
def photograph():
    """(512, 512, 3) uint8: the astronaut, whose face is in columns 177–272 and rows 80–175."""
    return np.array(Image.open(asset_path("astronaut/astronaut.png")).convert("RGB"))


@pytest.fixture(scope="module")
def inputs(repository, photograph):
    """By model, what the reference was computed from, as images (2, 3, S, S) in [−1, 1]."""
    path = repository / "scripts" / "references" / "make_litert_reference.py"
    spec = importlib.util.spec_from_file_location("make_litert_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {
        model: torch.from_numpy(values).permute(0, 3, 1, 2) * 2 - 1
        for model, values in module.inputs(photograph).items()
    }


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh478()


@pytest.fixture(scope="module")
def shapes():
    return Blendshapes()


def as_images(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


# ---- the mesh -----------------------------------------------------------------------------------


def test_the_mesh_is_litert_s(reference, inputs, mesh):
    with torch.no_grad():
        points, flag = mesh(inputs["face_landmarks_detector"])
    assert (points * 256 - reference["mesh"]).abs().max() < 0.01  # pixels of 256
    assert (flag - reference["flag"]).abs().max() < 0.01  # logits of 28 and −13
    assert flag[0] > 20 and flag[1] < -5


def test_the_mesh_lies_on_the_face(photograph, mesh):
    crop = as_images(photograph[32:224, 128:320])
    with torch.no_grad():
        points, flag = mesh(crop)
    assert flag.item() > 10
    x, y, _ = (points[0] * 192).unbind(1)
    # the face is in columns 49–144 and rows 48–143 of the crop
    assert 40 < x.min() < 60 and 130 < x.max() < 155 and 130 < y.max() < 155
    left_eye, right_eye, nose, chin = 468, 473, 1, 152
    assert x[left_eye] < x[nose] < x[right_eye] and y[left_eye] < y[nose] < y[chin]


def test_pictures_do_not_meet_in_a_batch(inputs, mesh):
    images = inputs["face_landmarks_detector"]
    with torch.no_grad():
        together, _ = mesh(torch.cat([images, images.flip(0)]))
        alone, _ = mesh(images[1:])
    assert (together[1] - alone[0]).abs().max() < 1e-4
    assert torch.allclose(together[1], together[2], atol=1e-4)


def test_gradients_of_a_blendshape_reach_the_pixels(inputs, mesh, shapes):
    images = inputs["face_landmarks_detector"][:1].double()
    nets = FaceMesh478().double(), Blendshapes().double()
    jaw = NAMES.index("jawOpen")

    def score(pixels):
        return nets[1].logits(nets[0](pixels)[0])[0, jaw]

    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(pixels), pixels)
    direction = gradient / gradient.norm()
    step = 1e-4
    with torch.no_grad():
        change = score(images + step * direction) - score(images - step * direction)
    assert change / (2 * step) == pytest.approx(gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("shape", [(1, 3, 64, 48), (3, 64, 64), (1, 1, 64, 64)])
def test_other_shapes_are_refused(mesh, shape):
    with pytest.raises(ValueError, match=r"expected shape \(N, 3, S, S\), given \("):
        mesh(torch.zeros(shape))


# ---- blendshapes --------------------------------------------------------------------------------


def test_blendshapes_are_litert_s(reference, shapes):
    points = reference["mesh"]
    with torch.no_grad():
        values = shapes(points)
    assert (values - reference["blendshapes"]).abs().max() < 1e-4
    smile = NAMES.index("mouthSmileLeft")
    assert values[0, smile] > 0.7  # the astronaut smiles
    assert torch.equal(values, shapes.logits(points).sigmoid())


def test_blendshapes_care_for_neither_place_nor_size(reference, shapes):
    points = reference["mesh"][:1]
    with torch.no_grad():
        moved = shapes.logits(points / 256 + 0.5) - shapes.logits(points)
        turned = shapes.logits(points[:, :, [1, 0]]) - shapes.logits(points)
    assert moved.abs().max() < 0.01 and turned.abs().max() > 1


def test_logits_have_gradients_where_probabilities_have_none(reference, shapes):
    points = reference["mesh"][:1].clone().requires_grad_()
    for score, least, most in ((shapes, 0, 1e-4), (shapes.logits, 1e-2, torch.inf)):
        cheek = action_units(score(points / 256))["AU06"]  # far from any squint
        (gradient,) = torch.autograd.grad(cheek.sum(), points)
        assert least < gradient.abs().max() < most


def test_the_points_and_the_names():
    assert len(POINTS) == 146 == len(set(POINTS)) and list(POINTS) == sorted(POINTS)
    assert len(NAMES) == 52 == len(set(NAMES)) and POINTS[-1] == 477
    assert all(name in NAMES for _, names in ACTION_UNITS.values() for name in names)


def test_action_units_by_hand():
    units = action_units(torch.arange(104.0).reshape(2, 52))
    assert list(units) == list(ACTION_UNITS)
    assert units["AU12"].tolist() == [44.5, 96.5]  # mouthSmileLeft 44, mouthSmileRight 45
    assert units["AU01"].tolist() == [3, 55]  # browInnerUp 3
    assert units["AU45"].tolist() == [9.5, 61.5]
    with pytest.raises(ValueError, match=r"expected \(N, 52\), given \(52,\)"):
        action_units(torch.zeros(52))


def test_points_of_another_number_are_refused(shapes):
    with pytest.raises(ValueError, match=r"given \(1, 468, 3\)"):
        shapes(torch.zeros(1, 468, 3))


def test_the_blendshapes_of_many_faces_are_those_of_each(shapes, reference):
    with torch.no_grad():
        both = shapes.logits(reference["mesh"].repeat(4, 1, 1))
    assert torch.allclose(both[:2], both[6:], atol=1e-3)
    assert both.shape == (8, 52)


# ---- the mask -----------------------------------------------------------------------------------


def test_the_mask_is_litert_s(reference, inputs):
    with torch.no_grad():
        mask = PersonMask()(inputs["selfie_segmentation"])
    assert mask.shape == (2, 1, 256, 256)
    assert (mask[:, 0, 4::8, 4::8] - reference["mask"]).abs().max() < 1e-4


def test_the_mask_shows_the_person_at_any_size(photograph):
    with torch.no_grad():
        mask = PersonMask()(as_images(photograph))
    assert mask.shape == (1, 1, 512, 512) and mask.min() >= 0 and mask.max() <= 1
    face, wall, flag = mask[0, 0, 130, 225], mask[0, 0, 40, 340], mask[0, 0, 100, 20]
    assert face > 0.95 and wall < 0.05 and flag < 0.05


def test_the_mask_has_gradients(inputs):
    images = inputs["selfie_segmentation"][:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(PersonMask()(images).mean(), images)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


# ---- the detector -------------------------------------------------------------------------------


def test_the_detector_s_net_is_litert_s(reference, inputs):
    with torch.no_grad():
        values, logits = FaceDetector().net(inputs["face_detector"])
    assert (logits.squeeze(2) - reference["detector/logits"]).abs().max() < 0.01  # of up to 105
    assert (values[:, ::28] - reference["detector/values"]).abs().max() < 0.01  # pixels of 128


def test_the_detector_finds_the_astronaut_and_nobody_in_noise(inputs, photograph):
    found, noise = FaceDetector()(inputs["face_detector"])
    assert len(found.boxes) == 1 and found.scores[0] > 0.8
    assert noise.boxes.shape == (0, 4) and noise.points.shape == (0, 6, 2)
    left, top, right, bottom = found.boxes[0] * 512
    assert 165 < left < 190 and 70 < top < 95 and 260 < right < 285 and 165 < bottom < 190
    left_eye, right_eye = found.points[0, :2] * 512
    assert torch.dist(left_eye, torch.tensor([204.0, 101.0])) < 10
    assert torch.dist(right_eye, torch.tensor([248.0, 106.0])) < 10


def test_a_wide_picture_is_seen_whole(photograph):
    wide = np.zeros((512, 768, 3), np.uint8)
    wide[:, 200:712] = photograph
    (found,) = FaceDetector()(as_images(wide))
    assert len(found.boxes) == 1
    nose = found.points[0, 2] * torch.tensor([768.0, 512.0])
    assert torch.dist(nose, torch.tensor([200 + 221.0, 124.0])) < 12


def test_anchors_by_hand():
    places = anchors(128)
    assert places.shape == (896, 2)
    assert (places[:3] * 128).tolist() == [[4, 4], [4, 4], [12, 4]]
    assert (places[511:514] * 128).tolist() == [[124, 124], [8, 8], [8, 8]]
    assert (places[-7:-5] * 128).tolist() == [[104, 120], [120, 120]]


def test_decoding_by_hand():
    values = torch.zeros(1, 1, 16)
    values[0, 0, :8] = torch.tensor([16.0, -16.0, 32.0, 64.0, 1.28, 0.0, 0.0, 12.8])
    boxes, points = decode(values, torch.tensor([[0.5, 0.5]]), 128)
    assert boxes.tolist() == [[[0.5, 0.125, 0.75, 0.625]]]
    assert torch.allclose(points[0, 0, :2], torch.tensor([[0.51, 0.5], [0.5, 0.6]]))


def test_overlapping_boxes_are_merged_by_their_scores():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 14, 14], [0, 0, 4, 6]])
    points = boxes[:, :2].unsqueeze(1).expand(3, 6, 2) + torch.tensor([[[1.0]], [[0.0]], [[5.0]]])
    merged, places, scores = merge_overlapping(boxes, points, torch.tensor([0.6, 0.8, 0.2]), 0.3)
    assert scores.tolist() == pytest.approx([0.8, 0.6])
    # 4 × 4 and 4 × 6 overlap by 16 / 24; weights .75 and .25
    assert merged.tolist() == [[10, 10, 14, 14], pytest.approx([0, 0, 4, 4.5])]
    assert places[1].flatten().tolist() == pytest.approx([2.0] * 12)
    apart, _, _ = merge_overlapping(boxes, points, torch.tensor([0.6, 0.8, 0.2]), 0.7)
    assert len(apart) == 3
