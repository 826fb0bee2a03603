"""Residual networks of convolutions."""

from __future__ import annotations

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ev3lang.backend.convolutions import convolution
from ev3lang.backend.norms import BatchNorm, GroupNorm
from ev3lang.backend.passes import Pass
from ev3lang.catalog.networks import EXPANSION, resnet_widths

Block: TypeAlias = Literal["basic", "bottleneck"]
Shortcut: TypeAlias = Literal["projection", "identity"]

MOMENTUM = 0.9
"""Share of its running statistics that batch norm keeps each step."""


class Resnet(nnx.Module):
    """A stem, stages of blocks, the mean over all places, a dense layer.

    Places halve from stage to stage, and channels double where no `widths` say otherwise. A
    bottleneck has its stride in the 3 x 3 convolution. Names: `stem`, `block_0`, `block_1`, ...,
    `output`.
    Source: He et al. (2016), arXiv:1512.03385; the stride of bottlenecks as in most training code
    since (ResNet v1.5).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rngs: nnx.Rngs,
        *,
        stages: tuple[int, ...],
        width: int,
        widths: tuple[int, ...] | None,
        block: Block,
        stem: Literal["cifar", "imagenet"],
        norm: Literal["batch", "group"],
        groups: int,
        shortcut: Shortcut,
        outputs: int,
    ) -> None:
        self.is_large = stem == "imagenet"
        of_norm = groups if norm == "group" else None
        kernel, stride = (7, 2) if self.is_large else (3, 1)
        self.stem = ConvNorm(shape[-1], width, kernel, stride, of_norm, rngs)
        self.names = tuple(f"block_{place}" for place in range(sum(stages)))
        names = iter(self.names)
        channels = width
        inner = resnet_widths({"stages": stages, "width": width, "widths": widths})
        for stage, (count, inside) in enumerate(zip(stages, inner, strict=True)):
            for place in range(count):
                stride = 2 if stage and not place else 1
                made = Residue(channels, inside, stride, block, shortcut, of_norm, rngs)
                setattr(self, next(names), made)
                channels = inside * EXPANSION[block]
        self.output = nnx.Linear(channels, outputs, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        x = jax.nn.relu(self.stem(x, pass_))
        if self.is_large:
            x = nnx.max_pool(x, (3, 3), (2, 2), "SAME")
        for name in self.names:
            x = getattr(self, name)(x, pass_)
        return self.output(jnp.mean(x, (1, 2)))


class Residue(nnx.Module):
    """A block: what goes in, plus what its convolutions make of it.

    Where the shapes differ, a projection is a 1 x 1 convolution with its norm; the identity
    leaves out places and adds channels of zeros, and has nothing to learn.
    """

    def __init__(
        self,
        channels: int,
        inside: int,
        stride: int,
        block: Block,
        shortcut: Shortcut,
        groups: int | None,
        rngs: nnx.Rngs,
    ) -> None:
        outside = inside * EXPANSION[block]
        # channels in, channels out, kernel, stride
        convolutions = {
            "basic": [(channels, inside, 3, stride), (inside, outside, 3, 1)],
            "bottleneck": [
                (channels, inside, 1, 1),
                (inside, inside, 3, stride),
                (inside, outside, 1, 1),
            ],
        }[block]
        self.names = tuple(f"conv_{place}" for place in range(len(convolutions)))
        for name, (before, after, kernel, step) in zip(self.names, convolutions, strict=True):
            setattr(self, name, ConvNorm(before, after, kernel, step, groups, rngs))
        self.stride = stride
        self.more = outside - channels
        self.has_projection = shortcut == "projection" and bool(stride > 1 or self.more)
        if self.has_projection:
            self.projection = ConvNorm(channels, outside, 1, stride, groups, rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        y = x
        for name in self.names[:-1]:
            y = jax.nn.relu(getattr(self, name)(y, pass_))
        y = getattr(self, self.names[-1])(y, pass_)
        return jax.nn.relu(y + self._across(x, pass_))

    def _across(self, x: Array, pass_: Pass) -> Array:
        if self.has_projection:
            return self.projection(x, pass_)
        if self.stride > 1:
            x = x[:, :: self.stride, :: self.stride]
        before = self.more // 2
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, self.more - before)))


class ConvNorm(nnx.Module):
    """A convolution without bias, then the norm, whose own bias stands for it.

    groups   of group norm; None for batch norm
    Weights are normal with variance 2 / outputs, an output being fed by each of the kernel's
    places. Source: He et al. (2015), arXiv:1502.01852, equation 14.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        stride: int,
        groups: int | None,
        rngs: nnx.Rngs,
    ) -> None:
        draw = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        self.kernel = nnx.Param(draw(rngs.params(), (kernel, kernel, channels, width)))
        self.stride = stride
        self.norm: BatchNorm | GroupNorm
        if groups is None:
            self.norm = BatchNorm((width,), rngs, momentum=MOMENTUM)
        else:
            self.norm = GroupNorm((width,), rngs, groups=groups)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        return self.norm(convolution(x, self.kernel[...], self.stride, "same"), pass_)
