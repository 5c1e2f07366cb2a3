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
# # 01 · The generator, its latent space, and what each scorer sees
#
# | | |
# |---|---|
# | **Subject** | The three things that every later notebook is built on: a generator, its latent space, and networks that score its pictures |
# | **Regenerates** | sample grid, interpolation, latent geometry, sorted grids of every score, saliency, how well each score follows the latent, the identity measure |
# | **You need** | Python and patience for one coffee; no GPU, no photographs |
# | **Run time** | about a minute in the laptop profile when the samples are cached; the first run scores them (3 minutes), and notebook 02 uses the same ones |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "digiface-dcgan-64"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV

import facenb
from facenb.figures import FigureFolder, image_grid
from facenb.metrics import area_under_curve
from facenb.profiles import load_profile
from facenb.remarks import Remarks
from facenb.sampling import sample_scored
from facenb.scorers import QUALITY_GATE

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(device=device)
folder = FigureFolder(
    "01_foundations", profile=profile, seed=seed, generator=generator, device=device
)
remark = Remarks(G)

# %% [markdown]
# ## Question
#
# Every method in these notebooks answers the same question: *how must a latent code change, so that the
# picture changes in one way and stays the same in all others?* Before asking, we need to know what we
# have in hand. Which pictures can this generator make? What does its latent space look like? And who
# says that a face is "smiling more" than before?
#
# ## What the papers say
#
# All four work on a frozen generator $g: \mathcal Z \to \mathcal X$ and a scorer $f: \mathcal X \to
# \mathbb R^m$, and study the composition $f(g(z))$. They use large generators of real faces (PGGAN and
# StyleGAN on CelebA-HQ and FFHQ) and scorers trained on annotated photographs.
#
# ## What the code says
#
# The authors' repositories link to weights of hundreds of megabytes; many links are dead and most of the
# networks need a GPU. Here everything is small enough to come with a package manager:
#
# | | in the papers | here |
# |---|---|---|
# | generator | PGGAN, StyleGAN, 512-dimensional, 1024 × 1024 | a DCGAN trained on DigiFace-1M, 100-dimensional, 64 × 64; the training faces are **rendered**, so that no picture shows a real person |
# | attributes | ResNet-50 on CelebA, a pose network, FairFace, ArcFace, action units | MediaPipe's face mesh, face-api's landmarks and expressions, a MobileNet for gender and age, three probes of our own; `docs/model_cards.md` says whose each is |
# | identity | ArcFace, VGG-Face | face-api's recognition net, mean-centred |

# %% [markdown]
# ## Run
# ### The generator
#
# `sample` draws codes $z \sim \mathcal N(0, I_{100})$ that know which space they live in; `synthesize`
# turns them into pictures with values in $[-1, 1]$. The same seed gives the same faces everywhere.

# %%
z = G.sample(40, seed)
print(z)
with torch.inference_mode():
    folder.save(image_grid(G.synthesize(z), columns=10), "samples", "Forty samples, not selected")

# %% [markdown]
# Most are convincing faces at this size; one in ten or so is broken. Nothing is hidden: later figures
# say where they select.
#
# ### The latent space
#
# In 100 dimensions the standard normal is a **thin shell**: nearly all codes have length
# $\sqrt{100} = 10$, give or take 0.7. Two consequences that InterFaceGAN builds on (its Property 2): no
# code is far from any hyperplane through the origin, since the distance $n^\top z$ is itself
# $\mathcal N(0, 1)$; and a straight line between two codes leaves the shell on its way.

# %%
many = G.sample(10_000, seed).values
normal = F.normalize(
    torch.randn(G.latent_dim, generator=torch.Generator().manual_seed(seed)), dim=0
)
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
sns.histplot(many.norm(dim=1).numpy(), ax=axes[0], bins=40).set(xlabel="length of z")
sns.histplot((many @ normal).numpy(), ax=axes[1], bins=40).set(
    xlabel="distance to a random hyperplane"
)
folder.save(figure, "latent_geometry", "Lengths of codes, distances to a hyperplane", vector=True)
folder.number("length of z", {"mean": many.norm(dim=1).mean(), "sd": many.norm(dim=1).std()})
remark(f"$\\sqrt{{{G.latent_dim}}}$ is {G.latent_dim**0.5:.1f}. StyleGAN, StyleGAN2 and PGGAN begin by "
       "dividing z by its length: the length changes no picture, and of both ways below each passes "
       "through the same pictures at its own pace.")  # fmt: skip

# %%
a, b = z[5].values, z[8].values
t = torch.linspace(0, 1, 9)[:, None]
angle = torch.acos(F.cosine_similarity(a, b))
ways = {
    "straight": (1 - t) * a + t * b,
    "on the shell": (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle),
}
with torch.inference_mode():
    rows = torch.stack([G.synthesize(z.with_values(way)) for way in ways.values()])
folder.save(
    image_grid(rows, row_labels=list(ways)), "interpolation", "Between two faces, both ways"
)

# %% [markdown]
# Every step is a face: the generator has learned more than the pictures it saw. The straight way passes
# nearer to the origin, where faces are plainer, closer to the average.
#
# ### The scorers
#
# Thirteen numbers for a picture. What each one *means* is best seen by sorting: on the left the samples
# that it scores lowest, on the right the highest.

# %%
samples = sample_scored(G, scorers, sizes.samples, seed)
fresh = sample_scored(G, scorers, sizes.fresh, seed + 1)
facts = [(a.name, a.kind, a.low, a.high, a.unit) for a in scorers.attributes]
pd.DataFrame(facts, columns=["score", "kind", "low", "high", "unit"]).set_index("score")


# %%
def ends(name: str, count: int = 6) -> torch.Tensor:
    order = fresh[name].argsort()
    return G.synthesize(fresh.latents[torch.cat([order[:count], order[-count:]])])


with torch.inference_mode():
    grid = torch.stack([ends(name) for name in samples.names])
folder.save(
    image_grid(grid, row_labels=samples.names, column_labels=["lowest"] + [""] * 10 + ["highest"]),
    "sorted_by_score",
    f"The six lowest and the six highest of {len(fresh)} samples for each score",
)

# %%
figure, axes = plt.subplots(2, 7, figsize=(13, 4), layout="constrained")
for ax, attribute in zip(axes.flat, scorers.attributes, strict=False):
    sns.histplot(samples[attribute.name].numpy(), ax=ax, bins=40, stat="density")
    ax.set(title=attribute.name, xlabel=attribute.unit, ylabel="", yticks=[])
axes.flat[-1].axis("off")
folder.save(figure, "score_distributions", f"Scores of {len(samples)} samples", vector=True)

# %% [markdown]
# ### Where each scorer looks
#
# The scorers are differentiable, so that they can be asked: which pixels would change your mind? The mean
# size of $\partial f / \partial x$ over a batch of faces. A scorer of glasses that looked at the
# background would be exposed here.

# %%
faces = fresh.latents[fresh["quality"].argsort(descending=True)[: 8 * sizes.rows]]
pixels = G.synthesize(faces[:16]).detach().requires_grad_()
scores = scorers(pixels)
maps = []
for column in range(scores.shape[1]):
    (gradient,) = torch.autograd.grad(scores[:, column].sum(), pixels, retain_graph=True)
    maps.append(gradient.abs().mean((0, 1)))
maps = torch.stack([m / m.max() for m in maps])

# %%
figure, axes = plt.subplots(2, 7, figsize=(11, 3.6), layout="constrained")
average = (pixels.detach().mean((0, 1)) + 1) / 2
for ax, name, sensitivity in zip(axes.flat, samples.names, maps, strict=False):
    ax.imshow(average, cmap="gray", vmin=0, vmax=1)
    ax.imshow(sensitivity, cmap="magma", alpha=0.65, vmin=0, vmax=1)
    ax.set_title(name, fontsize="small")
for ax in axes.flat:
    ax.axis("off")
folder.save(figure, "saliency", "Mean size of the gradient of each score, over the mean face")

# %% [markdown]
# ### Does the score follow the latent?
#
# A linear method can only edit what is linear in $z$. Ridge regression from $z$ to each score, learned on
# 1,500 samples and tested on 500 others, says how much of it is: $R^2$ on the held-out samples, and how
# well the prediction ranks them about the median (AUC, chance 0.5).

# %%
n_train, n_test = (
    (1500, 500) if len(samples) >= 2000 else (len(samples) * 3 // 4, len(samples) // 4)
)
train, test = slice(0, n_train), slice(n_train, n_train + n_test)
codes = samples.latents.values.numpy()
rows = {}
for name in samples.names:
    target = samples[name].numpy()
    ridge = RidgeCV(np.logspace(0, 4, 9)).fit(codes[train], target[train])
    guess = torch.from_numpy(ridge.predict(codes[test]))
    high = samples[name][test] > samples[name][test].median()
    rows[name] = {
        "R2": ridge.score(codes[test], target[test]),
        "AUC": area_under_curve(guess, high),
    }
linear = pd.DataFrame(rows).T
folder.number("R2", linear["R2"].to_dict())
folder.number("AUC", linear["AUC"].to_dict())
folder.table(linear, "linear_in_z", f"Ridge from z: {n_train} samples to learn, {n_test} to test")

# %% [markdown]
# ### Who is it?
#
# An edit should change the attribute and keep the *person*. The recognition net's vectors all point in
# nearly the same direction on such pictures, so that a plain cosine says "same person" of any two faces.
# Centred on their mean they tell persons apart: the same face mirrored, darkened or warmed against the
# faces of others.

# %%
identity = facenb.load_identity(device=device)
with torch.inference_mode():
    people = G.synthesize(faces)
    changed = {
        "mirrored": people.flip(3),
        "darker": (people + 1) * 0.7 - 1,
        "warmer": (people + torch.tensor([0.15, 0.0, -0.15]).view(1, 3, 1, 1)).clamp(-1, 1),
    }
    anchor = identity(people)
    same = {name: (anchor * identity(images)).sum(1) for name, images in changed.items()}
    others = (anchor @ anchor.T)[~torch.eye(len(anchor), dtype=torch.bool)]
figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
sns.kdeplot({"other people": others.numpy(), **{k: v.numpy() for k, v in same.items()}},
            ax=ax, common_norm=False, fill=True, alpha=0.3)  # fmt: skip
ax.set(xlabel="identity: cosine of centred vectors", yticks=[], ylabel="")
folder.save(figure, "identity", "The same face changed, against other faces", vector=True)
cosines = torch.cat([*same.values(), others])
is_same = torch.arange(len(cosines)) < sum(len(v) for v in same.values())
same_auc = area_under_curve(cosines, is_same)
folder.number("identity AUC, same face changed against others", same_auc)
print(f"AUC {same_auc:.4f}")

# %% [markdown]
# ### Which samples are broken?
#
# The face mesh's own flag. The threshold keeps most samples; those below it are the material of
# InterFaceGAN's artefact correction in notebook 02.

# %%
passed = float((samples["quality"] > QUALITY_GATE).float().mean())
folder.number("share that passes the quality gate", passed)
remark(f"the quality gate keeps {passed * len(samples):.0f} of {len(samples)} pictures. A score of a "
       "picture that shows no face is a number, and means nothing.")  # fmt: skip
order = fresh["quality"].argsort()
with torch.inference_mode():
    worst = image_grid(G.synthesize(fresh.latents[order[:20]]), columns=10)
folder.save(worst, "lowest_quality", f"Lowest quality of {len(fresh)}; {passed:.0%} pass the gate")

# %% [markdown]
# ## Check
#
# | | expected | here |
# |---|---|---|
# | length of a code | $\sqrt{100} = 10$ | first line below |
# | scores that follow $z$ best: yaw, brightness, warmth, pitch | $R^2$ ≥ 0.6 | second line |
# | every score ranks held-out samples better than chance | AUC > 0.65 | third line |
# | identity tells the same face from others | AUC > 0.98 | fourth line |

# %%
print(f"mean length {many.norm(dim=1).mean():.2f}")
print(linear["R2"].sort_values(ascending=False).round(2).to_dict())
print(f"lowest AUC {linear['AUC'].min():.2f} ({linear['AUC'].idxmin()})")
print(f"identity AUC {same_auc:.3f}")
if profile != "smoke" and remark.own:
    assert abs(many.norm(dim=1).mean() - 10) < 0.05
    assert linear.loc[["yaw", "brightness", "warmth", "pitch"], "R2"].min() > 0.6
    assert linear["AUC"].min() > 0.65
    assert same_auc > 0.98

# %% [markdown]
# ## Try it
#
# The saved grid shows what the cell below computes; with a kernel, change the seed.
#
# ![sorted by score](../figures/01_foundations/sorted_by_score.png)

# %%
face = G.sample(1, seed=7)
with torch.inference_mode():
    row = scorers(G.synthesize(face))[0]
pd.Series(row.numpy(), samples.names).round(2).to_frame("score of face 7").T

# %% [markdown]
# ## Exercises
#
# 1. Scale codes to length 5 and to length 15 before synthesising. What does the generator do off the shell?
# 2. `brightness` and `warmth` are not attributes of a person. Why keep score of them?
# 3. The ridge's $R^2$ for `gender` is far lower than for `yaw`, yet both can be edited along a line.
#    Is it the generator, the scorer or the latent space that limits it? Design a test.
# 4. Sort by `gender` and by `brightness`. Does the gender network look at the light?
