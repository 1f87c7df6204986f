"""Tasks for threads: a gated wavelet convolution of one channel block of one film, and its weight gradient.

Without wavelet levels and gates these are the plain depthwise convolution and its gradient. A thread draws the number
of its next task from a counter. Tasks write to places of their own, so that who computes what does not change the result.

`plan` describes the planes: row 0 the base, row i wavelet level i, with the columns below (offsets in numbers).
"""

from numba import float32

from koalib.model.kernels.compiler import jit, kernel
from koalib.model.kernels.planes import (analyse, convolve_row, fill_plane, read, synthesise_row, weight_gradient,
                                         write)
from koalib.model.kernels.simd import LANES, add, fma, load, splat, store, take_ticket

# columns of a plan: size of the output, where the plane starts, its row length and its area in pixels, its kernel and
# where its weights start, where the inverse transform of the next level is kept
HEIGHT, WIDTH, AT, PITCH, AREA, KERNEL, TAPS, LOW = range(8)


@jit
def _make_pyramid(scratch, plan, top, left):
    """Haar transforms of the base plane, level after level, each of the low band before it."""
    source, pitch = plan[0, AT] + (top * plan[0, PITCH] + left) * LANES, plan[0, PITCH]
    for level in range(1, len(plan)):
        margin = (plan[level, PITCH] - plan[level, WIDTH]) // 2
        analyse(scratch, source, pitch, plan[level, AT], plan[level, AREA], plan[level, HEIGHT], plan[level, WIDTH],
                plan[level, PITCH], margin)
        pitch = plan[level, PITCH]
        source = plan[level, AT] + (margin * pitch + margin) * LANES


@jit
def _branch_row(scratch, plan, level, row, weights, taps, bands, target, target_pitch):
    """One row of a level's four bands, convolved, joined by the levels below, transformed back into two rows."""
    width, pitch, kernel = plan[level, WIDTH], plan[level, PITCH], plan[level, KERNEL]
    for band in range(4):
        first = plan[level, AT] + (band * plan[level, AREA] + row * pitch) * LANES
        kernel_at = taps + plan[level, TAPS] + band * kernel * kernel * LANES
        convolve_row(scratch, first, pitch, width, kernel, 1, weights, kernel_at, bands + band * width * LANES)
    if level + 1 < len(plan):
        low = plan[level, LOW] + row * 2 * plan[level + 1, WIDTH] * LANES
        for u in range(width):
            total = add(load(scratch, bands + u * LANES), load(scratch, low + u * LANES))
            store(scratch, bands + u * LANES, total)
    synthesise_row(scratch, bands, width, target, target_pitch)


@kernel
def convolve(scratch, counter, films, starts, channels, source, source_wide, height, width, top, left, spread, stride,
             plan, rows, weights, gate, bias, result, result_wide, other, other_wide, coefficient):
    """result = gate * (convolution + wavelet branch of source) + bias + coefficient * other, task by task.

    Args:
        films, starts, channels: number of films, first channel of each block, number of channels.
        height, width, top, left, spread: size of the source map, margins before it, distance of its pixels in the plane.
        rows: where the scratch has room for rows: four of bands, two of the branch, one of the base.
        gate, coefficient: (films * channels) factors; bias: (channels); empty arrays leave a term out.
    """
    blocks, taps_each = len(starts), len(weights) // len(starts)
    base_height, base_width, pitch = plan[0, HEIGHT], plan[0, WIDTH], plan[0, PITCH]
    levels = len(plan) - 1
    half_width = plan[1, WIDTH] if levels else 0
    branch = rows + 4 * half_width * LANES
    base = branch + 4 * half_width * LANES
    while True:
        task = take_ticket(counter)
        if task >= films * blocks:
            break
        film, block = task // blocks, task % blocks
        channel, taps = starts[block], block * taps_each
        fill_plane(source, source_wide, film * height * width * channels + channel, channels, height, width, scratch,
                   plan[0, AT], plan[0, AREA] // pitch, pitch, top, left, spread)
        _make_pyramid(scratch, plan, top, left)
        for level in range(levels, 1, -1):
            for row in range(plan[level, HEIGHT]):
                target_pitch = 2 * plan[level, WIDTH]
                target = plan[level - 1, LOW] + 2 * row * target_pitch * LANES
                _branch_row(scratch, plan, level, row, weights, taps, rows, target, target_pitch)
        factor = load(gate, film * channels + channel) if len(gate) else splat(float32(1))
        shift = load(bias, channel) if len(bias) else splat(float32(0))
        slope = load(coefficient, film * channels + channel) if len(coefficient) else splat(float32(0))
        for y in range(base_height):
            if levels and y % 2 == 0:
                _branch_row(scratch, plan, 1, y // 2, weights, taps, rows, branch, 2 * half_width)
            first = plan[0, AT] + y * stride * pitch * LANES
            convolve_row(scratch, first, pitch, base_width, plan[0, KERNEL], stride, weights, taps, base)
            for u in range(base_width):
                value = load(scratch, base + u * LANES)
                if levels:
                    value = add(value, load(scratch, branch + ((y % 2) * 2 * half_width + u) * LANES))
                value = fma(value, factor, shift)
                place = ((film * base_height + y) * base_width + u) * channels + channel
                if len(coefficient):
                    value = fma(read(other, other_wide, place), slope, value)
                write(result, result_wide, place, value)


@kernel
def weight_gradients(scratch, counter, films, groups, starts, channels, source, source_wide, height, width, top, left,
                     stride, plan, grad, grad_wide, grad_plan, weights, gate, out, bias_out, dots):
    """Gradients of all weights and of the bias, summed over a group of films, and of the gate for each film.

    Args:
        plan, grad_plan: planes of the source (with margins) and of the output's gradient (without).
        out (groups, blocks, taps, 16), bias_out (groups, blocks, 16), dots (films, blocks, 16): zeros, flat.
    """
    blocks, taps_each = len(starts), len(weights) // len(starts)
    while True:
        task = take_ticket(counter)
        if task >= groups * blocks:
            break
        group, block = task // blocks, task % blocks
        channel, to, total = starts[block], task * taps_each, splat(float32(0))
        for film in range(group * films // groups, (group + 1) * films // groups):
            size = plan[0, HEIGHT] * plan[0, WIDTH]
            fill_plane(source, source_wide, film * height * width * channels + channel, channels, height, width, scratch,
                       plan[0, AT], plan[0, AREA] // plan[0, PITCH], plan[0, PITCH], top, left, 1)
            fill_plane(grad, grad_wide, film * size * channels + channel, channels, plan[0, HEIGHT], plan[0, WIDTH],
                       scratch, grad_plan[0, AT], grad_plan[0, AREA] // grad_plan[0, PITCH], grad_plan[0, PITCH], 0, 0, 1)
            _make_pyramid(scratch, plan, top, left)
            _make_pyramid(scratch, grad_plan, 0, 0)
            for y in range(plan[0, HEIGHT]):
                for u in range(plan[0, WIDTH]):
                    total = add(total, load(scratch, grad_plan[0, AT] + (y * grad_plan[0, PITCH] + u) * LANES))
            for level in range(len(plan)):
                kernel, grad_pitch = plan[level, KERNEL], grad_plan[level, PITCH]
                margin = (grad_pitch - plan[level, WIDTH]) // 2 * (grad_pitch + 1)
                for band in range(4 if level else 1):
                    step = band * kernel * kernel * LANES + plan[level, TAPS]
                    first = plan[level, AT] + band * plan[level, AREA] * LANES
                    grad_first = grad_plan[level, AT] + (band * grad_plan[level, AREA] + margin) * LANES
                    weight_gradient(kernel, scratch, first, plan[level, PITCH], 1 if level else stride, grad_first,
                                    grad_pitch, plan[level, HEIGHT], plan[level, WIDTH], out, to + step, gate,
                                    film * channels + channel, weights, block * taps_each + step, dots,
                                    (film * blocks + block) * LANES)
        store(bias_out, task * LANES, total)


@kernel
def energies(counter, films, starts, channels, pixels, source, source_wide, out):
    """Sum of squares of each channel of each film, out (films * channels)."""
    blocks = len(starts)
    while True:
        task = take_ticket(counter)
        if task >= films * blocks:
            break
        film, channel = task // blocks, starts[task % blocks]
        even, odd = splat(float32(0)), splat(float32(0))
        first = film * pixels * channels + channel
        for pixel in range(0, pixels - 1, 2):
            a = read(source, source_wide, first + pixel * channels)
            b = read(source, source_wide, first + (pixel + 1) * channels)
            even, odd = fma(a, a, even), fma(b, b, odd)
        if pixels % 2:
            a = read(source, source_wide, first + (pixels - 1) * channels)
            even = fma(a, a, even)
        store(out, film * channels + channel, add(even, odd))
