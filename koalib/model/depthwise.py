"""Depthwise convolution whose weight gradient runs in kernels of our own on a CPU.

PyTorch's CPU weight gradient of a depthwise convolution takes several times as long as its forward pass; most of a
ConvNeXt's training step on two cores goes there. Everything else, and every case our kernels do not serve
(a GPU, float64, dilation, few channels, no Numba), stays with PyTorch.
"""

import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from koalib.model import kernels


class _DepthwiseFunction(torch.autograd.Function):
    """PyTorch's depthwise convolution with our weight gradient (and, for strides, input gradient)."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, bias is not None
        weight = weight.to(x.dtype)
        bias = bias if bias is None else bias.to(x.dtype)
        return F.conv2d(x, weight, bias, stride, padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad = grad.to(x.dtype)
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = grad_bias = None
        if need_x:
            if ctx.stride[0] > 1:
                grad_x = kernels.input_gradient(grad, [weight], x.shape[-2:], ctx.stride[0], ctx.padding, x.dtype)
            else:
                grad_x = torch.ops.aten.convolution_backward(
                    grad, x, weight.to(x.dtype), None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), x.shape[1],
                    (True, False, False))[0]
        if need_weight:
            (grad_weight,), grad_bias, _ = kernels.weight_gradients(x, grad, [weight], ctx.stride[0], ctx.padding)
        if not (ctx.has_bias and need_bias):
            grad_bias = None
        return grad_x, grad_weight, grad_bias, None, None


def _autocast(x: Tensor) -> Tensor:
    """x in the type that autocast would hand to a convolution."""
    if torch.is_autocast_enabled(x.device.type) and x.dtype == torch.float32:
        return x.to(torch.get_autocast_dtype(x.device.type))
    return x


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int] = (1, 1),
                     padding: tuple[int, int] = (0, 0), dilation: tuple[int, int] = (1, 1)) -> Tensor:
    """`F.conv2d` with one filter a channel: (B, C, H, W) with weight (C, 1, k, k) -> (B, C, H', W')."""
    training = torch.is_grad_enabled() and weight.requires_grad
    if not training or dilation != (1, 1) or stride[0] != stride[1] or not kernels.serves(_autocast(x), [weight]):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups=weight.shape[0])
    return _DepthwiseFunction.apply(_autocast(x), weight, bias, stride, padding)


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with groups = channels, whose weight gradient is fast on a CPU.

    Args:
        same: pad as TensorFlow's "same" does, by input size, instead of by `padding`.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int = 1, padding: int | tuple[int, int] = 0,
                 dilation: int = 1, bias: bool = True, same: bool = False):
        super().__init__(channels, channels, kernel_size, stride, padding, dilation, groups=channels, bias=bias)
        self.same = same

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> "DepthwiseConv2d":
        """The layer that computes what a depthwise `conv` computes, sharing its parameters."""
        with torch.device("meta"):  # no new parameters, no random numbers drawn for them
            layer = cls(conv.in_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation,
                        conv.bias is not None, same=isinstance(conv, Conv2dSame))
        layer.weight, layer.bias = conv.weight, conv.bias
        return layer.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        return depthwise_conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


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
