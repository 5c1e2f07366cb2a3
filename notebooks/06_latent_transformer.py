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
# # 06 · The latent transformer: an edit that knows where it starts
#
# | | |
# |---|---|
# | **Paper** | Yao, Newson, Gousseau, Hellier: *Learning Non-Linear Disentangled Editing for StyleGAN* (ICIP 2021) |
# | **Regenerates** | the comparison of §3.1, Figures 2 to 4, Table 1, on the embedded generator |
# | **You need** | notebook 02 (InterFaceGAN), whose samples and boundaries are used again |
# | **Run time** | two minutes in the laptop profile once the samples of notebook 02 are scored, a quarter of a minute when cached |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "digiface-dcgan-64"
device = "cpu"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import facenb
from facenb.editors import compose
from facenb.figures import FigureFolder, heatmaps, image_grid, strip_images
from facenb.methods.by_attribute import by_attribute
from facenb.methods.ganspace import GANSpace, fit_ganspace
from facenb.methods.interfacegan import InterFaceGAN
from facenb.methods.latent_transformer import (
    LATENTS,
    LEARNING_RATE,
    fit_classifier,
    fit_side_by_side,
    fit_transformers,
    label_thresholds,
    split,
    two_sided,
)
from facenb.metrics.attribute_correlation import celeba_correlation, label_correlation
from facenb.metrics.mds import SignedEditor, crossed, outcomes, towards_other_side
from facenb.metrics.preservation import embed, false_acceptance_threshold, preservation, same_person
from facenb.metrics.statistics import bootstrap
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.sampling import sample_scored, score_edits

sizes = load_profile(profile)
G = facenb.load_generator(generator, device)
everything = facenb.load_scorers(framing=G.framing, device=device)
folder = FigureFolder(
    "06_latent_transformer", profile=profile, seed=seed, generator=generator, device=device
)
remark = Remarks(G, written_for="digiface-dcgan-64")

# %% [markdown]
# ## Question
#
# InterFaceGAN moves every face along the same straight line. But the way from a smiling young woman to the
# same woman with glasses need not be the way that takes an old man there. Does an edit that may choose its
# direction *for each code* change the attribute and leave more of the rest alone?
#
# ## What the paper says
#
# 1. **A classifier of codes.** Score many samples once, and learn to read the attributes off the code: three
#    linear layers with ReLU, better in precision, recall and F1 than one linear layer. "This shows that the
#    linear hypothesis of the latent space is not appropriate" (§3.1).
# 2. **The transformer.** $T(z, \alpha) = z + \alpha \cdot H(z)$ (Eq. 1), $H$ two fully connected layers, one
#    $H$ for every attribute.
# 3. **Three losses** (Eq. 2–5), all in latent space against the frozen classifier $C$, with target $j$:
#
# $$\mathcal L = \underbrace{\mathrm{BCE}\big(C(T(z))_j,\ \beta\big)}_{\text{the other verdict}}
# + \lambda_\text{attr} \sum_{i \ne j} (1 - |\gamma_{ij}|)\, \mathbb E\, \lVert C(T(z))_i - C(z)_i \rVert_2
# + \lambda_\text{recon}\, \mathbb E\, \lVert T(z) - z \rVert_2$$
#
# 4. **Claims.** At comparable accuracy more faces keep their identity (99.7 % against 91.7 %) and their other
#    attributes (89.2 % against 83.0 %) than with InterFaceGAN (Table 1), and several edits can follow each
#    other (Figure 4).
#
# Mind what Eq. 1 does *not* say. For one face, $T(z, \alpha)$ is a straight line in $\alpha$: stronger means
# further in the same direction. What is not linear is that every face has a line of its own.
#
# ## What the code says
#
# The code of this paper was not published. The public repository of the authors belongs to its sequel
# (ICCV 2021), another network with other weights.
#
# | | the paper's text | the sequel's public code | here |
# |---|---|---|---|
# | space | $W$ of StyleGAN2, 512 | $W+$, 18 × 512 | $Z$ of the embedded DCGAN, 100 |
# | $H$ | two layers with LeakyReLU; width lost | one *linear* layer for each of 18 | two layers, LeakyReLU (0.2) between them, as wide as the codes. None after the second: it would forbid half of all directions |
# | classifier $C$ | three linear layers with ReLU; widths lost | 9216-2048-512-40, LeakyReLU | 100-128-128-10, ReLU |
# | $\alpha$ in training | $1 - p$ where the classifier's probability $p$ of the target is below 0.5, else $-p$ | the same | the same |
# | class loss | binary cross-entropy | weighted by class balance | as the text |
# | attribute loss | L2 of "classification features" | mean square of the logits | the features are the logits; of one number the L2 norm is $\lvert\cdot\rvert$ |
# | $\gamma$ | CelebA-HQ's annotations | correlation of the labels, above a threshold set to 1 | of our samples' labels; CelebA's is there as well (`celeba_correlation`), and knows seven of the ten |
# | **reconstruction** | $100 \cdot \lVert T(z) - z \rVert_2$ | $10 \cdot$ mean *square* | **$1 \cdot$ mean square.** The text's, taken literally, freezes every edit. It is measured below |
# | optimiser | Adam 1e-4, batch 16, 10 epochs, 10,000 codes | Adam 1e-3, batch 32, weight decay, all codes | as the text, which is the default of `LatentTransformer`, but for the rate: 1e-3 below, where both are measured. All ten networks in one pass: the gradients are the same (tested), the time is not |
# | labels | ResNet-50's verdicts | annotations | a log-odds score's own verdict (above 0); the median for degrees, years and distances |
# | strength | 1.25; InterFaceGAN's 3 | up to 2 | found for each method and attribute so that the *accuracies* are alike |
# | identity | VGG-Face at 0.1 % false acceptances: the cosine above which one pair of strangers in a thousand passes for one person | not published | face-api's recognition net, centred, at the same rate, measured on samples of this generator |

# %% [markdown]
# ## Run
#
# ### Samples and labels
#
# Ten attributes of the face. `THRESHOLDS` is the score above which an attribute counts as present. Edits are
# scored for these ten, and for the brightness of the picture.

# %%
samples = sample_scored(G, everything, sizes.samples, seed)
fresh = sample_scored(G, everything, sizes.fresh, seed + 1)
ATTRIBUTES = two_sided(samples, everything.attributes)
NAMES = [a.name for a in ATTRIBUTES]
if absent := [
    a.name for a in everything.attributes if a.kind == "semantic" and a.name not in NAMES
]:
    remark(f"{', '.join(absent)}: all samples, or none, have it. There is nothing to learn, and it is left out.")  # fmt: skip
scorers = facenb.load_scorers([*NAMES, "brightness"], G.framing, device)
columns = [samples.names.index(name) for name in NAMES]
THRESHOLDS = label_thresholds(samples.scores[:, columns], ATTRIBUTES)
learn, held = split(samples)
labels, held_labels, fresh_labels = (
    part.scores[:, columns] > THRESHOLDS for part in (learn, held, fresh)
)
pd.DataFrame({"threshold": THRESHOLDS.numpy(), "present": labels.float().mean(0).numpy()}, NAMES).T

# %% [markdown]
# ### §3.1: three layers against one
#
# Both learn from the same samples, and are judged on samples that neither has seen. The linear layer gets a
# higher rate, since at the same one it would not have arrived after as many epochs.

# %%
classifiers = {
    "linear": fit_classifier(
        learn.latents.values, labels, NAMES, hidden=None, learning_rate=0.02, seed=seed
    ),
    "three layers": fit_classifier(learn.latents.values, labels, NAMES, seed=seed),
}
C = classifiers["three layers"]
reports = {
    kind: pd.DataFrame(model.report(held.latents.values, held_labels)).T
    for kind, model in classifiers.items()
}
table = pd.concat(reports, axis=1).swaplevel(axis=1).sort_index(axis=1, sort_remaining=False)
table.loc["mean"] = table.mean()
folder.table(table, "classifiers", f"Judged on {len(held)} samples that neither has seen")

# %% [markdown]
# Is the difference more than luck? The same samples are drawn again and again for both.


# %%
def mean_f1(rows: torch.Tensor) -> torch.Tensor:
    called, present = rows[..., 0], rows[..., 1]
    return (2 * (called * present).sum(0) / (called + present).sum(0).clamp(min=1)).mean()


verdicts = torch.cat(
    [torch.stack([model.predict(held.latents.values), held_labels], -1).double()
     for model in classifiers.values()], dim=1
)  # fmt: skip
gain = bootstrap(
    verdicts, lambda v: mean_f1(v[:, len(NAMES) :]) - mean_f1(v[:, : len(NAMES)]), sizes.bootstrap
)
gain = dict(zip(("estimate", "low", "high"), map(float, gain), strict=True))
folder.number("mean F1, three layers minus linear", gain)
print(
    "mean F1, three layers minus linear: {estimate:+.3f} ({low:+.3f} to {high:+.3f})".format(**gain)
)

# %% [markdown]
# The table's last row says that three layers find a little more (recall) at the price of more false alarms
# (precision); the interval includes zero. The paper's reason for going non-linear, from 500,000 samples in $W$,
# is not seen with some ten thousand in $Z$.
#
# ### γ: what may change along with what
#
# Where two attributes go together, the attribute loss lets them: its weight is $1 - |\gamma|$. The paper takes
# γ from photographs. This generator learned from rendered faces, where glasses, hats and beards were dealt
# out by chance: little goes together but the mouth with the expressions and, a little, with age.

# %%
gamma = label_correlation(labels)
celeba = celeba_correlation(NAMES)
frames = {
    "labels of our samples": pd.DataFrame(gamma.numpy(), NAMES, NAMES),
    "CelebA (0: not annotated)": pd.DataFrame(celeba.numpy(), NAMES, NAMES),
}
folder.save(
    heatmaps(frames, "γ, twice"), "gamma", "Correlation of labels, ours and CelebA's", vector=True
)

# %% [markdown]
# ### All ten, in one pass
#
# With the paper's batch and epochs: all ten at ten times its rate of 1e-4, and four of them at that rate for
# comparison (with variants that are looked at below). The losses are those of the last epoch.

# %%
FEW = [name for name in ("smile", "age", "gender", "glasses") if name in NAMES]
learned = learn.latents.values[:LATENTS]
of_few = {"classifier": C, "targets": FEW, "seed": seed}
TRAINED = fit_side_by_side(learned, gamma, {
    "ours": {"classifier": C, "learning_rate": LEARNING_RATE, "seed": seed},
    "100 · length, rate 1e-4 (the text)": of_few
    | {"reconstruction_weight": 100.0, "reconstruction": "norm"},
    "100 · mean square, rate 1e-4": of_few | {"reconstruction_weight": 100.0},
    "1 · mean square, rate 1e-4": of_few,
    "from the linear classifier": of_few | {"classifier": classifiers["linear"], "learning_rate": LEARNING_RATE},
})  # fmt: skip
model, slow = TRAINED["ours"], TRAINED["1 · mean square, rate 1e-4"]
transformers = model.editors().with_provenance(generator=generator, profile=profile)
last = {
    rate: pd.DataFrame(
        fitted.history_[-1].numpy(), ["class", "attributes", "reconstruction"], fitted.targets_
    )
    for rate, fitted in (("1e-3", model), ("1e-4", slow))
}
pd.concat(last).round(3)

# %% [markdown]
# ### How much may a step cost?
#
# Eq. 4 with the paper's weight charges 100 for every unit of *length*. The classifier's gain from a unit of
# length is a few log-odds at most. So the loss has its minimum where nothing moves at all. A mean square
# charges next to nothing for the first bit of the way, and its weight decides how far it goes; at 100 one
# code in ten is turned. Perhaps the paper's implementation took a mean square over the 512
# dimensions of $W$, where a unit of length costs five times less than over our 100.


# %%
def judged(editor) -> dict[str, float]:
    """How far a network moves unseen codes at α = 1.25, and what the classifier says of that."""
    i, before = NAMES.index(editor.name), C.predict(fresh.latents.values)
    alpha = 1.25 * towards_other_side(before[:, i].float(), 0.5)
    differs = (C.predict(editor.edit(fresh.latents, alpha).values) != before).double().mean(0)
    rest = float(differs.sum() - differs[i]) / (len(NAMES) - 1)
    length = float(editor.displacement(fresh.latents.values).norm(dim=1).mean())
    return {"|H|": length, "target turned": float(differs[i]), "others kept": 1 - rest}


compared = {label: each for label, each in TRAINED.items() if "rate" in label}
compared["1 · mean square, rate 1e-3 (here)"] = model
costs = {
    label: pd.DataFrame([judged(each.editors()[name]) for name in FEW]).mean()
    for label, each in compared.items()
}
folder.number("reconstruction", {label: row.to_dict() for label, row in costs.items()})
folder.table(pd.DataFrame(costs).T, "reconstruction", f"Four attributes at α = 1.25, as the classifier sees it, on {len(fresh)} unseen codes")  # fmt: skip

# %% [markdown]
# ### Is it a line after all?
#
# $H(z)$ may differ from code to code; does it? The mean cosine between the moves of two codes is 1 for a
# linear edit, and about 0 for moves that have nothing to do with each other. A control stands beside it:
# transformers that learn from the *linear* classifier have no reason to bend. At our rate they come out
# straight; what bends the others is the classifier's three layers, then, and not chance. (At the paper's
# rate the first random weights may still be in every move after ten epochs.)

# %%
if remark.own:
    directions = facenb.load_editors("interfacegan", G.name)
else:
    remark("no boundaries ship for it; they are fitted to its samples here, as in notebook 02.")
    directions = InterFaceGAN(sizes.confident, seed=seed).fit(G, samples).editors()
straight = TRAINED["from the linear classifier"].editors()
held_editors = directions.condition(NAMES, on=NAMES)


def one_way(networks) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cosine between the moves of two different codes (K,), and the mean directions (K, d)."""
    moves = torch.stack([each.displacement(fresh.latents.values) for each in networks.values()])
    mean = (moves / moves.norm(dim=2, keepdim=True)).mean(dim=1)
    n = len(fresh)
    return (mean.square().sum(1) * n - 1) / (n - 1), mean / mean.norm(dim=1, keepdim=True)


between, mean = one_way(transformers)
alike = pd.DataFrame({
    "|H|": [float(each.displacement(fresh.latents.values).norm(dim=1).mean()) for each in transformers.values()],
    "between two codes": between,
    "… at the paper's rate": pd.Series(one_way(slow.editors())[0].numpy(), FEW),
    "… from the linear classifier": pd.Series(one_way(straight)[0].numpy(), FEW),
    "with InterFaceGAN": (mean * directions.select(NAMES).vectors).sum(1),
    "with InterFaceGAN held": [float(m @ held_editors[name].direction) for m, name in zip(mean, NAMES, strict=True)],
}, NAMES)  # fmt: skip
folder.number("alike, mean", alike.mean().to_dict())
folder.table(alike, "alike", "Length of H, and cosines of its directions")

# %% [markdown]
# It is between a line and moves that have nothing to do with each other, and nearer to the line. The mean move has
# something in common with InterFaceGAN's normal, and more with the normal that is held off the others: that is what
# Eq. 3 asks for.
#
# ### Table 1: what an edit keeps, at comparable accuracy
#
# Four ways to edit. **GANSpace**: for each attribute the principal component that its score follows best
# (the paper picks by eye). **InterFaceGAN**: the boundaries of notebook 02. **InterFaceGAN held**: the
# same, each projected off the nine others; the paper does not compare with it, though it is the linear way
# to ask for what Eq. 3 asks for. **Ours**: the transformers.
#
# The target attribute is to be turned over, whichever way. Every method gets for every attribute the strength
# at which three quarters of some faces are turned, so that what it keeps can be compared; where it never gets
# there, the strongest one tried. The strengths are found on other faces than those that are judged. The
# attributes are the paper's four, and one more.

# %%
count = min(80, samples.latents.values.shape[1])
components = fit_ganspace(GANSpace(count, n=sizes.activations, seed=seed), G)
METHODS = {
    "GANSpace": by_attribute(components.editors().unscaled(), samples),
    "InterFaceGAN": directions,
    "InterFaceGAN held": held_editors,
    "ours": transformers,
}
GOAL = 0.75
TRIED = {method: [1.5, 3.0, 5.0] for method in METHODS}
TRIED |= {"GANSpace": [3.0, 5.0], "ours": [0.5, 1.0, 1.8, 3.6]}
COMPARED = [name for name in ("smile", "gender", "age", "glasses", "hat") if name in NAMES]
COMPARED = COMPARED if profile != "smoke" else COMPARED[-1:]

# %%
count = 3 * sizes.edited // 8
test, tuning = (fresh.select(slice(start, start + count)) for start in (0, count))


def turning(method: str, name: str, part) -> SignedEditor:
    """The editor that takes each face of `part` to the other side of the attribute."""
    i = NAMES.index(name)
    signs = towards_other_side(part.scores[:, columns][:, i], THRESHOLDS[i])
    return SignedEditor(METHODS[method][name], signs)


def strength_for(method: str, name: str) -> float:
    """Where the share of faces turned over first reaches the goal, between the strengths tried."""
    alone, editor = facenb.load_scorers(name, G.framing, device), turning(method, name, tuning)
    after = score_edits(G, alone, editor, tuning.latents, TRIED[method])[..., 0]
    cut = THRESHOLDS[NAMES.index(name)]
    share = ((after > cut) != (tuning[name] > cut)[:, None]).double().mean(0)
    rising = [0.0, *share.cummax(0).values.tolist()]
    return round(float(np.interp(GOAL, rising, [0.0, *TRIED[method]])), 2)


strength = {method: {name: strength_for(method, name) for name in COMPARED} for method in METHODS}
folder.table(
    pd.DataFrame(strength),
    "strengths",
    f"Strength at which {GOAL:.0%} of {len(tuning)} faces are turned",
)

# %%
identity = facenb.load_identity(framing=G.framing, device=device)
people = embed(G, identity, G.sample(400 if profile != "smoke" else 64, seed=2))
threshold = false_acceptance_threshold(people)
person = embed(G, identity, test.latents)
changed = crossed(THRESHOLDS)


def shade(lit: torch.Tensor) -> float:
    """How far the brightness moved, in standard deviations."""
    return float((lit - test["brightness"]).abs().mean() / samples["brightness"].std())


def judge(method: str, name: str) -> tuple[tuple[float, ...], torch.Tensor]:
    """A row of Table 1, and of each face: turned over, share of others changed, same person."""
    i, s, editor = NAMES.index(name), strength[method][name], turning(method, name, test)
    *after, lit = score_edits(G, scorers, editor, test.latents, [s])[:, 0].unbind(1)
    after = torch.stack(after, 1)
    pair = person, embed(G, identity, editor.edit(test.latents, s))
    kept = preservation(test.scores[:, columns], after, i, THRESHOLDS[i], changed, pair, threshold)
    found = outcomes(test.scores[:, columns], after[:, None], i, THRESHOLDS[i], changed)[:, 0]
    faces = [found, same_person(*pair, threshold)[:, None]]
    return (s, kept.accuracy[0], *kept.identity, *kept.attributes, shade(lit)), torch.cat(faces, 1)


judgements = {(name, method): judge(method, name) for name in COMPARED for method in METHODS}
measures = ["strength", "accuracy", "identity", "low", "high", "attributes", "low", "high", "light"]
T1 = pd.DataFrame({key: row for key, (row, _) in judgements.items()}, measures).T
folder.number("identity threshold", threshold)
print(f"the same person: a cosine above {threshold:.2f}")
folder.table(
    T1,
    "T1_preservation",
    f"{len(test)} faces turned over; 95 % intervals; identity and attributes over successes; light in sd",
)

# %% [markdown]
# *Light* is how far the picture's brightness moved, in standard deviations. Nobody asked for that, and no loss
# forbids it.
#
# The means over the attributes on which every method but GANSpace came near the goal, and whether ours is told from the
# others: the faces are drawn again, the same ones for all methods.


# %%
def means(part: torch.Tensor) -> torch.Tensor:
    """Accuracy, identity, attributes of each method, (M, 3), from (faces, M, attributes, 3)."""
    reached, changed, same = part.unbind(-1)
    successes = reached.sum(0).clamp(min=1)
    kept = [(reached * share).sum(0) / successes for share in (same, 1 - changed)]
    return torch.stack([reached.mean(0), *kept], dim=-1).mean(dim=1)


fair = T1.drop(index="GANSpace", level=1)  # its row of the means says by itself how far it comes
near = fair["accuracy"].groupby(level=0).min()[COMPARED] > GOAL - 0.12
MATCHED = [name for name in COMPARED if near[name]] or COMPARED
together = torch.stack([torch.stack([judgements[n, m][1] for n in MATCHED], 1) for m in METHODS], 1)
print("means over", ", ".join(MATCHED))
averages = pd.DataFrame(
    means(together).numpy(), list(METHODS), ["accuracy", "identity", "attributes"]
)
lead = bootstrap(together, lambda r: means(r)[-1] - means(r), sizes.bootstrap)
verdict = {}
for m, method in enumerate(list(METHODS)[:-1]):
    for k, measure in enumerate(averages.columns):
        estimate, low, high = (float(part[m, k]) for part in lead)
        verdict[f"{measure}, ours minus {method}"] = dict(estimate=estimate, low=low, high=high)
        word = "is higher than" if low > 0 else "is lower than" if high < 0 else "is not told from"
        print(
            f"{measure:10}  ours {word:16} {method:26} {estimate:+.3f} ({low:+.3f} to {high:+.3f})"
        )
averages["light"] = T1["light"].loc[MATCHED].groupby(level=1).mean()
folder.number("verdict", verdict)
folder.number("averages", {m: row.to_dict() for m, row in averages.iterrows()})
folder.table(
    averages,
    "T1_averages",
    "Means over attributes; the paper: 91.7 / 83.0 / 96.0 % InterFaceGAN, 99.7 / 89.2 / 96.5 % ours",
)

# %% [markdown]
# On this generator the paper's table is not seen again. At like accuracy ours keeps as many of the other
# attributes as InterFaceGAN, no more, and *loses* the person more often. Attribute by attribute it is mixed:
# *glasses* keep more persons with ours, *age* keeps more of the other attributes and fewer persons, and *smile* loses
# everybody. Nor does it help a line to hold the others: InterFaceGAN held keeps as many attributes and fewer persons.
# *Gender* is left out of the means, as ours turns it on one face in five. The classifier does not read it worst
# (that is *age*), but six samples in seven are male, and a network that calls everybody male is seldom wrong.
#
# ### Figure 2: side by side
#
# Two faces an attribute, at the strengths of Table 1: glasses come on where there are none, and off where there are.
# Shown are those of the judged faces that the most methods turn over, the clearest first: a figure of failures would
# say little about what comes along.


# %%
def shown(name: str) -> torch.Tensor:
    """The original and every method's edit of two faces, (1, 2·(1 + M), 3, H, W)."""
    turned = torch.stack([judgements[name, method][1][:, 0] for method in METHODS]).sum(0)
    part = test.select((turned * 100 + test["quality"]).argsort(descending=True)[:2])
    codes = [part.latents] + [
        turning(method, name, part).edit(part.latents, strength[method][name]) for method in METHODS
    ]
    return torch.stack([G.synthesize(z) for z in codes], dim=1).flatten(0, 1)[None]


heads = ["original", "GANSpace", "InterFace", "… held", "ours"]
faces = torch.cat([shown(name) for name in COMPARED])
F2 = image_grid(faces, row_labels=COMPARED, column_labels=heads * 2, cell=0.82)
folder.save(F2, "F2_methods", "Each method at its strength of Table 1, two faces of each attribute")

# %% [markdown]
# ### Figure 3: progressive edits
#
# Glasses, from nothing to one and a half times the strength of Table 1. The columns are alike in accuracy, not
# in length. GANSpace's component changes the light and the face; the two boundaries draw heavy frames. Ours
# draws thin ones on the first face and changes less of it; on the second the whole picture turns lighter.

# %%
PROGRESS = "glasses" if "glasses" in COMPARED else COMPARED[0]
STEPS = [0.0, 0.4, 0.8, 1.2, 1.5]
i = NAMES.index(PROGRESS)
clear = test["quality"] - 100 * (test["yaw"].abs() > 12)  # faces that look at us, clearest first
bare = (clear - 1000 * (test[PROGRESS] > THRESHOLDS[i])).argsort(descending=True)[:2]
strips = [
    strip_images(
        G, METHODS[m][PROGRESS], test.latents[bare], [s * strength[m][PROGRESS] for s in STEPS]
    )
    for m in METHODS
]
F3 = image_grid(
    torch.stack(strips).flatten(1, 2),
    row_labels=list(METHODS),
    column_labels=[f"× {s:g}" for s in STEPS] * 2,
)
folder.save(F3, "F3_progressive", f"{PROGRESS}, up to 1.5 times the strength of Table 1")

# %% [markdown]
# ### Figure 4: one edit after the other
#
# Each face is turned over in one attribute, then in the next, and so on; every edit starts where the last one
# ended. What the paper shows on one face is counted on all: how many are still the same person, how many of
# the attributes that nobody asked for have changed, and how many of the asked ones are where they should be.

# %%
SEQUENCE = [name for name in ("glasses", "smile", "age", "hat") if name in COMPARED]
others = [i for i, name in enumerate(NAMES) if name not in SEQUENCE]
asked = [NAMES.index(name) for name in SEQUENCE]


def sequence(method: str, part, count: int):
    """The first `count` edits of the sequence, as one editor."""
    steps = SEQUENCE[:count]
    return compose([(turning(method, n, part), strength[method][n]) for n in steps])


def after_edits(method: str, count: int) -> dict[str, float]:
    editor = sequence(method, test, count)
    after = score_edits(G, scorers, editor, test.latents, [1.0])[:, 0, : len(NAMES)] > THRESHOLDS
    differs = (after != (test.scores[:, columns] > THRESHOLDS)).float()
    moved = embed(G, identity, editor.edit(test.latents, 1.0))
    return {"edits": count, "method": method,
            "same person": float(same_person(person, moved, threshold).float().mean()),
            "asked for, and turned": float(differs[:, asked[:count]].mean()),
            "not asked for, and kept": 1 - float(differs[:, others].mean())}  # fmt: skip


SHOWN = [method for method in METHODS if method != "GANSpace"]
F4 = pd.DataFrame([after_edits(m, k + 1) for m in SHOWN for k in range(len(SEQUENCE))])
folder.number("F4", {f"{r.method}, {r.edits}": list(r)[3:] for r in F4.itertuples()})
folder.table(
    F4.set_index(["method", "edits"]), "F4_sequence", f"{', '.join(SEQUENCE)}: after each edit"
)

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
for ax, measure in zip(axes, F4.columns[2:], strict=True):
    for method, part in F4.groupby("method", sort=False):
        ax.plot(part["edits"], part[measure], marker="o", label=method)
    ax.set(title=measure, xlabel="edits", xticks=range(1, len(SEQUENCE) + 1))
axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
folder.save(figure, "F4_counts", "What is left after one to four edits in sequence", vector=True)

# %%
pair = test.select(clear.argsort(descending=True)[:2])
walks = []
for method in SHOWN:
    codes = [
        pair.latents,
        *(sequence(method, pair, k + 1).edit(pair.latents, 1.0) for k in range(len(SEQUENCE))),
    ]
    walks.append(torch.stack([G.synthesize(z) for z in codes], 1).flatten(0, 1))
heads = ["original", *(f"{name}\nturned" for name in SEQUENCE)] * 2
F4_faces = image_grid(torch.stack(walks), row_labels=SHOWN, column_labels=heads)
folder.save(
    F4_faces, "F4_sequential", f"{', '.join(SEQUENCE)} turned over one after the other, two faces"
)

# %% [markdown]
# The sequence does not save the person here, with any method: after four edits hardly anybody is left. Ours
# starts best and falls at the second edit, the smile. What nobody asked for is kept no better by ours at the
# end than by a line.
#
# ### What the loss does not name
#
# The smile of a transformer turns the light on: two and a half standard deviations of brightness, where
# InterFaceGAN's moves an eighth of one. Eq. 3 can only keep what it is told of, and the light is not among
# that. So name it: a classifier of twelve attributes, with brightness and warmth, and transformers that learn
# from that.

# %%
named = [*ATTRIBUTES, *(a for a in everything.attributes if a.kind == "nuisance")]
wide = [samples.names.index(a.name) for a in named]
wide_labels = learn.scores[:, wide] > label_thresholds(samples.scores[:, wide], named)
twelve = fit_classifier(learn.latents.values, wide_labels, [a.name for a in named], seed=seed)
TWO = [name for name in ("smile", "age") if name in COMPARED] or COMPARED
LIT = "ours, light named"
lit = {"learning_rate": LEARNING_RATE, "seed": seed}
METHODS[LIT] = fit_transformers(learned, twelve, label_correlation(wide_labels), TWO, **lit).editors()
TRIED[LIT] = TRIED["ours"]
strength[LIT] = {name: strength_for(LIT, name) for name in TWO}
for name in TWO:
    judgements[name, LIT] = judge(LIT, name)
beside = [(name, method) for name in TWO for method in ("InterFaceGAN", "ours", LIT)]
named_table = pd.DataFrame({key: judgements[key][0] for key in beside}, measures).T
folder.table(named_table, "light_named", "The light among the attributes that are kept")

# %%
dull = test.latents[
    (clear - 1000 * (test[TWO[0]] > THRESHOLDS[NAMES.index(TWO[0])])).argsort(descending=True)[:2]
]
strips = [
    strip_images(G, METHODS[m][TWO[0]], dull, [s * strength[m][TWO[0]] for s in STEPS])
    for m in ("InterFaceGAN", "ours", LIT)
]
grid = image_grid(
    torch.stack(strips).flatten(1, 2),
    row_labels=["InterFaceGAN", "ours", LIT],
    column_labels=[f"× {s:g}" for s in STEPS] * 2,
    title=TWO[0],
)
folder.save(grid, "light_named", f"{TWO[0]}: what happens to the light when the loss names it")

# %% [markdown]
# With the light named, one smile in five leaves the same person, where none did; InterFaceGAN's leaves more.
# *Age* shows the other side of it: with two more attributes to keep, its network all but stops. The absolute
# value in Eq. 3 charges for the first step as for the last, so that an attribute that cannot be had without
# the others is not had at all.
#
# A loss in latent space can only keep what its classifier names. The likely reason for InterFaceGAN's better
# record: its one direction is averaged over thousands of faces, and whatever is not part of the attribute
# averages out of it, while a network may find, code by code, the shortest way to please its classifier.
#
# ## Check
#
# The paper's claims beside what was found. What is asserted is what this notebook relies on, not what the
# paper claims: those claims do not hold here, with some ten thousand samples, in $Z$, on this generator. In
# the paper's $W$, and with fifty times the samples for the classifier, they may.

# %%
claims = {
    "three layers minus one, mean F1 (paper: higher)": gain["estimate"],
    "length of a move under the text's reconstruction": costs["100 · length, rate 1e-4 (the text)"]["|H|"],
    "cosine between the moves of two codes": float(between.mean()),
    "the same, learned from the linear classifier": alike["… from the linear classifier"].mean(),
    "attributes kept, ours minus InterFaceGAN (paper: +0.06)": verdict["attributes, ours minus InterFaceGAN"]["estimate"],
    "identity kept, ours minus InterFaceGAN (paper: +0.08)": verdict["identity, ours minus InterFaceGAN"]["estimate"],
}  # fmt: skip
for claim, value in claims.items():
    print(f"{value:+6.2f}  {claim}")
folder.number("claims", claims)
if profile != "smoke" and remark.own:
    assert costs["100 · length, rate 1e-4 (the text)"]["target turned"] < 0.01
    assert claims["the same, learned from the linear classifier"] > 0.95 > float(between.max())
    assert T1.loc[("glasses", "ours"), "accuracy"] > 0.5

# %% [markdown]
# ## Try it
#
# Lines and transformers side by side, in sequence. Only lines can be held fixed (they have a direction to be
# projected off); any edit can be held off them.
#
# ![glasses, method by method](../figures/06_latent_transformer/F3_progressive.png)

# %%
from facenb.widgets.explorer import Explorer

Explorer(
    G,
    {f"{n} (line)": directions[n] for n in FEW} | dict(transformers),
    everything,
    seed=26,
    index=1,
    strength_range=2.0,
)

# %% [markdown]
# ## Exercises
#
# 1. Train with CelebA's γ instead of the samples' (`celeba_correlation`). For which attributes does the edit
#    change, and does the beard follow the gender?
# 2. Set `attribute_weight=0`. What is left is the classifier and the short way. How close does the mean move
#    come to InterFaceGAN's normal?
# 3. $T(z, \alpha)$ is a straight line for each face. Take ten steps of a tenth instead, with a new $H$ at each
#    (`compose`). Where does the path end, and is it a better place?
# 4. Hold *brightness* in the Explorer while a transformer acts (put `directions["brightness"]` among the
#    editors, which gives it a tick). Is that as good as naming it in the loss?
