"""Depthwise convolution, fast to train on a CPU, with an optional wavelet branch and channel gate at little cost.

PyTorch's CPU weight gradient of a depthwise convolution takes several times as long as its forward pass; most of a
ConvNeXt's training step on two cores goes there. Our kernels compute it, and the input gradient of strided
convolutions; whatever they do not serve (a GPU, float64, dilation, few channels, no Numba) stays with PyTorch.
A gate multiplies whole channels, so that it commutes with a depthwise convolution: gate * (w . x) = w . (gate * x).
The kernels use that: gated convolutions cost what plain ones do.
"""

from typing import Callable

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from koalib.model import kernels
from koalib.model.kernels.choice import ours_serves

Pair = tuple[int, int]


class _Convolution(torch.autograd.Function):
    """(gate * x) convolved with the base kernel, plus its wavelet branch, plus bias; see `kernels.convolve`."""

    @staticmethod
    def forward(ctx, x, bias, gate_of, dtype, stride, padding, size, parameters, *weights):
        gate_parameters, weights = weights[:parameters], weights[parameters:]
        energy = kernels.energies(x) if gate_of else None
        gate = gate_of(energy, *gate_parameters) if gate_of else None
        ctx.save_for_backward(x, energy, gate, *gate_parameters, *weights)
        ctx.gate_of, ctx.stride, ctx.padding, ctx.parameters = gate_of, stride, padding, parameters
        ctx.bias_type = None if bias is None else bias.dtype
        return _forward(x, weights, bias, gate, dtype, stride, padding, size)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, energy, gate, *rest = ctx.saved_tensors
        gate_parameters, weights = rest[: ctx.parameters], rest[ctx.parameters :]
        need_x, need_bias, *need_weights = ctx.needs_input_grad[0], ctx.needs_input_grad[1], *ctx.needs_input_grad[8:]
        grad_bias, grad_weights, coefficient = None, [None] * len(rest), None
        if need_bias or any(need_weights) or gate is not None:
            kernel_grads, grad_bias, grad_gate = _weight_gradients(grad, weights, x, ctx.stride, ctx.padding, gate)
            grad_weights[ctx.parameters :] = kernel_grads
            if gate is not None:
                grad_energy, *grad_weights[: ctx.parameters] = _through(ctx.gate_of, (energy, *gate_parameters), grad_gate)
                coefficient = 2 * grad_energy  # energy is a sum of squares
        grad_x = _input_gradient(grad, weights, x, ctx.stride, ctx.padding, gate, coefficient) if need_x else None
        grad_weights = [g if need else None for g, need in zip(grad_weights, need_weights)]
        grad_bias = grad_bias.to(ctx.bias_type) if need_bias else None
        return grad_x, grad_bias, None, None, None, None, None, None, *grad_weights


def _through(function: Callable, inputs: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    """Gradients of a small function by PyTorch's autograd."""
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_() for x in inputs]
        return torch.autograd.grad(function(*inputs), inputs, grad)


def _ours(work: str, weights: tuple[Tensor, ...], gate: Tensor | None, stride: int, kind: torch.dtype, width: int) -> bool:
    """Whether our kernel does the work; for a plain convolution the committed table says."""
    return len(weights) > 1 or gate is not None or ours_serves(work, kind, weights[0].shape[-1], stride, width)


def _forward(x, weights, bias, gate, dtype, stride, padding, size):
    if _ours("forward", weights, gate, stride, dtype, x.shape[-1]):
        return kernels.convolve(x, weights, size, stride, padding, dtype, gate=gate, bias=bias)
    bias = bias if bias is None else bias.to(dtype)
    return F.conv2d(x.to(dtype), weights[0].to(dtype), bias, stride, padding, groups=x.shape[1])


def _torch_gradient(grad, x, weight, stride, padding, index):
    """PyTorch's gradient to the input (index 0) or the weight (1) of a plain convolution."""
    mask = (index == 0, index == 1, False)
    return torch.ops.aten.convolution_backward(grad, x.to(grad.dtype), weight.to(grad.dtype), None, (stride, stride), padding,
                                               (1, 1), False, (0, 0), grad.shape[1], mask)[index]  # fmt: skip


def _input_gradient(grad, weights, x, stride, padding, gate, coefficient):
    if _ours("input_gradient", weights, gate, stride, grad.dtype, x.shape[-1]):
        return kernels.input_gradient(grad, weights, x.shape[-2:], stride, padding, x.dtype, gate=gate,
                                      other=None if coefficient is None else x, coefficient=coefficient)
    return _torch_gradient(grad, x, weights[0], stride, padding, 0).to(x.dtype)


def _weight_gradients(grad, weights, x, stride, padding, gate):
    if _ours("weight_gradient", weights, gate, stride, grad.dtype, x.shape[-1]):
        return kernels.weight_gradients(x, grad, weights, stride, padding, gate)
    grad_weight = _torch_gradient(grad, x, weights[0], stride, padding, 1).to(weights[0].dtype)
    return [grad_weight], grad.sum((0, 2, 3), dtype=torch.float32), None


def fused_convolution(x: Tensor, weights: list[Tensor], bias: Tensor | None, stride: int = 1, padding: Pair = (0, 0),
                      gate_of: Callable | None = None, gate_parameters: tuple[Tensor, ...] = ()) -> Tensor:
    """Gated wavelet convolution by our kernels: (B, C, H, W) -> (B, C, H', W'), in autocast's type where that is on.

    Args:
        weights: base kernel (C, 1, k, k), then (4C, 1, k, k) for each Haar level (stride 1, odd kernels, same size).
        gate_of: gate (B, C) from the channels' sums of squares (B, C) and `gate_parameters`; None for no gate.
    """
    dtype = _working_type(x)
    size = tuple((n + 2 * p - k) // stride + 1 for n, p, k in zip(x.shape[-2:], padding, weights[0].shape[-2:]))
    return _Convolution.apply(x, bias, gate_of, dtype, stride, padding, size, len(gate_parameters), *gate_parameters,
                              *weights)


def _working_type(x: Tensor) -> torch.dtype:
    """Autocast's type where that is on, else the input's."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def fuses(x: Tensor, weights: list[Tensor], padding: Pair = (0, 0)) -> bool:
    """Whether `fused_convolution` takes this input, here and now: not while a graph is traced or exported."""
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()
    return not traced and _working_type(x) in kernels.TYPES and kernels.serves(x, weights, padding)


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair = (1, 1), padding: Pair = (0, 0),
                     dilation: Pair = (1, 1)) -> Tensor:
    """`F.conv2d` with one filter a channel: (B, C, H, W) with weight (C, 1, k, k) -> (B, C, H', W')."""
    trains = torch.is_grad_enabled() and (weight.requires_grad or (x.requires_grad and stride != (1, 1)))
    if trains and dilation == (1, 1) and stride[0] == stride[1] and fuses(x, [weight], padding):
        return fused_convolution(x, [weight], bias, stride[0], padding)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups=weight.shape[0])


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with groups = channels, whose gradients are fast on a CPU.

    Attributes:
        same: pad as TensorFlow's "same" does, by input size, instead of by `padding`.
        gate: a channel gate that the input passes first, or None.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, padding: int | Pair = 0, dilation: int = 1,
                 bias: bool = True, same: bool = False):
        super().__init__(channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=bias)
        self.same, self.gate = same, None

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> "DepthwiseConv2d":
        """The layer that computes what a depthwise `conv` computes, sharing its parameters."""
        with torch.device("meta"):  # no new parameters, no random numbers drawn for them
            layer = cls(conv.in_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
                        conv.bias is not None, same=isinstance(conv, Conv2dSame))
        layer.weight, layer.bias = conv.weight, conv.bias
        return layer.train(conv.training)

    def base(self) -> tuple[Tensor, Tensor | None]:
        """Kernel (C, 1, k, k) and bias (C) as they act, scales included."""
        return self.weight, self.bias

    def band_kernels(self) -> list[Tensor] | None:
        """Kernels (4C, 1, k, k) of Haar levels, as they act; None if the branch is not of that kind."""
        return []

    def beside(self, x: Tensor) -> Tensor | None:
        """What is added to the base convolution, in PyTorch's operations."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        weight, bias = self.base()
        bands, gate_of = self.band_kernels(), getattr(self.gate, "of_squares", None)
        if bands is not None and (bands or gate_of) and _fits(self) and fuses(x, [weight, *bands], self.padding):
            if gate_of is None and self.gate is not None:
                x = self.gate(x)
            gate_parameters = tuple(self.gate.parameters()) if gate_of else ()
            return fused_convolution(x, [weight, *bands], bias, self.stride[0], self.padding, gate_of, gate_parameters)
        if self.gate is not None:
            x = self.gate(x)
        base = depthwise_conv2d(x, weight, bias, self.stride, self.padding, self.dilation)
        branch = self.beside(x.to(base.dtype))
        return base if branch is None else base + branch


def _fits(conv: nn.Conv2d) -> bool:
    return conv.dilation == (1, 1) and conv.stride[0] == conv.stride[1]


def is_depthwise(module: nn.Module) -> bool:
    """True for a convolution (plain or TensorFlow "same") with one filter for each channel and zero padding."""
    return (type(module) in (nn.Conv2d, Conv2dSame) and 1 < module.groups == module.in_channels == module.out_channels
            and module.padding_mode == "zeros" and not isinstance(module.padding, str))


def use_fast_depthwise(model: nn.Module) -> nn.Module:
    """Replace every depthwise convolution of `model` by `DepthwiseConv2d`, in place; parameters keep their names."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if is_depthwise(child):
                setattr(parent, name, DepthwiseConv2d.from_conv(child))
    return model
