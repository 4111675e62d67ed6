"""The model written out in plain torch, after the paper and the shapes of its weights; shares no code with ours."""

from itertools import pairwise

import torch
from torch.nn import functional


def camera(weights, colour, mask):
    x = torch.cat([colour, mask], 1)
    for n in (0, 2, 4):
        name = f"latent_encoder.{n}"
        x = torch.einsum("oi,bithw->bothw", weights[f"{name}.weight"][:, :, 0, 0, 0], x)
        x = x + weights[f"{name}.bias"].view(1, -1, 1, 1, 1)
        x = x if n == 4 else x * torch.sigmoid(x)
    kernel = weights["latent_patch_embedding.weight"][:, :, 0]
    b, c, t, h, w = x.shape
    patches = x.reshape(b, c, t, h // 2, 2, w // 2, 2)
    x = torch.einsum("ocyx,bcthywx->bothw", kernel, patches)
    return x + weights["latent_patch_embedding.bias"].view(1, -1, 1, 1, 1)


def forward(weights, lora, x, time, context, feature, added, heads):
    """One prediction of the video model for x (1,36,T,H,W), with the LoRA kept separate from the weights."""

    def linear(name, x):
        y = functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
        if f"{name}.lora_A.default.weight" in lora:
            y = y + x @ lora[f"{name}.lora_A.default.weight"].T @ lora[f"{name}.lora_B.default.weight"].T
        return y

    def layer_norm(x, name=None, eps=1e-6):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
        return x if name is None else x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def rms_norm(x, name):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[f"{name}.weight"]

    def split(x):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def attend(q, k, v):
        q, k, v = split(q), split(k), split(v)
        return (torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1) @ v).transpose(1, 2).flatten(2)

    x = (
        functional.conv3d(x, weights["patch_embedding.weight"], weights["patch_embedding.bias"], stride=(1, 2, 2))
        + added
    )
    t, h, w = x.shape[2:]
    x = x.flatten(2).mT
    dim = x.shape[-1]

    half = torch.arange(128, dtype=torch.float64)
    angles = time.double() * 10000 ** (-half / 128)
    emb = torch.cat([angles.cos(), angles.sin()])[None].float()
    emb = linear("time_embedding.2", functional.silu(linear("time_embedding.0", emb)))
    shifts = linear("time_projection.1", functional.silu(emb)).view(1, 6, dim)
    context = linear("text_embedding.2", functional.gelu(linear("text_embedding.0", context), approximate="tanh"))
    image = linear("img_emb.proj.1", layer_norm(feature, "img_emb.proj.0", 1e-5))
    image = layer_norm(linear("img_emb.proj.3", functional.gelu(image)), "img_emb.proj.4", 1e-5)

    size = dim // heads
    parts = (size - 2 * (size // 3), size // 3, size // 3)
    turns = []
    for place, part in zip(torch.meshgrid(*map(torch.arange, (t, h, w)), indexing="ij"), parts, strict=True):
        speed = 10000 ** (-torch.arange(0, part, 2).double() / part)
        turns.append(place.flatten()[:, None].double() * speed)
    turns = torch.cat(turns, 1)
    cos, sin = (f(turns)[None, :, None] for f in (torch.cos, torch.sin))

    def rotate(x):
        pairs = x.double().view(1, -1, heads, size // 2, 2)
        a, b = pairs[..., 0], pairs[..., 1]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(2).float()

    for n in range(sum(name.endswith("self_attn.q.weight") for name in weights)):
        block = f"blocks.{n}"
        s1, c1, g1, s2, c2, g2 = (weights[f"{block}.modulation"] + shifts).chunk(6, 1)
        y = layer_norm(x) * (1 + c1) + s1
        q, k, v = (linear(f"{block}.self_attn.{name}", y) for name in "qkv")
        q, k = rms_norm(q, f"{block}.self_attn.norm_q"), rms_norm(k, f"{block}.self_attn.norm_k")
        x = x + g1 * linear(f"{block}.self_attn.o", attend(rotate(q), rotate(k), v))
        cross = f"{block}.cross_attn"
        q = rms_norm(linear(f"{cross}.q", layer_norm(x, f"{block}.norm3")), f"{cross}.norm_q")
        y = attend(q, rms_norm(linear(f"{cross}.k", context), f"{cross}.norm_k"), linear(f"{cross}.v", context))
        k = rms_norm(linear(f"{cross}.k_img", image), f"{cross}.norm_k_img")
        x = x + linear(f"{cross}.o", y + attend(q, k, linear(f"{cross}.v_img", image)))
        y = linear(f"{block}.ffn.0", layer_norm(x) * (1 + c2) + s2)
        x = x + g2 * linear(f"{block}.ffn.2", functional.gelu(y, approximate="tanh"))

    shift, scale = (weights["head.modulation"] + emb[:, None]).chunk(2, 1)
    x = linear("head.head", layer_norm(x) * (1 + scale) + shift)
    return x.view(1, t, h, w, 2, 2, 16).permute(0, 6, 1, 2, 4, 3, 5).reshape(1, 16, t, 2 * h, 2 * w)


def sample(guess, noise, steps, guidance, shift):
    """Euler steps of flow matching from 1 to 0; `guess(latents, time, prompt)`, prompt 0 wanted, 1 not."""
    sigmas = [shift * s / (1 + (shift - 1) * s) for s in (1 - n / steps for n in range(steps))] + [0.0]
    latents = noise
    for sigma, following in pairwise(sigmas):
        time = torch.tensor(1000 * sigma)
        wanted, unwanted = guess(latents, time, 0), guess(latents, time, 1)
        latents = latents + (unwanted + guidance * (wanted - unwanted)) * (following - sigma)
    return latents
