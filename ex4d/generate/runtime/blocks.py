"""One transformer block of a video model as a function of its weights.

The same formulas as diffsynth's `DiTBlock`, with or without attention to a picture's tokens, written so that a compiler
can fuse what lies between the large products, weights can come from wherever they are currently kept, and products can
be computed in 8 bits. Everything between the products is float32, as in the release: the token stream, norms,
modulation, gates and the rotations of rotary embedding.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-6
"""Epsilon of all norms in a block."""

LARGEST_8BIT = 448.0
"""Largest number of float8_e4m3fn."""


class Linear(NamedTuple):
    """A linear layer.

    Attributes:
        weight: (outputs, inputs); float8_e4m3fn if `scale` is given.
        bias: (outputs).
        scale: (outputs, 1) float32, factor for each row of an 8-bit weight.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None


class BlockWeights(NamedTuple):
    """The weights of one block.

    Attributes:
        modulation: (1,6,dim) float32.
        q, k, v, out: of self-attention.
        norm_q, norm_k: (dim), scales of its RMS norms.
        norm_weight, norm_bias: (dim) float32, of the norm before cross-attention.
        cross_q, cross_k, cross_v, image_k, image_v, cross_out: of cross-attention, to text and to the picture.
        cross_norm_q, cross_norm_k, image_norm_k: (dim), scales of its RMS norms.
        up, down: of the feed-forward part.

    The three `image_` fields are None in blocks that do not attend to a picture.
    """

    modulation: Tensor
    q: Linear
    k: Linear
    v: Linear
    out: Linear
    norm_q: Tensor
    norm_k: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    cross_q: Linear
    cross_k: Linear
    cross_v: Linear
    image_k: Linear | None
    image_v: Linear | None
    cross_out: Linear
    cross_norm_q: Tensor
    cross_norm_k: Tensor
    image_norm_k: Tensor | None
    up: Linear
    down: Linear


LAYERS = (
    *(f"{kind}.{layer}" for kind in ("self_attn", "cross_attn") for layer in ("q", "k", "v", "o")),
    *("ffn.0", "ffn.2"),
)
"""Names of the linear layers within a block."""

IMAGE_LAYERS = ("cross_attn.k_img", "cross_attn.v_img")
"""Names of the layers that only blocks with attention to a picture have."""

Lora = dict[str, tuple[Tensor, Tensor]]
"""By the name of a layer within its block, "self_attn.q": A (rank, inputs) and B (outputs, rank), any scale in B."""


def gather(block: Any, loras: list[Lora], in_8_bits: bool) -> BlockWeights:
    """The weights of diffsynth's `DiTBlock` with LoRAs merged in, on the block's device.

    Sums are computed in float32 and rounded once per LoRA.

    Args:
        block: of the model; it is not changed.
        loras: to merge, each with layers of this block only.
        in_8_bits: whether to keep the linear layers in 8 bits, each row with its own scale.

    Raises:
        ValueError: a LoRA changes something that is not a linear layer of a block, which would otherwise be dropped
            silently.
    """
    with_image = hasattr(block.cross_attn, "k_img")
    layers = (*LAYERS, *IMAGE_LAYERS) if with_image else LAYERS
    if strange := [name for lora in loras for name in lora if name not in layers]:
        raise ValueError(f"a block has no linear layer {strange[0]}")

    def linear(name: str) -> Linear:
        layer = block.get_submodule(name)
        weight = layer.weight.detach()
        for lora in loras:
            if name in lora:
                weight = merged(weight, *lora[name])
        whole = Linear(weight, layer.bias.detach())
        return quantized(whole) if in_8_bits else whole

    own, cross = block.self_attn, block.cross_attn
    return BlockWeights(
        modulation=block.modulation.detach().float(),
        q=linear("self_attn.q"),
        k=linear("self_attn.k"),
        v=linear("self_attn.v"),
        out=linear("self_attn.o"),
        norm_q=own.norm_q.weight.detach(),
        norm_k=own.norm_k.weight.detach(),
        norm_weight=block.norm3.weight.detach().float(),
        norm_bias=block.norm3.bias.detach().float(),
        cross_q=linear("cross_attn.q"),
        cross_k=linear("cross_attn.k"),
        cross_v=linear("cross_attn.v"),
        image_k=linear("cross_attn.k_img") if with_image else None,
        image_v=linear("cross_attn.v_img") if with_image else None,
        cross_out=linear("cross_attn.o"),
        cross_norm_q=cross.norm_q.weight.detach(),
        cross_norm_k=cross.norm_k.weight.detach(),
        image_norm_k=cross.norm_k_img.weight.detach() if with_image else None,
        up=linear("ffn.0"),
        down=linear("ffn.2"),
    )


def merged(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add a LoRA of A (rank, inputs) and B (outputs, rank) to a weight (outputs, inputs); the dtype stays."""
    a, b = a.to(weight.device, torch.float32), b.to(weight.device, torch.float32)
    return torch.addmm(weight.detach().float(), b, a).to(weight.dtype)


def quantized(layer: Linear) -> Linear:
    """Convert the layer's weight to 8 bits, with a scale for each row."""
    weight = layer.weight.float()
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / LARGEST_8BIT
    return Linear((weight / scale).to(torch.float8_e4m3fn), layer.bias, scale)


def run(
    w: BlockWeights,
    x: Tensor,
    context: Tensor,
    t_mod: Tensor,
    cos: Tensor,
    sin: Tensor,
    head: int,
    image_tokens: int,
    native: bool,
) -> Tensor:
    """Run a block on tokens, and return the tokens after it.

    Args:
        w: its weights.
        x: tokens (B,S,dim) float32.
        context: tokens (B,image_tokens+L,dim) of picture and text.
        t_mod: (B,6,dim) float32, of the time step.
        cos, sin: (S,1,head/2) float32, rotation of each token in each pair of a head's channels.
        head: channels of one head.
        image_tokens: number of tokens of the context, from the first, that are a picture's.
        native: whether products of 8-bit layers are computed in 8 bits; only some GPUs can.
    """
    # Self-attention is the only place where tokens interact, so GPUs that share a video exchange them there.
    attended = _attention(*_projected(w, x, t_mod, cos, sin, head, native))
    return finish(w, x, attended, context, t_mod, head, image_tokens, native)


def project(w: BlockWeights, x: Tensor, t_mod: Tensor, cos: Tensor, sin: Tensor, head: int, native: bool) -> Tensor:
    """The first part of `run` if attention is computed elsewhere: (heads,3,B,S,head), queries, keys and values."""
    return torch.stack([part.transpose(0, 1) for part in _projected(w, x, t_mod, cos, sin, head, native)], dim=1)


def finish(
    w: BlockWeights,
    x: Tensor,
    attended: Tensor,
    context: Tensor,
    t_mod: Tensor,
    head: int,
    image_tokens: int,
    native: bool,
) -> Tensor:
    """The last part of `run`, after self-attention with the result `attended` (B,S,dim)."""
    _, _, gate, shift_up, scale_up, gate_up = _modulation(w, t_mod)
    x = x + gate * _linear(attended, w.out, native)

    q = _heads(_rms(_linear(_norm(x) * w.norm_weight + w.norm_bias, w.cross_q, native), w.cross_norm_q), head)
    picture, text = context[:, :image_tokens], context[:, image_tokens:]

    def across(tokens: Tensor, k: Linear, v: Linear, norm: Tensor) -> Tensor:
        keys = _heads(_rms(_linear(tokens, k, native), norm), head)
        return _attention(q, keys, _heads(_linear(tokens, v, native), head))

    cross = across(text, w.cross_k, w.cross_v, w.cross_norm_k)
    if w.image_k is not None and w.image_v is not None and w.image_norm_k is not None:
        cross = cross + across(picture, w.image_k, w.image_v, w.image_norm_k)
    x = x + _linear(cross, w.cross_out, native)

    inner = _linear(_norm(x) * (1 + scale_up) + shift_up, w.up, native)
    return x + gate_up * _linear(functional.gelu(inner, approximate="tanh"), w.down, native)


def _projected(
    w: BlockWeights, x: Tensor, t_mod: Tensor, cos: Tensor, sin: Tensor, head: int, native: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values (B,heads,S,head) of self-attention."""
    shift, scale, *_ = _modulation(w, t_mod)
    y = _norm(x) * (1 + scale) + shift
    q = _turned(_rms(_linear(y, w.q, native), w.norm_q), cos, sin, head)
    k = _turned(_rms(_linear(y, w.k, native), w.norm_k), cos, sin, head)
    return q, k, _heads(_linear(y, w.v, native), head)


def _modulation(w: BlockWeights, t_mod: Tensor) -> tuple[Tensor, ...]:
    """Shift, scale and gate of self-attention, and those of the feed-forward part, (B,1,dim) each."""
    return (w.modulation + t_mod)[:, :, None].unbind(1)


def _norm(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=EPS)


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    """RMS norm computed in float32; result and scale are in the products' dtype, as in the release."""
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + EPS)).to(x.dtype) * weight


def _heads(x: Tensor, head: int) -> Tensor:
    """Reshape (B,S,dim) to (B,heads,S,head)."""
    return x.unflatten(-1, (-1, head)).transpose(1, 2)


def _turned(x: Tensor, cos: Tensor, sin: Tensor, head: int) -> Tensor:
    """Apply rotary embedding to (B,heads,S,head); pairs are adjacent channels."""
    a, b = x.float().unflatten(-1, (-1, head // 2, 2)).unbind(-1)
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype).transpose(1, 2)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over heads (B,heads,S,head), returned as (B,S,dim)."""
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _linear(x: Tensor, layer: Linear, native: bool) -> Tensor:
    if layer.scale is None:
        return functional.linear(x.to(layer.weight.dtype), layer.weight, layer.bias)
    if not native:
        weight = (layer.weight.float() * layer.scale).to(layer.bias.dtype)
        return functional.linear(x.to(weight.dtype), weight, layer.bias)
    rows = x.flatten(0, -2).float()
    scale = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / LARGEST_8BIT
    product = torch._scaled_mm(
        (rows / scale).to(torch.float8_e4m3fn),
        layer.weight.t(),
        scale,
        layer.scale.t(),
        bias=layer.bias,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )
    return product.unflatten(0, x.shape[:-1])
