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
# # 09 · Z, W and W+: where to edit a style-based generator
#
# | | |
# |---|---|
# | **Papers** | InterFaceGAN (Figure 9), SGF (Figure 18, layers), GANSpace and SeFa (layers), StyleGAN (truncation, style mixing, path length) |
# | **Regenerates** | InterFaceGAN's Figure 9 in images and numbers, separation and entanglement in Z and W, truncation, style mixing, attributes by layers, perceptual path length |
# | **You need** | notebooks 02 (InterFaceGAN) and 03 (GANSpace, SeFa) |
# | **Run time** | two to three minutes the first time in the laptop profile (five without the scores that ship), half a minute afterwards |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "mobilestylegan-ffhq-1024"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown, display

import facenb
from facenb.drawing import images_of
from facenb.figures import FigureFolder, heatmap, heatmaps, image_grid, strip_images
from facenb.latents import Latents
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.samples import load_samples
from facenb.sampling import score_edits, score_once

sizes, smoke = load_profile(profile), profile == "smoke"
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder("09_style_based", profile=profile, seed=seed, generator=generator, device=device)  # fmt: skip
remark = Remarks(G)
SPACES = ("z", "w") if remark.styles else ("z",)
shown = G.variant(truncation=0.7) if remark.styles else G

# %% [markdown]
# ## Question
#
# A style-based generator does not draw from $z$. A small network, the mapping, first takes $z$ to $w$, and $w$ sets the
# *style* of every layer. $w$ need not be normally distributed: the mapping is free to arrange the faces
# as suits the synthesis network. In $W+$ every layer has a latent of its own. Which of the three is the best
# place to edit in?
#
# ## What the papers say
#
# 1. **Separation** (InterFaceGAN). Linear boundaries separate attributes better in $W$ than in $Z$.
# 2. **Entanglement.** Their normals are closer to orthogonal in $W$: conditional manipulation has little left
#    to do there, and $W$ stays ahead of $Z$ in long-distance edits (Figure 9: *glasses* with *age*).
# 3. **Layers** (GANSpace, SeFa; SGF's Figure 18). An edit may be given to some layers only: the first for pose and
#    shape, the last for colour.
# 4. **Path length** (Karras et al.). Along paths in $W$ images change less than along paths in $Z$.
#
# ## What the code says
#
# | | the papers' texts | public code | here |
# |---|---|---|---|
# | truncation | SGF: all samples truncated, ψ lost | InterFaceGAN 0.7 in the first 8 layers; SGF's re-implementations 0.8; SeFa 0.5 to 0.7 | boundaries are learned at ψ = 1; images shown and edits measured are at ψ = 0.7 |
# | noise | – | InterFaceGAN fixes it; Niu's as well | fixed: the stored maps |
# | moving a latent | $z + \alpha n$ | $Z$: to an absolute distance; $W+$: relative | relative in both |
# | $W+$ | 18 layers | the same | 23: this network has other layers; `from_stylegan2` converts |
# | GANSpace in $W$ | principal components of $w$ | 10⁶ samples | fewer; layer ranges as `E(v, a–b)` |
# | path length | VGG features (LPIPS), $\varepsilon = 10^{-4}$, 100,000 paths | centre crop, both tails of 1 % cut | features of faceres, the exact derivative, few paths; not comparable with published values |

# %% [markdown]
# ## Run
#
# ### One image, two latents
#
# The samples of notebook 02, each with its $z$ and its $w$.

# %%
from facenb.methods.interfacegan import InterFaceGAN

samples = {s: load_samples(G, scorers, sizes.samples, s, check=s == SPACES[-1]) for s in SPACES}
best = samples[SPACES[-1]]
NAMES = ["yaw", "smile", "mouth_open", "gender", "age", "glasses", "hat", "beard", "fringe", "bald", "grey_hair",
         "long_hair", "make_up"]  # fmt: skip
NAMES = [name for name in NAMES if name in best.names]
fraction = 0.05 if profile == "laptop" and remark.styles else sizes.confident
methods = {s: InterFaceGAN(fraction, seed=seed).fit(G, samples[s]) for s in SPACES}
T1 = pd.DataFrame({s: {n: methods[s].boundaries_[n].accuracy_["validation"] for n in NAMES} for s in SPACES})  # fmt: skip
folder.number("separation, mean validation accuracy", T1.mean().to_dict())
folder.table(T1, "T1_separation", "Validation accuracy of InterFaceGAN's boundaries in Z and in W")

# %% [markdown]
# ### The shape of the two spaces
#
# $Z$ is round: every direction has the same variance. $W$ is not: its latents vary along few directions and hardly
# along others. That matters below, where angles are measured.

# %%
shape = {}
figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for s in SPACES:
    spectrum = torch.linalg.eigvalsh(torch.cov(samples[s].latents.values.T.double())).flip(0)
    part = spectrum / spectrum.sum()
    shape[s] = {"fraction of the first 10 components": float(part[:10].sum()), "effective dimensions": float(1 / part.square().sum())}  # fmt: skip
    ax.plot(range(1, len(part) + 1), part.cumsum(0), label=s.upper())
ax.set(xlabel="principal components", ylabel="fraction of the variance", ylim=(0, 1.02))
ax.legend()
folder.save(figure, "geometry", "Variance of the latents by principal component", vector=True)
folder.table(pd.DataFrame(shape).T, "geometry", "Both spaces; effective dimensions: (Σλ)²/Σλ²")

# %% [markdown]
# ### Entanglement: what an angle in W does not say
#
# InterFaceGAN measures entanglement by the cosine of two normals. In $Z$ that is the correlation of the two
# distances, since latents are round. In $W$ the correlation of two distances is
#
# $$\rho_{ij} = \frac{n_i^\top \Sigma\, n_j}{\sqrt{n_i^\top \Sigma\, n_i \; n_j^\top \Sigma\, n_j}},$$
#
# with the covariance $\Sigma$ of the latents: two normals may be orthogonal, and their attributes correlated all the
# same.


# %%
from facenb.metrics.statistics import pearson


def frame(matrix) -> pd.DataFrame:
    return pd.DataFrame(matrix.numpy(), NAMES, NAMES)


directions = {s: methods[s].editors() for s in SPACES}
views = {}
for s in SPACES:
    normals = directions[s].select(NAMES).vectors
    views[f"{s.upper()}: cosine of normals"] = frame(normals @ normals.T)
    views[f"{s.upper()}: correlation of distances"] = frame(pearson(samples[s].latents.values @ normals.T))  # fmt: skip
folder.save(heatmaps(views), "T2_entanglement", "Cosines of normals and correlations of distances", vector=True)  # fmt: skip
upper = torch.ones(len(NAMES), len(NAMES)).triu(1).bool().numpy()
columns = [best.names.index(n) for n in NAMES]
pairs = pd.DataFrame({k: v.to_numpy()[upper] for k, v in views.items()} | {"scores": pearson(best.scores[:, columns]).numpy()[upper]})  # fmt: skip
T2 = pd.DataFrame({"mean |value|": pairs.abs().mean(), "r with the scores' correlations": pairs.corr()["scores"]})  # fmt: skip
folder.number("entanglement", T2["mean |value|"].to_dict())
folder.table(T2, "T2_entanglement", f"{upper.sum()} pairs of attributes")

# %% [markdown]
# ### A traditional generator beside both
#
# The DCGAN has a $Z$ and no mapping network, as PGGAN in the InterFaceGAN paper. It makes other faces, and other probes
# score them. The levels of the rows can therefore hardly be compared; the pattern can: is $Z$ of a style-based generator less
# separable than $Z$ of a generator that has nothing else?

# %%
if remark.styles:
    traditional = facenb.load_generator("digiface-dcgan-64", device)
    its_scorers = facenb.load_scorers(framing=traditional.framing, device=device)
    known = {"DCGAN, Z": load_samples(traditional, its_scorers, 256 if smoke else 4000, "z")}
    fitted = {"DCGAN, Z": InterFaceGAN(fraction, seed=seed).fit(traditional, known["DCGAN, Z"])}
    known |= {f"FFHQ, {s.upper()}": samples[s] for s in SPACES}
    fitted |= {f"FFHQ, {s.upper()}": methods[s] for s in SPACES}
    common = [n for n in NAMES if n in known["DCGAN, Z"].names]
    pairs_of = torch.ones(len(common), len(common)).triu(1).bool()
    rows = {}
    for label, method in fitted.items():
        normals = method.editors().select(common).vectors
        cosines = (normals @ normals.T)[pairs_of]
        correlations = pearson(torch.stack([known[label][n] for n in common], 1))[pairs_of]
        rows[label] = {"validation accuracy": sum(method.boundaries_[n].accuracy_["validation"] for n in common) / len(common),
                       "mean |cosine|": float(cosines.abs().mean()), "mean |correlation of scores|": float(correlations.abs().mean())}  # fmt: skip
    folder.number("traditional generator", rows)
    display(folder.table(pd.DataFrame(rows).T, "traditional", f"{', '.join(common)}: boundaries of {fraction:.0%} a side"))
    level = {label: row["validation accuracy"] for label, row in rows.items()}
    display(Markdown(f"Z of the FFHQ generator is {'less' if level['FFHQ, Z'] < level['DCGAN, Z'] else 'not less'} separable ({level['FFHQ, Z']:.1%}) than "
                     f"Z of the DCGAN ({level['DCGAN, Z']:.1%}), and W is {'more' if level['FFHQ, W'] > level['DCGAN, Z'] else 'not more'} separable than both ({level['FFHQ, W']:.1%})."))  # fmt: skip

# %% [markdown]
# ### Figure 9: glasses in Z, in W, and with age fixed
#
# All of them on the same faces, towards the other side of each attribute, by the comparison that notebook 11 uses.
# Side effects are taken at each editor's own strength for a success rate of three in four on half of the faces, and
# measured on the other half. The line
# $\Sigma n$ is not in the papers: the normal says what separates two classes; $\Sigma n$ is the direction along which the
# generator's own latents differ when their distance does.

# %%
from facenb.editors import Editors, LinearEditor
from facenb.methods.latent_transformer import label_thresholds
from facenb.metrics.compare import compare

TARGETS, STRENGTHS = ["glasses", "age"], {"z": [1.0, 2.0, 4.0], "w": [2.0, 4.0, 7.0]}
spread = {s: samples[s].latents.values.T.cov() for s in SPACES}
lines = {}
for s in SPACES:
    lines[s.upper()] = directions[s].select(TARGETS)
    lines[f"{s.upper()}, the other fixed"] = Editors({n: directions[s].condition(n, [m])[n] for n, m in zip(TARGETS, TARGETS[::-1], strict=True)})  # fmt: skip
if remark.styles:
    along = {n: LinearEditor(n, spread["w"] @ directions["w"][n].direction, "w") for n in TARGETS}
    lines["W, along Σn"] = Editors(along)
faces = shown.sample(8 if smoke else 32, seed + 9)
counted = [n for n in NAMES if n in best.names]
found = compare(shown, scorers, lines, faces, TARGETS, {m: STRENGTHS[m[0].lower()] for m in lines},
                thresholds=label_thresholds(best.scores, scorers.attributes), deviations=best.scores.std(0),
                counted=counted, resamples=sizes.bootstrap)  # fmt: skip
folder.number("F9 MDS", found.intervals("mds").xs("mean", level="target")["mds"].to_dict())
F9 = found.at_level()[["strength", "reached", "success", *(f"side effects / change{end}" for end in ("", " low", " high"))]]  # fmt: skip
folder.table(F9, "F9_edits", "Glasses and age at a success rate of three in four")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for ax, name in zip(axes, TARGETS, strict=True):
    for method in lines:
        curve = found.curve(method, name)
        style = {"Z": "-C1", "W": "-C0"}.get(method, ("--C" if "fixed" in method else ":C") + "10"[method[0] == "W"])  # fmt: skip
        ax.plot([0, *curve["target's change"]], [0, *curve["side effects"]], style, marker=".", label=method)  # fmt: skip
    ax.set(title=name, xlabel="change of the target (sd)", ylabel="mean change of others (sd)")
axes[0].legend(fontsize="x-small")
folder.save(figure, "F9_side_effects", "Side effects by the target's change, in both spaces", vector=True)  # fmt: skip

# %%
bare = best.select(best["glasses"].argsort()[: len(best) // 2])
flags = bare["quality"][:64]
ends = samples["z"].latents[best["glasses"].argsort()[: len(best) // 2][flags.argsort(descending=True)[:2]]]  # fmt: skip
rows = []
for method, editors in lines.items():
    steps = [0.0, *STRENGTHS[method[0].lower()]]
    rows.append(strip_images(shown, editors["glasses"], shown.map(ends, editors.space), steps).flatten(0, 1))  # fmt: skip
grid = image_grid(torch.stack(rows), row_labels=list(lines), column_labels=["original", "+", "++", "+++"] * 2)  # fmt: skip
folder.save(grid, "F9_glasses", "Glasses in Z and in W, without and with age fixed; two faces without glasses", photo=True)  # fmt: skip

# %% [markdown]
# ### Truncation
#
# $w \leftarrow \bar w + \psi\,(w - \bar w)$ trades variety for quality: $\psi = 0$ is one face for all, $\psi < 0$ each
# face's opposite. *Accepted*: the fraction that passes the quality flag. *Variety*: the mean distance between the
# scores of two images in standard deviations, relative to ψ = 1.

# %%
PSI = [1.0, 0.7, 0.5, 0.25, 0.0, -0.5] if remark.styles else []
few = G.sample(24 if not smoke else 4, seed + 1)
rows = {}
for psi in PSI:
    scores = score_once(G, scorers, G.truncate(G.map(few, "w"), psi))
    apart = torch.pdist((scores / best.scores.std(0))[:, columns]).mean()
    rows[psi] = {"accepted": float((scores[:, best.names.index("quality")] > 0).float().mean()), "variety": float(apart)}  # fmt: skip
if rows:
    cut = pd.DataFrame(rows).T.rename_axis("ψ")
    cut["variety"] /= cut.loc[1.0, "variety"]
    folder.table(cut, "truncation", f"{len(few)} latents truncated")
    grid = torch.stack([images_of(G, G.truncate(G.map(few[:3], "w"), psi)) for psi in PSI], 1)  # fmt: skip
    folder.save(image_grid(grid, column_labels=[f"ψ = {psi:g}" for psi in PSI]), "truncation",
                "Three latents from ψ = 1 through the mean face to their opposites", photo=True)  # fmt: skip

# %% [markdown]
# ### Style mixing: what each range of layers decides
#
# The layers named in a row take the latent of the face at its left, all others keep that of the face above.

# %%
layers, RANGES = G.w_layers, G.layer_groups() if remark.styles else {}
if layers:
    source, kept = (shown.sample(n, seed + k, "w+") for n, k in ((1, 31), (4, 32)))
    above = images_of(G, kept)
    rows = [torch.cat([torch.ones_like(above[:1]), above])]
    for first, last in RANGES.values():
        mixed = kept.values.clone()
        mixed[:, first:last] = source.values[:, first:last]
        rows.append(images_of(G, Latents(torch.cat([source.values, mixed]), "w+")))
    grid = image_grid(torch.stack(rows), row_labels=["", *RANGES], column_labels=["source"])
    folder.save(grid, "mixing", "Style mixing by ranges of layers", photo=True)

# %% [markdown]
# ### Which layers hold which attribute?
#
# Each boundary of $W$ edits some layers only, from −3 to +3. How far its own score moves, in standard deviations:


# %%
def moved(name: str, first: int, last: int) -> float:
    editor = directions["w"].select([name]).in_layers(first, last)[name]
    ends = score_edits(shown, scorers, editor, few_codes, [-3.0, 3.0])[..., best.names.index(name)]
    return float((ends[:, 1] - ends[:, 0]).mean() / best[name].std())


if layers:
    few_codes = shown.sample(3 if smoke else 8, seed + 33, "w+")
    rows = {label: {n: moved(n, *r) for n in NAMES} for label, r in ({"all": (0, layers)} | RANGES).items()}  # fmt: skip
    held = pd.DataFrame(rows)
    figure, ax = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    heatmap(ax, held, -held.abs().to_numpy().max(), held.abs().to_numpy().max(), digits=1)
    folder.save(figure, "layers", "Change of each score when only some layers are edited", vector=True)  # fmt: skip
    folder.number("layer range with the largest change", held.drop(columns="all").idxmax(axis=1).value_counts().to_dict())  # fmt: skip
    display(Markdown(" ".join(f"Mostly {label}: {', '.join(held.index[held.drop(columns='all').idxmax(axis=1) == label])}."
                              for label in RANGES if (held.drop(columns='all').idxmax(axis=1) == label).any())))  # fmt: skip

# %% [markdown]
# ### GANSpace by layers: E(v, a–b)

# %%
from facenb.methods.ganspace import GANSpace

if layers:
    components = GANSpace(4, space="w", n=sizes.activations, seed=seed).fit(G).editors()
    face, SIGMAS, rows = shown.sample(1, seed + 34, "w+"), [-2.0, 0.0, 2.0], []
    groups = {"all": (0, layers)} | {k: RANGES[k] for k in ("coarse", "fine")}
    for name in components:
        parts = [components.in_layers(*r)[name] for r in groups.values()]
        rows.append(torch.cat([strip_images(shown, part, face, SIGMAS)[0] for part in parts]))
    labels = [f"{label}\n{s:+g}σ" for label in groups for s in SIGMAS]
    grid = image_grid(torch.stack(rows), row_labels=list(components), column_labels=labels)
    folder.save(grid, "ganspace_layers", "Principal components of w in all, coarse and fine layers", photo=True)  # fmt: skip

# %% [markdown]
# ### Path length
#
# The squared speed at which an image changes, in the features of faceres (a network of faces), at a random point of the path between two
# random latents (an arc in $Z$, a straight line in $W$); the tails of 1 % are left out, as published. Images of
# the scoring size (256 pixels), since there are many.

# %%
from facenb.metrics.path_length import perceptual_path_lengths, trimmed_mean
from facenb.metrics.statistics import bootstrap
from facenb.storage.cache import cached

PATHS = 4 if smoke else 32
identity = facenb.load_identity("faceres", framing=G.framing, device=device)
rows = {}
for s in SPACES:
    what = {"generator": G.fingerprint, "features": identity.name, "space": s, "n": PATHS, "seed": seed}  # fmt: skip
    speeds = cached("path-lengths", {"version": 2} | what, lambda s=s: {"lengths": perceptual_path_lengths(G, identity.net, PATHS, s, seed=seed, size=G.scoring_size)})["lengths"]  # fmt: skip
    rows[s.upper()] = dict(zip(("path length", "low", "high"), map(float, bootstrap(speeds, trimmed_mean, sizes.bootstrap)), strict=True))  # fmt: skip
PPL = pd.DataFrame(rows).T
folder.number("path length", PPL["path length"].to_dict())
folder.table(PPL, "path_length", f"{PATHS} paths, 95 % intervals")

# %%
from facenb.metrics.path_length import slerp

a, b = shown.sample(2, seed + 35)[0], shown.sample(2, seed + 35)[1]
ways = torch.linspace(0, 1, 6)[:, None]
between = {"Z, arc": Latents(slerp(a.values, b.values, ways), "z")}
if remark.styles:
    between["W, straight"] = Latents(torch.lerp(shown.map(a, "w").values, shown.map(b, "w").values, ways), "w")  # fmt: skip
grid = torch.stack([images_of(shown, latents) for latents in between.values()])
folder.save(image_grid(grid, row_labels=list(between)), "interpolation", "From one face to another in Z and in W", photo=True)  # fmt: skip

# %% [markdown]
# ## Check

# %%
if remark.styles:
    effect = found.intervals("side effects / change")["side effects / change"]
    claims = {
        "separation, mean validation accuracy, W minus Z (papers: higher)": T1["w"].mean() - T1["z"].mean(),
        "mean |cosine| of normals, W over Z (papers: lower)": T2.loc["W: cosine of normals", "mean |value|"] / T2.loc["Z: cosine of normals", "mean |value|"],
        "mean |correlation| of distances, W over Z": T2.loc["W: correlation of distances", "mean |value|"] / T2.loc["Z: correlation of distances", "mean |value|"],
        "cosine of age and glasses, W (published: .10)": views["W: cosine of normals"].loc["age", "glasses"],
        "side effects at equal success, W over Z (paper: lower)": effect["W", "mean"] / effect["Z", "mean"],
        "path length, W over Z (paper: lower)": PPL.loc["W", "path length"] / PPL.loc["Z", "path length"],
    }  # fmt: skip
    folder.number("claims", {k: float(v) for k, v in claims.items()})
    for claim, value in claims.items():
        print(f"{value:+6.2f}  {claim}")
    if remark.own and not smoke:
        assert T1["w"].mean() > T1["z"].mean()
        assert PPL.loc["W", "path length"] < PPL.loc["Z", "path length"]
else:
    remark("it has no W: one space is shown, and there is nothing to compare it with.")

# %% [markdown]
# ## Try it
#
# ![glasses, Z and W](../figures/09_style_based/F9_glasses.jpg)

# %%
from facenb.widgets.explorer import Explorer

Explorer(shown, directions[SPACES[-1]].select(NAMES), scorers, reference_scores=best.scores, seed=seed + 26)  # fmt: skip

# %% [markdown]
# ## Exercises
#
# 1. Whiten $W$: take the latents to $\Sigma^{-1/2}(w - \bar w)$, fit the boundaries there, and look at their cosines again.
#    What has become of the "disentangled" $W$?
# 2. Open your own checkpoint (`make figures NOTEBOOK=09 GENERATOR=/path/to/network.pkl`). Which attributes live in which
#    layers?
# 3. Give the *fine* layers the light of another face and the coarse ones its pose. Which attribute cannot be moved by
#    layers at all?
# 4. Repeat the path lengths with $\psi = 0.5$, and with other features than those of faceres. Does the order
#    of $Z$ and $W$ depend on the features?
