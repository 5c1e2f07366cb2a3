"""The penalties on functions whose Hessian and Jacobian are known, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.penalties import plain_step, step
from facenb.errors import UnknownNameError
from facenb.penalties import (
    exact_hessian_penalty,
    exact_orojar,
    hessian_penalty,
    hessian_penalty_limit,
    orojar,
    rademacher,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64)


def product(z: Tensor) -> Tensor:
    return z[:, 0] * z[:, 1]


def square_product(z: Tensor) -> Tensor:
    return z[:, 0] ** 2 * z[:, 1]


def network(inputs: int = 5, outputs: int = 7) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, outputs)).double()


def published(f, x, directions, epsilon, orojar=False):
    """The published formulas, one call a point, 2k + 1 (or k + 1) of them: (N, M) variances."""
    middle = f(x)
    if orojar:
        slopes = torch.stack([(f(x + epsilon * v) - middle) / epsilon for v in directions])
        return slopes.square().sum(dim=2).var(dim=0)
    second = [(f(x + epsilon * v) - 2 * middle + f(x - epsilon * v)) for v in directions]
    return (torch.stack(second) / epsilon**2).var(dim=0)


def test_closed_forms():
    z = normal(6, 2)
    assert float(exact_hessian_penalty(product, z)) == 4  # 2·(1² + 1²)
    truth = 16 * z[:, 0].square()  # 2·2·(2 z0)²
    assert torch.allclose(exact_hessian_penalty(square_product, z), truth.mean(), rtol=1e-14)
    # two draws either agree (0) or differ by 4 in vᵀHv: half of 4² is 8, and 4 is the mean
    values = {round(float(hessian_penalty(product, z[:1], seed=seed)), 9) for seed in range(20)}
    assert values == {0.0, 8.0}
    many = hessian_penalty(product, z, k=4000, seed=0)
    assert float(many) == pytest.approx(4, rel=0.02)
    both = hessian_penalty(lambda p: [product(p), square_product(p)], z, k=4000, seed=0)
    assert float(both) == pytest.approx(4 + float(truth.mean()), rel=0.02)
    one = z[:1].expand(6, 2)
    for reduction in ("max", "mean"):  # outputs of one sample reduced, then the batch averaged
        pair = exact_hessian_penalty(
            lambda p: torch.stack([product(p), 0 * p[:, 0]], 1), one, reduction
        )
        assert float(pair) == (4 if reduction == "max" else 2)


def test_a_sum_of_functions_of_one_input_is_zero_for_every_draw():
    def separable(z: Tensor) -> Tensor:
        return torch.stack([z.pow(4).sum(dim=1) + z[:, 0].exp(), z.sin().sum(dim=1)], dim=1)

    z = normal(3, 4)
    for seed in range(20):
        for epsilon in (0.1, 1.0):
            assert float(hessian_penalty(separable, z, epsilon=epsilon, seed=seed)) < 1e-24
        assert float(hessian_penalty_limit(separable, z, seed=seed)) < 1e-24
    assert float(exact_hessian_penalty(separable, z)) == 0
    assert float(exact_orojar(separable, z)) > 1e-3


def test_linear_maps_have_no_hessian_penalty_and_a_known_orojar():
    weight = torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]], dtype=torch.float64)

    def linear(z: Tensor) -> Tensor:
        return z @ weight.T

    z = normal(4, 2)
    assert float(hessian_penalty(linear, z, seed=0)) < 1e-24
    assert float(exact_hessian_penalty(linear, z)) == 0
    inner = float(weight[:, 0] @ weight[:, 1])  # −1
    assert float(exact_orojar(linear, z)) == pytest.approx(4 * inner**2, rel=1e-14)
    # ‖Wv‖² = constant + 2 v0 v1 · inner: as with the product, 0 or 8·inner²
    values = {round(float(orojar(linear, z[:1], seed=seed)), 8) for seed in range(20)}
    assert values == {0.0, 8 * inner**2}
    rotation = torch.linalg.qr(normal(5, 5))[0]
    assert float(orojar(lambda p: p @ rotation, normal(4, 5), k=8, seed=0)) < 1e-24
    assert float(exact_orojar(lambda p: p @ rotation, normal(4, 5))) < 1e-24


@pytest.mark.parametrize("k", [2, 3, 8])
def test_the_middle_cancels_value_and_gradient(k: int):
    f, x = network(), normal(4, 5)
    directions = rademacher(k, x, 7)
    for reduction in ("max", "mean"):
        variances = published(f, x, directions, 0.1)
        theirs = (variances.amax(dim=1) if reduction == "max" else variances.mean(dim=1)).mean()
        ours = hessian_penalty(f, x, k, 0.1, reduction, seed=7)
        assert torch.allclose(ours, theirs, rtol=1e-9)
        wanted = torch.autograd.grad(theirs, list(f.parameters()), allow_unused=True)
        given = torch.autograd.grad(ours, list(f.parameters()), allow_unused=True)
        for a, b in zip(given[:-1], wanted[:-1], strict=True):  # the last bias: rounding alone
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-12)
    theirs = published(f, x, directions, 0.1, orojar=True).mean()
    assert torch.allclose(orojar(f, x, k, 0.1, seed=7), theirs, rtol=1e-12)


def test_the_mean_over_draws_is_the_off_diagonal_sum():
    matrix = normal(4, 4)
    matrix = matrix + matrix.T
    point = normal(1, 4, seed=1).expand(500, 4)  # a sample for each pair of draws

    def quadratic(z: Tensor) -> Tensor:
        return torch.einsum("ni,ij,nj->n", z, matrix, z) / 2

    def curved(z: Tensor) -> Tensor:
        return z @ matrix

    off = matrix.square().sum() - matrix.diagonal().square().sum()
    gram = matrix.T @ matrix
    off_gram = gram.square().sum() - gram.diagonal().square().sum()
    assert torch.allclose(exact_hessian_penalty(quadratic, point[:2]), 2 * off)
    assert torch.allclose(exact_orojar(curved, point[:2]), 2 * off_gram)
    for estimate, f, truth in (
        (hessian_penalty, quadratic, 2 * off),
        (hessian_penalty_limit, quadratic, 2 * off),
        (orojar, curved, 2 * off_gram),
    ):
        means = torch.stack([estimate(f, point, seed=seed) for seed in range(40)])
        error = means.std() / 40**0.5
        assert abs(means.mean() - truth) < 3 * error, estimate.__name__
        assert error < 0.05 * truth


def test_the_bias_of_a_finite_step_on_a_quartic():
    """z0·z1³: the second difference along ±1 is 6 z0 z1 + v0 v1 (6 z1² + 2 ε²), exactly."""
    z = torch.tensor([[0.7, -1.3]], dtype=torch.float64)

    def quartic(p: Tensor) -> Tensor:
        return p[:, 0] * p[:, 1] ** 3

    slope = 6 * z[0, 1] ** 2
    assert torch.allclose(exact_hessian_penalty(quartic, z), slope.square())
    seed = next(s for s in range(20) if float(hessian_penalty(product, z, seed=s)) > 1)
    for epsilon in (0.05, 0.1, 0.5, 1.0):  # two draws that differ: twice the expected value
        value = hessian_penalty(quartic, z, epsilon=epsilon, seed=seed)
        assert torch.allclose(value, 2 * (slope + 2 * epsilon**2).square(), rtol=1e-9)
    assert torch.allclose(hessian_penalty_limit(quartic, z, seed=seed), 2 * slope.square())


def test_a_kink_counts_with_the_inverse_of_the_step():
    z = torch.tensor([[0.4, -0.4]], dtype=torch.float64)

    def kinked(p: Tensor) -> Tensor:
        return p.sum(dim=1).relu()

    assert float(exact_hessian_penalty(kinked, z)) == 0
    seed = next(s for s in range(20) if float(hessian_penalty(product, z, seed=s)) > 1)
    for epsilon in (0.1, 0.01):  # relu(2ε) / ε² along (1, 1), and 0 along (1, −1)
        value = hessian_penalty(kinked, z, epsilon=epsilon, seed=seed)
        assert float(value) == pytest.approx((2 / epsilon) ** 2 / 2)


def test_exact_values_against_reverse_mode():
    f, x = network(), normal(3, 5)
    hessian = torch.stack(
        [
            torch.stack(
                [torch.autograd.functional.hessian(lambda p, i=i: f(p)[i], row) for i in range(7)]
            )
            for row in x
        ]
    )  # (N, M, d, d)
    off = 2 * (hessian.square().sum(dim=(2, 3)) - hessian.diagonal(dim1=2, dim2=3).square().sum(2))
    assert torch.allclose(exact_hessian_penalty(f, x, "max"), off.amax(dim=1).mean())
    assert torch.allclose(exact_hessian_penalty(f, x, "mean"), off.mean())
    near = hessian_penalty(f, x, k=3, epsilon=1e-3, seed=0)
    assert torch.allclose(near, hessian_penalty_limit(f, x, k=3, seed=0), rtol=1e-4)
    jacobian = torch.stack([torch.autograd.functional.jacobian(f, row) for row in x])
    gram = jacobian.mT @ jacobian
    off = 2 * (gram.square().sum(dim=(1, 2)) - gram.diagonal(dim1=1, dim2=2).square().sum(1))
    assert torch.allclose(exact_orojar(f, x), off.mean())


def test_gradients_with_respect_to_x_context_and_what_f_holds():
    f, z = network(), normal(2, 5)
    directions = normal(5, 3, seed=2).requires_grad_()
    coefficients = normal(2, 3, seed=3).requires_grad_()

    def edited(coefficients: Tensor, z: Tensor) -> list[Tensor]:
        hidden = f[1](f[0](z + coefficients @ directions.T))
        return [hidden, f[2](hidden)]

    for reduction in ("max", "mean"):

        def penalty(coefficients, directions, z, reduction=reduction, estimate=hessian_penalty):
            more = {} if estimate is orojar else {"reduction": reduction}
            return estimate(
                lambda c, z: f(z + c @ directions.T), coefficients, context=(z,), seed=0, **more
            )

        inputs = (coefficients, directions, z.clone().requires_grad_())
        assert torch.autograd.gradcheck(penalty, inputs)
    assert torch.autograd.gradcheck(lambda *a: penalty(*a, estimate=orojar), inputs)
    for exact in (exact_hessian_penalty, exact_orojar, hessian_penalty_limit):
        exact(edited, coefficients, context=(z,)).backward()
        assert float(directions.grad.abs().sum()) > 0
        directions.grad = None


@pytest.mark.parametrize("estimate", [hessian_penalty, orojar])
def test_pieces_and_recomputing_change_nothing_but_memory(estimate):
    f, z = network(), normal(3, 5)
    matrix = normal(5, 4, seed=2).requires_grad_()
    coefficients = normal(3, 4, seed=3)
    kept, rows, results = {}, [], {}

    def edited(coefficients: Tensor, z: Tensor) -> list[Tensor]:
        rows.append(len(z))
        hidden = f[1](f[0](z + coefficients @ matrix.T))
        return [hidden, f[2](hidden)]

    for chunk, recompute in ((None, False), (5, False), (5, True), (1, True)):
        size = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal size
            size += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            rows.clear()
            value = estimate(
                edited,
                coefficients,
                k=4,
                context=(z,),
                seed=0,
                chunk=chunk,
                recompute=recompute,
                check_deterministic=False,
            )
            assert max(rows) == (chunk or sum(rows))
            kept[chunk, recompute] = size
        matrix.grad = None
        value.backward()
        results[chunk, recompute] = (value.detach(), matrix.grad)
    for value, gradient in results.values():
        assert torch.allclose(value, results[None, False][0], rtol=1e-10)
        assert torch.allclose(gradient, results[None, False][1], rtol=1e-8)
    assert kept[5, True] < kept[None, False] / 2


def test_directions_are_signs_and_repeat_with_the_seed():
    x = normal(3, 4).float()
    directions = rademacher(5, x, 3)
    assert directions.shape == (5, 3, 4) and directions.dtype == x.dtype
    assert set(directions.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(directions, rademacher(5, x, 3))
    moving = torch.Generator().manual_seed(3)
    first, second = rademacher(5, x, moving), rademacher(5, x, moving)
    assert torch.equal(first, directions) and not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(rademacher(5, x), directions)
    assert abs(float(rademacher(1000, x, 0).mean())) < 0.03


def test_half_precision_is_widened_before_it_is_subtracted():
    f, x = network(), normal(3, 5)
    f.requires_grad_(False)
    wide = hessian_penalty(f, x, epsilon=0.5, seed=0)
    half = hessian_penalty(lambda p: f(p).to(torch.float16), x, epsilon=0.5, seed=0)
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(wide), rel=0.2)
    assert hessian_penalty(f.float(), x.float(), seed=0).dtype == torch.float32


@pytest.mark.parametrize("estimate", [hessian_penalty, orojar])
def test_bad_arguments_are_refused(estimate):
    x = normal(3, 2)
    for arguments, message in (
        ({"k": 1}, r"k: expected an int ≥ 2.*given 1"),
        ({"k": 2.5}, r"k: expected an int ≥ 2.*given 2.5"),
        ({"epsilon": 0}, r"epsilon: expected a number > 0.*given 0"),
        ({"epsilon": -0.1}, r"epsilon: .*given -0.1"),
        ({"epsilon": float("nan")}, r"epsilon: .*given nan"),
        ({"chunk": 0}, r"chunk: expected an int ≥ 1 or None.*given 0"),
        ({"context": (normal(2, 2),)}, r"context\[0\]: expected a tensor with 3 rows.*\(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            estimate(product, x, **arguments)
    with pytest.raises(TypeError, match=r"seed: expected an int, a torch.Generator or None"):
        estimate(product, x, seed="0")
    with pytest.raises(TypeError, match=r"x: expected a floating torch.Tensor.*int64"):
        estimate(product, x.long())
    with pytest.raises(ValueError, match=r"x: expected shape \(N, …\).*given \(3,\)"):
        estimate(product, x[:, 0])
    x[1, 0] = float("nan")
    with pytest.raises(ValueError, match=r"x: expected finite numbers.*index \(1, 0\)"):
        estimate(product, x)


def test_an_unknown_reduction_is_refused():
    for estimate in (hessian_penalty, hessian_penalty_limit, exact_hessian_penalty):
        with pytest.raises(UnknownNameError, match=r"unknown reduction 'maximum'.*'max'.*mean"):
            estimate(product, normal(3, 2), reduction="maximum")


@pytest.mark.parametrize("estimate", [hessian_penalty, orojar])
def test_functions_that_do_not_fit_are_refused(estimate):
    x = normal(3, 4)
    with pytest.raises(ValueError, match=r"expected \d+ rows for \d+ points, given shape \(1, 4\)"):
        estimate(lambda p: p.mean(dim=0, keepdim=True), x)
    with pytest.raises(TypeError, match=r"f: expected a floating tensor.*given torch.int64"):
        estimate(lambda p: p.long(), x)
    with pytest.raises(TypeError, match=r"f: expected a floating tensor.*given str"):
        estimate(lambda p: ["image"], x)
    with pytest.raises(ValueError, match="empty list"):
        estimate(lambda p: [], x)
    with pytest.raises(ValueError, match=r"values of f, activation 1: expected finite .* NaN"):
        estimate(lambda p: [p, (p - 10).log()], x)
    with pytest.raises(ValueError, match=r"too large for torch.float32"):
        estimate(lambda p: p.prod(dim=1).float() * 1e30, x, seed=1)


@pytest.mark.parametrize("estimate", [hessian_penalty, orojar])
def test_noise_dropout_and_batch_statistics_are_found(estimate):
    x = normal(3, 4).float()
    for name, f in (
        ("noise", lambda p: p + 0.05 * torch.randn_like(p)),
        ("one noise a call", lambda p: p + 0.05 * torch.randn(1, 4)),
        ("dropout", nn.Dropout(0.5)),
        ("batch normalisation", nn.Sequential(nn.Unflatten(1, (2, 2)), nn.BatchNorm1d(2))),
    ):
        with pytest.raises(ValueError, match="evaluation mode"):
            estimate(f, x)
        if isinstance(f, nn.Module):
            estimate(f.eval(), x)
        else:
            estimate(f, x, check_deterministic=False)
            assert name.endswith(("noise", "call"))
    calls = []
    estimate(lambda p: calls.append(len(p)) or p, x, check_deterministic=False)
    assert len(calls) == 1
    estimate(lambda p: calls.append((len(p), torch.is_grad_enabled())) or p, x)
    assert calls[2:] == [(1, False)], "one point more, without gradients"


def test_on_the_embedded_generator_an_image_is_an_output():
    from facenb import load_generator
    from facenb.latents import Latents

    generator = load_generator("digiface-dcgan-64")
    directions = torch.linalg.qr(normal(100, 4).float())[0].requires_grad_()
    codes = generator.sample(2, seed=0).values

    def images(coefficients: Tensor, z: Tensor) -> Tensor:
        return generator.synthesize(Latents(z + coefficients @ directions.T, "z"))

    zero = torch.zeros(2, 4)
    value = hessian_penalty(images, zero, context=(codes,), seed=0)
    value.backward()
    assert value.shape == () and float(value) > 0
    assert torch.isfinite(directions.grad).all() and float(directions.grad.norm()) > 0
    truth = exact_orojar(images, zero, context=(codes,))
    estimates = [orojar(images, zero, 8, 0.01, context=(codes,), seed=s) for s in range(12)]
    assert float(sum(estimates) / 12) == pytest.approx(float(truth), rel=0.35)


@pytest.mark.parametrize("reduction", ["max", "mean"])
def test_the_bench_compares_two_ways_to_the_same_gradient(reduction: str):
    ours, plain = step(reduction=reduction)(), plain_step(reduction=reduction)()
    assert float((ours - plain).norm() / plain.norm()) < 1e-4
