"""Work on planes: maps of sixteen channels in float32, in a thread's own scratch memory, with zero margins.

A plane starts at element `at` of the scratch array and has rows of `pitch` pixels, each of sixteen neighbouring floats.
Its margins free every convolution of border conditions, and one block of channels of one film fits a core's cache.
Tensors in memory are seen as flat arrays of 16-bit words: float32 ("wide", two words a number) or bfloat16.
"""

from llvmlite.binding import get_host_cpu_features
from numba import float32

from koalib.model.kernels.compiler import jit
from koalib.model.kernels.simd import (LANES, add, fma, get, load, load_bfloat16, multiply, put, splat, store,
                                       store_bfloat16, subtract, tile)

# Kernel rows whose weight gradients are summed at once. With 32 registers of sixteen floats each number that is loaded
# meets up to four rows of accumulators; smaller registers hold no more than one row.
ROWS_AT_ONCE = {3: 3, 5: 5, 7: 4} if get_host_cpu_features().get("avx512f") else {3: 1, 5: 1, 7: 1}


@jit
def read(words, wide, index):
    """Sixteen numbers of a tensor from its number `index` on."""
    return load(words, 2 * index) if wide else load_bfloat16(words, index)


@jit
def write(words, wide, index, value):
    """Set sixteen numbers of a tensor."""
    if wide:
        store(words, 2 * index, value)
    else:
        store_bfloat16(words, index, value)


@jit
def zero(scratch, at, count):
    """Clear `count` vectors."""
    for v in range(count):
        store(scratch, at + v * LANES, splat(float32(0)))


@jit
def fill_plane(words, wide, first, channels, height, width, scratch, at, rows, pitch, top, left, step):
    """Copy a channel block of a map into a plane, with zeros around it and, if `step` > 1, between its pixels."""
    zero(scratch, at, rows * pitch)
    for y in range(height):
        for u in range(width):
            value = read(words, wide, first + (y * width + u) * channels)
            store(scratch, at + ((top + y * step) * pitch + left + u * step) * LANES, value)


@jit
def analyse(scratch, source, source_pitch, at, area, height, width, pitch, margin):
    """One level of the Haar transform: a plane -> four planes (LL, LH, HL, HH) of `height` x `width` with margins."""
    half = splat(float32(0.5))
    zero(scratch, at, 4 * area)
    for y in range(height):
        for u in range(width):
            pixel = source + (2 * y * source_pitch + 2 * u) * LANES
            below = pixel + source_pitch * LANES
            a, b = load(scratch, pixel), load(scratch, pixel + LANES)
            c, d = load(scratch, below), load(scratch, below + LANES)
            upper, lower = multiply(add(a, b), half), multiply(add(c, d), half)
            left, right = multiply(subtract(a, b), half), multiply(subtract(c, d), half)
            target = at + ((margin + y) * pitch + margin + u) * LANES
            store(scratch, target, add(upper, lower))
            store(scratch, target + area * LANES, subtract(upper, lower))
            store(scratch, target + 2 * area * LANES, add(left, right))
            store(scratch, target + 3 * area * LANES, subtract(left, right))


@jit
def synthesise_row(scratch, bands, width, at, pitch):
    """Inverse Haar transform of one row of four bands (`width` pixels each, one after another) into two rows."""
    half = splat(float32(0.5))
    step = width * LANES
    for u in range(width):
        band = bands + u * LANES
        low, horizontal = multiply(load(scratch, band), half), multiply(load(scratch, band + step), half)
        vertical = multiply(load(scratch, band + 2 * step), half)
        diagonal = multiply(load(scratch, band + 3 * step), half)
        upper, left = add(low, horizontal), add(vertical, diagonal)
        lower, right = subtract(low, horizontal), subtract(vertical, diagonal)
        target = at + 2 * u * LANES
        store(scratch, target, add(upper, left))
        store(scratch, target + LANES, subtract(upper, left))
        store(scratch, target + pitch * LANES, add(lower, right))
        store(scratch, target + pitch * LANES + LANES, subtract(lower, right))


def _make_run(length: int):
    @jit
    def run(scratch, first, pitch, kernel, stride, weights, taps, target):
        sums = tile(length)
        for u in range(length):
            put(sums, u, splat(float32(0)))
        for i in range(kernel):
            for j in range(kernel):
                weight = load(weights, taps + (i * kernel + j) * LANES)
                corner = first + (i * pitch + j) * LANES
                for u in range(length):
                    put(sums, u, fma(load(scratch, corner + u * stride * LANES), weight, get(sums, u)))
        for u in range(length):
            store(scratch, target + u * LANES, get(sums, u))
    return run


_run7, _run4, _run2, _run1 = (_make_run(length) for length in (7, 4, 2, 1))


@jit
def convolve_row(scratch, first, pitch, width, kernel, stride, weights, taps, target):
    """One row of a convolution; `first` is the plane's pixel under the kernel's first tap at the row's first output."""
    u = 0
    while u < width:
        source, out, left = first + u * stride * LANES, target + u * LANES, width - u
        if left >= 7:
            _run7(scratch, source, pitch, kernel, stride, weights, taps, out)
            u += 7
        elif left >= 4:
            _run4(scratch, source, pitch, kernel, stride, weights, taps, out)
            u += 4
        elif left >= 2:
            _run2(scratch, source, pitch, kernel, stride, weights, taps, out)
            u += 2
        else:
            _run1(scratch, source, pitch, kernel, stride, weights, taps, out)
            u += 1


def _make_correlate(kernel: int, rows: int):
    count = kernel * rows

    @jit
    def correlate(scratch, first, pitch, stride, grad, grad_pitch, height, width, out, to, factor, f, weights, taps, dots, d):
        sums = tile(count)
        for t in range(count):
            put(sums, t, splat(float32(0)))
        for y in range(height):
            for u in range(width):
                g = load(scratch, grad + (y * grad_pitch + u) * LANES)
                corner = first + (y * pitch + u) * stride * LANES
                for i in range(rows):
                    for j in range(kernel):
                        t = i * kernel + j
                        put(sums, t, fma(load(scratch, corner + (i * pitch + j) * LANES), g, get(sums, t)))
        scale, dot = load(factor, f), load(dots, d)
        for t in range(count):
            dot = fma(get(sums, t), load(weights, taps + t * LANES), dot)
            store(out, to + t * LANES, fma(get(sums, t), scale, load(out, to + t * LANES)))
        store(dots, d, dot)
    return correlate


def _make_weight_gradient(kernel: int):
    rows = ROWS_AT_ONCE[kernel]
    rest = kernel % rows
    correlate, correlate_rest = _make_correlate(kernel, rows), _make_correlate(kernel, rest or 1)

    @jit
    def weight_gradient(scratch, first, pitch, stride, grad, grad_pitch, height, width, out, to, factor, f, weights, taps, dots, d):
        for i in range(0, kernel - rest, rows):
            correlate(scratch, first + i * pitch * LANES, pitch, stride, grad, grad_pitch, height, width, out,
                      to + i * kernel * LANES, factor, f, weights, taps + i * kernel * LANES, dots, d)
        if rest:
            i = kernel - rest
            correlate_rest(scratch, first + i * pitch * LANES, pitch, stride, grad, grad_pitch, height, width, out,
                           to + i * kernel * LANES, factor, f, weights, taps + i * kernel * LANES, dots, d)
    return weight_gradient


_gradient3, _gradient5, _gradient7 = (_make_weight_gradient(kernel) for kernel in (3, 5, 7))


@jit
def weight_gradient(kernel, scratch, first, pitch, stride, grad, grad_pitch, height, width, out, to, factor, f, weights,
                    taps, dots, d):
    """Add `factor` times the weight gradient of one plane's convolution to `out`, and its product with the weights to `dots`.

    `first` is the plane's pixel under the first tap at the first output; `grad` are the output's gradients.
    """
    if kernel == 7:
        _gradient7(scratch, first, pitch, stride, grad, grad_pitch, height, width, out, to, factor, f, weights, taps, dots, d)
    elif kernel == 5:
        _gradient5(scratch, first, pitch, stride, grad, grad_pitch, height, width, out, to, factor, f, weights, taps, dots, d)
    else:
        _gradient3(scratch, first, pitch, stride, grad, grad_pitch, height, width, out, to, factor, f, weights, taps, dots, d)
