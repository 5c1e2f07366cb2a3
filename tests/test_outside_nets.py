"""The outside nets for identity, age and gender, distances: their outputs against the originals'.

The reference comes from scripts/references/make_outside_nets_reference.py. The converters of
their files are in test_converters.py.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from facenb.data import load_json
from facenb.errors import UnknownNameError
from facenb.generators import load_generator
from facenb.metrics.preservation import embed
from facenb.scorers import load_identity
from facenb.scorers.alignment import ARCFACE, align_faces, similarity
from facenb.scorers.nets.age_gender import AgeGender
from facenb.scorers.nets.efficientnet import EfficientNetLite0
from facenb.scorers.nets.sface import SFace
from facenb.scorers.nets.vgg import VGGDistance
from scripts.identity_threshold import bootstrap_threshold


@pytest.fixture(scope="module")
def reference(repository) -> dict[str, Tensor]:
    return load_file(repository / "tests" / "fixtures" / "outside_nets_reference.safetensors")


def pictures(reference: dict[str, Tensor], size: int) -> Tensor:
    """The reference's pictures with pixels repeated to `size`, (3, 3, size, size) in 0..255."""
    index = torch.arange(size) * 32 // size
    return reference["pictures"][:, index][:, :, index].permute(0, 3, 1, 2).float()


def faces(count: int, size: int, seed: int = 0) -> Tensor:
    """Random smooth pictures in [−1, 1]."""
    noise = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(F.interpolate(noise, (size, size), mode="bicubic"))


# ---- parity -------------------------------------------------------------------------------------


def test_sface_matches_onnxruntime(reference):
    with torch.no_grad():
        found = SFace()(pictures(reference, 112))
    assert (found - reference["sface"]).abs().max() < 1e-4


def test_age_and_gender_match_onnxruntime(reference):
    net = AgeGender()
    large, small = pictures(reference, 64), pictures(reference, 32)
    with torch.no_grad():
        assert (net.age(large).softmax(1) - reference["age"]).abs().max() < 1e-4
        assert (net.gender(small).softmax(1) - reference["gender"]).abs().max() < 1e-4
        age, gender = net.of_faces(large, small)
    female, male = reference["gender"].T
    assert torch.allclose(gender, torch.log(male / female), atol=1e-3)
    years = torch.arange(81.0)
    years[0] = 0.25
    assert torch.allclose(age, reference["age"] @ years, atol=1e-2)


def test_efficientnet_matches_its_own_package(reference):
    with torch.no_grad():
        found = EfficientNetLite0()(pictures(reference, 224) / 127.5 - 1)
    assert (found - reference["efficientnet"]).abs().max() < 1e-3  # values up to 4


def test_vgg_matches_keras(reference):
    net = VGGDistance()
    with torch.no_grad():
        maps = net.maps(pictures(reference, 64)[-1:] / 127.5 - 1)
    for block, values in enumerate(maps, start=1):
        flat, expected = values.flatten(), reference[f"vgg/{block}"]
        index = torch.linspace(0, flat.numel() - 1, 257, dtype=torch.float64).long()
        assert (flat[index] - expected).abs().max() < 1e-5 * expected.abs().max()


def test_sface_on_a_face_that_opencv_cut_out(reference):
    smooth = reference["smooth"].permute(2, 0, 1)[None].float()
    points = (reference["points/eyes_nose_mouth"] + 0.5) / 96
    with torch.no_grad():
        face = align_faces(smooth, points[None])
        vector = SFace()(face)
    thin = face[0].permute(1, 2, 0)[::3, ::3]
    assert (thin - reference["opencv/face"]).abs().max() < 2  # OpenCV rounds to whole levels
    assert F.cosine_similarity(vector, reference["opencv/vector"][None]) > 0.999


def test_faces_for_age_and_gender_are_those_that_dlib_cuts_out(reference):
    smooth = reference["smooth"].permute(2, 0, 1)[None].float()
    points = (reference["points/corners_nose"] + 0.5) / 96
    face = AgeGender().face
    large, small = (
        align_faces(smooth, points[None], side, face)[0].permute(1, 2, 0)[::3, ::3]
        for side in (64, 32)
    )
    assert (large - reference["dlib/face64"]).abs().max() < 3
    # dlib shrinks by an image pyramid, which moves its smaller face by a third of a pixel
    assert (small - reference["dlib/face32"]).abs().mean() < 5


# ---- alignment ----------------------------------------------------------------------------------


def test_similarity_is_found_exactly():
    points = torch.tensor([(0.0, 0.0), (2.0, 0.0), (1.0, 1.0), (0.0, 2.0), (2.0, 2.0)])
    turn = torch.tensor([[0.0, -3.0], [3.0, 0.0]])  # a quarter turn, three times as large
    shift = torch.tensor([5.0, -1.0])
    matrix, found = similarity(points[None], points @ turn.T + shift)
    assert torch.allclose(matrix[0], turn, atol=1e-5) and torch.allclose(found[0], shift, atol=1e-5)


def test_a_picture_that_is_aligned_already_comes_out_as_it_is():
    images = faces(2, 112)
    assert torch.allclose(align_faces(images, ARCFACE.expand(2, 5, 2)), images, atol=1e-4)


def test_a_picture_three_times_as_large_comes_out_as_its_means():
    images = torch.rand(1, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    face = align_faces(images, ARCFACE[None])
    # each sample lies in the middle of a pixel, nine to a pixel of the result
    assert torch.allclose(face, F.avg_pool2d(images, 3), atol=1e-4)


@pytest.mark.parametrize("size", [512, 1024, 3000])
def test_shrinking_does_not_alias(size):
    # a chequerboard of single pixels is grey wherever it shrinks
    board = (torch.arange(size)[:, None] + torch.arange(size)) % 2 * 2.0 - 1
    points = 0.3 + 0.4 * ARCFACE  # a face that fills four tenths of the picture
    points = (points - 0.5) @ torch.tensor([[0.96, 0.28], [-0.28, 0.96]]) + 0.5
    face = align_faces(board.expand(1, 3, size, size), points[None])
    assert face.abs().max() < 0.15


def test_each_image_has_its_own_points_and_size():
    images = faces(1, 512).expand(3, 3, 512, 512)
    sizes = torch.tensor([0.1, 0.9, 0.3]).view(3, 1, 1)
    points = 0.05 + sizes * ARCFACE
    together = align_faces(images, points)
    for i in range(3):
        assert torch.equal(together[i], align_faces(images[i : i + 1], points[i : i + 1])[0])


def test_alignment_has_gradients_to_points_and_pixels():
    images = faces(1, 24).double().requires_grad_()
    points = (0.2 + 0.6 * ARCFACE[None]).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda i, p: align_faces(i, p, 6), (images, points), atol=1e-4, nondet_tol=1e-9
    )


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (torch.rand(2, 5, 2), r"expected \(1, 5, 2\)"),
        (torch.rand(1, 4, 2), r"given \(1, 4, 2\)"),
        (torch.full((1, 5, 2), 0.5), "those of image 0 coincide"),
        (torch.full((1, 5, 2), torch.nan), "NaN"),
    ],
)
def test_points_that_no_face_has_are_errors(points, said):
    with pytest.raises(ValueError, match=said):
        align_faces(torch.zeros(1, 3, 64, 64), points)


# ---- real-looking faces -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated() -> Tensor:
    """Four faces of the FFHQ generator at 256 px, in [−1, 1]."""
    generator = load_generator("mobilestylegan-ffhq-1024")
    with torch.no_grad():
        images = [generator.synthesize(z, size=512) for z in generator.sample(4, seed=0)]
    return F.avg_pool2d(torch.cat(images), 2)


def blurred(images: Tensor, side: int) -> Tensor:
    small = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, images.shape[2:], mode="bilinear")


def test_vgg_distance_orders_changes_as_people_do(generated):
    noise = torch.randn(generated.shape, generator=torch.Generator().manual_seed(0)) * 6 / 127.5
    changed = {
        "brighter by 5 %": (generated + 1) * 1.05 - 1,
        "noise of 6 levels": generated + noise,
        "shifted by a pixel": generated.roll(1, 3),
        "blurred to 128 px": blurred(generated, 128),
        "blurred to 64 px": blurred(generated, 64),
        "another face": generated.roll(1, 0),
    }
    net = VGGDistance().bfloat16()
    with torch.no_grad():
        first = net.features(generated)
        distances = [
            net.distance(first, net.features(images.clamp(-1, 1))).mean()
            for images in changed.values()
        ]
    ratios = torch.stack(distances[1:]) / torch.stack(distances[:-1])
    assert (ratios > 1.5).all(), dict(zip(changed, distances, strict=True))


def test_sface_knows_a_person_again_and_tells_strangers_apart(generated):
    identity = load_identity("sface")
    with torch.no_grad():
        vectors = identity(generated)
        for same in (generated.flip(3), generated * 0.6 - 0.4, blurred(generated, 64)):
            assert ((identity(same) * vectors).sum(1) > identity.threshold).all()
    strangers = (vectors @ vectors.T)[~torch.eye(4, dtype=torch.bool)]
    assert (strangers < identity.threshold).all()
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4), atol=1e-5)


def test_identity_of_real_faces_has_gradients(generated):
    image = generated[:1].clone().requires_grad_()
    identity = load_identity("sface")
    identity(image)[0, 0].backward()
    assert image.grad.isfinite().all() and image.grad.abs().max() > 0


def test_the_threshold_is_measured_and_its_interval_holds_it():
    report = load_json("identity_threshold.json")
    assert report["false_acceptance_rate"] == 0.001
    for found in report["psi"].values():
        assert found["low"] <= found["threshold"] <= found["high"] < found["maximum"] < 1
    assert load_identity("sface").threshold == report["psi"]["1.0"]["threshold"]


def test_the_net_follows_from_the_framing():
    assert load_identity().name == load_identity(framing="ffhq").name == "sface"
    digiface = load_identity(framing="digiface")
    assert digiface.name == "face_recognition" and digiface.threshold is None
    assert (load_identity().framing, digiface.framing) == ("ffhq", "digiface")
    with pytest.raises(UnknownNameError, match="ffhq, digiface"):
        load_identity(framing="celeba")
    dcgan = load_generator("digiface-dcgan-64")
    with pytest.raises(ValueError, match="frames its images as 'digiface'"):
        embed(dcgan, load_identity(), dcgan.sample(1))


def test_bootstrap_of_the_threshold_on_faces_whose_cosines_are_known():
    # 100 faces at right angles but for one pair of twins: the threshold of one pair in 4,950 lies
    # at 0 and not at the twins' cosine; one in 10,000 allows no pair at all
    vectors = torch.eye(100)
    vectors[1] = 0.9 * vectors[0] + 0.19**0.5 * vectors[1]
    assert bootstrap_threshold(vectors, 1 / 4950, 200)[0] == 0
    low, high = bootstrap_threshold(vectors, 1 / 10_000, 200)
    assert (low, high) == (0, pytest.approx(0.9))  # where the twins were not both drawn, 0


def test_bootstrap_of_the_threshold_agrees_with_brute_force():
    random = torch.Generator().manual_seed(3)
    vectors = F.normalize(torch.randn(60, 5, generator=random), dim=1)
    found = []
    for _ in range(300):
        rows = torch.randint(60, (60,), generator=random)
        first, second = torch.triu_indices(60, 60, offset=1)
        different = rows[first] != rows[second]
        cosine = (vectors[rows] @ vectors[rows].T)[first, second][different]
        found.append(cosine.sort(descending=True).values[int(0.01 * len(cosine))])
    low, high = torch.stack(found).quantile(torch.tensor([0.025, 0.975])).tolist()
    ours = bootstrap_threshold(vectors, 0.01, 300)
    assert ours[0] == pytest.approx(low, abs=0.01) and ours[1] == pytest.approx(high, abs=0.01)


# ---- the nets as a user meets them --------------------------------------------------------------


def test_batches_are_the_same_as_single_pictures_and_gradients_arrive():
    images = faces(3, 112)
    points = (0.1 + 0.8 * ARCFACE).expand(3, 5, 2)
    corners = (0.1 + 0.8 * AgeGender().face).expand(3, 5, 2)
    sface, judge, lite, vgg = SFace(), AgeGender(), EfficientNetLite0(), VGGDistance()
    other = faces(3, 112, seed=1)
    calls = {
        "sface": lambda i: sface((align_faces(images[i], points[i]) + 1) * 127.5),
        "judge": lambda i: torch.stack(judge(images[i], corners[i]), 1),
        "efficientnet": lambda i: lite(images[i]),
        "vgg": lambda i: vgg(images[i], other[i]),
    }
    images.requires_grad_()
    for name, call in calls.items():
        together = call(slice(None))
        alone = torch.cat([call(slice(i, i + 1)) for i in range(3)])
        scale = together.detach().abs().max()
        assert (together - alone).abs().max() < 1e-4 * scale, name
        (gradient,) = torch.autograd.grad(together.sum(), images)
        assert torch.isfinite(gradient).all() and (gradient.flatten(1).abs().sum(1) > 0).all(), name


@pytest.mark.parametrize("net", [SFace, AgeGender, EfficientNetLite0, VGGDistance])
def test_nets_are_frozen(net):
    built = net()
    assert not built.training and not list(built.parameters())
    assert not any(value.requires_grad for value in built.buffers())


def test_vgg_distance_is_zero_for_equal_pictures_and_symmetric():
    net, (a, b) = VGGDistance(), (faces(2, 64), faces(2, 64, seed=1))
    assert net(a, a).abs().max() == 0
    assert torch.allclose(net(a, b), net(b, a)) and (net(a, b) > 0).all()


def test_vgg_distance_in_half_the_bits_is_nearly_the_same():
    a, b = faces(2, 64), faces(2, 64, seed=1)
    exact, fast = VGGDistance(), VGGDistance().bfloat16()
    assert fast(a, b).dtype == torch.float32
    assert torch.allclose(exact(a, b), fast(a, b), rtol=5e-3)


def test_wrong_sizes_are_errors():
    with pytest.raises(ValueError, match=r"\(N, 3, 112, 112\)"):
        SFace()(torch.zeros(1, 3, 96, 96))
    with pytest.raises(ValueError, match="sides of 32"):
        VGGDistance()(torch.zeros(1, 3, 16, 64), torch.zeros(1, 3, 16, 64))
    with pytest.raises(ValueError, match="square"):
        EfficientNetLite0()(torch.zeros(1, 3, 64, 96))
