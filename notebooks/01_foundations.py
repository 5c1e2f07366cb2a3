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
# # 01 · Generators, latent spaces, and what each scorer sees
#
# | | |
# |---|---|
# | **Subject** | The three things that every later notebook is built on: a generator, its latent spaces, and networks that score its images |
# | **Regenerates** | sample grids, truncation, interpolation, latent geometry, image sizes, sorted grids of every score, saliency, how well each score follows the latent, the identity measure |
# | **You need** | no GPU, no photographs |
# | **Run time** | two to three minutes the first time in the laptop profile, one afterwards |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "mobilestylegan-ffhq-1024"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

import facenb
from facenb.drawing import images_of
from facenb.figures import FigureFolder, image_grid
from facenb.metrics.statistics import area_under_curve
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.samples import load_samples
from facenb.sampling import sample_scored
from facenb.scorers import QUALITY_GATE

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder(
    "01_foundations", profile=profile, seed=seed, generator=generator, device=device
)
remark = Remarks(G)
small = G.scoring_size  # pixels of the images that are scored

# %% [markdown]
# ## Question
#
# Every method in these notebooks answers the same question: *how must a latent code change, so that the
# image changes in one way and stays the same in all others?* Before that, we need to know what we
# have. Which images can this generator make? What do its latent spaces look like? And who
# says that a face is "smiling more" than before?
#
# ## What the papers say
#
# All four work on a frozen generator $g: \mathcal Z \to \mathcal X$ and a scorer $f: \mathcal X \to
# \mathbb R^m$, and study the composition $f(g(z))$. Their generators are PGGAN, StyleGAN and StyleGAN2, trained on
# CelebA-HQ and FFHQ; their scorers were trained on annotated photographs.
#
# ## What the code says
#
# The authors' repositories link to weights of hundreds of megabytes; many links are dead, and most of the
# networks need a GPU. Everything here comes with a package manager and runs on two cores:
#
# | | in the papers | here |
# |---|---|---|
# | generator | StyleGAN2-FFHQ, $z$ and $w$ of 512 dimensions, 1024 × 1024 | MobileStyleGAN (Belousov, 2021), trained to draw what StyleGAN2-FFHQ draws; its mapping network, and therefore its $W$, is StyleGAN2's |
# | attributes | ResNet-50 on CelebA, a pose network, action units | MediaPipe's face mesh and blendshapes (pose, action units), nets for age and gender, linear probes of our own labels; `docs/model_cards.md` says whose each is |
# | identity | ArcFace, VGG-Face | SFace on aligned crops |

# %% [markdown]
# ## Run
# ### The generator
#
# `sample` draws latents $z \sim \mathcal N(0, I)$ that know which space they live in; `synthesize`
# turns them into images with values in $[-1, 1]$. The same seed gives the same faces everywhere.

# %%
z = G.sample(24, seed)
print(z)
grid = image_grid(images_of(G, z), columns=8, cell=1.3)
folder.save(grid, "samples", "The first 24 samples of the seed, not selected", photo=True)

# %% [markdown]
# Nothing is selected, and nothing is hidden: some of the faces have broken parts, most often where a hat, a hand or a
# second face begins. Later figures say where they select.
#
# **Truncation** trades variety for quality: $w \leftarrow \bar w + \psi\,(w - \bar w)$ moves a latent towards the mean of
# $W$ (Karras et al., 2019). The same four faces from $\psi = 0$, the mean face, to no truncation:

# %%
if remark.styles:
    w = G.map(z[:4], "w")
    psis = [0.0, 0.35, 0.7, 1.0]
    rows = torch.stack([images_of(G, G.truncate(w, psi)) for psi in psis], dim=1)
    labels = [f"ψ = {psi:g}" for psi in psis]
    folder.save(image_grid(rows, column_labels=labels), "truncation", "Four faces, truncated", photo=True)
remark("truncation needs a space W." if not remark.styles else "truncation works as above.")

# %% [markdown]
# ### Image sizes
#
# 1024 and 512 pixels are the network's own. The smaller images come from small learned networks on its inner feature
# maps, for sliders and for scoring thousands: the same face, with less detail than the full image averaged down.

# %%
if len(G.sizes) > 1:
    shown = [F.interpolate(images_of(G, z[1], s), 512, mode="nearest") for s in G.sizes if s <= 512]
    figure = image_grid(torch.stack(shown, 1), column_labels=[f"{s} px" for s in G.sizes if s <= 512])
    folder.save(figure, "image_sizes", "One face at every size up to 512 pixels", photo=True)

# %% [markdown]
# ### The latent spaces
#
# In 512 dimensions the standard normal is a **thin shell**: nearly all $z$ have a length near
# $\sqrt{512} = 22.6$. InterFaceGAN builds on that (its Property 2): no
# latent is far from any hyperplane through the origin, since the distance $n^\top z$ is itself
# $\mathcal N(0, 1)$. $W$ has no such shell: it is what the mapping network makes of the shell, long in a few
# directions and flat in most.

# %%
spaces = {space: G.sample(10_000, seed, space).values for space in G.spaces if space != "w+"}
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
for space, codes in spaces.items():
    centred = codes - codes.mean(0)
    variance = torch.linalg.svdvals(centred).square().cumsum(0)
    sns.kdeplot(centred.norm(dim=1).numpy(), ax=axes[0], label=space, fill=True, alpha=0.3)
    axes[1].plot(np.arange(1, len(variance) + 1), (variance / variance[-1]).numpy(), label=space)
    folder.number(f"length of {space} from its mean", {"mean": centred.norm(dim=1).mean(), "sd": centred.norm(dim=1).std()})
    half = int((variance / variance[-1] < 0.9).sum()) + 1
    folder.number(f"principal components of {space} for 90 % of the variance", half)
axes[0].set(xlabel="distance from the mean", yticks=[], ylabel="")
axes[1].set(xlabel="principal components", ylabel="fraction of variance", xscale="log")
axes[1].legend()
folder.save(figure, "latent_geometry", "Lengths of latents; variance in principal components", vector=True)

# %% [markdown]
# Two faces can be interpolated in either space. A straight line between two $z$ leaves the shell, but this mapping
# network divides $z$ by its length: the first two rows pass through the same images, each at its own pace. The straight
# line in $W$ passes nearer to the mean face, and its middle images are plainer.

# %%
a, b = z[3].values, z[9].values
t = torch.linspace(0, 1, 7)[:, None]
angle = torch.acos(F.cosine_similarity(a, b))
on_shell = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
ways = {"z, straight": z.with_values((1 - t) * a + t * b), "z, on the shell": z.with_values(on_shell)}
if remark.styles:
    ends_w = G.map(z, "w").values[[3, 9]]
    ways["w, straight"] = facenb.Latents((1 - t) * ends_w[0] + t * ends_w[1], "w")
rows = torch.stack([images_of(G, codes) for codes in ways.values()])
figure = image_grid(rows, row_labels=list(ways), cell=1.4)
folder.save(figure, "interpolation", "From one face to another, three ways", photo=True)

# %% [markdown]
# ### The scorers
#
# What each score *means* is best seen by sorting: on the left the samples
# that it scores lowest, on the right the highest, of samples that no scorer was trained on.

# %%
samples = load_samples(G, scorers, sizes.samples, more=False)
fresh = sample_scored(G, scorers, sizes.fresh, seed=seed + 1_000_000)
facts = [(a.group, a.name, a.low, a.high, a.unit) for a in scorers.attributes]
pd.DataFrame(facts, columns=["group", "score", "low", "high", "unit"]).set_index(["group", "score"])


# %%
def ends(name: str, count: int = 4) -> torch.Tensor:
    order = fresh[name].argsort()
    return images_of(G, fresh.latents[torch.cat([order[:count], order[-count:]])], small)


words = ["lowest", "", "", "", "", "", "", "highest"]
for group in dict.fromkeys(a.group for a in scorers.attributes):
    names = [a.name for a in scorers.attributes if a.group == group]
    figure = image_grid(torch.stack([ends(name) for name in names]), row_labels=names, column_labels=words, cell=1.15)
    folder.save(figure, f"ends_{group.replace(' ', '_')}", f"Lowest and highest of {len(fresh)} samples: {group}", photo=True)
    plt.show()

# %%
rows = -(-len(scorers.names) // 7)
figure, axes = plt.subplots(rows, 7, figsize=(13, 1.9 * rows), layout="constrained")
for ax, attribute in zip(axes.flat, scorers.attributes, strict=False):
    sns.histplot(samples[attribute.name].numpy(), ax=ax, bins=40, stat="density")
    ax.set(title=attribute.name, xlabel=attribute.unit, ylabel="", yticks=[])
for ax in list(axes.flat)[len(scorers.names) :]:
    ax.axis("off")
folder.save(figure, "score_distributions", f"Scores of {len(samples):,} samples")

# %% [markdown]
# ### Where each scorer looks
#
# The scorers are differentiable. The mean
# size of $\partial f / \partial x$ over a batch of faces shows the pixels to which a score reacts: a scorer of glasses
# that reacted to the background would be exposed here.

# %%
best = fresh.latents[fresh["quality"].argsort(descending=True)[: 4 * sizes.rows]]
pixels = images_of(G, best[:8], small).to(G.device).requires_grad_()
scores = scorers(pixels)
maps = []
for column in range(scores.shape[1]):
    (gradient,) = torch.autograd.grad(scores[:, column].sum(), pixels, retain_graph=True)
    maps.append(F.avg_pool2d(gradient.abs().mean((0, 1))[None], small // 64)[0])
maps = torch.stack([m / m.max() for m in maps])

# %%
figure, axes = plt.subplots(rows, 7, figsize=(11, 1.75 * rows), layout="constrained")
average = (pixels.detach().mean((0, 1)) + 1) / 2
for ax, name, sensitivity in zip(axes.flat, scorers.names, maps, strict=False):
    ax.imshow(average, cmap="gray", vmin=0, vmax=1, extent=(0, 1, 0, 1))
    ax.imshow(sensitivity, cmap="magma", alpha=0.65, vmin=0, vmax=1, extent=(0, 1, 0, 1))
    ax.set_title(name, fontsize="small")
for ax in axes.flat:
    ax.axis("off")
folder.save(figure, "saliency", "Mean size of the gradient of each score, over the mean face", photo=True)

# %% [markdown]
# ### Does the score follow the latent?
#
# A linear method can only edit what is linear in the latent. Ridge regression from the latent to each score, tested on
# samples that it has not seen, says how much of the score is: $R^2$ on the held-out samples, and how
# well the prediction ranks them about the median (AUC, chance 0.5).

# %%
n_train = len(samples) * 3 // 4
rows = {}
for space in spaces:
    codes = G.map(samples.latents.to(device), space).values.cpu().numpy()
    known, unseen = samples.scores[:n_train].numpy(), samples.scores[n_train:]
    ridge = RidgeCV(np.logspace(0, 4, 9), alpha_per_target=True).fit(codes[:n_train], known)
    guess = ridge.predict(codes[n_train:])
    r2 = r2_score(unseen.numpy(), guess, multioutput="raw_values")
    for i, name in enumerate(samples.names):
        area = area_under_curve(torch.from_numpy(guess[:, i]), unseen[:, i] > unseen[:, i].median())
        rows.setdefault(name, {}).update({f"R2 from {space}": float(r2[i]), f"AUC from {space}": area})
linear = pd.DataFrame(rows).T
space = "w" if remark.styles else "z"
folder.number(f"R2 from {space}", linear[f"R2 from {space}"].to_dict())
folder.number(f"AUC from {space}", linear[f"AUC from {space}"].to_dict())
folder.table(linear, "linear_in_latent", f"Ridge: {n_train:,} samples to learn, the others to test")

# %% [markdown]
# ### Who is it?
#
# An edit should change the attribute and keep the *person*. The identity net turns a face into a vector; the cosine of
# two vectors says whether two images show the same person: the same face mirrored, darkened or warmed, against the
# faces of others.

# %%
identity = facenb.load_identity(framing=G.framing, device=device)
with torch.inference_mode():
    people = images_of(G, best, small).to(G.device)
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
ax.set(xlabel="identity: cosine of the two vectors", yticks=[], ylabel="")
folder.save(figure, "identity", "The same face changed, against other faces", vector=True)
cosines = torch.cat([*same.values(), others])
is_same = torch.arange(len(cosines)) < sum(len(v) for v in same.values())
same_auc = area_under_curve(cosines, is_same)
folder.number("identity AUC, same face changed against others", same_auc)
print(f"AUC {same_auc:.4f}")

# %% [markdown]
# ### Which samples are broken?
#
# The face mesh's own flag says how sure it is of a face. The samples that it is least sure of are the material of
# InterFaceGAN's artefact correction in notebook 02.

# %%
passed = float((samples["quality"] > QUALITY_GATE).float().mean())
folder.number("fraction that passes the quality gate", passed)
order = fresh["quality"].argsort()
worst = image_grid(images_of(G, fresh.latents[order[:16]], small), columns=8, cell=1.3)
caption = f"Lowest quality of {len(fresh)}; {passed:.1%} of all pass the gate"
folder.save(worst, "lowest_quality", caption, photo=True)

# %% [markdown]
# ## Check
#
# | | expected | here |
# |---|---|---|
# | length of $z$ | $\sqrt{512} = 22.6$ | first line below |
# | yaw, pitch, light and age follow $w$ | $R^2$ ≥ 0.6 (roll: .41) | second line |
# | every score ranks held-out samples better than chance | AUC > 0.65 | third line |
# | identity tells the same face from others | AUC > 0.98 | fourth line |

# %%
length = G.sample(10_000, seed).values.norm(dim=1).mean()
print(f"mean length of z {length:.2f}")
print(linear[f"R2 from {space}"].sort_values(ascending=False).round(2).to_dict())
lowest = linear[f"AUC from {space}"]
print(f"lowest AUC {lowest.min():.2f} ({lowest.idxmin()})")
print(f"identity AUC {same_auc:.3f}")
if profile != "smoke" and remark.own:
    assert abs(length - 512**0.5) < 0.05
    assert linear.loc[["yaw", "pitch", "age", "brightness"], "R2 from w"].min() > 0.6
    assert lowest.min() > 0.65
    assert same_auc > 0.98

# %% [markdown]
# ## Try it
#
# The saved grid shows what the cells above computed; with a kernel, change the seed.
#
# ![lowest and highest of the scores of the person](../figures/01_foundations/ends_person.jpg)

# %%
face = G.sample(1, seed=7)
with torch.inference_mode():
    row = scorers(G.synthesize(face, small))[0]
pd.Series(row.numpy(), samples.names).round(2).to_frame("score of face 7").T

# %% [markdown]
# ## Exercises
#
# 1. Scale $z$ to half its length before mapping it. Why does the image not change? Halve the distance of $w$ from its
#    mean instead: which of the figures above does that reproduce?
# 2. `brightness` and `warmth` are not attributes of a person. Why keep score of them?
# 3. The $R^2$ of some scores is far lower than that of `yaw`, yet they can be edited along a line.
#    Is it the generator, the scorer or the latent space that limits it? Design a test.
# 4. Sort by `gender` and by `make_up`. How much of the one is the other?
