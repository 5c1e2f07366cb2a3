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
# # 03 · Directions without labels: GANSpace, SeFa, and discovery
#
# | | |
# |---|---|
# | **Papers** | Härkönen et al., *GANSpace* (NeurIPS 2020); Shen, Zhou, *SeFa* (CVPR 2021); Voynov, Babenko, *Unsupervised Discovery of Interpretable Directions* (ICML 2020). All four papers of this project compare with some of them |
# | **Regenerates** | explained variance, strips of the top directions of each method, how the methods agree, discovery's accuracy curve, automatic names |
# | **You need** | notebook 01 |
# | **Run time** | half a minute in the laptop profile; discovery's training (half an hour on two cores) is not repeated, its directions ship with the package |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "digiface-dcgan-64"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch

import facenb
from facenb.errors import FacenbError
from facenb.figures import FigureFolder, heatmap, image_grid, strip_images
from facenb.methods.ganspace import GANSpace
from facenb.methods.sefa import SeFa
from facenb.methods.two_stage.trained import learned
from facenb.metrics.direction_labels import name_directions, path_correlations, path_responses
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.sampling import score_once, score_paths

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder(
    "03_unsupervised", profile=profile, seed=seed, generator=generator, device=device
)
remark = Remarks(G, written_for="digiface-dcgan-64")

# %% [markdown]
# ## Question
#
# InterFaceGAN needs a scorer for every attribute before it can find a direction. What can be found in a
# generator when nobody says what to look for?
#
# ## What the papers say
#
# - **GANSpace**: sample, take the principal components of what an early layer computes, carry them back to
#   the latent space by regression. The largest components are the interesting edits.
# - **SeFa**: no samples at all. The first layer is $y = Az + b$; the directions that change $y$ most are the
#   eigenvectors of $A^\top A$ with the largest eigenvalues.
# - **Discovery** (SDD in notebook 05): learn $m$ directions together with a network that sees two pictures
#   and must say along which direction they differ, and by how much. Directions that can be told apart
#   must do different things.
#
# ## What the code says
#
# | | text | public code | here |
# |---|---|---|---|
# | GANSpace, PCA | incremental | scikit-learn's `IncrementalPCA`, which drops small components on the way | its `PCA`, which is exact; beyond 4 GiB of samples `IncrementalPCA`, which keeps as many components as a batch has samples |
# | GANSpace, regression | least squares | on separate samples, no intercept | on the same pass, centred |
# | SeFa, eigenvectors | by largest eigenvalue | `np.linalg.eig`, whose order is arbitrary | `eigh`, sorted |
# | SeFa, weights | $A$ | columns normalised first | as in the text; `normalise=True` for the code's |
# | SeFa, batch normalisation | – | not in style-based generators | folded into $A$ first: it is what the ReLU receives |
# | discovery, matrix | orthonormal or unit columns | expm of a skew matrix by default | both, and free unit columns (notebook 05) |
# | discovery, shifts | uniform in ±6 | besides, nothing below 0.5 | as the code |

# %% [markdown]
# ## Run
# ### GANSpace: which layer?
#
# The latents themselves have nothing to find: their covariance is the identity, and principal components
# of noise are noise. The first layer is a linear map of $z$, the second is not.

# %%
latents = G.sample(sizes.activations, seed)
SPACE = "w" if remark.styles else "z"  # of the directions
LAYERS = ["w"] if remark.styles else list(G.layers())[:2]  # conv1 and conv2
count = min(20, latents.values.shape[1], G.dim(SPACE))
found = {"z": GANSpace(components=count).fit_latents(latents.values)}
for name in LAYERS:
    layer = None if remark.styles else name
    model = GANSpace(components=count, layer=layer, space=SPACE, n=sizes.activations, seed=seed)
    found[name] = model.fit(G)
first, deeper = found[LAYERS[0]], found[LAYERS[-1]]
remark("w is not normal: its own principal components are the directions, as in the paper, and no layer "
       "is asked." if remark.styles else f"conv1 and conv2 of the text are its {' and '.join(LAYERS)}.")  # fmt: skip
variance = pd.DataFrame({name: model.variance_ratio_.numpy() for name, model in found.items()})
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
sns.lineplot(variance.rename(lambda i: i + 1), ax=ax, marker="o", dashes=False)
ax.set(xlabel="component", ylabel="share of the variance", xticks=range(1, count + 1))
what = "w" if remark.styles else "two layers"
folder.save(figure, "explained_variance", f"Explained variance of z and of {what}", vector=True)
folder.table(variance.rename(lambda i: f"PC{i + 1}"), "explained_variance", "Share of the variance")

# %% [markdown]
# ### SeFa is GANSpace of the first layer
#
# For white $z$ the covariance of $Az$ is $AA^\top$, so that both find the same directions, up to the samples
# that GANSpace needs and SeFa does not. The cosines:

# %%
sefa = SeFa(components=count).fit(G)
cosines = (sefa.editors().vectors[:8] @ first.editors().vectors[:8].T).abs()
agreement = pd.DataFrame(
    cosines.numpy(), [f"SeFa {i + 1}" for i in range(8)], [f"PC{i + 1}" for i in range(8)]
)
figure, ax = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
heatmap(ax, agreement, 0, 1, cmap="mako")
what = LAYERS[0]
folder.save(figure, "sefa_and_ganspace", f"Cosine of SeFa with components of {what}", vector=True)
folder.number(
    f"SeFa against GANSpace {what}, cosine", {f"{i + 1}": cosines[i, i] for i in range(8)}
)
if remark.styles:
    remark(f"SeFa is not GANSpace here: it took the styles of {len(sefa.layers_)} layers, which are affine in "
           "w, and asks what the weights do with w; GANSpace asks how w is spread. They need not agree.")  # fmt: skip
else:
    remark(
        "its z is divided by its length first. What is left has a covariance like the identity as well."
    )

# %% [markdown]
# From here on GANSpace means the second layer, which is not the same thing.
#
# ### Discovery
#
# The reconstructor's accuracy while it learns: from guessing (one in 32) to naming most directions rightly.

# %%
try:  # those that ship; in the smoke profile a few steps, to see that it runs
    sets, histories = learned(G, profile, seed, ["SDD"])
except FacenbError as error:
    sets, histories = {}, {}
    remark(f"discovery is left out below: {error}")
discovered = sets.get("SDD")
if discovered:
    held_out = discovered.provenance["held_out"]
    print(held_out)
    folder.number("discovery, held-out", held_out)

# %%
if discovered:
    smooth = pd.Series(histories["SDD"]["accuracy"].numpy()).rolling(100, min_periods=1).mean()
    figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
    sns.lineplot(smooth, ax=ax)
    ax.axhline(1 / len(discovered), color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="step", ylabel="accuracy", ylim=(0, 1))
    folder.save(figure, "discovery_accuracy", "Discovery: accuracy over 100 steps; dotted: guessing",
                vector=True)  # fmt: skip

# %% [markdown]
# ### Names, without looking
#
# Every direction is traversed on a few faces and scored. A direction is named after the score that moves
# furthest along it (`path_responses`, as Niu's public code ranks them), and only if the same score wins in
# nine of ten bootstrap resamples.


# %%
def editors_of(directions, count: int = 10) -> list:
    """The first directions of a set. In w a strength of 1 is one standard deviation, as it is in z."""
    editors = directions.unscaled().select(directions.names[:count])
    if directions.space != "z":
        spread = (G.map(latents, "w").values.cpu() @ editors.vectors.T).std(dim=0)
        editors = editors.scaled(dict(zip(editors, spread.tolist(), strict=True)))
    return list(editors.values())


def walk(editors) -> torch.Tensor:
    """Scores (N, K, S, A) along the paths of a set."""
    return score_paths(G, scorers, editors, G.map(walked, editors[0].space), STEPS)


SETS = {"GANSpace": editors_of(deeper.editors()), "SeFa": editors_of(sefa.editors())}
if discovered:
    SETS["discovery"] = editors_of(discovered)
STEPS = torch.linspace(-4, 4, sizes.path_steps).tolist()
walked = G.sample(sizes.paths, seed + 2)
scored = score_once(G, scorers, G.sample(64, seed + 3))
low, high = (scored.quantile(q, dim=0) for q in (0.02, 0.98))
paths = {name: walk(editors) for name, editors in SETS.items()}
rows = {}
for name, scores in paths.items():
    named = name_directions(path_responses(scores, low, high), scorers.names, least=0.1, seed=seed)
    rows[name] = [
        f"{n.text} ({n.confidence:.0%})" if n.text else f"({n.attribute}?)" for n in named
    ]
names = pd.DataFrame({k: pd.Series(v) for k, v in rows.items()}).fillna("").rename(lambda i: i + 1)
folder.table(names, "names", "Automatic names of the first ten directions, with their confidence")

# %% [markdown]
# ### The strips, to check the names against the eye

# %%
face = G.sample(8, seed=26)[1]
for name, editors in SETS.items():
    start = G.map(face, editors[0].space)
    images = torch.cat(
        [strip_images(G, editor, start, [-4, -2.7, -1.3, 0, 1.3, 2.7, 4]) for editor in editors]
    )
    labels = [f"{i + 1}: {text}" for i, text in enumerate(rows[name])]
    folder.save(image_grid(images, row_labels=labels, title=name), f"strips_{name.lower()}",
                f"{name}: the first directions from -4 to +4, with their automatic names")  # fmt: skip
    plt.show()

# %% [markdown]
# ### How entangled are they?
#
# The mean absolute Pearson correlation of every score with the step, along the ten directions of each
# method: a clean method has one bright cell a row.

# %%
figure, axes = plt.subplots(1, len(SETS), figsize=(15, 3.6), layout="constrained", sharey=False)
for ax, (name, scores) in zip(axes, paths.items(), strict=True):
    strength = path_correlations(scores).mean(dim=0).abs()
    frame = pd.DataFrame(strength.numpy(), range(1, len(strength) + 1), scorers.names)
    heatmap(ax, frame, 0, 1, cmap="mako", digits=None)
    ax.set(title=name)
folder.save(figure, "correlations", "Mean |Pearson| of each score with the step", vector=True)

# %% [markdown]
# ## Check

# %%
flat = found["z"].variance_ratio_
print(
    f"largest over smallest variance of z's first {count} components: {float(flat[0] / flat[-1]):.2f}"
)
print(f"cosine of SeFa 1 with {LAYERS[0]}'s PC1: {float(cosines[0, 0]):.3f}")
if discovered:
    print(
        f"discovery: held-out accuracy {held_out['accuracy']:.2f}, guessing {held_out['chance']:.2f}"
    )
if remark.own:
    assert deeper.variance_ratio_[0] > 3 * flat[0]
    assert cosines[0, 0] > 0.8
if remark.own and profile != "smoke":
    assert held_out["accuracy"] > 5 * held_out["chance"]

# %% [markdown]
# ## Try it
#
# ![discovered directions](../figures/03_unsupervised/strips_discovery.png)

# %%
from facenb.widgets.explorer import Explorer

editors = {f"{name} {i + 1}": e for name, d in SETS.items() for i, e in enumerate(d[:4])
           if e.space == SPACE}  # fmt: skip
if discovered and discovered.space != SPACE:
    remark(
        f"discovery's directions are of {discovered.space}; all sliders are of one space, here {SPACE}."
    )
Explorer(G, editors, scorers, seed=26, index=1, strength_range=5.0)

# %% [markdown]
# ## Exercises
#
# 1. GANSpace of `conv2` has components with a low `linear_share_`. Look at their strips. What does a low share
#    do to an edit?
# 2. Name the directions by Pearson's $r$ instead of the response (`path_correlations`). Which names change,
#    and which would you defend?
# 3. Cut the generator's weights to SeFa's first ten directions and count how much of the pictures' variance is
#    left.
