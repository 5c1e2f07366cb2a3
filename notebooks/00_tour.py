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

# %% [markdown]
# # 00 · Tour: from a latent code to an edited face
#
# | | |
# |---|---|
# | **Subject** | The whole idea on one page, and the live editor |
# | **Regenerates** | the tour's strips |
# | **You need** | nothing: the generator, the scorers and the directions come with the set-up |
# | **Run time** | half a minute |
#
# *To move the sliders, run this notebook (Run → Run All Cells) and scroll to **Try it**.*

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "mobilestylegan-ffhq-1024"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import torch

import facenb
from facenb.drawing import images_of
from facenb.editors import compose
from facenb.figures import FigureFolder, image_grid, strip_images
from facenb.methods.interfacegan import load_boundaries
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.sampling import score
from facenb.widgets.explorer import Explorer

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder("00_tour", profile=profile, seed=seed, generator=generator, device=device)
remark = Remarks(G)
directions = load_boundaries(G, scorers, sizes.samples, sizes.confident, seed)
space = directions.space
if remark.styles:
    G = G.variant(truncation=0.7)

# %% [markdown]
# ## Question
#
# A generative adversarial network turns a list of random numbers, the **latent code**, into a face that belongs to
# nobody. Can we find out *which* change of the numbers adds glasses, turns the head or opens the mouth, and change
# only that?
#
# ## What the papers say
#
# | notebook | paper | an edit is |
# |---|---|---|
# | 02 | InterFaceGAN (Shen et al., 2020) | a step along the normal of a hyperplane that separates faces with an attribute from faces without it |
# | 03 to 05 | unsupervised directions; two-stage Hessian-penalty directions (Niu et al., 2023) | a step along a column of a matrix that was learned without labels |
# | 06 | latent transformer (Yao et al., 2021) | a step computed by a small network from the latent itself |
# | 07 | surrogate gradient field (Li et al., 2021) | a path that follows a learned vector field |
#
# Every method makes an **editor**, a map (latents, strength) → latents. Strips, sliders, scores and comparisons work
# with any editor.
#
# ## What the code says
#
# Each notebook keeps a ledger of the points on which a paper's text and its public code differ, and of what was chosen
# here. The notebooks assert what should hold, and say plainly what did not.
#
# ## Run
#
# The papers edit StyleGAN2 trained on FFHQ, photographs of faces. This generator is MobileStyleGAN, which was trained to
# draw what that StyleGAN2 draws, and has the same latent spaces: z, drawn from a normal distribution, and **w**, which
# a mapping network makes of z. Eight faces of one seed, truncated to 0.7 of their distance to the mean face:

# %%
faces = G.sample(8, seed=26, space=space)
images = images_of(G, faces)
folder.save(image_grid(images, columns=4), "faces", "The first eight faces of seed 26", photo=True)

# %% [markdown]
# The third of them, seven strengths, a direction for each row. The middle column is the face as it was.

# %%
STEPS = [-4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5]
SHOWN = ["yaw", "smile", "age", "gender", "glasses", "beard", "fringe", "grey_hair"]
SHOWN = [name for name in SHOWN if name in directions]
rows = torch.cat([strip_images(G, directions[name], faces[2], STEPS) for name in SHOWN])
tour = image_grid(rows, row_labels=SHOWN, column_labels=[f"{step:+g}" for step in STEPS])
folder.save(tour, "strip", "One face along eight directions", photo=True)

# %% [markdown]
# Edits can be composed, and an edit can be told to leave other attributes alone: *glasses* with age and gender held
# fixed, and a smile.

# %%
editor = compose(
    [
        (directions.condition("glasses", on=["age", "gender"])["glasses"], 1.0),
        (directions["smile"], 0.5),
    ]
)
both = strip_images(G, editor, faces[:3], [0.0, 1.5, 3.0, 4.5])
title = "glasses (age and gender held fixed) and a smile"
composed = image_grid(both, column_labels=["0", "+1.5", "+3", "+4.5"], title=title)
folder.save(composed, "composed", "Glasses with age and gender held fixed, and a smile", photo=True)
plt.show()

# %% [markdown]
# ## Check
#
# Eyes can be deceived. Networks that take no part in the edit score 64 other faces before it and after it.

# %%
others = G.sample(64, seed=27, space=space)
before, after = (score(G, scorers, latents) for latents in (others, editor.edit(others, 3.0)))
spread = before.std(0)
change = dict(zip(scorers.names, ((after - before).mean(0) / spread).tolist(), strict=True))
folder.number("mean change of each score, in standard deviations", change)
print({name: round(change[name], 2) for name in ("glasses", "smile", "age", "gender")})
if remark.own:
    assert change["glasses"] > 0.5 and change["smile"] > 0.2
    assert abs(change["age"]) < change["glasses"] and abs(change["gender"]) < change["glasses"]

# %% [markdown]
# ## Try it
#
# Drag a slider; tick *hold* to keep an attribute's distance to its boundary where it is (its score then changes little,
# not by nothing: a score is not quite linear in the latent); Randomise for another face. While a slider moves the image
# is a quick preview; it becomes sharp when the slider rests. Save the image, an animation, or the edit itself.
# The strip stands here for readers without a kernel.
#
# ![one face along eight directions](../figures/00_tour/strip.jpg)

# %%
explorer = Explorer(G, directions, scorers, seed=26, index=2)
explorer

# %% [markdown]
# ## Exercises
#
# 1. Find the strength at which *glasses* appear on a face that has none. Is it the same for every face?
# 2. Move *age* and watch the bars. Which other scores change? Hold one of them fixed and move again.
# 3. Push *gender* to the end of its slider. Is it still the same person? (Notebook 02, Figure 5.)
