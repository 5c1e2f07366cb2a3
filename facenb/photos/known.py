"""Generated faces whose code is known, inverted in every way: distortion against editability.

Of a photograph nobody knows the code. Of a generated face it is known, and with it what an edit of
the face should look like. `invert_known` inverts one of them in every way and measures it; the
results for 16 ship (scripts/invert_known.py), because each takes about a minute.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from facenb.data import data_path
from facenb.editors import load_editors
from facenb.generators.mobilestylegan import NAME, MobileStyleGAN
from facenb.latents import Latents
from facenb.photos.encoder import load_encoder
from facenb.photos.invert import invert
from facenb.photos.measure import Editability, Reconstruction
from facenb.photos.tune import tune
from facenb.scorers import load_identity, load_scorers

SEED, PSI = 1500, 0.7
STEPS, TUNING = 16, 4
EDIT, STRENGTHS = "age", (-3.0, 3.0)
TRUE, IN_Z, ENCODED, IN_W, BOTH, TUNED = WAYS = (
    "true latent", "Z", "encoder", "encoder, then W", "encoder, then W+", "tuned",
)  # fmt: skip
SPACES = {IN_Z: "z", IN_W: "w", BOTH: "w+"}  # of the ways that optimise


@dataclass(frozen=True)
class Known:
    """N faces inverted: latents in w+ by way (of the tuned generator those of BOTH), and measures.

    Args:
        latents: N by way.
        measured: by way and name, (N,): see `Reconstruction` and `Editability`.
        provenance: how it was made.
    """

    latents: dict[str, Latents]
    measured: dict[str, dict[str, Tensor]]
    provenance: dict[str, object]


def true_latents(generator: MobileStyleGAN, n: int) -> Latents:
    """The latents in w+ of the first n faces, at ψ = .7: none that the encoder has learned from."""
    latents = generator.truncate(generator.sample(n, seed=SEED, space="w"), PSI)
    return generator.map(latents, "w+")


def invert_known(
    generator: MobileStyleGAN,
    index: int,
    ways: tuple[str, ...] = WAYS,
    steps: int = STEPS,
    tuning: int = TUNING,
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Face `index` inverted and measured: its latent, rounded to half precision, and (1,) measures.

    The latent is of the space of the way. In Z it begins at the nearest of 64 samples, in W and
    W+ at the encoder's; the tuned generator belongs to the latent of W+. What was optimised is
    kept in the cache.
    """
    fast = generator.variant(precision=torch.bfloat16)
    true = true_latents(generator, index + 1)[index]
    with torch.no_grad():
        image = fast.synthesize(true, size=512)
        encoded = load_encoder(generator.name)(image)
    identity = load_identity(framing=generator.framing)
    editor = load_editors("interfacegan", generator.name).in_layers(0, generator.w_layers)[EDIT]
    scorers = load_scorers([EDIT], framing=generator.framing)
    near = Reconstruction(image, identity)
    edited = Editability(scorers, identity, image, {EDIT: (editor, STRENGTHS)}, (fast, true))
    codes, measured = {}, {}
    for way in ways:
        network = fast
        if way in SPACES:
            start = None if way == IN_Z else encoded
            found = invert(fast, image, SPACES[way], start, steps=steps)
        else:
            found = {TRUE: true, ENCODED: encoded}.get(way)
        if way == TUNED:
            found = Latents(codes[BOTH], "w+")
            network = tune(generator, image, found, steps=tuning, quiet=True)
            network = network.variant(precision=torch.bfloat16)
        found = found.with_values(found.values.half().float())
        codes[way] = found.values
        measured[way] = near(network, generator.map(found, "w+")) | edited(network, found)
    return codes, measured


def load_known(generator: MobileStyleGAN) -> Known:
    """What ships: 16 faces, inverted in every way."""
    codes, measured = {}, {way: {} for way in WAYS}
    with safe_open(data_path(f"inversions_{NAME}.safetensors"), "pt") as file:
        for key in file.keys():
            what, way, *name = key.split("/")
            if what == "codes":
                found = Latents(file.get_tensor(key).float(), SPACES.get(way, "w+"))
                codes[way] = generator.map(found, "w+")
            else:
                measured[way][name[0]] = file.get_tensor(key)
        provenance = json.loads(file.metadata()["provenance"])
    codes[TRUE] = true_latents(generator, len(codes[BOTH]))
    return Known(codes, measured, provenance)
