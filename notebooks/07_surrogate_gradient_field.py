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
# # 07 · Surrogate gradient field: walk to a condition of any size
#
# | | |
# |---|---|
# | **Paper** | Li, Jin, Zhu: *Surrogate Gradient Field for Latent Space Manipulation* (CVPR 2021) |
# | **Regenerates** | Figures 3 to 9, 11 to 13, 15 and 17, Tables 1 and 3 to 5, and the user study's tool, on the embedded generator |
# | **You need** | notebook 02 (InterFaceGAN), whose samples and boundaries are used again |
# | **Run time** | six minutes in the laptop profile once the samples of notebook 02 are scored, three quarters of a minute when cached |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "digiface-dcgan-64"
device = "cpu"

# %%
import textwrap
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import display

import facenb
from facenb.figures import FigureFolder, image_grid, strip_images
from facenb.latents import Latents
from facenb.methods.by_attribute import by_attribute
from facenb.methods.ganspace import GANSpace, fit_ganspace
from facenb.methods.interfacegan import InterFaceGAN
from facenb.methods.latent_optimization import optimise_latents
from facenb.methods.latent_transformer import (
    LEARNING_RATE,
    LatentTransformer,
    label_thresholds,
    two_sided,
)
from facenb.methods.sgf import STEP, fit_fields, fit_sgf, jacobian, load_config, sgf_editors
from facenb.metrics.linear_probe import LinearProbe
from facenb.metrics.mds import (
    SignedEditor,
    curve,
    harmonic_mean,
    moved,
    outcomes,
    resampled,
    running_trapezoid,
    towards_other_side,
)
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.sampling import sample_scored, score_edits, score_once
from facenb.scorers.conditions import Landmarks, joint
from facenb.storage.cache import cached

sizes = load_profile(profile)
smoke = profile == "smoke"
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder(
    "07_surrogate_gradient_field", profile=profile, seed=seed, generator=generator, device=device
)
remark = Remarks(G, written_for="digiface-dcgan-64")

# %% [markdown]
# ## Question
#
# A boundary knows one attribute. Could one network know them all, and take a code to a face with *these*
# thirteen scores, or these 68 landmarks, or to one that fits this sentence?
#
# ## What the paper says
#
# 1. **The auxiliary mapping.** Train $F$ with $F(z, c) = z$, where $c = C(G(z))$ is what a scorer says of the
#    face (Eq. 1). Spectral normalisation keeps its Lipschitz constant, and so the spectral radius of
#    $\partial F/\partial z$, below 1 (Eq. 2).
# 2. **The field.** On a path along which the conditions change at a constant rate from $c_0$ to $c_1$ (Eq. 3),
#    $z = F(z, c)$ throughout (Eq. 5). Differentiate, and solve for $\dot z$ (Eq. 6, 7):
#
# $$\dot z = H(z, c) = \Big(I - \frac{\partial F}{\partial z}\Big)^{-1} \frac{\partial F}{\partial c}\,(c_1 - c_0)
# \;\approx\; \sum_{k=0}^{m} \Big(\frac{\partial F}{\partial z}\Big)^{k}\, \frac{\partial F}{\partial c}\,(c_1 - c_0)$$
#
# 3. **Algorithm 1.** Steps of size $\lambda$ along $H$; after each, look at the new face and take its true
#    conditions. Stop when they are close to $c_1$, or after so many steps.
# 4. **Claims.** More disentangled than InterFaceGAN and GANSpace (overall MDS 0.837, 0.721, 0.531 on FFHQ,
#    Table 1; the score is explained at Figure 4); 61 % of users prefer it; works for keypoints and captions; optimising the code directly does not.

# %% [markdown]
# ## What the code says
#
# There is no official code. Two unofficial re-implementations exist; where they agree we call it consensus.
#
# | | the text (web copy; most numbers are lost) | re-implementations | here |
# |---|---|---|---|
# | blocks of $F$ | $n$ lost; "degenerates when $n$ is small", more for $W$ | 6 for $Z$, 15 for $W$ | 6 |
# | width | hidden = output = latent, 512 | 512 | the latent's, 100 |
# | AdaIN: normalise the features, then scale and shift them as the condition says | "[14]": a scale and a shift *a channel* | a scale and a shift *a block*, for all features; one normalises over the whole batch, so that a sample's edit depends on its neighbours | a scale and a shift a feature, each sample by itself. The study below shows why: $2n$ numbers cannot carry 13 conditions |
# | optimiser | Adam, numbers lost | 2e-4, batch 8, 312,500 steps and more | that in `paper`; 2e-3 falling to 4e-5, batch 256, 3,000 steps on a laptop |
# | Neumann order $m$, step $\lambda$, steps | lost; three $\lambda$, the middle one best | 1; 1.0 or 0.2; 20 or 5 | 1; 0.2; 20 |
# | $J \cdot v$ | – | finite difference of the whole step, or full Jacobians | forward-mode automatic differentiation; `difference=1` is the former |
# | stop | $c$ "sufficiently close" to $c_1$, threshold lost | conditions hardly change; the error grows | 90 % of the asked change is done. $\lVert c - c_1 \rVert$ stays large wherever *another* attribute drifts, and no walk would ever end |
# | conditions | 48 attributes; 136 landmarks (+ attributes); 768-d captions | raw | standardised: degrees, years and log-odds in one vector |
# | "changed", in the metric | threshold lost | – | one standard deviation of the score |
# | denominator of disentanglement | lost | – | all other attributes |

# %% [markdown]
# ## Run
#
# ### Figure 3: the mapping
#
# The pairs $(z, c)$ are the scored samples of notebook 02. Two mappings: the paper's, and one that is trained
# with noise on $z$ (standard deviation 2, none on what is to be reconstructed). What for, is seen in a moment.

# %%
samples = sample_scored(G, scorers, sizes.samples, seed)
fresh = sample_scored(G, scorers, sizes.fresh, seed + 1)
codes, NAMES = samples.latents.values, samples.names
config = replace(load_config(profile), seed=seed)
both = {"paper": config, "with noise": replace(config, noise=2.0)}
FIELDS = fit_fields(both, codes, samples.scores, NAMES)
few = fresh.latents.values[:16], fresh.scores[:16]
radius = {name: field.spectral_radius(*few) for name, field in FIELDS.items()}
folder.number(
    "spectral radius, median", {name: float(rho.median()) for name, rho in radius.items()}
)

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.2), layout="constrained")
for colour, (name, field) in zip(("C0", "C1"), FIELDS.items(), strict=True):
    loss = pd.Series(field.loss_.numpy()).rolling(max(1, config.steps // 60), min_periods=1).mean()
    axes[0].plot(loss, color=colour, label=name)
    c = (few[1] - field.mean_) / field.scale_
    J = jacobian(lambda x: field.mapping_(x, c), few[0])
    eigenvalues = torch.linalg.eigvals(J).flatten()
    axes[1].hist(eigenvalues.real.numpy(), np.linspace(-0.2, 1.8, 51), color=colour, alpha=0.7)
    axes[2].hist(radius[name].numpy(), np.linspace(0.4, 2, 41), color=colour, alpha=0.7)
axes[0].set(title="reconstruction error in training", xlabel="step", ylim=(0, None))
axes[1].set(title="eigenvalues of ∂F/∂z (real parts), 16 faces", yticks=[])
axes[2].set(title="its spectral radius", yticks=[])
for ax in axes[1:]:
    ax.axvline(1, color="0.3", linestyle="--")
axes[0].legend()
folder.save(figure, "F3_mapping", "Training; eigenvalues and spectral radius of ∂F/∂z against the paper's bound of 1", vector=True)  # fmt: skip

# %% [markdown]
# The bound of Eq. 2 does not hold for the paper's mapping, though every linear layer has spectral norm 1:
# AdaIN divides by a standard deviation and multiplies by a learned scale, and neither is counted. And it
# *cannot* hold where Eq. 1 does. Differentiate $F(z, C(G(z))) = z$:
#
# $$\frac{\partial F}{\partial z} + \frac{\partial F}{\partial c}\,\frac{\partial c}{\partial z} = I .$$
#
# The second term has rank 13 at most, one for each condition. On the 87 or more dimensions that it leaves out,
# $\partial F/\partial z$ has the eigenvalue 1: **exact reconstruction and invertibility exclude each other**.
# A better trained $F$ has an $I - \partial F/\partial z$ that is closer to singular, and Eq. 6 divides by it. (The
# eigenvalues that pile up at 0 are of directions that $F$ does not take from $z$: it reads them off the conditions, or
# has not learned to reconstruct them.)
#
# Noise on the input removes the contradiction. The best $F$ is then $\mathbb E[z \mid z + \varepsilon, c]$. If
# the conditions were linear, $c = Wz + e$ with covariance $\Sigma$, it could be written down:
# $\partial F/\partial z = P^{-1}/\sigma^2$ and $\partial F/\partial c = P^{-1} W^\top \Sigma^{-1}$ with
# $P = I + I/\sigma^2 + W^\top \Sigma^{-1} W$, whose spectral radius is at most $1/(1 + \sigma^2)$, and
#
# $$H = (I + W^\top \Sigma^{-1} W)^{-1} W^\top \Sigma^{-1} = \frac{\partial}{\partial c}\, \mathbb E[z \mid c]$$
#
# for *every* $\sigma$: the regression of codes on all conditions at once, which moves one and holds the others.
# That is what the surrogate gradient field would like to be.
#
# ### Neumann series against the exact solve
#
# What is a field worth? To say so without a picture there is a *linear probe*: least squares from codes to scores, which
# hears by how many standard deviations a move of the code moves each score, and cannot be fooled as a deep scorer
# can. *Moves*: by how much the asked score changes, of the 1 it was asked for. *Leak*: what the mean other score does,
# per move.

# %%
probe = LinearProbe().fit(codes, samples.scores)  # scores as a linear map of the code: no pictures
ORDERS = [0, 1, 2, 4, 8, 12, 18] if not smoke else [0, 1, 4]
series = []
for name, field in FIELDS.items():
    change = field.scale_ * (torch.tensor([n == "smile" for n in NAMES]))
    exact = field.field(*few, change, "exact")
    for m in ORDERS:
        gap = (field.field(*few, change, m) - exact).norm(dim=1) / exact.norm(dim=1)
        series.append({"F": name, "order": m, "gap": float(gap.median())} | probe.evaluate(field, *few, m))
    series.append({"F": name, "order": "exact", "gap": 0.0} | probe.evaluate(field, *few, "exact"))
series = pd.DataFrame(series)
folder.table(series.set_index(["F", "order"]), "neumann", "Distance to the exact solve, and what a linear probe hears")  # fmt: skip

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.2), layout="constrained")
for colour, (name, part) in zip(("C0", "C1"), series.groupby("F", sort=False), strict=True):
    sums, solve = part[part["order"] != "exact"], part[part["order"] == "exact"].iloc[0]
    for ax, column in zip(axes, ("gap", "moves", "leak / move"), strict=True):
        ax.plot(sums["order"].astype(int), sums[column], marker="o", color=colour, label=name)
        if column != "gap":
            ax.axhline(solve[column], color=colour, linestyle=":", label=f"{name}, exact solve")
axes[0].set(title="distance to the exact solve (relative)", yscale="log")
axes[1].set(title="the asked score moves by (sd)", yscale="log")
axes[2].set(title="mean leak into another / move")
for ax in axes:
    ax.set(xlabel="Neumann order m", xticks=ORDERS)
axes[1].yaxis.set_major_formatter("{x:g}")
axes[1].yaxis.set_minor_formatter("{x:g}")
axes[1].legend(fontsize="small")
folder.save(figure, "F3_neumann", "Order of the series: convergence where the radius is below 1, and what it does to the field", vector=True)  # fmt: skip

# %% [markdown]
# For the paper's mapping the series does not converge, and what it is meant to approximate is worthless: the
# exact solve divides by numbers near zero and mostly amplifies noise. The re-implementations' order, $m = 1$, works *because* it
# is no inverse at all: it adds one correction to $\partial F/\partial c$. With noise the series converges to the exact
# solve, and that is a field of the same quality. (Its radius is above $1/(1 + \sigma^2) = 0.2$ all the same: the
# first AdaIN makes $F$ blind to the length of $z$, and codes without noise are shorter than those it learned from.)
#
# ### A regression shrinks
#
# If $H$ is a regression, a step that asks a score for 1 sd should get $R^2$ of it: the share of that score's variance
# that the code explains. With noise it nearly does; the paper's mapping gets less, and of *gender* about a third. This
# will matter.

# %%
gains = pd.DataFrame({"R²": probe.r2(fresh.latents.values, fresh.scores).numpy()}, NAMES)
for name, field in FIELDS.items():
    heard = probe.responses(field, *few)
    gains[name] = heard.diagonal(dim1=0, dim2=2).mean(0).numpy()
agreement = {name: float(gains["R²"].corr(gains[name])) for name in FIELDS}
folder.number("gain against R², correlation", agreement)
folder.table(
    gains,
    "gains",
    "Held-out R² of each score from the code, and how far it moves when asked for 1 sd",
)

# %%
figure, ax = plt.subplots(figsize=(6.4, 3.9), layout="constrained")
rising = gains.sort_values("R²")
ax.barh(rising.index, rising["R²"], color="0.85", label="R² of the score from the code")
for name, marker in zip(FIELDS, "os", strict=True):
    ax.plot(rising[name], rising.index, marker, label=f"moves, {name} (r = {agreement[name]:.2f})")
ax.set(xlabel="R², and move in sd when asked for 1 sd", xlim=(0, 1))
ax.grid(axis="y", visible=False)
ax.legend(loc="lower right", fontsize="small")
folder.save(figure, "gains", "How far a score moves when asked for 1 sd, against what the code explains of it", vector=True)  # fmt: skip

# %% [markdown]
# ### What makes a good field?
#
# Everything at a sixth of the training, order 1, by the linear probe.

# %%
STUDY = {
    "as in the paper (6 blocks, a scale a feature)": {},
    "a scale a block (re-implementations)": {"modulation": "scalar"},
    "2 blocks": {"layers": 2},
    "12 blocks": {"layers": 12},
    "spectral norm 0.5": {"coefficient": 0.5},
    "noise 1": {"noise": 1.0},
    "noise 2": {"noise": 2.0},
    "noise 3": {"noise": 3.0},
}
STUDY = STUDY if not smoke else dict(list(STUDY.items())[:2])


def studied(field) -> dict[str, float]:
    c = (fresh.scores - field.mean_) / field.scale_
    error = (field.mapping_(fresh.latents.values, c) - fresh.latents.values).square().mean()
    rho = field.spectral_radius(*few)
    found = {"reconstruction": float(error), "radius": float(rho.median()), "below 1": float((rho < 1).float().mean())}  # fmt: skip
    return found | probe.evaluate(field, *few)


short = {label: replace(config, steps=config.steps // 6, **given) for label, given in STUDY.items()}
short = fit_fields(short, codes, samples.scores, NAMES)
study = pd.DataFrame({label: studied(field) for label, field in short.items()}).T
folder.table(study, "study", "Reconstruction on unseen samples, spectral radius, and the field of order 1")  # fmt: skip

# %% [markdown]
# Two blocks reconstruct best and have the weakest field: they copy $z$ and hardly read $c$, the degeneration that
# the paper reports. Reconstruction is the loss, and says nothing about the field. One scale a block, as in
# both re-implementations, reads little of $c$ either. Depth and noise help, for the same reason: less of $z$ gets
# through.
#
# ### Algorithm 1 at work
#
# Each face is asked to change to the other side of the scorer's verdict (a log-odds of 0): to one standard
# deviation beyond it. All other conditions are asked to stay. After every step all pictures are scored.

# %%
TARGETS = ["gender", "beard", "smile", "glasses"] if not smoke else ["smile"]
SEEN = [a.name for a in two_sided(samples, scorers.attributes)]
if absent := [name for name in TARGETS if name not in SEEN]:
    remark(
        f"{', '.join(absent)}: all samples, or none, have it, and there is no other side to go to."
    )
    TARGETS = [name for name in TARGETS if name in SEEN] or SEEN[:1]
test = fresh.select(slice(0, sizes.edited // 3))
CUT, SPREAD = label_thresholds(samples.scores, scorers.attributes), samples.scores.std(0)
SIGNS = {n: towards_other_side(test[n], CUT[NAMES.index(n)]) for n in NAMES}
MAX_STEPS = 20 if not smoke else 3
words = {a.name: (a.low, a.high) for a in scorers.attributes}


def look(z: torch.Tensor) -> torch.Tensor:
    return score_once(G, scorers, Latents(z, "z"))


def walked(field, name: str, count: int = len(test), step: float = STEP):
    """Algorithm 1 on the first `count` faces, to the other side of one attribute."""
    i, part = NAMES.index(name), test.select(slice(0, count))
    target = part.scores.clone()
    target[:, i] = CUT[i] + SIGNS[name][:count] * SPREAD[i]
    return field.manipulate(
        part.latents.values, part.scores, target, look, step=step, max_steps=MAX_STEPS
    )


WALKS = {name: walked(FIELDS["paper"], name) for name in TARGETS}
statuses = {
    name: walk.counts() | {"target out of range": int(walk.out_of_range.sum())}
    for name, walk in WALKS.items()
}
folder.table(
    pd.DataFrame(statuses).T.fillna(0).astype(int),
    "walks",
    f"What became of {len(test)} faces in at most {MAX_STEPS} steps; out of range: unlike the samples (Figure 8)",
)

# %%
SHOWN = "glasses" if "glasses" in TARGETS else TARGETS[0]
best = test["quality"].argsort(descending=True)
walk, rows = WALKS[SHOWN], best[: sizes.rows]
last = max(1, int(walk.steps[rows].max()))
at = torch.linspace(0, last, min(8, last + 1)).long().tolist()
pictures = G.synthesize(Latents(walk.path[at][:, rows].flatten(0, 1), "z"))
strip = image_grid(pictures.unflatten(0, (len(at), len(rows))).transpose(0, 1),
                   row_labels=[f"{words[SHOWN][int(SIGNS[SHOWN][r] > 0)]}: {walk.status[r]}, {int(walk.steps[r])} steps" for r in rows],
                   column_labels=[f"step {k}" for k in at], title=f"Algorithm 1: {SHOWN} to the other side")  # fmt: skip
folder.save(strip, "algorithm1", f"Walks to the other side of {SHOWN}, and how they ended")

# %%
figure, axes = plt.subplots(1, len(TARGETS), figsize=(3.3 * len(TARGETS), 2.8), layout="constrained", sharey=True, squeeze=False)  # fmt: skip
for ax, (name, walk) in zip(axes[0], WALKS.items(), strict=True):
    share = walk.progress()
    ax.plot(share, color="C0", alpha=0.2, linewidth=1)
    ax.plot(share.nanmean(dim=1), color="C0", linewidth=3)
    ax.axhline(1, color="0.4", linestyle="--")
    ax.set(title=name, xlabel="step", ylim=(-0.5, 1.5))
axes[0, 0].set_ylabel("share of the way")
folder.save(figure, "algorithm1_progress", "How far each face has come, and their mean", vector=True)  # fmt: skip

# %% [markdown]
# *Beard*, *smile* and *glasses* arrive. *Gender* ends below half of the way: a fifth of the way is asked for twenty times,
# and each time little of it is done.
#
# ### Figure 4 and Table 3: the metric
#
# Every strength of an edit gives a point: *accuracy* is the share of faces that got to the other side,
# *disentanglement* is 1 minus the mean share of other attributes that changed. The curve through the points
# is the MDC, and the area under it the MDS. On the left the paper's example: turn a blue circle green.
# Right: Table 3's printed points. Their running area, started at (0, 1), gives the table's third column, and the
# printed MDS is its *maximum*.

# %%
PRINTED = {  # accuracy, disentanglement, accumulated MDS, harmonic mean, as in Table 3
    "SGF": [(0.18, 0.986, 0.179, 0.304), (0.48, 0.915, 0.464, 0.630), (0.79, 0.890, 0.744, 0.837),
            (0.93, 0.872, 0.867, 0.900), (0.99, 0.859, 0.919, 0.920), (0.98, 0.842, 0.910, 0.906)],
    "InterFaceGAN": [(0.13, 0.993, 0.129, 0.230), (0.32, 0.942, 0.312, 0.478), (0.41, 0.883, 0.394, 0.560),
                     (0.55, 0.822, 0.513, 0.659), (0.85, 0.612, 0.728, 0.712), (0.99, 0.469, 0.804, 0.636),
                     (1.00, 0.398, 0.808, 0.569)],
}  # fmt: skip
T3 = []
for method, rows in PRINTED.items():
    accuracy, kept, area, harmonic = torch.tensor(rows, dtype=torch.float64).T
    found = running_trapezoid(accuracy, kept), harmonic_mean(accuracy, kept)
    columns = [accuracy, kept, area, found[0], harmonic, found[1]]
    T3 += [(method, *map(float, row)) for row in zip(*columns, strict=True)]
heads = ["method", "accuracy", "disentanglement", "MDS printed", "MDS here", "harmonic printed", "harmonic here"]  # fmt: skip
T3 = pd.DataFrame(T3, columns=heads).set_index("method")
folder.table(T3, "T3", "Table 3's printed rows, and the same from its first two columns")

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 3.4), layout="constrained")
SHAPES = [("o", "C0", 0.0, 1.0, "start"), ("o", "C2", 1.0, 1.0, "accurate,\ndisentangled"),
          ("s", "C2", 1.0, 0.0, "accurate,\nentangled"), ("o", "C9", 0.5, 1.0, "half way")]  # fmt: skip
for marker, colour, x, y, label in SHAPES:
    axes[0].scatter(x, y, s=500, marker=marker, color=colour, clip_on=False, zorder=3)
    axes[0].annotate(label, (x, y - 0.12), ha="center", va="top", size="small")
axes[0].plot([0, 0.5, 1], [1, 1, 1], "--", color="C2")
axes[0].plot([0, 1], [1, 0], "--", color="C3")
axes[0].set(title="circle to green: two ways", xlim=(-0.25, 1.25), ylim=(-0.35, 1.2))
for ax, (method, rows) in zip(axes[1:], PRINTED.items(), strict=True):
    x, y = zip((0.0, 1.0), *(row[:2] for row in rows), strict=True)
    ax.fill_between(x, y, alpha=0.25)
    ax.plot(x, y, marker="o")
    ax.set(title=f"{method}, gender (Table 3): MDS {T3.loc[method, 'MDS here'].max():.3f}", xlim=(0, 1.02), ylim=(0, 1.05))  # fmt: skip
for ax in axes:
    ax.set(xlabel="accuracy", ylabel="disentanglement")
folder.save(figure, "F4_metric", "What the metric sees, and the paper's own curves for gender", vector=True)  # fmt: skip

# %% [markdown]
# ### Figure 5 and Table 1: the methods
#
# | | |
# |---|---|
# | **GANSpace** | the principal component that the score follows best |
# | **InterFaceGAN** | notebook 02's boundaries |
# | **InterFaceGAN, others held** | projected off all other boundaries; what Eq. 6 is in a linear world, and what the paper does not compare with |
# | **transformer** | notebook 06's networks |
# | **SGF** | Algorithm 1, as above; its strengths are numbers of steps, as in the paper |
# | **SGF, fast** | no looking between (appendix J), to any strength |
# | **SGF, fast, with noise** | the same with the mapping that was trained with noise |
# | **…, stopped** | as Algorithm 1 does it: each face stays at the first strength at which 90 % of its way is done. A control that the paper lacks, as any method can be stopped |
#
# Gender and beard are entangled here as gender and bald are in the paper; smile and glasses less so.

# %%
if remark.own:
    boundaries, transformers = (
        facenb.load_editors(method, G.name) for method in ("interfacegan", "transformers")
    )
else:
    remark("no boundaries and no transformers ship for it; they are fitted to its samples here, as in "
           "notebooks 02 and 06.")  # fmt: skip
    boundaries = InterFaceGAN(sizes.confident, seed=seed).fit(G, samples).editors()
    transformers = LatentTransformer(learning_rate=LEARNING_RATE, seed=seed).fit(G, samples).editors()
HELD = [n for n in boundaries.names if n != "quality"]
LEVELS = 5 if not smoke else 2
components = GANSpace(min(80, codes.shape[1]), n=sizes.activations, seed=seed)
components = fit_ganspace(components, G).editors().unscaled()
METHODS = {  # editors, strengths
    "GANSpace": (by_attribute(components, samples), [2.0, 4.0, 6.0, 10.0]),
    "InterFaceGAN": (boundaries, [1.0, 2.0, 3.0, 4.5, 7.0]),
    "InterFaceGAN, others held": (boundaries.condition(TARGETS, on=HELD), [1.5, 3.0, 5.0, 8.0]),
    "transformer": (transformers, [0.75, 1.5, 2.5, 4.5]),
    "SGF, fast": (sgf_editors(FIELDS["paper"], look, TARGETS), [2.0, 3.5, 5.5, 8.5, 13.0]),
    "SGF, fast, with noise": (
        sgf_editors(FIELDS["with noise"], look, TARGETS),
        [2.0, 3.5, 5.5, 8.5, 13.0],
    ),
}
METHODS = {m: (editors, strengths[:LEVELS]) for m, (editors, strengths) in METHODS.items()}
COUNTED = [NAMES.index(a.name) for a in scorers.attributes if a.kind != "quality"]
TAKEN = [1, 2, 3, 5, 7, 10, 14, 20] if not smoke else [1, 3]


def pictured(method: str, name: str, level: int, rows: torch.Tensor) -> Latents:
    """The codes of some faces at the level-th strength of a method."""
    if method == "SGF":
        return Latents(WALKS[name].path[TAKEN[level], rows], "z")
    editors, strengths = METHODS[method]
    return editors[name].edit(test.latents[rows], strengths[level] * SIGNS[name][rows])


def after(method: str, name: str) -> torch.Tensor:
    """Scores (N, S, A) at every strength."""
    if method == "SGF":
        return WALKS[name].conditions[TAKEN].transpose(0, 1)
    editors, strengths = METHODS[method]
    return score_edits(G, scorers, SignedEditor(editors[name], SIGNS[name]), test.latents, strengths)  # fmt: skip


def found(scores: torch.Tensor, name: str, count: int = len(test)) -> torch.Tensor:
    i = COUNTED.index(NAMES.index(name))
    before = test.scores[:count, COUNTED]
    return outcomes(before, scores[..., COUNTED], i, CUT[COUNTED[i]], moved(SPREAD[COUNTED]))


def stopped(scores: torch.Tensor, name: str) -> torch.Tensor:
    """Each face at the first strength at which it had arrived, or at the present one."""
    i, sign, levels = NAMES.index(name), SIGNS[name][:, None], scores.shape[1]
    start = test.scores[:, [i]]
    there = sign * (scores[..., i] - start) >= 0.9 * sign * (CUT[i] + sign * SPREAD[i] - start)
    first = torch.where(there.any(1), there.float().argmax(1), levels)
    level = torch.minimum(torch.arange(levels), first[:, None])
    return scores.gather(1, level[..., None].expand_as(scores))


ALL = [*METHODS, "SGF"]
AFTER = {m: {name: after(m, name) for name in TARGETS} for m in ALL}
for m in ("InterFaceGAN", "SGF, fast, with noise"):
    AFTER[f"{m}, stopped"] = {name: stopped(scores, name) for name, scores in AFTER[m].items()}
FOUND = {m: torch.stack([found(s, n) for n, s in each.items()], 1) for m, each in AFTER.items()}


def mds(accuracy: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """MDS of each attribute, and their mean, of curves (…, attributes, S)."""
    each = running_trapezoid(accuracy, kept).amax(-1)
    return torch.cat([each, each.mean(-1, keepdim=True)], -1)


T1 = pd.DataFrame({m: mds(*curve(rows)).numpy() for m, rows in FOUND.items()}, [*TARGETS, "overall"]).T  # fmt: skip
DRAWN = {m: mds(*resampled(rows, sizes.bootstrap, seed)) for m, rows in FOUND.items()}
TAILS = torch.tensor([0.025, 0.975], dtype=torch.float64)
T1["low"], T1["high"] = zip(*(DRAWN[m][:, -1].quantile(TAILS).tolist() for m in FOUND), strict=True)
folder.number("MDS", {m: row.to_dict() for m, row in T1.iterrows()})
folder.table(T1, "T1_mds", f"MDS on {len(test)} faces; 95 % interval of the overall score")

# %%
CURVES = ["GANSpace", "transformer", "InterFaceGAN", "InterFaceGAN, stopped", "SGF, fast, with noise", "SGF, fast, with noise, stopped", "SGF"]  # fmt: skip
COLOURS = ["C7", "C1", "C0", "C9", "C3", "C4", "k"]
figure, axes = plt.subplots(1, len(TARGETS), figsize=(3.7 * len(TARGETS), 3.4), layout="constrained", sharey=True, squeeze=False)  # fmt: skip
for column, (ax, name) in enumerate(zip(axes[0], TARGETS, strict=True)):
    for colour, method in zip(COLOURS, CURVES, strict=True):
        accuracy, kept = curve(FOUND[method][:, column])
        ax.plot([0, *accuracy], [1, *kept], marker=".", color=colour, label=method, linestyle="-" if "SGF" in method else "--", linewidth=2.5 if "SGF" in method else 1.2)  # fmt: skip
    ax.set(title=name, xlabel="accuracy", xlim=(0, 1.02), ylim=(0.5, 1.01))
axes[0, 0].set_ylabel("disentanglement")
axes[0, -1].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
folder.save(figure, "F5_curves", "Manipulation disentanglement curves", vector=True)

# %% [markdown]
# Is SGF told from the others? The faces are drawn again, the same ones for both.

# %%
PAIRS = [
    ("SGF", other)
    for other in (
        "GANSpace",
        "transformer",
        "InterFaceGAN",
        "InterFaceGAN, others held",
        "InterFaceGAN, stopped",
        "SGF, fast",
    )
]
PAIRS += [("SGF, fast, with noise", "SGF, fast"), ("SGF, fast, with noise", "InterFaceGAN"),
          ("SGF, fast, with noise, stopped", "InterFaceGAN, stopped")]  # fmt: skip
verdict = {}
for ours, other in PAIRS:
    gap = T1.loc[ours] - T1.loc[other]
    low, high = (DRAWN[ours] - DRAWN[other]).quantile(TAILS, dim=0)
    for k, name in enumerate(T1.columns[:-2]):
        row = {"estimate": float(gap[name]), "low": float(low[k]), "high": float(high[k])}
        row["verdict"] = "wins" if row["low"] > 0 else "loses" if row["high"] < 0 else "not told apart"  # fmt: skip
        verdict[f"{ours} against {other}", name] = row
folder.number("verdict", {": ".join(key): row for key, row in verdict.items()})
folder.table(pd.DataFrame(verdict).T.infer_objects(), "T1_verdict", "Differences of MDS, with 95 % intervals over faces")  # fmt: skip

# %% [markdown]
# And is that the method, or one training's luck? *F* starts from random weights. Here are two more of either mapping,
# alike but for the seed, on the same faces. The intervals draw faces and trainings again. (A boundary needs no
# luck: an SVM has one solution.)

# %%
SEEDS = [seed + 1, seed + 2] if not smoke else [seed + 1]
KINDS = {"paper": "SGF", "with noise": "SGF, fast, with noise"}
again = {(kind, s): replace(both[kind], seed=s) for kind in KINDS for s in SEEDS}
again = fit_fields(again, codes, samples.scores, NAMES)


def retrained(kind: str, field) -> torch.Tensor:
    """What `FOUND` holds of the method, by another training of its mapping."""
    if kind == "paper":
        seen = {n: walked(field, n).conditions[TAKEN].transpose(0, 1) for n in TARGETS}
    else:
        editors = {n: SignedEditor(e, SIGNS[n]) for n, e in sgf_editors(field, look, TARGETS).items()}
        strengths = METHODS[KINDS[kind]][1]
        seen = {n: score_edits(G, scorers, editors[n], test.latents, strengths) for n in TARGETS}
    return torch.stack([found(s, n) for n, s in seen.items()], 1)


random = torch.Generator().manual_seed(seed)
LUCK, ROWS = {}, {}
for kind, method in KINDS.items():
    trained = [FOUND[method], *(retrained(kind, again[kind, s]) for s in SEEDS)]
    LUCK[method] = torch.stack([mds(*curve(rows)) for rows in trained])
    drawn = torch.stack([mds(*resampled(rows, sizes.bootstrap, seed)) for rows in trained])
    pick = torch.randint(len(trained), (len(trained), sizes.bootstrap), generator=random)
    drawn = drawn[pick, torch.arange(sizes.bootstrap)].mean(0) - DRAWN["InterFaceGAN"]
    ROWS |= {(method, f"training {k + 1}"): row for k, row in enumerate(LUCK[method])}
    ROWS[method, "mean"] = LUCK[method].mean(0)
    ROWS[method, "mean, minus InterFaceGAN"] = LUCK[method].mean(0) - mds(*curve(FOUND["InterFaceGAN"]))
    ROWS |= {(method, end): drawn.quantile(tail, dim=0) for end, tail in zip(("low", "high"), TAILS, strict=True)}
columns = [*TARGETS, "overall"]
trainings = pd.DataFrame({key: row.numpy() for key, row in ROWS.items()}, columns).T
folder.number("trainings", {": ".join(key): row.to_dict() for key, row in trainings.iterrows()})
folder.table(trainings, "T1_trainings", f"MDS by training, {len(test)} faces; the 95 % interval is of the difference")  # fmt: skip

# %%
figure, ax = plt.subplots(figsize=(7.6, 3.2), layout="constrained")
line = mds(*curve(FOUND["InterFaceGAN"]))
low, high = DRAWN["InterFaceGAN"].quantile(TAILS, dim=0)
for x in range(len(columns)):
    ax.fill_between([x - 0.35, x + 0.35], low[x], high[x], color="C0", alpha=0.2, linewidth=0, label="InterFaceGAN, 95 % over faces" if x == 0 else None)  # fmt: skip
ax.hlines(line, [x - 0.35 for x in range(len(columns))], [x + 0.35 for x in range(len(columns))], color="C0", linewidth=2)  # fmt: skip
for shift, colour, (method, each) in zip((-0.12, 0.12), ("k", "C3"), LUCK.items(), strict=True):
    for k, row in enumerate(each):
        ax.plot([x + shift for x in range(len(columns))], row, "o", color=colour, alpha=0.75, label=f"{method}: each training" if k == 0 else None)  # fmt: skip
ax.set(xticks=range(len(columns)), xticklabels=columns, ylabel="MDS", ylim=(None, 1))
ax.grid(axis="x", visible=False)
ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
folder.save(figure, "T1_trainings", "The score of each training of F, beside InterFaceGAN's", vector=True)

# %% [markdown]
# **SGF does not come out ahead of InterFaceGAN**, as it does in the paper. The mean of three trainings is behind, by what
# *gender* loses. On *beard*, *smile* and *glasses* nothing is decided. Four things to know:
#
# * *Luck.* Trainings of one and the same mapping lie as far apart as the methods that one would compare. (Another seed
#   is not even needed: another processor rounds otherwise, and that makes another training.) A table from a single
#   training says little.
# * *Stopping.* SGF leaves each face alone once it has arrived. A boundary can do that too: stopped, InterFaceGAN's
#   curves are higher as well.
# * *Gender.* Most walks run out of steps. Twenty steps of 0.2 ask for four ways in all, and the mapping does a tenth of what
#   it is asked (the chart of gains above), though the code explains three times as much. Longer steps help a little (Figure
#   11), noise helps more. InterFaceGAN goes on until the score crosses, whatever else crosses with it: its curve for
#   gender is the one that falls. "Others held" pays as SGF does.
# * *Noise.* With it the same network needs no looking to be level with InterFaceGAN, by the mean of three trainings. Its
#   largest gain is where the paper's mapping is weakest.
#
# And mind who judges: an edit is counted by the scorer that steered it. A walk that is stopped as soon as the
# scorer is convinced convinces the scorer, and not always the eye: look for the thin rims of some of SGF's
# *glasses* below.

# %%
PEAK = {(m, n): int(harmonic_mean(*curve(FOUND[m][:, k])).argmax()) for m in ALL for k, n in enumerate(TARGETS)}  # fmt: skip
pair = best[:2]
rows = []
for name in TARGETS:
    edited = [pictured(m, name, PEAK[m, name], pair) for m in ALL]
    rows.append(torch.stack([G.synthesize(z) for z in (test.latents[pair], *edited)], 1).flatten(0, 1))  # fmt: skip
heads = ["original", "GAN-\nSpace", "IFG", "IFG,\nheld", "trans-\nformer", "SGF,\nfast", "fast,\nnoise", "SGF"]  # fmt: skip
F5 = image_grid(torch.stack(rows), row_labels=TARGETS, column_labels=heads * 2, title="each method where its harmonic mean peaks")  # fmt: skip
folder.save(F5, "F5_pictures", "Two faces to the other side of each attribute, by every method at its best strength; IFG: InterFaceGAN")  # fmt: skip

# %% [markdown]
# ### Figure 11 and Table 4: the step size
#
# The paper's three step sizes are lost; the middle one was best and the smallest failed, since the steps ran out.
# Its $W$ rows need a generator that has a $W$ (notebook 08).

# %%
STEPS = [0.5, STEP, 0.05] if not smoke else [0.5, STEP]
SIZED = [n for n in ("smile", "gender") if n in TARGETS]
part = len(test) // 3
T4, sized = {}, {}
for step in STEPS:
    for name in SIZED:
        tried = WALKS[name] if step == STEP else walked(FIELDS["paper"], name, part, step)
        rows = found(tried.conditions[1:, :part].transpose(0, 1), name, part)
        sized[step, name] = accuracy, kept = curve(rows)
        T4[f"λ = {step}", name] = {"MDS": float(running_trapezoid(accuracy, kept).max()), "accuracy": float(accuracy[-1]),
                                   "mean steps": float(tried.steps[:part].float().mean())}  # fmt: skip
folder.table(pd.DataFrame(T4).T, "T4_step_size", f"At most {MAX_STEPS} steps, {part} faces")

# %%
figure, axes = plt.subplots(1, len(SIZED), figsize=(4.2 * len(SIZED), 3.2), layout="constrained", squeeze=False)  # fmt: skip
for ax, name in zip(axes[0], SIZED, strict=True):
    for step in STEPS:
        accuracy, kept = sized[step, name]
        ax.plot([0, *accuracy], [1, *kept], marker=".", label=f"λ = {step}")
    ax.set(title=name, xlabel="accuracy", ylabel="disentanglement", xlim=(0, 1.02), ylim=(0.6, 1.01))  # fmt: skip
    ax.legend()
folder.save(figure, "F11_step_size", "The curve by step size", vector=True)

# %% [markdown]
# The smallest step fails for the paper's reason: twenty times 0.05 asks for the way just once, and the field gives a part
# of it. The largest does no harm here, and takes *gender* further: twenty times 0.5 ask for more.
#
# ### Figures 13 and 15: continuous and sequential edits
#
# The fast version as an editor: a strength is how many standard deviations the score is asked to move by. First
# two attributes continuously, then edits one after the other on each face.

# %%
editors = sgf_editors(FIELDS["with noise"], look)
ASKED = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]
faces = test.latents[best[:2]]
strips = [strip_images(G, editors[name], faces, ASKED) for name in ("yaw", "age")]
F13 = image_grid(torch.cat(strips), row_labels=["yaw", "yaw", "age", "age"], column_labels=[f"{s:+g} sd" if s else "original" for s in ASKED])  # fmt: skip
folder.save(F13, "F13_continuous", "Yaw and age, continuously, the asked change in standard deviations")  # fmt: skip

# %%
SEQUENCE = {"smile": 4.0, "glasses": 5.0, "yaw": 3.0, "hat": 5.0}
walks = [test.latents[best[: sizes.rows]]]
for name, strength in SEQUENCE.items():
    walks.append(editors[name].edit(walks[-1], strength))
rows = torch.stack([G.synthesize(latents) for latents in walks], dim=1)
F15 = image_grid(rows, column_labels=["original", *(f"{n}\n{s:+g} sd" for n, s in SEQUENCE.items())])  # fmt: skip
folder.save(F15, "F15_sequential", "Four edits in sequence, each from where the last one ended")
seen = [look(latents.values) for latents in walks]
changes = {f"after {name}": ((after_it - seen[0]) / SPREAD).mean(0).numpy()
           for name, after_it in zip(SEQUENCE, seen[1:], strict=True)}  # fmt: skip
folder.table(pd.DataFrame(changes, NAMES), "F15_scores", "Mean change of every score after each edit, in standard deviations")  # fmt: skip

# %% [markdown]
# ### Figure 9: why not optimise the code itself?
#
# Adam on $z$, the error propagated back through scorers and generator, with the same targets, the same stopping
# rule and the same number of steps. Its rate is lost; a low and a high one here.

# %%
RATES = [0.03, 0.3] if not smoke else [0.1]
NINE = "gender" if "gender" in TARGETS else TARGETS[0]
count = min(6, len(test))
group = test.select(slice(0, count))


def optimised(rate: float) -> dict[str, torch.Tensor]:
    walk = optimise_latents(
        group.latents.values, group.scores, WALKS[NINE].target[:count],
        lambda z: scorers(G.synthesize(Latents(z, "z"))),
        FIELDS["paper"].mean_, SPREAD, learning_rate=rate, max_steps=MAX_STEPS)  # fmt: skip
    return {"codes": walk.codes, "conditions": walk.conditions[-1], "steps": walk.steps}


inputs = {"version": 1, "generator": G.fingerprint, "scorers": scorers.fingerprint, "seed": seed, "attribute": NINE,
          "samples": sizes.samples, "count": count, "steps": MAX_STEPS}  # fmt: skip
RESULTS = {f"optimisation, rate {rate}": cached("latent-optimisation", inputs | {"rate": rate}, lambda: optimised(rate))
           for rate in RATES}  # fmt: skip
sgf = WALKS[NINE]
RESULTS["SGF"] = {
    "codes": sgf.codes[:count],
    "conditions": sgf.conditions[-1, :count],
    "steps": sgf.steps[:count],
}
i = NAMES.index(NINE)
F9 = {}
for method, end in RESULTS.items():
    way = end["codes"] - group.latents.values
    changes = (end["conditions"] - group.scores) / SPREAD * SIGNS[NINE][:count, None]
    others = [k for k in COUNTED if k != i]
    F9[method] = {"moves": changes[:, i].mean(), "others move": changes[:, others].abs().mean(),
                  "as the linear probe hears it": (probe.change(way)[:, i] * SIGNS[NINE][:count]).mean(), "length": way.norm(dim=1).mean()}  # fmt: skip
F9 = pd.DataFrame(F9).T.astype(float)
folder.number("F9", {m: row.to_dict() for m, row in F9.iterrows()})
folder.table(F9, "F9_optimisation", f"{NINE} to the other side, {count} faces, {MAX_STEPS} steps; standard deviations")  # fmt: skip

# %%
rows = group["quality"].argsort(descending=True)[: sizes.rows]
ends = [group.latents.values, *(end["codes"] for end in RESULTS.values())]
F9_grid = image_grid(torch.stack([G.synthesize(Latents(e[rows], "z")) for e in ends]),
                     row_labels=["original", *RESULTS],
                     column_labels=[f"to {'male' if SIGNS[NINE][r] > 0 else 'female'}" if NINE == "gender" else "" for r in rows])  # fmt: skip
folder.save(F9_grid, "F9_optimisation", f"{NINE} by optimising the code, and by SGF")

# %% [markdown]
# The paper finds that the optimised code "gets stuck". Here it does worse. At the low rate the *score* goes all the
# way, within half of the distance that SGF needs, and **the face hardly changes**: the linear probe, who knows only what
# that direction does to faces in general, hears almost nothing. The gradient of a deep scorer leads to an
# adversarial example. At the high rate the code is thrown as far as it is long. By the metric's own measure the low rate would *win*:
# the target moves and nothing else does. A metric that asks the scorer that was optimised cannot see this.
#
# ### Figures 6 and 12: keypoints
#
# 68 landmarks, 136 numbers, are a condition like any other. Three edits: lower lip and chin move down; the
# brows move up; all landmarks move as they differ between faces that look right and the average. Landmarks move
# together, and a hand-made change is none that any face has made: on its own, it leads the walk out of the data.
# So each change is taken to its nearest within the twelve principal components that hold 98 % of the
# landmarks' variance. Both mappings are trained with noise: one on the landmarks alone, one with seven scores
# of the face's appearance beside them, which are asked to stay.

# %%
LOOKS = ["gender", "age", "glasses", "hat", "beard", "brightness", "warmth"]
landmarks, appearance = Landmarks(), facenb.load_scorers(LOOKS, G.framing, device)
CONDITIONS = {"keypoints alone": landmarks, "keypoints and attributes": joint(landmarks, appearance)}  # fmt: skip
marked = sample_scored(G, landmarks, sizes.samples // 4, seed)
looks = torch.stack([samples[name] for name in LOOKS], dim=1)[: len(marked)]
noisy = replace(config, noise=2.0, steps=config.steps // 3)
POINTED = {
    "keypoints alone": fit_sgf(noisy, marked.latents.values, marked.scores, landmarks.names),
    "keypoints and attributes": fit_sgf(noisy, marked.latents.values, torch.cat([marked.scores, looks], 1),
                                        CONDITIONS["keypoints and attributes"].names),
}  # fmt: skip
right = samples["yaw"][: len(marked)]
EDITS = {
    name: torch.zeros(68, 2) for name in ("open mouth", "raised brows")
}  # x and y, in sides of the picture
EDITS["open mouth"][[*range(55, 60), *range(65, 68), *range(6, 11)], 1] = 0.05
EDITS["raised brows"][17:27, 1] = -0.04
EDITS["turned right"] = (marked.scores[right > right.quantile(0.8)].mean(0) - marked.scores.mean(0)).view(68, 2)  # fmt: skip
spread = marked.scores.std(0)
axes12 = torch.linalg.svd((marked.scores - marked.scores.mean(0)) / spread, full_matrices=False).Vh[:12]  # fmt: skip
PLAUSIBLE = {name: (asked.flatten() / spread) @ axes12.T @ axes12 * spread for name, asked in EDITS.items()}  # fmt: skip


def keyed(kind: str, change: torch.Tensor, rows: torch.Tensor):
    """The walk of some faces whose landmarks are asked to change."""
    seen = lambda z: score_once(G, CONDITIONS[kind], Latents(z, "z"))
    z = test.latents[rows].values
    before = seen(z)
    target = before.clone()
    target[:, :136] += change
    return POINTED[kind].manipulate(z, before, target, seen, max_steps=MAX_STEPS)


chosen = best[: 6 if not smoke else 3]
KEYED = {(edit, kind): keyed(kind, PLAUSIBLE[edit], chosen) for edit in EDITS for kind in POINTED}
BY_HAND = ("open mouth, as drawn", "keypoints and attributes")
KEYED[BY_HAND] = keyed(BY_HAND[1], EDITS["open mouth"].flatten(), chosen)
F12 = {}
for (edit, kind), walk in KEYED.items():
    drift = (look(walk.codes) - test.scores[chosen])[:, [NAMES.index(n) for n in LOOKS]].abs()
    drift = drift / SPREAD[[NAMES.index(n) for n in LOOKS]]
    F12[edit, kind] = {"share of the way": float(walk.progress()[-1].mean()), "appearance drifts (sd)": float(drift.mean()),
                       "length of the walk": float((walk.codes - walk.path[0]).norm(dim=1).mean()), "targets out of range": int(walk.out_of_range.sum())} | walk.counts()  # fmt: skip
F12 = pd.DataFrame(F12).T.fillna(0)
folder.number("F12 drift", {" ".join(k): v for k, v in F12["appearance drifts (sd)"].items()})
folder.table(F12, "F12_keypoints", f"{len(chosen)} faces; drift of {', '.join(LOOKS)}")


# %%
def mark(ax, code: torch.Tensor, asked: torch.Tensor) -> None:
    """A face, where its landmarks are, and where they were asked to go."""
    image = G.synthesize(Latents(code[None], "z"))
    ax.imshow(((image[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1), extent=(0, 1, 1, 0))
    ax.scatter(*asked[:136].view(68, 2).T, s=7, color="red", linewidths=0)
    ax.scatter(*landmarks(image)[0].view(68, 2).T, s=3, color="w", linewidths=0)
    ax.set(xlim=(0, 1), ylim=(1, 0), xticks=[], yticks=[])


lines = [(row, kind) for row in range(2) for kind in POINTED]
figure, axes = plt.subplots(4, 4, figsize=(7, 7.2), layout="constrained")
for line, (row, kind) in zip(axes, lines, strict=True):
    walks = [KEYED[edit, kind] for edit in EDITS]
    mark(line[0], walks[0].path[0, row], walks[0].conditions[0, row])
    line[0].set_ylabel(kind.replace(" and", "\nand"), fontsize="small")
    for ax, walk in zip(line[1:], walks, strict=True):
        mark(ax, walk.codes[row], walk.target[row])
for ax, title in zip(axes[0], ("original", *EDITS), strict=True):
    ax.set_title(title)
folder.save(
    figure, "F6_keypoints", "White: landmarks as they are. Red: where they were asked to go"
)

# %% [markdown]
# As the paper says, attributes beside the keypoints hold more of the face's appearance (the drift is smaller on average
# over the three edits; six faces each), though not all of it: hair and background are in none of the seven. The change as it was drawn by hand fails, and the report of
# the ranges says so beforehand.
#
# ### Figure 7: captions
#
# A sentence is written from each face's scores by a small grammar and encoded by a sentence encoder as 384 numbers;
# the target is any sentence. The encoder is an optional extra (`pip install 'facenb[captions]'`).

# %%
try:
    from facenb.scorers.captions import Captions, Grammar, SentenceEncoder

    encoder = SentenceEncoder(device)
except facenb.errors.FacenbError as error:
    encoder = print(f"Figure 7 is left out: {error}")

# %%
SENTENCES = ["a smiling young woman", "an old man with glasses", "a man with a hat and a beard",
             "a bearded man wearing a hat", "a woman looking left, in bright light"]  # fmt: skip
if encoder:
    told = Captions(scorers, Grammar().fit(samples.scores, NAMES), encoder)
    spoken = fit_sgf(noisy, codes, told.of_scores(samples.scores), told.names)
    starts = test.latents[best[:3]].repeat_interleave(len(SENTENCES))
    wanted = encoder(SENTENCES).repeat(3, 1)
    heard = told.of_scores(look(starts.values))
    seen = lambda z: told.of_scores(look(z))
    walk = spoken.manipulate(starts.values, heard, wanted, seen, max_steps=MAX_STEPS)
    said = told.grammar(look(walk.codes))
    F7 = pd.DataFrame({"asked": SENTENCES * 3, "before": told.grammar(look(starts.values)), "after": said,
                       "cosine before": (heard * wanted).sum(1), "cosine after": (walk.conditions[-1] * wanted).sum(1),
                       "out of range": walk.out_of_range, "status": walk.status})  # fmt: skip
    folder.number("F7 cosine", F7[["cosine before", "cosine after"]].mean().to_dict())
    moves = torch.nn.functional.normalize(walk.codes - starts.values, dim=1).unflatten(0, (3, -1))
    alike = (moves[:, 2] * moves[:, 3]).sum(1)  # the two sentences about a hat and a beard
    folder.number("F7 cosine of the moves to sentences 3 and 4", alike.tolist())
    print("towards sentences 3 and 4, cosines of the moves:", *(f"{cosine:.2f}" for cosine in alike))
    display(folder.table(F7, "F7_captions", "Captions before and after, and their cosine with the asked one"))  # fmt: skip

# %%
if encoder:
    pictures = torch.stack([G.synthesize(starts), G.synthesize(Latents(walk.codes, "z"))])
    pictures = pictures.unflatten(1, (3, len(SENTENCES)))
    grid = torch.cat([pictures[0, :, :1], pictures[1]], dim=1)
    heads = ["original", *(textwrap.fill(sentence, 13) for sentence in SENTENCES)]
    folder.save(image_grid(grid, column_labels=heads, cell=1.15), "F7_captions", "Three faces walked towards five sentences")  # fmt: skip

# %% [markdown]
# Most walks arrive, and most captions are met nearly word for word. What the sentence does not mention is nobody's
# business: light and hair change freely, as the colour of the paper's flowers does when their shape is asked for (its
# remedy, layers, needs a style-based generator). The paper's "large and red" and "red and large" lead to completely
# different flowers. "A bearded man wearing a hat" is a sentence that the grammar never writes, reported as out of range
# (the last sentence is, too), and yet leads to much the same faces as "a man with a hat and a beard" (the cosines of their moves are printed above):
# the encoder has put the two close together. *Reached* is measured along the asked change alone: on the way to it other
# words may have come or gone.
#
# ### Figure 8: what lies outside the data
#
# Faces are asked to turn to so many standard deviations of yaw, the last three times further than any sample. The range
# of the training conditions is known, so that such a target can be reported before it is tried.

# %%
FAR = [1.0, 2.0, 3.0, 5.0, 8.0] if not smoke else [1.0, 5.0]
i = NAMES.index("yaw")
starts = test.latents[best[:4]].repeat_interleave(len(FAR))
before = look(starts.values)
target = before.clone()
target[:, i] = samples.scores[:, i].mean() + torch.tensor(FAR).repeat(4) * SPREAD[i]
report = FIELDS["paper"].range_.check(target)
print(report)
walk = FIELDS["paper"].manipulate(starts.values, before, target, look, max_steps=MAX_STEPS)
ended = (walk.conditions[-1] - samples.scores.mean(0)) / SPREAD
rest = [k for k in COUNTED if k != i]
drift = ((walk.conditions[-1] - before) / SPREAD)[:, rest].abs().mean(1)
F8 = pd.DataFrame({"asked (sd)": FAR * 4, "reached (sd)": ended[:, i], "others drift (sd)": drift, "quality (sd)": ended[:, NAMES.index("quality")],
                   "out of range": report.outside.float(), "diverged": [float(s == "diverged") for s in walk.status]})  # fmt: skip
F8 = F8.groupby("asked (sd)").mean()
folder.number("F8", {str(k): row.to_dict() for k, row in F8.iterrows()})
folder.table(F8, "F8_out_of_range", "Yaw asked to be so many standard deviations from the mean: means over 4 faces")  # fmt: skip

# %%
grid = torch.cat([G.synthesize(starts[:: len(FAR)])[:, None], G.synthesize(Latents(walk.codes, "z")).unflatten(0, (4, -1))], 1)  # fmt: skip
folder.save(image_grid(grid, column_labels=["original", *(f"yaw\n{s:+g} sd" for s in FAR)]), "F8_failures",
            "Yaw asked for beyond the data")  # fmt: skip

# %% [markdown]
# All walks beyond the data end at about the same yaw, whatever is asked (the furthest ones have run off, and are given
# back as they were when last good), and the face pays for the asking: light, hair and person change. "Tends to stop at a point with a similar condition", and "style and color changes": both of the paper's
# observations.
#
# ### Figure 17: the path and its chord
#
# How curved are the walks, is the straight line from start to end as good, and does one face's line do for another?

# %%
F17 = {}
for name, walk in WALKS.items():
    chord, pieces = walk.codes - walk.path[0], walk.path.diff(dim=0).norm(dim=2).sum(0)
    going = pieces > 0
    line = chord / chord.norm(dim=1, keepdim=True)
    relative = walk.path - walk.path[0]
    off = (relative - (relative * line).sum(2, keepdim=True) * line).norm(dim=2).amax(0)
    turned = line * SIGNS[name][:, None]
    alike = (turned[going] @ turned[going].T)[~torch.eye(int(going.sum())).bool()]
    borrowed = turned.roll(1, 0) * chord.norm(dim=1, keepdim=True) * SIGNS[name][:, None]
    lent = look(walk.path[0] + borrowed.nan_to_num())
    own, other = (curve(found(s[:, None], name)) for s in (walk.conditions[-1], lent))
    F17[name] = {"chord / path": float((chord.norm(dim=1) / pieces)[going].mean()), "off the chord": float((off / chord.norm(dim=1))[going].mean()),
                 "cosine of two chords": float(alike.mean()), "accuracy, own": float(own[0]), "accuracy, lent": float(other[0]),
                 "kept, own": float(own[1]), "kept, lent": float(other[1])}  # fmt: skip
folder.number("F17", F17)
folder.table(pd.DataFrame(F17).T, "F17_paths", "Straightness of the walks, and what the chord of another face does")  # fmt: skip

# %%
walk = WALKS[SHOWN]
r, q = best[:2].tolist()
rise = torch.linspace(0, 1, 6)
legs = [0, *(torch.linspace(0, int(walk.steps[r]), 6).round().long()[1:]).tolist()]
own_legs = torch.linspace(0, int(walk.steps[q]), 6).round().long().tolist()
chord = (walk.codes[r] - walk.path[0, r]) * SIGNS[SHOWN][r]
lines = {
    "the walk": walk.path[legs, r],
    "its chord": walk.path[0, r] + rise[:, None] * (walk.codes[r] - walk.path[0, r]),
    "the chord, lent to another": walk.path[0, q] + rise[:, None] * chord * SIGNS[SHOWN][q],
    "that face's own walk": walk.path[own_legs, q],
}
grid = torch.stack([G.synthesize(Latents(line, "z")) for line in lines.values()])
folder.save(image_grid(grid, row_labels=list(lines), title=SHOWN), "F17_paths", f"{SHOWN}: a walk, its straight line, and the line on another face")  # fmt: skip

# %% [markdown]
# The walks are nearly straight: the chord is a close approximation, as the paper says. The chords of two faces are far
# from parallel, and yet on *beard*, *smile* and *glasses* one face's does for another nearly as well, by the scores. (To the eye
# the lent chord may do better, as on the face above: its own walk stopped when the scorer was convinced.)
#
# ### Table 5: running time

# %%
from facenb.sampling import observe

timed = [("attributes", FIELDS["paper"], scorers), ("keypoints and attributes", POINTED["keypoints and attributes"], CONDITIONS["keypoints and attributes"])]  # fmt: skip
timed += [("captions", spoken, told)] if encoder else []
T5 = {}
for what, field, condition in timed:
    see, z = observe(G, condition), test.latents[:4].values
    before = see(z)
    spent = []
    for seeing in (see, None):
        begin = time.perf_counter()
        field.manipulate(z, before, before.flip(0), seeing, step=0.05, max_steps=2, tolerance=0.0)
        spent.append((time.perf_counter() - begin) / len(z) / 2 * 20)
    T5[what] = {"SGF": spent[0], "SGF, fast": spent[1], "share of looking": 1 - spent[1] / spent[0]}
folder.table(
    pd.DataFrame(T5).T, "T5_times", "Seconds a face for 20 steps of order 1, in batches of 4"
)

# %% [markdown]
# Looking at the pictures is most of it, whatever the condition, as in the paper; the fast version spares that.
#
# ## Check
#
# The paper's claims beside what was found here; those that should hold are asserted (not in the smoke profile).

# %%
overall = T1["overall"]
drift = F12["appearance drifts (sd)"].astype(float)
alone, both = (drift.xs(kind, level=1).drop("open mouth, as drawn", errors="ignore").mean() for kind in POINTED)  # fmt: skip
rho = {name: float((values < 1).float().mean()) for name, values in radius.items()}
claims = {
    "Eq. 2, radius below 1: share of faces, paper's mapping": rho["paper"],
    "... with noise": rho["with noise"],
    "overall MDS: SGF (paper 0.837)": overall["SGF"],
    "... mean of several trainings": trainings.loc[("SGF", "mean"), "overall"],
    "... InterFaceGAN (paper 0.721)": overall["InterFaceGAN"],
    "... GANSpace (paper 0.531)": overall["GANSpace"],
    "... SGF, fast, with noise, stopped": overall["SGF, fast, with noise, stopped"],
    "... InterFaceGAN, stopped": overall["InterFaceGAN, stopped"],
    "drift of appearance: keypoints alone": alone,
    "... keypoints and attributes": both,
    "chord / path": pd.DataFrame(F17).loc["chord / path"].mean(),
    "yaw reached when 8 sd are asked for": F8.loc[FAR[-1], "reached (sd)"],
}
for claim, value in claims.items():
    print(f"{value:6.3f}  {claim}")
folder.number("claims", claims)
for method, tolerance in (("SGF", 1e-3), ("InterFaceGAN", 2e-3)):
    rows = T3.loc[method]
    assert (rows["MDS printed"] - rows["MDS here"]).abs().max() < tolerance
    assert (rows["harmonic printed"] - rows["harmonic here"]).abs().max() < 1e-3
if not smoke and remark.own:
    assert rho["paper"] < 0.1 and rho["with noise"] > 0.9
    assert overall["SGF"] > overall["GANSpace"]
    assert overall["SGF, fast, with noise"] > overall["SGF, fast"]
    assert agreement["with noise"] > 0.9
    assert trainings.loc[("SGF", "high"), "gender"] < 0
    assert trainings.loc[("SGF", "mean"), "overall"] < overall["InterFaceGAN"]
    assert (
        F9.iloc[0]["as the linear probe hears it"]
        < 0.3 * F9.loc["SGF", "as the linear probe hears it"]
    )
    assert F8["reached (sd)"].iloc[-1] < 0.5 * FAR[-1]

# %% [markdown]
# ## Try it
#
# ![sequential edits](../figures/07_surrogate_gradient_field/F15_sequential.png)

# %%
from facenb.widgets.explorer import Explorer

Explorer(G, {f"{n} (line)": boundaries[n] for n in TARGETS} | dict(editors), scorers, seed=26, index=1, strength_range=6.0)  # fmt: skip

# %% [markdown]
# Any sentence, typed: the same three faces as in Figure 7 walk towards it when you press Enter. Below each is what its
# caption was, what it is now, and how the walk ended.

# %%
if encoder:
    from facenb.widgets.caption_box import CaptionBox

    display(CaptionBox(G, spoken, told, test.latents[best[:3]], "a smiling man with glasses and a hat", MAX_STEPS))

# %% [markdown]
# And the user study: which of two edits is better? They come without names, in an order and on sides that chance
# decides. Every answer goes to `preferences.csv` in this notebook's folder of figures.

# %%
from facenb.widgets.user_study import PreferenceStudy

ASKED_OF_USERS = best[: min(10, len(test))]
edits = {m: torch.cat([G.synthesize(pictured(m, n, PEAK[m, n], ASKED_OF_USERS)) for n in TARGETS]) for m in ("SGF", "InterFaceGAN")}  # fmt: skip
goals = [words[n][int(SIGNS[n][r] > 0)] for n in TARGETS for r in ASKED_OF_USERS]
originals = G.synthesize(test.latents[ASKED_OF_USERS]).repeat(len(TARGETS), 1, 1, 1)
PreferenceStudy(originals, edits, goals, folder.path / "preferences.csv", seed=seed)

# %% [markdown]
# ## Exercises
#
# 1. Give Algorithm 1 sixty steps for *gender*. Does it catch up with InterFaceGAN, and at what disentanglement?
# 2. Train F on `gender` alone. Its curve gets worse, not better: why, when nothing has to be held any more?
# 3. Use the noisy mapping for Algorithm 1, with order 1 and with the exact solve. Does it matter which?
# 4. Judge the edits of Figure 9 by a scorer that did not take part (the age and gender net of face-api is in the
#    package that the others come from). Who wins then?
# 5. Type a caption of your own. What does the range report say, and is it right?
# 6. Fit the captions' field to a quarter of the samples. Which walks run off, and what becomes of their faces?
