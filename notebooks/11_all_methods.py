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
# # 11 · All methods in one table, by two sets of scorers
#
# | | |
# |---|---|
# | **Paper** | all of them: Shen et al. 2020, Härkönen et al. 2020, Shen and Zhou 2021, Niu et al. 2023, Yao et al. 2021, Li et al. 2021 |
# | **Regenerates** | one table: every method, the same faces, the same targets, the same side effects |
# | **You need** | the notebooks of the methods, 02 to 08; no GPU |
# | **Run time** | half a minute; an hour and a half of drawing and scoring on two cores ships with the package (`python -m scripts.compare_methods` makes it again) |

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
from facenb.figures import FigureFolder, heatmap, image_grid
from facenb.methods.all_methods import YOURS, AllMethods
from facenb.methods.compare_all import (
    LEVEL,
    TARGETS,
    Sizes,
    compare_all,
    editors_of,
    faces_of,
    population,
    with_method,
)
from facenb.methods.entry import own_directions
from facenb.metrics.compare_table import FEWEST, MEASURES, Comparison, text
from facenb.metrics.measurements import CHECKED, MEAN_TOLERANCE, check, load_measurements
from facenb.metrics.ranking import best, discoveries, sides_changed, success_of_trainings
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.samples import load_samples

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
scorers = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder("11_all_methods", profile=profile, seed=seed, generator=generator, device=device)  # fmt: skip
remark = Remarks(G)

# %% [markdown]
# ## Question
#
# Each paper shows that its method is better than the one before, on its own faces, attributes and measures. Which is
# better for *what*, when all of them edit the same faces and may disturb them equally? And does the answer survive
# scorers that no method has learned with?
#
# ## What the papers say
#
# 1. A condition takes entanglement out of a boundary (Shen et al. 2020), and *W* is less entangled than *Z*.
# 2. Principal components and eigenvectors of weights are directions that can be named (Härkönen et al., Shen and Zhou).
# 3. A penalty on second derivatives disentangles directions further (Niu et al.): DTH over SDD and SHP.
# 4. A direction of its own for each latent keeps the person more often than one direction for all (Yao et al.).
# 5. A field that knows all attributes at once has a higher MDS than InterFaceGAN and GANSpace (Li et al.).
#
# ## What the code says
#
# | | the papers | here |
# |---|---|---|
# | strength | chosen by hand, or for an equal success rate | **for equal side effects**: the mean other score changes by 0.4 standard deviations (of two faces that have nothing in common it is 1.1). Found on 8 calibration faces for each method and target |
# | faces | each paper its own | the same for all, at ψ = 0.8, each towards the other side of the target |
# | directions without a name | by eye | a linear probe from *W* to the scores of 20,000 samples: the direction along which the target changes most relative to the other scores. GANSpace also chooses among all, coarse, middle and fine layers |
# | scorers | the ones that the method learned with | those, and a second set that no method has learned with: two CC0 nets for gender and age, the expression net for the smile, probes on another embedding for the rest. Pose has no second scorer |
# | identity | VGG-Face, ArcFace | SFace at 0.1 % false acceptances (of faces at ψ = 1), on images of 256 pixels before and after |
# | iterative editors | – | SGF with looking and latent optimisation go to one standard deviation beyond the threshold of each face and stop: 25 faces, and no place in the ranking, for their side effects are their own |

# %% [markdown]
# ## Run
#
# ### The measured edits
#
# What ships are the scores of every edit, by both sets of scorers. On another generator, and in the smoke profile, a small
# set is measured here. Directions of your own (`.npy` or `.pt`) become a row: name a file for each target.

# %%
FILES: dict[str, str] = {}  # such as {"age": "age_boundary.npy"}
smoke = profile == "smoke"
measured = not remark.own or smoke
samples = load_samples(G, scorers, sizes.samples if measured else 20_000, check=False)
targets = [n for n in TARGETS if n in scorers.names][: 2 if smoke else None]
data = None if measured else load_measurements(G.name)
faces = faces_of(G, samples, data, **({"test": 8 if smoke else 16, "calibrating": 4} if measured else {}))
yours = own_directions(FILES, G, targets)
methods = AllMethods(faces.generator, samples, targets, profile, seed, yours)
if measured:
    remark("no measured edits ship for it; sixteen faces at most are edited here: intervals are wide.")
    few = Sizes(8 if smoke else 16, 0 if smoke else 4, 0)
    data = compare_all(faces, methods, population(G, faces.scorers, 64), few)
elif FILES:
    data = with_method(data, faces, YOURS, methods.entries()[YOURS](), Sizes(data.most))
suite, others = (Comparison(data, i, sizes.bootstrap, seed) for i in (False, True))
N, METHODS, TARGETS = data.most, data.methods, data.targets

# %% [markdown]
# A check of what was loaded: 64 edits, drawn at random, are made, drawn and scored again. They must agree to the rounding
# of bfloat16, or the notebook stops here.

# %%
EDITORS = editors_of(methods, data)
check(data, faces, EDITORS, 16 if smoke else CHECKED)
absent = [t for t in targets if t not in TARGETS]
display(Markdown(f"{len(METHODS)} methods, {N} faces, targets {', '.join(TARGETS)}{'; **not measured yet: ' + ', '.join(absent) + '** (`python -m scripts.compare_methods`)' if absent else ''}. "
                 f"The edits that were made again agree: less than {MEAN_TOLERANCE} standard deviations in the mean."))  # fmt: skip

# %% [markdown]
# ### The table
#
# Means over the targets, with 95 % intervals over faces (bootstrap, the same resamples for all methods).
#
# | measure | what it is |
# |---|---|
# | success | the target is on its other side |
# | identity | of the successes, the same person by SFace |
# | both | the target is on its other side, and it is the same person |
# | attributes | of the successes, the fraction of other scores that change by less than a standard deviation |
# | side effects | mean change of the other scores, in standard deviations: equal on the calibration faces by construction, but for the iterative editors |
# | side effects / change | the same per standard deviation of the target |
# | worst | the change of the score that changes most |
# | quality | a positive flag of quality |
# | mds | area under the disentanglement curve: of all faces at this strength, of the calibration faces at twice this strength |
# | targets | towards how many of them the faces were edited |
#
# A method that turned next to no calibration face over towards a target was not drawn on the other faces: its success, *both* and MDS are then those
# of the calibration faces, and the other measures leave the target out.


# %%
def table(found: Comparison) -> pd.DataFrame:
    facts = {m: {"to learn": f["training_time"] or ("—" if f["seconds"] is None else f"{f['seconds']:.2g} s"), "labels": f"{f['labels']:,}"} for m, f in data.facts.items()}
    return found.table().join(pd.DataFrame(facts).T)


T1 = table(suite)
folder.table(T1, "T1_methods", f"All methods at side effects of {LEVEL} sd, means over the targets, {N} faces, by the suite")

# %% [markdown]
# ### Success by target
#
# At equal side effects. Why a cell was not drawn, or has no editor, stands below, with the strengths.

# %%
BY = {m: suite.intervals(m) for m in MEASURES}
SUCCESS = BY["success"]["success"].unstack()[["mean", *TARGETS]].loc[list(METHODS)]
ITERATIVE = [m for m in METHODS if data.facts[m]["iterative"]]
figure, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
count = {m: max(len(data.edits[m, t].test) for t in TARGETS) for m in METHODS}
heatmap(ax, SUCCESS.rename(index={m: f"{m} ({n} faces)" for m, n in count.items() if 0 < n < N}), 0, 1, cmap="crest")
ax.set_title(f"success at side effects of {LEVEL} sd")
folder.save(figure, "T2_success", f"Success of every method and target at side effects of {LEVEL} sd", vector=True)

# %%
detail = {}
for m, t in data.edits:
    edits = data.edits[m, t]
    detail[m, t] = {"editor": data.facts[m]["editors"].get(t, ""), "faces": len(edits.test), "strength": edits.strength,
                    **{k: text(*BY[k].loc[(m, t)]) for k in MEASURES}, "changes most": suite.changes_most(m, t),
                    "strengths tried": " to ".join(f"{s:.3g}" for s in edits.strengths.tolist()), "reason": edits.reason}  # fmt: skip
detail = pd.DataFrame(detail).T.rename_axis(["method", "target"])
folder.table(detail, "T2_cells", "Every method and target: editor, strength, measures with intervals, reasons")

# %% [markdown]
# ### A ranking only where the intervals allow one
#
# For each target the method of the highest success at equal side effects, and all that are not significantly below it
# (the paired difference's interval includes 0). Intervals are of 95 % each. Of all pairs of methods at once, some of which
# differ by chance: McNemar's exact test of each pair, and the false discovery rate of Benjamini and Hochberg.

# %%
BEST = {t: best(suite, t) for t in TARGETS}
lines = []
for t, first in BEST.items():
    rest = f"; not significantly below: {', '.join(first[1:])}" if first[1:] else "; all others are significantly below"
    rest = "; too few faces for an interval" if N < FEWEST else rest
    lines.append(f"- **{t}**: " + (f"{first[0]} {text(*BY['success'].loc[(first[0], t)])}{rest}." if first else "no method was drawn."))
display(Markdown("\n".join(lines)))
folder.number("best", BEST)
folder.number("best, with the same person", {t: best(suite, t, "both") for t in TARGETS})

# %%
pairs = discoveries(suite)
called, kept = (int((pairs[k] < 0.05).sum()) for k in ("p", "q"))
folder.number("pairs", {"compared": len(pairs), "p below .05": called, "false discovery rate below .05": kept})
shown = pairs.assign(p=pairs["p"].map("{:.2g}".format), q=pairs["q"].map("{:.2g}".format))
folder.table(shown.set_index(["target", "better", "worse"]), "T3_pairs", "Every pair of methods: difference of success, McNemar's p, and Benjamini and Hochberg's q")
display(Markdown(f"Of {len(pairs)} pairs {called} differ with p below .05, where at most {0.05 * len(pairs):.0f} would if no method differed; at a false discovery rate of .05 they are {kept}."))

# %%
PAIRS = (("latent transformer", "InterFaceGAN, W"), ("InterFaceGAN, W, conditioned", "InterFaceGAN, W"), ("InterFaceGAN, W", "InterFaceGAN, Z"),
         ("SGF, with noise", "SGF"), ("SGF", "InterFaceGAN, W"), ("DTH", "SDD"))  # fmt: skip
ENDS = ["difference", "low", "high"]
gaps = {(f"{a} minus {b}", m): suite.difference(a, b, m)[ENDS] for a, b in PAIRS if {a, b} <= set(METHODS) for m in ("success", "both")}
T3 = pd.DataFrame({k: {t: text(*gap.loc[t]) for t in gap.index} for k, gap in gaps.items()}).T.rename_axis(["methods", "measure"])
folder.number("differences at equal side effects", {", ".join(k): gap.loc["mean"].to_dict() for k, gap in gaps.items()})
folder.table(T3, "T3_differences", "Differences at equal side effects, paired 95 % intervals")

# %% [markdown]
# ### Other trainings
#
# What a second training changes. InterFaceGAN is fitted to three parts of the samples without a sample in common, the
# transformer and SGF's mapping from two other seeds. The methods that are not here have one training, and nothing is known of another.

# %%
again = {}
for m, t in data.again:
    own, *others_of = success_of_trainings(suite, m, t)
    again[m, t] = {"faces": len(data.again[m, t][0]), "this": own, "lowest": min(others_of), "highest": max(others_of)}
if again:
    again = pd.DataFrame(again).T.rename_axis(["method", "target"])
    folder.table(again, "T4_trainings", "Success of further trainings")
    spread = again[["this", "lowest", "highest"]]
    folder.number("trainings, mean range", (spread.max(axis=1) - spread.min(axis=1)).groupby("method", sort=False).mean().to_dict())

# %% [markdown]
# ### Learned with one set of scorers, measured by another
#
# The same edits at the same strengths. Success is of the faces that both sets put on the same side beforehand.

# %%
second = others if others.scores else None
if second is None:
    remark("there are no independent scorers for its framing.")
else:
    SECOND = second.intervals("success")["success"].unstack()[["mean", *TARGETS]].loc[list(METHODS)]
    display(folder.table(table(second), "T5_independent", f"The table by the independent scorers, {N} faces"))
    folder.number("success, independent", {m: {t: v for t, v in r.items() if v == v} for m, r in SECOND.T.to_dict().items()})

# %%
if second is not None:
    judgements = sides_changed(suite, second)
    counts = judgements["verdict"].value_counts().to_dict()
    folder.number("significant differences of success, by the independent scorers", {k: int(v) for k, v in counts.items()})
    folder.table(judgements, "T6_sides", "Every significant difference of success, and what the independent scorers say")
    said = ", ".join(f"{v} {k}" for k, v in counts.items())
    turned = "; ".join(f"{r.target}: {r.better} over {r.worse} ({r.difference:+.2f}, independent {r.independent:+.2f})" for r in judgements[judgements["verdict"] == "reversed"].itertuples())
    display(Markdown(f"Of {len(judgements)} significant differences between two methods: {said}." + (f" Reversed: {turned}." if turned else "")))

# %%
if second is not None:
    figure, ax = plt.subplots(figsize=(5, 4.2), layout="constrained")
    for t in (t for t in TARGETS if t in second.scores):
        ax.scatter(SUCCESS[t], SECOND[t], label=t, s=18)
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    ax.set(xlabel="success by the suite", ylabel="success by the independent scorers")
    ax.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    folder.save(figure, "T5_both_scorers", "Success by either set of scorers, every method and target", vector=True)

# %% [markdown]
# ### The same face under all of them
#
# The face of the highest quality, every method at its strength for equal side effects.

# %%
SHOWN = [t for t in ("smile", "glasses", "age", "gender") if t in TARGETS][:3]
quality = data.before[data.test[:N], data.names.index("quality")]
face = data.test[quality.argmax()][None]
drawn = [m for m in METHODS if any((m, t) in EDITORS for t in SHOWN)]
blank = torch.ones(1, 3, G.scoring_size, G.scoring_size)
rows = []
for t in SHOWN:
    signed = {m: float(faces.signs(t)[face]) * data.edits[m, t].strength for m in drawn}
    edited = [EDITORS[m, t].edit(faces.latents(EDITORS[m, t].space)[face], signed[m]) if (m, t) in EDITORS else None for m in drawn]
    rows.append(torch.cat([images_of(faces.generator, faces.latents("z")[face], G.scoring_size), *(blank if z is None else images_of(faces.generator, z, G.scoring_size) for z in edited)]))
half = -(-(len(drawn) + 1) // 2)
grid = torch.stack([torch.cat([r, blank])[: 2 * half].unflatten(0, (2, half)) for r in rows]).flatten(0, 1)
names = ["original", *drawn]
for k, part in enumerate((names[:half], names[half:])):
    folder.save(image_grid(grid[k::2][:, : len(part)], row_labels=SHOWN, column_labels=[n.replace(", ", ",\n") for n in part]), f"F1_one_face_{'ab'[k]}", "One face towards three targets, at equal side effects", photo=True)

# %% [markdown]
# ## Check
#
# What [docs/which_method.md](../docs/which_method.md) says is written from these numbers by `python -m scripts.which_method`.

# %%
folder.number("faces", N)
folder.number("iterative", {m: count[m] for m in ITERATIVE})
for measure, frame in BY.items():
    folder.number(measure, {m: frame[measure][m].dropna().to_dict() for m in METHODS})
ends = BY["success"].rename(columns={"success": "estimate"}).dropna()
folder.number("intervals of success", {m: ends.loc[m].T.to_dict() for m in METHODS if m in ends.index})
folder.number("costs", T1[["to learn", "ms per edit", "labels", "targets"]].T.to_dict())
folder.number("reasons", {m: {t: data.edits[m, t].reason for t in TARGETS if data.edits[m, t].reason} for m in METHODS})
if remark.own and not smoke:
    effects = BY["side effects"]["side effects"].unstack().drop(index=ITERATIVE, columns="mean").stack()
    assert (effects.dropna() - LEVEL).abs().lt(0.25).all()
    assert SUCCESS.loc["InterFaceGAN, W", "mean"] > SUCCESS.loc["SeFa", "mean"]

# %% [markdown]
# ## Try it
#
# ![one face](../figures/11_all_methods/F1_one_face_a.jpg)

# %%
from facenb.widgets.side_by_side import SideBySide

SideBySide(faces, EDITORS, [suite, others] if second else [suite], drawn[:4])

# %% [markdown]
# ## Exercises
#
# 1. Sort the table by *both*, then by *success*. Which method is in the upper half of both, for every target?
# 2. Name a file of a direction that was published for StyleGAN2-FFHQ in `FILES`. Where does it come?
# 3. Take equal success in place of equal side effects (notebook 06's Table 1). Which methods gain?
# 4. Look for a reversal in `T6_sides.csv`, and look at the edits in the widget. Which scorers do you believe?
