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
generator = "digiface-dcgan-64"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import torch

import facenb
from facenb.directions import Directions
from facenb.editors import compose
from facenb.explorer import Explorer
from facenb.figures import FigureFolder, image_grid, strip_images
from facenb.methods.interfacegan import fit_boundaries
from facenb.profiles import load_profile
from facenb.remarks import Remarks
from facenb.sampling import sample_scored

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(device=device)
folder = FigureFolder("00_tour", profile=profile, seed=seed, generator=generator, device=device)
remark = Remarks(G)
if remark.own:
    directions = facenb.load_directions("interfacegan")
else:
    learned = fit_boundaries(sample_scored(G, scorers, sizes.samples, seed), sizes.confident, seed)
    directions = Directions.from_editors({name: b.editor(name) for name, b in learned.items()})
remark(f"no directions ship for it: these come from {sizes.samples:,} samples, as in notebook 02.")

# %% [markdown]
# ## Question
#
# A generative adversarial network turns a list of random numbers, the **latent code**, into a picture of
# a face that belongs to nobody. Can we find out *which* change of the numbers adds glasses, turns the
# head or opens the mouth, and change only that?
#
# ## What the papers say
#
# | notebook | paper | an edit is |
# |---|---|---|
# | 02 | InterFaceGAN (Shen et al., 2020) | a step along the normal of a hyperplane that separates faces with from faces without |
# | 03 to 05 | unsupervised directions; two-stage Hessian-penalty directions (Niu et al., 2023) | a step along a column of a matrix that was learned without labels |
# | 06 | latent transformer (Yao et al., 2021) | a step computed by a small network from the code itself |
# | 07 | surrogate gradient field (Li et al., 2021) | a path that follows a learned vector field |
#
# Every one of them makes an **editor**, a map (latents, strength) → latents. That is the one idea of this
# project: strips, sliders, scores and comparisons work with any editor.
#
# ## What the code says
#
# Each notebook keeps a ledger of where a paper's text and its public code part ways, and what was chosen
# here. The notebooks assert what should hold and say plainly what did not.
#
# ## Run
#
# Eight codes, eight faces:

# %%
faces = G.sample(8, seed=26)
with torch.inference_mode():
    folder.save(image_grid(G.synthesize(faces), columns=8), "faces", "Eight random codes (seed 26)")

# %% [markdown]
# One direction, one face, seven strengths. The middle column is the face as it was.

# %%
STEPS = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
SHOWN = ["yaw", "smile", "mouth_open", "glasses", "hat", "beard", "age", "gender"]
rows = torch.cat([strip_images(G, directions[name], faces[1], STEPS) for name in SHOWN])
tour = image_grid(rows, row_labels=SHOWN, column_labels=[f"{step:+g}" for step in STEPS])
folder.save(tour, "strip", "One face along eight directions")

# %% [markdown]
# Edits can be put together, and an edit can be told to leave other attributes alone: *glasses* with age and
# gender held fixed.

# %%
editor = compose(
    [(directions.condition("glasses", on=["age", "gender"]), 1.0), (directions["smile"], 0.75)]
)
both = strip_images(G, editor, faces[:3], [0.0, 1.0, 2.0, 3.0])
folder.save(image_grid(both, column_labels=["0", "+1", "+2", "+3"], title="glasses (age, gender held) and a smile"),
            "composed", "Glasses with age and gender held, and a smile")  # fmt: skip
plt.show()

# %% [markdown]
# ## Check
#
# Do not trust the eye alone. Networks that never saw the directions score 64 other faces before the edit and after.

# %%
with torch.inference_mode():
    others = G.sample(64, seed=27)
    before, after = (scorers(G.synthesize(z)) for z in (others, editor.edit(others, 3.0)))
change = dict(zip(scorers.names, (after - before).mean(0).tolist(), strict=True))
folder.number("mean change of each score", change)
print({name: round(change[name], 2) for name in ("glasses", "smile", "age", "gender")})
if remark.own:
    assert change["glasses"] > 0 and change["smile"] > 0

# %% [markdown]
# ## Try it
#
# Drag a slider; tick *hold* to keep an attribute's distance to its boundary where it is (its score then moves little,
# not nothing: a score is not quite linear in the latent); Randomise for another face. Save the picture,
# an animation, or the edit itself. The strip stands here for readers without a kernel.
#
# ![one face along eight directions](../figures/00_tour/strip.png)

# %%
explorer = Explorer(G, directions.editors(), scorers, seed=26, index=1)
explorer

# %% [markdown]
# ## Exercises
#
# 1. Find the strength at which *glasses* appear on a face that has none. Is it the same for every face?
# 2. Move *beard* and watch the bars. What else moves? Hold it fixed and move again.
# 3. Push *gender* to the end of its slider. Is it still the same person? (Notebook 02, Figure 5.)
