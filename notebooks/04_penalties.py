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
# # 04 · Penalties on entanglement: the Hessian penalty and OroJaR
#
# | | |
# |---|---|
# | **Papers** | Peebles et al., *The Hessian Penalty* (ECCV 2020); Wei et al., *Orthogonal Jacobian Regularization* (ICCV 2021); Niu, Zhou, Li (PLoS ONE 2023), Equations 2 to 7 |
# | **Regenerates** | the closed forms, the estimator's bias and variance, max against mean, Hessian penalty against OroJaR, both on a real generator |
# | **You need** | derivatives; notebook 01 for the generator |
# | **Run time** | two minutes the first time in the laptop profile, seconds afterwards |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "mobilestylegan-ffhq-1024"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Markdown, display

import facenb
from facenb.figures import FigureFolder, heatmap
from facenb.latents import Latents
from facenb.penalties import (
    exact_hessian_penalty,
    exact_orojar,
    hessian_penalty,
    hessian_penalty_limit,
    orojar,
)
from facenb.penalties import hessian as penalties
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.storage import cache
from facenb.storage.files import sha256_file

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
folder = FigureFolder("04_penalties", profile=profile, seed=seed, generator=generator, device=device)  # fmt: skip
remark = Remarks(G)
space, SIZE = ("w", 128) if remark.styles and 128 in G.sizes else ("z", None)  # pixels a side
shown = G.variant(truncation=0.7) if remark.styles else G


def computed(step: str, compute) -> dict[str, torch.Tensor]:
    """What `compute` returns, from disk where this step ran before with the same code and sizes."""
    inputs = {"version": 2, "step": step, "profile": profile, "seed": seed, "device": device,
              "generator": G.fingerprint, "code": sha256_file(penalties.__file__)}  # fmt: skip
    return cache.cached("penalties", inputs, compute)


# %% [markdown]
# ## Question
#
# Two directions are *entangled* when moving along one changes what the other does. Can that be written as
# a number that a computer can make small, without anyone labelling an image?
#
# ## What the papers say
#
# If direction $i$ does not change the effect of direction $j$ on any pixel, the mixed second derivatives
# $H_{ij} = \partial^2 G / \partial z_i \partial z_j$ are zero. So penalise the off-diagonal part of the
# Hessian. Computing it is out of the question ($d^2$ entries for every pixel), but for a random vector $v$
# of $\pm 1$
#
# $$\operatorname{Var}_v\!\big(v^\top H v\big) = 2 \sum_{i \neq j} H_{ij}^2 ,\qquad
# v^\top H v \approx \frac{G(z + \epsilon v) - 2\,G(z) + G(z - \epsilon v)}{\epsilon^2}$$
#
# (Niu Eq. 2 to 6): the variance over a few draws $v$ estimates it, two evaluations a draw. The largest value
# over the pixels is the penalty (Eq. 4).
#
# **OroJaR** asks for something else, that directions change *different* things: $J^\top J$ diagonal,
# penalised by $\operatorname{Var}_v \lVert J v \rVert^2 = 2\sum_{i \neq j} (J^\top J)_{ij}^2$.
#
# ## What the code says
#
# | | the papers' text | public code | here |
# |---|---|---|---|
# | over pixels | maximum (Eq. 4) | Niu: mean; Peebles' portable file: maximum over batch and pixels together | `reduction="max"` or `"mean"`, for each sample, then the mean over the batch |
# | central value $G(z)$ | in the formula | evaluated: $2k + 1$ calls | cancels in the variance (proof in the docstring): $2k$ points, one batch |
# | $\epsilon$ | "1", and 0.1 called $\gamma$ | 0.1 | 0.1 |
# | draws $k$ | not given | 2 | 2 |
# | what is perturbed | "the dimension of the direction vector" | all of the first 256 coefficients, not the chosen one alone | whatever the function is given; notebook 05 gives it all coefficients |
# | determinism | – | a warning in the tips | checked: a function that differs from call to call is refused |

# %% [markdown]
# ## Run
# ### Closed forms
#
# For $f = z_0 z_1$ the only mixed derivative is 1, and the penalty is $2(1^2 + 1^2) = 4$ everywhere. For
# $f = z_0^2 z_1$ it is $2z_0$, and the penalty is $16 z_0^2$. A sum of functions of one coordinate each
# has none.

# %%
FORMS = {
    "z0·z1": (lambda z: z[:, :1] * z[:, 1:2], lambda z: torch.full((len(z),), 4.0)),
    "z0²·z1": (lambda z: z[:, :1] ** 2 * z[:, 1:2], lambda z: 16 * z[:, 0] ** 2),
    "sin z0 + exp z1": (lambda z: z[:, :1].sin() + z[:, 1:2].exp(), lambda z: torch.zeros(len(z))),
}
points = torch.randn(64, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
rows = {}
for name, (f, truth) in FORMS.items():
    rows[name] = {
        "by hand": truth(points).mean(),
        "exact (automatic differentiation)": exact_hessian_penalty(f, points),
        "estimated, k = 512": hessian_penalty(f, points, k=512, seed=seed),
    }
forms = pd.DataFrame(rows).T.astype(float)
folder.table(forms, "closed_forms", "The Hessian penalty of functions whose answer is known")

# %% [markdown]
# ### Bias and variance of the estimator
#
# The variance over $k$ draws is unbiased for any $k \geq 2$; what $k$ buys is less noise. $\epsilon$ is
# where the bias comes from: too large and higher derivatives come in, too small and rounding is divided by
# $\epsilon^4$. Both on a small network with a known answer, in the precision that training uses.

# %%
random = torch.Generator().manual_seed(seed)
first, second = torch.randn(6, 32, generator=random), torch.randn(32, 1, generator=random)
network = lambda z: torch.tanh(z @ first.to(z) / 3) @ second.to(z)
z = torch.randn(256, 6, generator=random)
truth = float(exact_hessian_penalty(network, z.double()))
runs = 10 if profile == "smoke" else 60


# %%
def ratios() -> dict[str, torch.Tensor]:
    truths = [float(exact_hessian_penalty(network, z[i : i + 1].double())) for i in range(runs)]
    by_k = [
        [hessian_penalty(network, z[i : i + 1], k, seed=i) / truths[i] for i in range(runs)]
        for k in KS
    ]
    by_epsilon = [
        [hessian_penalty(network, z, 64, e, seed=i) / truth for i in range(10)] for e in SIZES
    ]
    return {"k": torch.tensor(by_k), "epsilon": torch.tensor(by_epsilon)}


KS, SIZES = (2, 4, 8, 16, 32), (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
estimates = computed("estimator", ratios)
by_k = [(k, float(v)) for k, row in zip(KS, estimates["k"], strict=True) for v in row]
by_epsilon = [
    (e, float(v)) for e, row in zip(SIZES, estimates["epsilon"], strict=True) for v in row
]
by_k = pd.DataFrame(by_k, columns=["k", "estimate / truth"])
by_epsilon = pd.DataFrame(by_epsilon, columns=["epsilon", "estimate / truth"])
figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
sns.boxplot(by_k, x="k", y="estimate / truth", ax=axes[0], fliersize=2).set(
    title="one point, ε = 0.1"
)
axes[0].set(ylim=(0, 8), xlabel="draws k")
sns.lineplot(by_epsilon, x="epsilon", y="estimate / truth", marker="o", ax=axes[1], errorbar="sd")
axes[1].set(xscale="log", yscale="log", title="256 points, k = 64, float32", xlabel="ε")
for ax in axes:
    ax.axhline(1, color="black", linewidth=0.8)
folder.save(figure, "estimator", "Noise against k, bias against ε", vector=True)
spread = by_k.groupby("k")["estimate / truth"].agg(["mean", "std"])
folder.table(spread, "estimator_k", "Estimate over truth: unbiased for every k, noisy for small k")

# %%
bias = by_epsilon.groupby("epsilon")["estimate / truth"].mean()
folder.number("estimate over truth against epsilon", {f"{e:g}": value for e, value in bias.items()})
bias.to_frame().T.round(2)

# %% [markdown]
# With $k = 2$, as all the public code has it, a single estimate is off by more than the value itself;
# training averages over thousands of steps. $\epsilon = 0.1$ sits in the flat part, between the bias and
# the rounding.
#
# ### Maximum or mean over the pixels?
#
# On the real generator, in W, for eight coefficients along random orthonormal directions, on images of 128 pixels.
# The maximum takes one value of 49,152, the mean all. Everything is in float32: the estimate divides differences by
# $\epsilon^4$, and bfloat16 would fill them with rounding.

# %%
few, draws = (2, 2) if profile == "smoke" else (8, 8)
directions = torch.linalg.qr(torch.randn(G.dim(space), 8, generator=random)).Q
codes = shown.sample(few, seed, space).values
origin = torch.zeros(len(codes), 8)


def image(coefficients, codes, directions=directions):
    return shown.synthesize(Latents(codes + coefficients @ directions.T, space), SIZE)


def on_the_generator(reduction: str) -> dict[str, torch.Tensor]:
    found = [hessian_penalty(image, origin, seed=i, reduction=reduction, context=(codes,)) for i in range(draws)]  # fmt: skip
    return {"draws": torch.stack(found)}


rows = {}
for reduction in ("max", "mean"):
    values = computed(reduction, lambda r=reduction: on_the_generator(r))["draws"]
    rows[reduction] = {"mean of estimates": values.mean(), "relative noise": values.std() / values.mean()}  # fmt: skip
reductions = pd.DataFrame(rows).T.astype(float)
folder.number("reductions", {name: row.to_dict() for name, row in reductions.iterrows()})
folder.table(reductions, "reductions", "The penalty on the generator, k = 2: maximum and mean over pixels")  # fmt: skip

# %%
factor = float(reductions["mean of estimates"]["max"] / reductions["mean of estimates"]["mean"])
display(Markdown(
    f"The maximum is {factor:.0f} times the mean, so that a weight for one means nothing for the other. With $k = 2$ "
    "the maximum of a noisy estimate is also *biased*: it takes the pixel where the noise is largest."
))

# %% [markdown]
# ### What does the penalty measure on this network, and what does ε decide?
#
# Between their kinks, networks of (leaky) ReLUs are linear but for what multiplies: here the styles, which scale
# every layer's channels. The second derivative is small *almost everywhere*. But a step of ε crosses kinks; the
# chance to cross one falls only like ε, while what it adds to the squared second difference grows like
# $1/\epsilon^2$. If kinks dominate, the estimate grows like 1/ε and does not converge to the exact second
# derivatives (`hessian_penalty_limit`, by automatic differentiation).


# %%
def kinks() -> dict[str, torch.Tensor]:
    some = {"context": (codes[:2],), "seed": seed}
    steps = [hessian_penalty(image, origin[:2], draws, e, "mean", **some) for e in EPSILONS]
    limit = hessian_penalty_limit(image, origin[:2], max(draws // 2, 2), "mean", **some)
    return {"steps": torch.stack(steps), "limit": torch.as_tensor(limit)}


EPSILONS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
found = computed("kinks", kinks)
estimates, limit = pd.Series(found["steps"].tolist(), EPSILONS), float(found["limit"])
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(estimates.index, estimates, marker="o", label="finite differences")
ax.plot(estimates.index, estimates[0.1] * 0.1 / estimates.index, ls=":", c="black", label="1/ε")
ax.axhline(limit, color="C3", label="exact second derivatives")
ax.set(xscale="log", yscale="log", xlabel="ε", ylabel="penalty (mean over pixels)")
ax.legend()
folder.save(figure, "kinks", "The estimate on the generator by ε, beside exact second derivatives", vector=True)  # fmt: skip
kink_numbers = {"estimate at 0.1": estimates[0.1], "exact": limit, "ratio": estimates[0.1] / limit}
folder.number("kinks", kink_numbers)

# %%
slope = float(pd.Series(estimates[[1.0, 0.1]]).map(torch.tensor).map(torch.log10).diff().iloc[1])
display(Markdown(
    f"At the papers' ε = 0.1 the estimate is {estimates[0.1] / limit:.0f} times the exact value; from ε = 1 to 0.1 it grows "
    f"{10**slope:.1f}-fold (1/ε would be ten-fold). A step of that size crosses kinks, and the penalty counts them. "
    "\"The Hessian\" it is not, and ε is a choice of scale, not a detail of numerics."
))

# %% [markdown]
# ### Which layer?
#
# Peebles' code sums the penalty over several layers; Niu's takes the image. The penalty of feature maps has
# their unit, squared: layers compare only when it is divided by the squared first derivative along the same
# directions: how fast does the change change, per unit of the latent?


# %%
def curvature(f) -> torch.Tensor:
    """The penalty over the mean squared first derivative, both by differences."""
    penalty = hessian_penalty(f, origin[:2], draws, seed=seed, reduction="mean", context=(codes[:2],))  # fmt: skip
    steps = [0.1 * torch.randn(2, 8, generator=random).sign() for _ in range(draws)]
    first = torch.stack([f(s, codes[:2]) - f(-s, codes[:2]) for s in steps]).square().mean() / 0.04
    return penalty / first


def by_layer() -> dict[str, torch.Tensor]:
    maps = {f"{side} px": lambda c, w, s=side: shown.features(Latents(w + c @ directions.T, space), s) for side in SIDES}  # fmt: skip
    return {name: curvature(f) for name, f in (maps | {"image": image}).items()}


SIDES = (8, 16, 32, 64, 128) if hasattr(G, "features") else ()
with torch.no_grad():
    layers = pd.Series({k: float(v) for k, v in computed("layers", by_layer).items()})
layers = layers[[*(f"{side} px" for side in SIDES), "image"]]
figure, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.bar(layers.index, layers)
ax.set(ylabel="penalty over\nsquared change", xlabel="feature maps of")
folder.save(figure, "layers", "The Hessian penalty of each layer, relative to its change", vector=True)  # fmt: skip
folder.number("penalty over squared change", layers.to_dict())
remark("feature maps are taken from the FFHQ generator alone.")

# %% [markdown]
# ### Which attributes interact?
#
# The mixed difference $f(z + a + b) - f(z + a) - f(z + b) + f(z)$ of two named directions is what the penalty sums
# over all pairs: 0 if glasses look the same on a smiling face. Along InterFaceGAN's boundaries (notebook 02), steps of
# 2, root mean square over pixels.


# %%
@torch.no_grad()
def interactions() -> dict[str, torch.Tensor]:
    steps = 2 * torch.eye(len(NAMED))
    one = torch.stack([image(s.expand(few, -1), codes, named) for s in steps])
    both = [[image((s + t).expand(few, -1), codes, named) for t in steps[:i]] for i, s in enumerate(steps)]  # fmt: skip
    still, found = image(steps[:1] * 0, codes, named), torch.zeros(len(NAMED), len(NAMED))
    for i, j in torch.combinations(torch.arange(len(NAMED))).tolist():
        found[i, j] = found[j, i] = (both[j][i] - one[i] - one[j] + still).square().mean().sqrt()
    return {"root": found}


editors = facenb.load_editors("interfacegan", generator) if remark.own or not remark.styles else {}
NAMED = [n for n in ("yaw", "smile", "mouth_open", "gender", "age", "glasses", "beard", "fringe") if n in editors]  # fmt: skip
if NAMED:
    named = torch.stack([editors[name].direction for name in NAMED]).T
    pairs = pd.DataFrame(computed("interactions", interactions)["root"].numpy(), NAMED, NAMED)
    figure, ax = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
    heatmap(ax, pairs, 0, cmap="mako", digits=2)
    folder.save(figure, "interactions", "Mixed differences of named directions, root mean square", vector=True)  # fmt: skip
    largest = pairs.stack().idxmax()
    folder.number("largest interaction", {" and ".join(largest): pairs.loc[largest]})

# %% [markdown]
# ### Where they disagree: a linear map
#
# A linear map $f(z) = Wz$ has no second derivative at all: the Hessian penalty is 0 however mixed up its
# columns are. OroJaR is 0 only where the columns are orthogonal. They measure different things, and
# "disentangled" in one sense is not "disentangled" in the other.

# %%
mixed = torch.tensor([[1.0, 0.9], [0.0, 0.5]], dtype=torch.float64)
orthogonal = torch.tensor([[1.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
rows = {}
for name, weight in {"mixed columns": mixed, "orthogonal columns": orthogonal}.items():
    linear = lambda z, weight=weight: z @ weight.T
    rows[name] = {
        "Hessian penalty": exact_hessian_penalty(linear, points[:, :2]),
        "OroJaR": exact_orojar(linear, points[:, :2]),
        "OroJaR by hand": 4 * (weight[:, 0] @ weight[:, 1]) ** 2,
        "OroJaR estimated, k = 512": orojar(linear, points[:, :2], k=512, seed=seed),
    }
linear_maps = pd.DataFrame(rows).T.astype(float)
folder.table(linear_maps, "linear_maps", "A linear map: only one of the two penalties is zero")

# %% [markdown]
# ### Which parts of the face are entangled?
#
# The penalty is a number for every pixel before it is reduced. Averaged over latents it shows where on the
# image directions interfere: the map of the generator's own entanglement.


# %%
@torch.no_grad()
def pixel_map(k: int) -> torch.Tensor:
    v = torch.randn(k, *origin.shape, generator=torch.Generator().manual_seed(seed)).sign()
    s = torch.stack([image(0.1 * d, codes) + image(-0.1 * d, codes) for d in v])
    return (s.var(dim=0).mean(dim=(0, 1)) / 0.1**4).sqrt()


heat = computed("pixel map", lambda: {"root": pixel_map(draws)})["root"]
with torch.no_grad():
    average = (image(origin[:1] * 0, codes).mean((0, 1)) + 1) / 2
figure, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
axes[0].imshow(average, cmap="gray")
axes[1].imshow(heat, cmap="magma")
for ax, title in zip(axes, ("mean of the faces", "Hessian penalty by pixel (root)"), strict=True):
    ax.set_title(title, fontsize="small")
    ax.axis("off")
folder.save(figure, "pixel_map", "Where on the picture random directions interfere")

# %% [markdown]
# ## Check
#
# Equations 2 to 7 against what was computed.

# %%
assert (forms["by hand"] - forms["exact (automatic differentiation)"]).abs().max() < 1e-9
assert (forms["by hand"] - forms["estimated, k = 512"]).abs().max() < 0.15 * forms["by hand"].max()
assert linear_maps.loc["mixed columns", "Hessian penalty"] < 1e-20
assert abs(linear_maps.loc["mixed columns", "OroJaR"] - 4 * 0.9**2) < 1e-9
assert linear_maps.loc["orthogonal columns", "OroJaR"] < 1e-20
if profile != "smoke" and remark.own:
    assert estimates[0.1] > 5 * limit  # kinks, as the text says
if profile != "smoke":
    assert abs(bias[0.1] - 1) < 0.15
    assert spread.loc[2, "std"] > 2 * spread.loc[32, "std"]
print(forms.round(3), linear_maps.round(3), sep="\n\n")

# %% [markdown]
# ## Try it
#
# ![noise against k, bias against ε](../figures/04_penalties/estimator.png)
#
# Change the function and see whether your own answer by hand agrees.

# %%
mine = lambda z: z[:, :1] * z[:, 1:2] * z[:, 2:3]
print("estimated", float(hessian_penalty(mine, points, k=64, seed=seed)))
print("exact    ", float(exact_hessian_penalty(mine, points)))

# %% [markdown]
# ## Exercises
#
# 1. Show that $\operatorname{Var}_v(v^\top H v)$ has no contribution from the diagonal of $H$.
# 2. Why does the central value cancel in the Hessian penalty and not in OroJaR?
# 3. Rotate the latent space of $f = z_0 z_1$ by 45°. What is the penalty now, and what does that say about
#    whether "disentangled" is a property of a function or of its coordinates?
# 4. A generator whose output is a constant has penalty 0. What stops training from finding it? (Notebook 05.)
