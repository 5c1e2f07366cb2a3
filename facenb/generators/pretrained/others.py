"""Generators that are known by name and not taken, so that an error can say what a file is."""

from __future__ import annotations

from facenb.generators.pretrained.layouts import State


def title_of(state: State) -> str | None:
    """What network a state belongs to, where it is one of those; None elsewhere."""
    if "synthesis.input.weight" in state:
        layers = [key for key in state if key.startswith("synthesis.L") and key.endswith(".weight")]
        sides = {state[key].shape[-1] for key in layers if state[key].ndim == 4}
        kind = "StyleGAN3-r" if sides == {1} else "StyleGAN3-t" if 3 in sides else "StyleGAN3"
        return f"{kind} of NVlabs/stylegan3 (alias-free: another synthesis network)"
    if "synthesis.early_layer.const" in state or "mapping.dense0.weight" in state:
        return "a StyleGAN or StyleGAN2 in the later layout of genforce/genforce"
    if "layer0.weight" in state and "output0.weight" in state:
        return "a PGGAN in the later layout of genforce/genforce"
    if any(key.startswith("encoder.") for key in state):
        return "an encoder without its decoder"
    return None
