"""The GPU kernels without a GPU: executed by Triton's interpreter, and compiled for real devices.

Triton decides at import whether it interprets, so each half runs this file as a program of its own
and reports in JSON what it measured.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from facenb.penalties import MOST_DRAWS, use_triton, variance_over_draws

CASES = [
    *itertools.product(range(2, 9), ("max", "mean"), (300,), ("float32",)),
    *itertools.product((2, 3), ("max", "mean"), (1, 64, 2500), ("float32",)),
    *itertools.product((2, 5), ("max", "mean"), (300,), ("float16", "bfloat16")),
]
# of gradients: those of half precision are rounded to it
ROUNDING = {"float32": 1e-5, "float16": 2**-11, "bfloat16": 2**-8}
DEVICES = (75, 90)  # compute capabilities: Turing, Hopper
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is installed on Linux only"
)


def name_of(case: tuple) -> str:
    return "-".join(map(str, case))


def ends_of(draws: int, size: int, dtype: str = "float32", samples: int = 3) -> Tensor:
    """Images' values with second differences a thousand times smaller, as they are at ε = 0.1."""
    random = torch.Generator().manual_seed(draws * size)
    middle = torch.rand(1, 1, samples, size, generator=random) * 2 - 1
    step = 1e-3 if dtype == "float32" else 0.1
    noise = step * torch.randn(2, draws, samples, size, generator=random)
    return (middle + noise).to(getattr(torch, dtype))


def compared(fused, ends: Tensor, reduction: str) -> tuple[float, float]:
    """Relative differences of value and gradient to plain torch in float64."""
    ours, exact = (e.detach().clone().requires_grad_() for e in (ends, ends.double()))
    values, truth = fused(ours, reduction), variance_over_draws(exact, reduction)
    weights = torch.linspace(1, 2, len(values), device=ends.device)
    (values * weights).sum().backward()
    (truth * weights).sum().backward()
    assert values.dtype == torch.float32 and ours.grad.dtype == ends.dtype
    value = ((values - truth).abs() / truth.abs()).max()
    gradient = (ours.grad.double() - exact.grad).norm() / exact.grad.norm()
    return value.item(), gradient.item()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory):
    """What one of the programs below prints, run once."""
    found: dict[str, dict] = {}

    def run(program: str, **variables: str) -> dict:
        if program not in found:
            cache = str(tmp_path_factory.mktemp("triton"))
            done = subprocess.run(
                [sys.executable, __file__, program],
                env=os.environ | {"TRITON_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"} | variables,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, done.stderr
            found[program] = json.loads(done.stdout)
        return found[program]

    return run


@pytest.fixture
def interpreted(report) -> dict:
    return report("interpret", TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_values_and_gradients_in_the_interpreter(interpreted: dict, case: tuple) -> None:
    value, gradient = interpreted["cases"][name_of(case)]
    assert value < 1e-5
    assert gradient < ROUNDING[case[-1]]


@needs_triton
def test_the_interpreter_ran_the_kernels_code(interpreted: dict) -> None:
    assert interpreted["kernels"] == ["InterpretedFunction"] * 2


@needs_triton
def test_a_tie_goes_to_the_first_element(interpreted: dict) -> None:
    assert interpreted["tie within a block"] == [5]
    assert interpreted["tie between blocks"] == [40]


@needs_triton
def test_nan_reaches_the_caller_and_equal_ends_have_no_gradient(interpreted: dict) -> None:
    assert interpreted["nan max"] == [False, True, False]
    assert interpreted["nan mean"] == [False, True, False]
    assert interpreted["equal ends"] == [0.0, 0.0]


@needs_triton
def test_the_penalty_is_the_same_through_the_kernel(interpreted: dict) -> None:
    for value, gradient, launched in interpreted["penalty"]:
        assert value < 1e-5
        assert gradient < 1e-5
        assert launched == ["_forward", "_forward", "_backward", "_backward"], "two activations"


@needs_triton
def test_the_kernels_compile_for_real_devices(report) -> None:
    compiled = report("compile", TRITON_INTERPRET="0")
    assert set(compiled) == {str(capability) for capability in DEVICES}
    for sizes in compiled.values():
        assert len(sizes) == 12 and min(sizes) > 1000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_and_gradients_on_cuda() -> None:
    for draws, reduction, size, dtype in CASES:
        ends = ends_of(draws, size, dtype).cuda()
        assert use_triton(ends), "is there a C compiler?"
        value, gradient = compared(variance_over_draws, ends, reduction)
        assert value < 1e-5
        assert gradient < ROUNDING[dtype]


def test_plain_torch_serves_where_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    ends = ends_of(2, 10)
    assert not use_triton(ends), "on the CPU"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert use_triton(ends) == (importlib.util.find_spec("triton") is not None)
    assert not use_triton(ends.double()), "the kernel accumulates in float32"
    assert not use_triton(ends_of(MOST_DRAWS + 1, 10)), "too many draws to hold"


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_plain_torch_by_hand(reduction: str) -> None:
    # sums of the ends over three draws: (0, 3, 6) and (1, 1, 4), of variance 9 and 3
    plus = torch.tensor([[[0.0, 1.0]], [[2.0, 0.0]], [[3.0, 3.0]]], requires_grad=True)
    minus = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]], [[3.0, 1.0]]])
    value = variance_over_draws(torch.stack([plus, minus]), reduction)
    assert value.tolist() == [9.0 if reduction == "max" else 6.0]
    value.sum().backward()
    slopes = torch.tensor([[-3.0, -1.0], [0.0, -1.0], [3.0, 2.0]])  # s − mean, times 2 / (3 − 1)
    chosen = torch.tensor([1.0, 0.0]) if reduction == "max" else torch.tensor([0.5, 0.5])
    assert torch.allclose(plus.grad[:, 0], slopes * chosen)


def test_importing_facenb_imports_no_triton(repository: Path) -> None:
    program = "import sys, facenb.penalties.kernels; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
    importers = {
        path.parent.name
        for path in (repository / "facenb").rglob("*.py")
        if "import triton" in path.read_text()
    }
    assert importers == {"kernels"}


def _interpret() -> dict:
    """In a process with TRITON_INTERPRET=1."""
    from triton.runtime.interpreter import GridExecutor

    import facenb.penalties.kernels
    from facenb.penalties import hessian_penalty
    from facenb.penalties.kernels import second_difference as kernel

    fused = kernel.variance_over_draws
    found: dict = {"kernels": [type(k).__name__ for k in (kernel._forward, kernel._backward)]}
    found["cases"] = {
        name_of((k, reduction, size, dtype)): compared(fused, ends_of(k, size, dtype), reduction)
        for k, reduction, size, dtype in CASES
    }

    for label, twins, size in (
        ("within a block", (5, 17), 40),
        ("between blocks", (40, 2000), 2100),
    ):
        ends = torch.zeros(2, 2, 1, size)
        ends[0, 1, 0, list(twins)] = 1.0
        fused(ends.requires_grad_(), "max").sum().backward()
        found[f"tie {label}"] = ends.grad[0, 1, 0].nonzero().flatten().tolist()

    broken = ends_of(3, 300)
    broken[1, 2, 1, 250] = float("nan")
    for reduction in ("max", "mean"):
        found[f"nan {reduction}"] = fused(broken, reduction).isnan().tolist()
    same = ends_of(2, 300)[:, :1].expand(2, 4, 3, 300).clone().requires_grad_()
    value = fused(same, "max")
    value.sum().backward()
    found["equal ends"] = [float(value.detach().abs().max()), float(same.grad.abs().max())]

    launched: list[str] = []
    execute = GridExecutor.__call__

    def counted(grid: GridExecutor, *arguments: object, **named: object) -> None:
        launched.append(grid.fn.__name__)
        execute(grid, *arguments, **named)

    GridExecutor.__call__ = counted
    found["penalty"] = []
    for reduction in ("max", "mean"):
        torch.manual_seed(0)
        layer, x = torch.nn.Linear(4, 70), torch.randn(3, 4)

        def f(z: Tensor, layer: torch.nn.Module = layer) -> list[Tensor]:
            return [layer(z).tanh(), layer(z).sin().view(-1, 7, 10)]

        launched.clear()
        ours = hessian_penalty(f, x, 3, reduction=reduction, seed=0)
        gradient = torch.autograd.grad(ours, layer.weight)[0]
        ran, chosen = list(launched), facenb.penalties.kernels.use_triton
        facenb.penalties.kernels.use_triton = lambda values: False
        theirs = hessian_penalty(f, x, 3, reduction=reduction, seed=0)
        facenb.penalties.kernels.use_triton = chosen
        wanted = torch.autograd.grad(theirs, layer.weight)[0]
        relative = float((gradient - wanted).norm() / wanted.norm())
        found["penalty"].append([abs(ours.item() / theirs.item() - 1), relative, ran])
    return found


def _compile() -> dict:
    """Every kind of variant to a device's binary, with no such device at hand: their sizes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from facenb.penalties.kernels import second_difference as kernel

    names = ("DRAWS", "PADDED", "BLOCK", "LARGEST")
    found: dict = {capability: [] for capability in DEVICES}
    for capability, (draws, dtype), largest, function in itertools.product(
        DEVICES,
        ((2, "fp32"), (5, "fp16"), (3, "bf16")),
        (True, False),
        (kernel._forward, kernel._backward),
    ):
        forward = function is kernel._forward
        signature = {"ends": f"*{dtype}"}
        signature |= (
            {"values": "*fp32"} if forward else {"gradient": f"*{dtype}", "upstream": "*fp32"}
        )
        signature |= {"places": "*i32", "samples": "i32", "size": "i32"}
        constants = dict(zip(names, (draws, *kernel._shape(draws), largest), strict=True))
        if draws == 3:  # Triton makes an argument that is 1 a constant
            constants["samples"] = 1
        signature |= dict.fromkeys(constants, "constexpr")
        source = ASTSource(function, signature, constants)
        built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        found[capability].append(len(built.asm["cubin"]))
    return found


if __name__ == "__main__":
    print(json.dumps({"interpret": _interpret, "compile": _compile}[sys.argv[1]]()))
