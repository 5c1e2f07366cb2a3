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
# # 10 · Photographs: inversion, and edits of a real face
#
# | | |
# |---|---|
# | **Papers** | InterFaceGAN (Figures 10 and 11, the distilled edit of its authors' overview); Abdal et al., *Image2StyleGAN* (2019); Roich et al., *Pivotal Tuning* (2021); Zhu et al., *LIA* (2019) |
# | **Regenerates** | Figure 10 in Z, W and W+: optimisation, encoder, both, tuning; distortion against editability; Figure 11; the distilled edit; one photograph edited and put together again |
# | **You need** | notebook 02 (boundaries); 06 and 07 (transformer, SGF) for one figure |
# | **Run time** | six minutes the first time in the laptop profile on two free cores, one afterwards |

# %% tags=["parameters"]
profile = "laptop"
seed = 0
generator = "mobilestylegan-ffhq-1024"
device = "cpu"

# %%
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown, display

import facenb
from facenb.assets import asset_path
from facenb.drawing import images_of
from facenb.figures import FigureFolder, image_grid
from facenb.generators import DEFAULT
from facenb.methods.interfacegan import InterFaceGAN
from facenb.methods.observation import observer_of, scorers_for
from facenb.methods.sgf import sgf_editors
from facenb.methods.sgf.files import load_fields
from facenb.metrics.statistics import bootstrap
from facenb.photos import Photograph, invert, load_encoder, tuned
from facenb.photos.distill import distill_from
from facenb.photos.encoder_decoder import learn_from
from facenb.photos.known import BOTH, ENCODED, IN_W, TRUE, TUNED, invert_known, load_known
from facenb.photos.measure import KEPT, PSNR, SFACE, TRUTH, VGG, Editability, Reconstruction
from facenb.presets import load_profile
from facenb.remarks import Remarks
from facenb.samples import load_samples
from facenb.sampling import ScoredSamples

sizes, smoke = load_profile(profile), profile == "smoke"
folder = FigureFolder("10_photographs", profile=profile, seed=seed, generator=generator, device=device)  # fmt: skip
Remarks(facenb.load_generator(generator, device))(f"photographs need real-looking faces: this notebook goes on with {DEFAULT}.")  # fmt: skip
G = facenb.load_generator(DEFAULT, device)
fast = G.variant(precision=torch.bfloat16)
scorers, identity = facenb.load_scorers(framing=G.framing), facenb.load_identity(framing=G.framing)
boundaries = facenb.load_editors("interfacegan", G.name)
linear = boundaries.in_layers(0, G.w_layers)  # the same edit in all layers of W+

# %% [markdown]
# ## Question
#
# All other notebooks edit faces that the generator made. Does the latent space hold *your* face too, and
# do the directions that were learned on generated faces edit it?
#
# An inversion has two aims, and they conflict. **Distortion**: the image of the latent should be the photograph.
# **Editability**: the latent should lie where edits work. W+, one latent for each of the 23 layers, can show
# more than W, and much of what it can show is no face at all.
#
# ## What the papers say
#
# 1. **InterFaceGAN, section 5.** An optimised latent reconstructs better than an encoder's, and is edited
#    worse; in W+ of StyleGAN inversion and edits work best (Figure 10). A generator that was trained
#    together with its encoder (LIA) keeps both (Figure 11).
# 2. **Image2StyleGAN.** Optimisation in W+ reconstructs any image; in Z and W it does not.
# 3. **Pivotal tuning.** Take an editable latent, and change the *generator* around it until it shows the
#    photograph.
# 4. **The authors' overview.** An edit can be distilled into an image-to-image network: first the identity map, then the
#    edit; interpolated weights give all strengths. It does not work for pose.
#
# ## What the code says
#
# | | the papers | here |
# |---|---|---|
# | the encoder | LIA's, trained with the generator | ridge regression from frozen features, on 1,800 generated faces (`scripts/train_encoder.py`) |
# | the loss | pixels and VGG features | pixels, VGG distance (HED), SFace, and 478 landmarks |
# | editable | a regulariser of W+ (StyleGAN) | pulled towards W's mean in units of its covariance, and the layers towards each other |
# | steps | 1,000 to 5,000 | 16 to 120, on images of 256 pixels |
# | tuning | 350 steps, LPIPS | 4 to 20 steps at 512 pixels, VGG distance (HED); the styles stay as they are |
# | LIA | 128 pixels and more, adversarial, an invertible network | 64 pixels, errors of pixels alone, a linear invertible map |
#
# **What this must not be used for.** To show people doing or being what they did not do or are not, to
# pass an edited image off as a photograph, to deceive a check of identity, or to judge anyone by what the scores say. Edit
# your own face, or ask. The photograph here is of Eileen Collins, by NASA, in the public domain. Nothing leaves the
# machine.

# %% [markdown]
# ## Run
#
# ### The face, cut out as FFHQ cuts faces out
#
# A detector finds the face, a mesh of 478 points gives eyes and mouth, and the square follows from them.

# %%
photograph = Photograph(G, asset_path("astronaut/astronaut.png"))
target = photograph.aligned.image
shown = torch.stack([F.interpolate(photograph.aligned.photo, (512, 512)), F.avg_pool2d(target, 2)], 1)  # fmt: skip
folder.save(image_grid(shown, column_labels=["photograph", "aligned"]), "aligned", "The photograph and its face, aligned as FFHQ's are", photo=True)  # fmt: skip

# %% [markdown]
# ### Figure 10: Z, W and W+, the encoder, and tuning
#
# The same number of steps in each space, from the mean of W (in Z from the nearest of 64 samples); the encoder alone; W+
# from the encoder's latent, which is *both*; and the generator tuned around that latent.
#
# Distortion, and what three edits by the boundaries of notebook 02 do. *SFace cosine*: above .54 it is the same person
# (one pair in a thousand of different generated faces lies above). VGG distance, SFace and landmarks are in the loss, so
# that they flatter the optimisation; *faceres* is a second net that is not. The edits' columns: change of the score
# from the negative strength to the positive, and the lowest SFace cosine of an edited face with the photograph.

# %%
STEPS, LONG, TUNE = (2, 3, 1) if smoke else (40, 120, 20)
found = {f"{space.upper()}, {STEPS} steps": invert(fast, target, space, steps=STEPS) for space in ("z", "w", "w+")}  # fmt: skip
found["encoder"] = photograph.encoded
both = f"encoder, {LONG} steps"
found[both] = invert(fast, target, "w+", photograph.encoded, steps=LONG)
found = {name: G.map(codes, "w+") for name, codes in found.items()}
bent = tuned(G, target, found[both], TUNE)
ways = {name: (fast, codes) for name, codes in found.items()}
ways["tuned"] = bent.variant(precision=torch.bfloat16), found[both]
EDITS = {name: (linear[name], (-3.0, 3.0)) for name in (["age"] if smoke else ["age", "smile", "yaw"])}  # fmt: skip
near, moved = Reconstruction(target, identity), Editability(scorers, identity, target, EDITS)
rows = {name: {k: float(v) for k, v in (near(*way) | moved(*way)).items()} for name, way in ways.items()}  # fmt: skip
table = pd.DataFrame(rows).T
for column in (VGG, SFACE, PSNR):
    folder.number(f"F10 {column}", table[column].to_dict())
folder.table(table, "F10_inversion", "Distortion and editability of each inversion of the photograph")  # fmt: skip

# %%
SHOWN = {"inverted": ("age", 0.0), "older": ("age", 3.0), "serious": ("smile", -3.0), "glasses": ("glasses", 3.5), "turned": ("yaw", 4.0)}  # fmt: skip
rows = []
for network, codes in ways.values():
    edited = [linear[name].edit(codes, strength) for name, strength in SHOWN.values()]
    drawn = torch.cat([F.avg_pool2d(target, 4), *(images_of(network, e) for e in edited)])  # fmt: skip
    rows.append(drawn)
F10 = image_grid(torch.stack(rows), row_labels=list(ways), column_labels=["photograph", *SHOWN], cell=1.6)  # fmt: skip
folder.save(F10, "F10_inversion", "Z and the encoder show another person, W+ keeps the likeness; tuned is nearest by VGG distance, its edits soft and striped", photo=True)  # fmt: skip

# %% [markdown]
# ### Distortion against editability, on faces whose latent is known
#
# Of a generated face the true latent is known, and so is its edit. 16 faces, inverted in every way in 16 steps (tuning: 4);
# then the same edit (age, 3 each way) of the true latent and of each inversion. *VGG distance to the true edit* is what
# matters: is the edited inversion the edited face? The 16 take a quarter of an hour, so their latents and measures ship
# (`python -m scripts.invert_known` makes them again), and one of them, by chance, is inverted and measured again here.
# Their true latents are of W, where a photograph's is not: W has an advantage here that it does not have in Figure 10.

# %%
known = load_known(G)
count = len(known.latents[TRUE])
which = int(torch.randint(count, (1,), generator=torch.Generator().manual_seed(seed)))
if not smoke:
    again = invert_known(G, which, ways=(BOTH,))[1][BOTH]
    apart = {name: abs(float(value - known.measured[BOTH][name][which])) for name, value in again.items()}  # fmt: skip
    print(f"face {which} again:", ", ".join(f"{name} off by {value:.3f}" for name, value in apart.items()))  # fmt: skip
    assert apart[SFACE] < 0.05 and apart[VGG] < 0.3
rows = {way: {name: "{:.2f} ({:.2f} to {:.2f})".format(*map(float, bootstrap(value, draws=sizes.bootstrap)))
              for name, value in measured.items()} for way, measured in known.measured.items()}  # fmt: skip
strict = facenb.data.load_json("identity_threshold.json")["psi"]["0.7"]["threshold"]
same = {way: int((m[SFACE] > strict).sum()) for way, m in known.measured.items()}
folder.number("known latents: same person, of 16", same)
for column in (VGG, TRUTH, KEPT):
    folder.number(f"known latents: {column}", {way: float(m[column].mean()) for way, m in known.measured.items()})  # fmt: skip
folder.table(pd.DataFrame(rows).T, "known_latents", f"Mean and 95 % bootstrap interval over {count} generated faces")  # fmt: skip

# %%
FEW = 1 if smoke else 4
with torch.no_grad():
    originals = images_of(fast, known.latents[TRUE], 512)
    known.latents[ENCODED] = load_encoder(G.name)(originals)
columns = {way: images_of(fast, codes[:FEW]) for way, codes in known.latents.items()}
columns |= {f"{way},\nolder": images_of(fast, linear["age"].edit(known.latents[way][:FEW], 3.0))
            for way in (TRUE, ENCODED, IN_W, BOTH)}  # fmt: skip
order = [TRUE, "Z", ENCODED, IN_W, BOTH, *(way for way in columns if "older" in way)]
grid = torch.stack([columns[way] for way in order], 1)
folder.save(image_grid(grid, column_labels=[way.replace(", then", ",\nthen") for way in order], cell=1.1), "known_latents", "Generated faces, their inversions, and the same edit of each: W and W+ age nearly as the true latent does", photo=True)  # fmt: skip

# %% [markdown]
# ### Every method edits the photograph
#
# The editors of notebooks 02, 06 and 07, on the latent of *both*. Transformer and SGF were learned on latents of W: each
# layer's latent is edited as if it were alone, and SGF scores the image of each.

# %%
field = load_fields("sgf_attributes", G.name)[0]["w"]
observe = observer_of(fast, scorers_for(fast, field.names_), "w")
ASKED = {"age": 1, "smile": -1, "glasses": 1}
METHODS = {
    "linear": (boundaries, 3.0),
    "linear, conditioned": (boundaries.condition(list(ASKED), ["gender", "yaw"]), 3.0),
    "transformer": (facenb.load_editors("transformers", G.name), 1.25),
    "SGF": (sgf_editors(field, observe, list(ASKED), "w"), 3.0),
}  # fmt: skip
rows, scored = [], {}
with torch.no_grad():
    plain = images_of(fast, found[both], 512)
    for method, (editors, strength) in METHODS.items():
        layered = editors.in_layers(0, G.w_layers)
        codes = [layered[name].edit(found[both], sign * strength) for name, sign in ASKED.items()]
        rows.append(torch.cat([plain, *(images_of(fast, code, 512) for code in codes)]))
        change = scorers(F.avg_pool2d(rows[-1], 2))
        scored[method] = {name: float((change[i + 1] - change[0])[scorers.names.index(name)]) for i, name in enumerate(ASKED)}  # fmt: skip
        scored[method][KEPT] = float((identity(rows[-1][1:]) @ identity(F.avg_pool2d(target, 2)).T).min())  # fmt: skip
folder.table(pd.DataFrame(scored).T, "methods", "Change of each score by its edit, and the lowest SFace cosine with the photograph")  # fmt: skip
grid = image_grid(torch.stack(rows), row_labels=list(METHODS), column_labels=["inverted", "older", "serious", "glasses"])  # fmt: skip
folder.save(grid, "methods", "One photograph, four methods: linear and SGF add glasses to older; the transformer's serious opens the mouth", photo=True)  # fmt: skip

# %% [markdown]
# ### Back into the photograph
#
# The edited face is matched in colour, as the face without the edit has to be for the photograph's colours,
# and laid over it where the mask sees a person. Full size; the face without an edit shows what inversion, tuning
# and pasting alone change.

# %%
photograph.latents, photograph.generator = found[both], bent
ends = [photograph.aligned.photo]
for edit in ({}, {"age": 3.0}, {"smile": -3.0}):
    ends.append(photograph.pasted(photograph.edited(edit, ["glasses"], boundaries)))
grid = image_grid(torch.cat(ends), 2, row_labels=["photograph;\ntuned, no edit", "older;\nserious"], cell=4.65)  # fmt: skip
folder.save(grid, "pasted", "Photograph, and no edit; older and serious with glasses held: softer than the photograph, hair striped", photo=True)  # fmt: skip

# %% [markdown]
# ### Figure 11: an encoder and a decoder trained together
#
# A small one: images of 64 pixels, $z$ of 128, learned from 4,000 of the samples whose scores ship. Its latents have
# boundaries as W has. It is compared with two encoders that were learned afterwards: one for its own decoder, and the
# FFHQ generator's.

# %%
SAMPLES, LEARN, PAIRS, DISTIL = (128, 4, 4, 2) if smoke else (4000, 1000, 256, 300)
samples = load_samples(G, scorers, SAMPLES, "w", check=False)
together, afterwards, z = learn_from(fast, samples.latents, LEARN)
learned = InterFaceGAN(sizes.confident, seed=seed).fit(together, ScoredSamples(z, samples.scores, samples.names))  # fmt: skip
in_w = InterFaceGAN(sizes.confident, seed=seed).fit(G, samples)
NAMES = ["yaw", "smile", "gender", "age", "glasses", "long_hair"]
separated = {where: {n: m.boundaries_[n].accuracy_["validation"] for n in NAMES} for where, m in {"trained together, z": learned, "FFHQ, W": in_w}.items()}  # fmt: skip
folder.number("F11 separation", {where: sum(v.values()) / len(v) for where, v in separated.items()})
folder.table(pd.DataFrame(separated), "F11_separation", f"Validation accuracy of boundaries from {SAMPLES} samples")  # fmt: skip

# %%
images = torch.cat([F.avg_pool2d(originals, 8), F.avg_pool2d(target, 16)])
with torch.no_grad():
    drawn = {"trained together": together.synthesize(together.encode(images)), "encoder afterwards": afterwards.synthesize(afterwards.encode(images)),
             "FFHQ, encoder afterwards": torch.cat([fast.synthesize(c, size=64) for c in (*known.latents[ENCODED], photograph.encoded)])}  # fmt: skip
rows = {}
for name, values in drawn.items():
    error = 10 * torch.log10(4 / (values - images).square().mean((1, 2, 3)))
    cosine = (identity(values) * identity(images)).sum(1)
    rows[name] = {f"{what}, {whose}": float(v) for what, values in ((PSNR, error), (SFACE, cosine))
                  for whose, v in (("generated", values[:-1].mean()), ("photograph", values[-1]))}  # fmt: skip
F11 = pd.DataFrame(rows).T
folder.number("F11 PSNR, generated", F11[f"{PSNR}, generated"].to_dict())
folder.table(F11, "F11_reconstruction", f"At 64 pixels: {len(images) - 1} generated faces, and the photograph")  # fmt: skip

# %%
few = torch.tensor([len(images) - 1, 0, 1])
codes, columns = together.encode(images[few]), {"image": images[few], "together": drawn["trained together"][few]}  # fmt: skip
for label, (name, strength) in {"older": ("age", 3.0), "serious": ("smile", -3.0), "glasses": ("glasses", 3.0), "turned": ("yaw", 3.0)}.items():  # fmt: skip
    columns[label] = together.synthesize(learned.editors()[name].edit(codes, strength))
columns |= {"encoder\nafterwards": drawn["encoder afterwards"][few], "FFHQ,\nencoder": drawn["FFHQ, encoder afterwards"][few]}  # fmt: skip
columns["sampled"] = together.synthesize(together.sample(3, seed + 3))
grid = image_grid(torch.stack(list(columns.values()), 1), column_labels=list(columns), cell=1.0)  # fmt: skip
folder.save(grid, "F11_encoder_decoder", "Trained together at 64 px: blurred likenesses, edits by its own boundaries, and samples", photo=True)  # fmt: skip

# %% [markdown]
# ### An edit without a latent: distillation
#
# A network of images, 128 pixels. First the identity map, then *serious* (less *smile*) from pairs of generated faces;
# weights interpolated between the two give the strengths between. The same with *age* (glasses held), which changes hair
# and skin everywhere, and with *yaw*, which has to move what a convolution can only repaint. The authors' network is
# larger and trained for longer; what a few hundred steps on 256 pairs give is a beginning of each edit, and a blur.

# %%
held = boundaries.condition("age", ["glasses"])
LEARNED = {"smile": (boundaries["smile"], -3.0), "age": (held["age"], 3.0), "yaw": (boundaries["yaw"], 3.0)}  # fmt: skip
pairs, unseen = (G.truncate(G.sample(n, seed + k, "w"), 0.7) for n, k in ((PAIRS, 1700), (16, 1701)))  # fmt: skip
distilled = distill_from(fast, LEARNED, pairs, DISTIL)
with torch.no_grad():
    inputs = torch.cat([fast.synthesize(code, size=128) for code in unseen])
    truth = {name: torch.cat([fast.synthesize(code, size=128) for code in e.edit(unseen, s)]) for name, (e, s) in LEARNED.items()}  # fmt: skip
rows = {}
for name, images in truth.items():
    column, edited = scorers.names.index(name), distilled(name, inputs)
    change = [scorers(values)[:, column] - scorers(inputs)[:, column] for values in (images, edited)]  # fmt: skip
    rows[name] = {"PSNR to the edit": 10 * torch.log10(4 / (edited - images).square().mean()), "PSNR of the unedited": 10 * torch.log10(4 / (inputs - images).square().mean()),
                  "change of the score": change[1].mean(), "change by the edit itself": change[0].mean()}  # fmt: skip
D = pd.DataFrame(rows).T.astype(float)
folder.number("distilled", {f"{name}, {key}": float(v) for name, row in rows.items() for key, v in row.items()})  # fmt: skip
folder.table(D, "distilled", f"Distilled edits on {len(inputs)} unseen faces")

# %%
faces = torch.cat([F.avg_pool2d(target, 8), inputs[:3]])
columns = {"image": faces} | {f"serious,\n{a:g}": distilled("smile", faces, a) for a in (0.0, 0.5, 1.0, 1.5)}  # fmt: skip
for name, label in {"smile": "serious", "age": "older", "yaw": "turned"}.items():
    if name != "smile":
        columns[f"{label},\n1"] = distilled(name, faces)
    own = fast.synthesize(linear[name].edit(found[both], LEARNED[name][1]), size=128).detach()
    columns[f"{label},\nthe edit"] = torch.cat([own, truth[name][:3]])
grid = image_grid(torch.stack(list(columns.values()), 1), column_labels=list(columns), cell=1.1)  # fmt: skip
folder.save(grid, "distilled", "After so few steps serious blurs the face, older shifts colours, turned smears the face", photo=True)  # fmt: skip

# %% [markdown]
# ## Check

# %%
vgg, cosine = table[VGG], table[SFACE]
reached = D["change of the score"] / D["change by the edit itself"]
mean = {way: {name: float(v.mean()) for name, v in m.items()} for way, m in known.measured.items()}
lines = [
    f"**Photograph.** Encoder and optimisation: VGG distance {vgg[both]:.2f}, SFace cosine {cosine[both]:.2f}; the encoder alone {vgg['encoder']:.2f} and {cosine['encoder']:.2f}; tuning brings the VGG distance to {vgg['tuned']:.2f}.",
    f"**Known latents.** {same[BOTH]} of {count} faces are the same person after encoder and optimisation, {same[ENCODED]} by the encoder alone, {same[IN_W]} after optimisation in W (threshold at ψ = 0.7: {strict:.2f}).",
    f"The edit of the inversion is at VGG distance {mean[ENCODED][TRUTH]:.2f} from the true edit by the encoder alone, {mean[BOTH][TRUTH]:.2f} after optimisation, {mean[TUNED][TRUTH]:.2f} after tuning; in W {mean[IN_W][TRUTH]:.2f}.",
    f"**Trained together.** Boundaries separate {100 * sum(separated['trained together, z'].values()) / len(NAMES):.0f} % there, {100 * sum(separated['FFHQ, W'].values()) / len(NAMES):.0f} % in W.",
    f"**Distilled** in {DISTIL} steps, fraction of the edit's change of score: " + ", ".join(f"{name} {value:.2f}" for name, value in reached.items()) + ". Expressions and age are hardly learned; of pose the score moves most, and the face is smeared.",
]  # fmt: skip
display(Markdown("\n\n".join(lines)))
claims = {
    "VGG distance of the photograph, W+ over W (papers: lower)": vgg[f"W+, {STEPS} steps"] / vgg[f"W, {STEPS} steps"],
    "VGG distance to the true edit, optimised in W+ over the encoder's (paper: higher)": mean[BOTH][TRUTH] / mean[ENCODED][TRUTH],
    "VGG distance to the photograph, tuned over not (paper: lower)": vgg["tuned"] / vgg[both],
    "PSNR, trained together less encoder afterwards, dB (paper: higher)": F11.loc["trained together", f"{PSNR}, generated"] - F11.loc["encoder afterwards", f"{PSNR}, generated"],
}  # fmt: skip
folder.number("claims", {claim: float(value) for claim, value in claims.items()})
print("\n".join(f"{value:+6.2f}  {claim}" for claim, value in claims.items()))
if not smoke:
    assert cosine[both] > identity.threshold and vgg[both] < vgg["encoder"]
    assert vgg[f"W+, {STEPS} steps"] < vgg[f"W, {STEPS} steps"] < vgg[f"Z, {STEPS} steps"]
    assert vgg["tuned"] < vgg[both] and same[BOTH] >= 15

# %% [markdown]
# ## Try it
#
# The live editor on inverted latents: the photograph's, then those of the generated faces. Below it, your own: upload
# a photograph with one face, or take the astronaut. The file goes to the machine that runs this notebook, and no further.
# From the command line: `python -m facenb.photos edit PHOTO --age 3 --hold glasses --out OUT.jpg`
#
# ![before and after](../figures/10_photographs/pasted.jpg)

# %%
from facenb.latents import Latents
from facenb.widgets.explorer import Explorer

own = Latents(torch.cat([found[both].values, known.latents[BOTH].values]), "w+")
Explorer(G, boundaries.select(["smile", "age", "glasses", "yaw", "gender", "long_hair"]), latents=own)  # fmt: skip

# %%
from facenb.widgets.photo import PhotoEditor

PhotoEditor(G, boundaries.select(["smile", "age", "glasses", "yaw", "gender"]))

# %% [markdown]
# ## Exercises
#
# 1. Set `weights` of `Inversion` to `PLAIN` (pixels alone). What is lost first: the likeness, or the
#    edits?
# 2. Give `Weights(mean=0, layers=0)`. The reconstruction gets better. What does *older* do to it?
# 3. Tune for 100 steps in place of 20. When do the edits begin to look painted on?
# 4. Edit the layers 0 to 8 alone: `boundaries["yaw"]` by `boundaries.in_layers(0, 8)["yaw"]`.
# 5. Extrapolate the distilled weights to 2 and to −1. Is −1 a broader smile?
