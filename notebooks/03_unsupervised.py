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
# # 03 · Directions without labels: GANSpace, SeFa, discovery
#
# | | |
# |---|---|
# | **Papers** | Härkönen et al., *GANSpace* (NeurIPS 2020); Shen, Zhou, *SeFa* (CVPR 2021); Voynov, Babenko, *Unsupervised Discovery of Interpretable Directions* (ICML 2020). All four papers of this project compare with some of them |
# | **Regenerates** | explained variance of W, traversals of the first directions of each method, SeFa and GANSpace by layers, how the methods agree, discovery's accuracy curve, automatic names with confidence |
# | **You need** | notebook 01 |
# | **Run time** | a minute the first time in the laptop profile (three without the scores that ship), half of one afterwards; discovery's training is not repeated, its directions ship with the package |

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
folder = FigureFolder("03_unsupervised", profile=profile, seed=seed, generator=generator, device=device)  # fmt: skip
remark = Remarks(G)
space = "w" if remark.styles else "z"
shown = G.variant(truncation=0.7) if remark.styles else G  # for images: as in the papers, truncated

# %% [markdown]
# ## Question
#
# InterFaceGAN needs a scorer for every attribute before it can find a direction. What can be found in a
# generator when nobody says what to look for?
#
# ## What the papers say
#
# - **GANSpace**: the principal components of $w$ are interesting edits, the largest first. (Where latents are
#   drawn from $\mathcal N(0, I)$ their own components mean nothing; those of an early layer's activations are
#   carried back to the latents by regression.) On StyleGAN2-FFHQ the first components are named "gender",
#   "rotation", …, by hand; many are cleaner when they edit only some of the layers.
# - **SeFa**: no samples at all. A layer's first step is affine, $y = Aw + b$; the directions that change $y$
#   most are the eigenvectors of $A^\top A$ with the largest eigenvalues. In a style-based generator every
#   layer has such an $A$, and ranges of layers have directions of their own.
# - **Discovery** (SDD in notebook 05): learn $m$ directions together with a reconstructor, a network that gets two
#   images and predicts along which direction they differ, and by how much. Directions that it can tell apart
#   must do different things.
#
# ## What the code says
#
# | | text | public code | here |
# |---|---|---|---|
# | GANSpace, PCA | incremental | scikit-learn's `IncrementalPCA`, which drops small components on the way | its `PCA`, which is exact; beyond 4 GiB of samples `IncrementalPCA` |
# | GANSpace, unit of an edit | standard deviations | standard deviations | the same |
# | SeFa, eigenvectors | by largest eigenvalue | `np.linalg.eig`, whose order is arbitrary | `eigh`, sorted |
# | SeFa, weights | $A$ | rows normalised first | as in the text; `normalise=True` for the code's |
# | SeFa, batch normalisation | – | not in style-based generators | on the DCGAN folded into $A$ first: it is what the ReLU receives |
# | discovery, matrix | orthonormal or unit columns | expm of a skew matrix by default | both, and free unit columns (notebook 05) |
# | discovery, shifts | uniform in ±6 | besides, nothing below 0.5 | as the code |
# | discovery, images for the reconstructor | as generated | as generated | on FFHQ with the mean and contrast of every colour channel removed: otherwise most directions found in a short training change light and colour, which are the easiest to tell apart |

# %% [markdown]
# ## Run
# ### GANSpace: how much of the variance do the first components have?
#
# The covariance of $z$ is the identity, and principal components of noise are noise. Those of $w$ are not.

# %%
count = min(20, G.latent_dim, G.dim(space))
latents = G.sample(sizes.activations, seed)
found = {"z": GANSpace(components=count).fit_latents(latents.values)}
for layer in [None] if remark.styles else list(G.layers())[:2]:
    model = GANSpace(count, layer, space, n=sizes.activations, seed=seed).fit(G)
    found[layer or "w"] = model
ganspace = model  # of w, or of the second layer
remark("its latents are normal; components are those of two layers' activations.")
variance = pd.DataFrame({name: m.variance_ratio_.numpy() for name, m in found.items()})
folder.table(variance.rename(lambda i: f"PC{i + 1}"), "explained_variance", "Fraction of the variance")
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
sns.lineplot(variance.rename(lambda i: i + 1), ax=ax, marker="o", dashes=False)
ax.set(xlabel="component", ylabel="fraction of the variance", xticks=range(1, count + 1))
folder.save(figure, "explained_variance", f"Explained variance of {' and '.join(found)}", vector=True)  # fmt: skip

# %%
first = variance.iloc[:, -1]
display(Markdown(f"The first component has {first[0]:.1%} of the variance of {first.name}, the first {count} have "
                 f"{first.sum():.0%}; of z they have {variance['z'].sum():.1%}."))  # fmt: skip

# %% [markdown]
# ### SeFa: all layers, or some
#
# GANSpace asks how $w$ is spread, SeFa what the weights do with $w$. They need not agree. The layers of a
# style-based generator fall into coarse ones (4 to 16 pixels), middle (32 and 64) and fine ones.

# %%
RANGES = G.layer_groups() if remark.styles else {}
sefa = {"all": SeFa(count).fit(G)} | {name: SeFa(count, layers=r).fit(G) for name, r in RANGES.items()}  # fmt: skip
vectors = {"GANSpace": ganspace.directions_} | {f"SeFa, {n}": s.directions_ for n, s in sefa.items()}
top = ganspace.directions_[:10].double()
overlap = pd.DataFrame(  # how much of each of the first directions lies in the span of PC1 to PC10
    {n: (torch.linalg.qr(top.T)[0].T @ v[:10].double().T).norm(dim=0).numpy() for n, v in vectors.items()},
    index=range(1, 11),
).T  # fmt: skip
figure, ax = plt.subplots(figsize=(8, 2.4), layout="constrained")
heatmap(ax, overlap, 0, 1, cmap="mako", digits=1)
folder.save(figure, "sefa_and_ganspace", "Length of each direction inside the span of PC1 to PC10", vector=True)  # fmt: skip
folder.number("mean length in the span of PC1 to PC10", overlap.mean(axis=1).to_dict())
display(Markdown(f"A random direction of {G.dim(space)} dimensions has {(10 / G.dim(space)) ** 0.5:.2f} of its length in that span."))  # fmt: skip

# %% [markdown]
# ### Discovery
#
# The reconstructor's accuracy while it learns, from guessing on.

# %%
try:  # those that ship; in the smoke profile a few steps, to see that it runs
    sets, histories = learned(G, profile, seed, ["SDD"])
except FacenbError as error:
    sets, histories = {}, {}
    remark(f"discovery is left out below: {error}")
discovered = sets.get("SDD")
if discovered:
    held_out = discovered.provenance["held_out"]
    folder.number("discovery, held-out", held_out)
    smooth = pd.Series(histories["SDD"]["accuracy"].numpy()).rolling(100, min_periods=1).mean()
    figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
    sns.lineplot(smooth, ax=ax)
    ax.axhline(1 / len(discovered), color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="step", ylabel="accuracy", ylim=(0, 1))
    folder.save(figure, "discovery_accuracy", "Discovery: accuracy over 100 steps; dotted: guessing", vector=True)  # fmt: skip
    display(Markdown(f"Of {len(discovered)} directions, the reconstructor names {held_out['accuracy']:.0%} on pairs that it was not "
                     f"trained on (guessing: {held_out['chance']:.0%})."))  # fmt: skip

# %% [markdown]
# ### Names, with confidence
#
# Every direction is traversed on a few faces and scored. A direction is named after the score that changes
# most along it (`path_responses`, as Niu's public code ranks them), if the same score comes first in nine of ten
# bootstrap resamples of the faces. GANSpace and SeFa go to ±3 standard deviations of the latents along the
# direction, discovery to ±5 (it was trained on shifts up to ±6).


# %%
def first_of(editors, count: int = 8):
    """The first editors of a set; a strength of 1 is one standard deviation of the latents."""
    editors = editors.select(editors.names[:count])
    spread = (G.map(latents, space).values.cpu() @ editors.vectors.T).std(dim=0)
    return editors.unscaled().scaled(dict(zip(editors, spread.tolist(), strict=True)))


SETS = {"GANSpace": first_of(ganspace.editors())} | {f"SeFa, {n}": first_of(s.editors()) for n, s in sefa.items()}  # fmt: skip
SETS.pop("SeFa, fine", None)  # light and colour
REACH = dict.fromkeys(SETS, 3.0) | {"discovery": 5.0}
if discovered:
    SETS["discovery"] = discovered.select(discovered.names[:12])
walked = shown.sample(max(sizes.paths // 2, 2), seed + 2)
low, high = (score_once(G, scorers, G.sample(64, seed + 3)).quantile(q, dim=0) for q in (0.02, 0.98))  # fmt: skip
keep = [scorers.names.index(a.name) for a in scorers.attributes if a.kind == "semantic"]
ATTRIBUTES = [scorers.names[i] for i in keep]
paths = {}
for name, editors in SETS.items():
    steps = [REACH[name] * s for s in (-1, -0.5, 0, 0.5, 1)]
    start = shown.map(walked, editors.space)
    paths[name] = score_paths(shown, scorers, list(editors.values()), start, steps)[..., keep]

# %%
rows, labels = {}, {}
for name, scores in paths.items():
    named = name_directions(path_responses(scores, low[keep], high[keep]), ATTRIBUTES, least=0.1, seed=seed)  # fmt: skip
    labels[name] = [f"{n.text} ({n.confidence:.0%})" if n.text else f"({n.attribute}? {n.confidence:.0%})" for n in named]  # fmt: skip
    rows[name] = {"directions": len(named), "named": sum(n.text is not None for n in named),
                  "different names": len({n.attribute for n in named if n.text})}  # fmt: skip
folder.table(pd.DataFrame({k: pd.Series(v) for k, v in labels.items()}).fillna("").rename(lambda i: i + 1),
             "names", "Automatic names of the first directions, with their confidence")  # fmt: skip
named = pd.DataFrame(rows).T
folder.number("named", {k: row.to_dict() for k, row in named.iterrows()})
named

# %% [markdown]
# ### The traversals, to check the names against the eye
#
# One face, the first directions of each set. Which face: the first of its seed that the quality score accepts.

# %%
candidates = shown.sample(8, seed=seed + 26)
accepted = score_once(shown, scorers, candidates)[:, scorers.names.index("quality")] > 0
face = candidates[int(accepted.float().argmax())]
for name, editors in SETS.items():
    start = shown.map(face, editors.space)
    steps = [REACH[name] * s for s in (-1, -0.5, 0, 0.5, 1)]
    chosen = list(editors.values())[:8]
    images = torch.cat([strip_images(shown, editor, start, steps) for editor in chosen])
    grid = image_grid(images, row_labels=[f"{i + 1}: {t}" for i, t in enumerate(labels[name][:8])],
                      column_labels=[f"{s:+g}" for s in steps], title=name)  # fmt: skip
    slug = name.lower().replace(", ", "_")
    folder.save(grid, f"strips_{slug}", f"{name}: the first directions, with their automatic names", photo=True)  # fmt: skip
    plt.show()

# %% [markdown]
# ### How entangled are they?
#
# The mean absolute Pearson correlation of every score with the step, along the directions of each set. A
# disentangled direction has one bright cell in its row.

# %%
strength = {name: path_correlations(scores).mean(dim=0).abs() for name, scores in paths.items()}
frames = {name: pd.DataFrame(s.numpy(), range(1, len(s) + 1), ATTRIBUTES) for name, s in strength.items()}  # fmt: skip
figure, axes = plt.subplots(len(frames), 1, figsize=(9, 2.6 * len(frames)), layout="constrained", sharex=True)  # fmt: skip
for ax, (name, frame) in zip(axes, frames.items(), strict=True):
    heatmap(ax, frame, 0, 1, cmap="mako", digits=None)
    ax.set(title=name)
folder.save(figure, "correlations", "Mean |Pearson| of each score with the step", vector=True)
bright = {name: float((s > 0.7).sum(1).double().mean()) for name, s in strength.items()}
folder.number("scores that follow a direction (|r| > .7)", bright)
display(Markdown("Scores that follow one direction with |r| > .7, on average: "
                 + ", ".join(f"{name} {value:.1f}" for name, value in bright.items()) + f" (of {len(ATTRIBUTES)})."))  # fmt: skip

# %% [markdown]
# ## Check

# %%
flat = found["z"].variance_ratio_
claims = {
    "variance of the first component over that of z's first": float(ganspace.variance_ratio_[0] / flat[0]),
    "mean length of SeFa's first ten directions in the span of PC1 to PC10": overlap.loc["SeFa, all"].mean(),
    "discovery, accuracy over guessing": held_out["accuracy"] / held_out["chance"] if discovered else None,
    "GANSpace: directions with a name": named.loc["GANSpace", "named"],
}  # fmt: skip
for claim, value in claims.items():
    print(f"{'–' if value is None else format(value, '6.2f')}  {claim}")
folder.number("claims", {k: float(v) for k, v in claims.items() if v is not None})
if remark.own and profile != "smoke":
    assert ganspace.variance_ratio_[0] > 3 * flat[0]
    assert held_out["accuracy"] > 5 * held_out["chance"]

# %% [markdown]
# ## Try it
#
# ![principal components](../figures/03_unsupervised/strips_ganspace.jpg)

# %%
from facenb.widgets.explorer import Explorer

editors = {f"{name} {i + 1}": e for name, d in SETS.items() for i, e in enumerate(list(d.values())[:4]) if d.space == space}  # fmt: skip
Explorer(shown, editors, scorers, seed=seed + 26, strength_range=5.0)

# %% [markdown]
# ## Exercises
#
# 1. Restrict GANSpace's first components to the coarse layers (`SETS["GANSpace"].in_layers(0, 7)`) and to the
#    middle ones. Which of the names change, and which traversals become cleaner?
# 2. Name the directions by Pearson's $r$ in place of the response (`path_correlations`). Which names change,
#    and which would you defend?
# 3. SeFa with `normalise=True`, as in the public code: which layers gain weight, and what do its first directions
#    change?
