# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Photographs: inversion, and edits of a real face
#
# | | |
# |---|---|
# | **Papers** | InterFaceGAN (Figure 10: GAN inversion); Abdal et al., *Image2StyleGAN* (2019); Roich et al., *Pivotal Tuning* (2021) |
# | **Regenerates** | InterFaceGAN's Figure 10 in Z, W and W+, with an encoder, optimisation, both, and tuning; distortion against editability |
# | **You need** | notebook 02 (InterFaceGAN's boundaries) |
# | **Run time** | seven minutes the first time in the laptop profile, one afterwards |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "mobilestylegan-ffhq-1024"
device = "cpu"

# %%
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

import facenb
from facenb.assets import asset_path
from facenb.figures import FigureFolder, image_grid, synthesize_each
from facenb.generators import DEFAULT
from facenb.metrics.statistics import bootstrap
from facenb.photos import Photograph, invert, load_encoder, tune
from facenb.photos.measure import Reconstruction, editability
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.widgets.photo import PhotoEditor

sizes, smoke = load_profile(profile), profile == "smoke"
folder = FigureFolder("10_photographs", profile=profile, seed=seed, generator=generator, device=device)  # fmt: skip
Remarks(facenb.load_generator(generator, device))(f"photographs need real-looking faces: this notebook goes on with {DEFAULT}.")  # fmt: skip
G = facenb.load_generator(DEFAULT, device)
fast = G.variant(precision=torch.bfloat16)
scorers = facenb.load_scorers(["age", "smile", "glasses", "yaw"], framing=G.framing, device=device)
identity = facenb.load_identity(framing=G.framing, device=device)
boundaries = facenb.load_editors("interfacegan", G.name)

# %% [markdown]
# ## Question
#
# All other notebooks edit faces that the generator made. Does the latent space hold *your* face too, and
# do the directions that were learned on generated faces edit it?
#
# An inversion has to serve two masters. **Distortion**: the image of the code should be the photograph.
# **Editability**: the code should lie where edits work. W+, one code for each of the 23 layers, can show
# more than W, and much of what it can show is no face at all.
#
# ## What the papers say
#
# 1. **InterFaceGAN, section 5.** An optimised code reconstructs better than an encoder's, and is edited
#    worse; in W+ of StyleGAN inversion and edits work best (Figure 10).
# 2. **Image2StyleGAN.** Optimisation in W+ reconstructs any image; in Z and W it does not.
# 3. **Pivotal tuning.** Take an editable code, and change the *generator* around it until it shows the
#    photograph.
#
# ## What the code says
#
# | | the papers | here |
# |---|---|---|
# | the encoder | LIA's, trained with the generator | ridge regression from frozen features, on 1,800 generated faces (`scripts/train_encoder.py`) |
# | the loss | pixels and VGG features | pixels, VGG distance (HED), SFace, and 478 landmarks |
# | editable | a regulariser of W+ (StyleGAN) | pulled towards W's mean in units of its covariance, and the layers towards each other |
# | steps | 1,000 to 5,000 | 120, from the encoder's code, on images of 256 pixels |
#
# **What this must not be used for.** To show people doing or being what they did not do or are not, to
# pass an edited image off as a photograph, or to judge anyone by what the scores say. Edit your own face, or
# ask. The photograph here is of Eileen Collins, by NASA, in the public domain. Nothing leaves the machine.

# %% [markdown]
# ## Run
#
# ### The face, cut out as FFHQ cuts faces out
#
# A detector finds the face, a mesh of 478 points gives eyes and mouth, and the square follows from them.

# %%
photograph = Photograph(G, asset_path("astronaut/astronaut.png"))
target, square = photograph.aligned.image, photograph.aligned.face.square
shown = torch.stack([F.interpolate(photograph.aligned.photo, (512, 512)), F.avg_pool2d(target, 2)], 1)
folder.save(image_grid(shown, column_labels=["photograph", "aligned"]), "aligned", "The photograph and the face as FFHQ frames it", photo=True)  # fmt: skip

# %% [markdown]
# ### Figure 10: Z, W and W+, the encoder, and tuning
#
# The same number of steps in each space from a start without the encoder; the encoder alone; W+ from
# the encoder's code; and the generator tuned around that code.

# %%
STEPS, LONG, TUNE = (2, 3, 1) if smoke else (40, 120, 20)
found = {f"{space.upper()}, {STEPS} steps": invert(fast, target, space, steps=STEPS) for space in ("z", "w", "w+")}  # fmt: skip
found["encoder"] = photograph.encoded
both = f"encoder, {LONG} steps"
found[both] = invert(fast, target, "w+", photograph.encoded, steps=LONG)
found = {name: G.map(codes, "w+") for name, codes in found.items()}
tuned = tune(G, target, found[both], steps=TUNE)
ways = {name: (G, codes) for name, codes in found.items()} | {"tuned": (tuned, found[both])}

# %% [markdown]
# How near is each, on the generator's exact image? *SFace cosine* above .54 is the same person: one pair
# in a thousand of different generated faces lies above.

# %%
measure = Reconstruction(target, identity)
table = pd.DataFrame({name: {k: float(v) for k, v in measure(*way).items()} for name, way in ways.items()}).T  # fmt: skip
folder.number("F10 VGG distance", table["VGG distance (HED)"].to_dict())
folder.number("F10 SFace cosine", table["SFace cosine"].to_dict())
folder.table(table, "F10_distortion", "How near each inversion is to the photograph")

# %% [markdown]
# And do edits work on it? Each row is an inversion; its columns are edits by the boundaries of notebook 02.

# %%
EDITS = {"inverted": {}, "older": {"age": 3.0}, "serious": {"smile": -3.5}, "glasses": {"glasses": 3.5}, "turned": {"yaw": 4.0}}  # fmt: skip


def row(network, codes):
    for edit in EDITS.values():
        moved = codes
        for name, strength in edit.items():
            moved = boundaries.in_layers(0, G.w_layers)[name].edit(moved, strength)
        yield network.variant(precision=torch.bfloat16).synthesize(moved, size=512)


with torch.no_grad():
    rows = torch.stack([torch.cat([F.avg_pool2d(target, 2), *row(*way)]) for way in ways.values()])
F10 = image_grid(F.avg_pool2d(rows.flatten(0, 1), 2).unflatten(0, rows.shape[:2]), row_labels=list(ways), column_labels=["photograph", *EDITS], cell=1.6)  # fmt: skip
folder.save(F10, "F10_inversion", "Inversions of one photograph, and edits of each", photo=True)

# %% [markdown]
# ### Distortion against editability, on faces whose code is known
#
# For a generated face the true code is known, so that its edit is known, too. Each face is inverted from
# the encoder's code in W and in W+; the same edit (age, 3 each way) is applied to the true code and to
# the inverted ones.

# %%
FACES, FEW = (2, 1) if smoke else (16, 12)
true = G.map(G.truncate(G.sample(FACES, seed=seed + 1500, space="w"), 0.7), "w+")
images = synthesize_each(fast, true, 512)
with torch.no_grad():
    start = load_encoder(G.name)(images)
codes = {"true code": true, "encoder": start}
codes |= {f"{s.upper()}, {FEW} steps": G.map(invert(fast, images, s, start, steps=FEW), "w+") for s in ("w", "w+")}  # fmt: skip

# %%
near, age = Reconstruction(images, identity), boundaries.in_layers(0, G.w_layers)["age"]
rows, same = {}, {}
for name, values in codes.items():
    measured = near(fast, values)
    same[name] = int((measured["SFace cosine"] > identity.threshold).sum())
    change, person = editability(fast, scorers, identity, age, values, images, (-3.0, 3.0))
    measured |= {"years, from -3 to 3": change, "SFace cosine, edited": person}
    rows[name] = {key: "{:.2f} ({:.2f} to {:.2f})".format(*(float(v) for v in bootstrap(value, draws=sizes.bootstrap)))
                  for key, value in measured.items()}  # fmt: skip
folder.number("same person, of the generated faces", same)
folder.table(pd.DataFrame(rows).T, "known_codes", f"Mean and 95 % interval over {FACES} generated faces")

# %% [markdown]
# ### Back into the photograph
#
# The edited face is matched in colour, as the face without the edit has to be for the photograph's colours,
# and laid over it where the mask sees a person.

# %%
photograph.inversion._best = found[both].values
photograph.inversion.step = LONG
with torch.no_grad():
    pasted = torch.cat([photograph.aligned.photo] + [
        photograph.pasted(photograph.edited(edit, ["glasses"], boundaries, size=512))
        for edit in ({}, {"age": 3.0}, {"smile": -3.0})
    ])[:, None].transpose(0, 1)  # fmt: skip
folder.save(image_grid(pasted, column_labels=["photograph", "inverted", "older, glasses held", "serious"]), "pasted", "Edited faces in the photograph", photo=True)  # fmt: skip

# %% [markdown]
# ## Check

# %%
vgg, cosine = table["VGG distance (HED)"], table["SFace cosine"]
lines = [f"Encoder and optimisation: VGG distance {vgg[both]:.2f}, SFace cosine {cosine[both]:.2f}; the encoder alone {vgg['encoder']:.2f} and {cosine['encoder']:.2f}.",
         f"Tuning brings the VGG distance to {vgg['tuned']:.2f}.",
         f"Of {FACES} generated faces {same[f'W+, {FEW} steps']} are the same person in W+ after {FEW} steps, {same['encoder']} by the encoder alone (threshold {identity.threshold:.2f})."]  # fmt: skip
display(Markdown(" ".join(lines)))
if not smoke:
    assert cosine[both] > identity.threshold and vgg[both] < vgg["encoder"]
    assert vgg[f"W+, {STEPS} steps"] < vgg[f"W, {STEPS} steps"] < vgg[f"Z, {STEPS} steps"]
    assert vgg["tuned"] < vgg[both]
    assert same[f"W+, {FEW} steps"] >= 15

# %% [markdown]
# ## Try it
#
# Upload a photograph with one face, or take the astronaut. The file goes to the machine that runs this
# notebook, and no further. From the command line:
# `python -m facenb.photos edit PHOTO --age 3 --hold glasses --out OUT.jpg`

# %%
editor = PhotoEditor(G, boundaries.select(["smile", "age", "glasses", "yaw", "gender"]))
editor

# %% [markdown]
# ## Exercises
#
# 1. Set `weights` of `Inversion` to `PLAIN` (pixels alone). What is lost first: the likeness, or the
#    edits?
# 2. Give `Weights(mean=0, layers=0)`. The reconstruction gets better. What does *older* do to it?
# 3. Tune for 100 steps in place of 20. When do the edits begin to look painted on?
# 4. Edit the layers 0 to 8 alone: `boundaries["yaw"]` by `boundaries.in_layers(0, 8)["yaw"]`.
