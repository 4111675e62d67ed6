"""Ours compared with the released EX-4D on the same random weights: `python benchmarks/release_parity.py RELEASE`.

RELEASE is a checkout of the release's repository, run from its own files in a separate process. Two comparisons:

- tiny models in float32, the whole way: pictures and mask to latents, image feature, camera latent, 4 steps with
  guidance, decoded frames.
- `--full`: one prediction of the full-size model (EX4D_MODELS, see random_weights.py), 49 frames of 512x512: time, and
  distance from the same prediction in float32, which is ours with weights and products in float32.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

TINY = {"dim": 96, "ffn_dim": 256, "num_heads": 4, "num_layers": 2, "text_dim": 64}
FULL = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "text_dim": 4096}
COMMON = {"in_dim": 36, "out_dim": 16, "freq_dim": 256, "eps": 1e-6, "patch_size": (1, 2, 2)}
HIDDEN, RANK = 32, 16  # of the tiny adapter; alpha is 16 in the release, so a rank of 16 is not scaled
STEPS, SEED = 4, 3


def main(
    release: Annotated[Path, typer.Argument(help="Checkout of the release.")],
    full: Annotated[bool, typer.Option("--full", help="Also compare the full-size model, on a GPU.")] = False,
    work: Annotated[Path, typer.Option("--work", help="Folder for the files that both sides read and write.")] = Path(
        "/tmp/ex4d_parity"
    ),
    role: Annotated[str, typer.Option("--role", hidden=True)] = "",
) -> None:
    """Compare the release's predictions with the library's."""
    if role:
        ROLES[role](release, work)
        return
    work.mkdir(parents=True, exist_ok=True)
    for part in ("tiny", *(["full"] if full else [])):
        for name in ("inputs", "release", "ours"):
            command = [sys.executable, __file__, str(release), "--work", str(work), "--role", f"{part} {name}"]
            subprocess.run(command, check=True)
    one, two = (load_file(work / f"tiny_{name}.safetensors") for name in ("release", "ours"))
    print("tiny, float32, whole way: relative distance of ours from the release")
    for name, tensor in one.items():
        print(f"  {name:14} {distance(two[name], tensor):.1e}")


def distance(a: Tensor, b: Tensor) -> float:
    """Distance of two tensors, relative to the second."""
    return float((a.float() - b.float()).norm() / b.float().norm())


# -- tiny: the whole way ----------------------------------------------------------------------------


def tiny_inputs(release: Path, work: Path) -> None:
    """Write weights and pictures for both."""
    from ex4d.generate.wan import video_model
    from ex4d.generate.wan.adapter import ModelShape
    from ex4d.generate.wan.camera_encoder import CameraEncoder

    torch.manual_seed(0)
    pipe = tiny_pipeline(video_model.library().wan_video)
    for name in ("dit", "vae", "image_encoder"):
        state = {key: tensor.contiguous().clone() for key, tensor in getattr(pipe, name).state_dict().items()}
        save_file(state, work / f"tiny_{name}.safetensors")
    shape = ModelShape(TINY["dim"], TINY["ffn_dim"], TINY["num_layers"])
    adapter = {name: torch.randn(t.shape) / 8 for name, t in CameraEncoder(TINY["dim"], HIDDEN).state_dict().items()}
    for name, (outputs, inputs) in shape.lora_modules().items():
        adapter[f"{name}.lora_A.default.weight"] = torch.randn(RANK, inputs) / inputs**0.5
        adapter[f"{name}.lora_B.default.weight"] = torch.randn(outputs, RANK) / RANK
    torch.save(adapter, work / "tiny_ex4d.ckpt")
    mask = torch.where(torch.rand(9, 1, 64, 64) < 0.3, 0.0, 1.0)
    mask[0] = 1
    colour = (torch.rand(9, 3, 64, 64) * 255).round() / 255
    save_file(
        {
            "colour": colour * mask * 2 - 1,
            "mask": mask[:, 0] * 2 - 1,
            "positive": torch.randn(1, 512, TINY["text_dim"]),
            "negative": torch.randn(1, 512, TINY["text_dim"]),
        },
        work / "tiny_inputs.safetensors",
    )


def tiny_pipeline(library: Any) -> Any:
    """diffsynth's classes with few channels."""
    from diffsynth.models import wan_video_image_encoder, wan_video_vae

    pipe = library.WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.dit = library.WanModel(**COMMON, **TINY, has_image_input=True)
    with patch.object(wan_video_vae, "VideoVAE_", partial(wan_video_vae.VideoVAE_, dim=16)):
        pipe.vae = library.WanVideoVAE()
    small = partial(wan_video_image_encoder.clip_xlm_roberta_vit_h_14, vision_layers=2)
    with patch.object(wan_video_image_encoder, "clip_xlm_roberta_vit_h_14", small):
        pipe.image_encoder = library.WanImageEncoder()
    return pipe


def tiny_release(release: Path, work: Path) -> None:
    """Run the released pipeline's own functions, in float32.

    Its autocast to bfloat16 is switched off, and its attention, which itself rounds to bfloat16, is replaced by
    torch's.
    """
    load_release(release)
    from diffsynth.models import wan_video_dit, wan_video_image_encoder, wan_video_vae
    from diffsynth.models.camera import CamVidEncoder
    from diffsynth.pipelines.wan_video import WanVideoPipeline

    def attention(q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Tensor:
        return scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)

    torch.amp.autocast = lambda *args, **more: nullcontext()
    wan_video_dit.flash_attention = wan_video_image_encoder.flash_attention = attention
    given = load_file(work / "tiny_inputs.safetensors")
    pipe = WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    pipe.dit = wan_video_dit.WanModel(model_type="i2v", cross_attn_norm=True, **COMMON, **TINY)
    with patch.object(wan_video_vae, "VideoVAE_", partial(wan_video_vae.VideoVAE_, dim=16)):
        pipe.vae = wan_video_vae.WanVideoVAE()
    small = partial(wan_video_image_encoder.clip_xlm_roberta_vit_h_14, vision_layers=2)
    with patch.object(wan_video_image_encoder, "clip_xlm_roberta_vit_h_14", small):
        pipe.image_encoder = wan_video_image_encoder.WanImageEncoder()
    for name in ("dit", "vae", "image_encoder"):
        getattr(pipe, name).load_state_dict(load_file(work / f"tiny_{name}.safetensors"))
    pipe.camera_encoder = CamVidEncoder(16, HIDDEN, TINY["dim"])
    pipe.load_cam(work / "tiny_ex4d.ckpt")
    add_lora(pipe.dit, torch.load(work / "tiny_ex4d.ckpt", weights_only=True))
    texts = {"wanted": given["positive"], "not wanted": given["negative"]}
    pipe.prompter = SimpleNamespace(encode_prompt=lambda prompt, positive: texts[prompt])
    pipe.load_models_to_device = lambda names: None
    video, mask = given["colour"].transpose(0, 1)[None], given["mask"].expand(3, -1, -1, -1)[None]
    frames: dict[str, Tensor] = {}
    decode = pipe.decode_video
    pipe.decode_video = lambda latents, **more: frames.setdefault(
        "frames", decode(frames.setdefault("latents", latents))
    )
    pipe.tensor2video = lambda frames: frames
    with torch.no_grad():
        image = pipe.encode_images(video[:, :, 0], 9, 64, 64)
        pipe(
            **{"prompt": "wanted", "negative_prompt": "not wanted", "video": video, "mask": mask, "seed": SEED},
            **{"num_inference_steps": STEPS, "tiled": False, "height": 64, "width": 64, "num_frames": 9},
        )
        camera = pipe.encode_rays(video, mask)
    found = {"image latent": image["y"], "image feature": image["clip_fea"], "camera latent": camera, **frames}
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, work / "tiny_release.safetensors")


def tiny_ours(release: Path, work: Path) -> None:
    """Run the same with the library."""
    from ex4d.generate.wan import video_model
    from ex4d.generate.wan.adapter import ModelShape, read_adapter
    from ex4d.generate.wan.preparation import Prepared, through_8_bits

    given = load_file(work / "tiny_inputs.safetensors")
    pipe = tiny_pipeline(video_model.library().wan_video)
    for name in ("dit", "vae", "image_encoder"):
        getattr(pipe, name).load_state_dict(load_file(work / f"tiny_{name}.safetensors"))
    shape = ModelShape(TINY["dim"], TINY["ffn_dim"], TINY["num_layers"])
    models = video_model.assemble(pipe, read_adapter(work / "tiny_ex4d.ckpt", shape, HIDDEN), "reference")
    mask = given["mask"]
    first = through_8_bits(given["colour"][0])
    prepared = Prepared(given["colour"], mask * 2 - 1, (mask > 0).numpy(), 9, first_seen=first)
    prompts = video_model.Prompts(given["positive"], given["negative"])
    with torch.no_grad():
        inputs = video_model._encode(models, prepared, video_model.silent)
        latents, _ = video_model._sample(
            models, inputs, prompts, SEED, video_model.Settings(steps=STEPS), video_model.silent
        )
        frames = pipe.vae.decode(latents, device="cpu", tiled=False)
    found = {"image latent": inputs.y, "image feature": inputs.clip_feature, "camera latent": inputs.camera}
    found |= {"latents": latents, "frames": frames}
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, work / "tiny_ours.safetensors")


# -- full size: one prediction ----------------------------------------------------------------------


def full_inputs(release: Path, work: Path) -> None:
    """Write the inputs of both predictions."""
    torch.manual_seed(1)
    shapes = {"latents": (1, 16, 13, 64, 64), "y": (1, 20, 13, 64, 64), "context": (1, 512, 4096)}
    shapes |= {"feature": (1, 257, 1280), "camera": (1, 5120, 13, 32, 32)}
    save_file({name: torch.randn(size) for name, size in shapes.items()}, work / "full_inputs.safetensors")


def full_release(release: Path, work: Path) -> None:
    """Run the released model, bfloat16 under autocast, with its LoRA separate from the weights."""
    load_release(release)
    from diffsynth.models.wan_video_dit import WanModel

    from ex4d.generate.wan import model_files
    from ex4d.weights import store

    files = model_files.files(store.folder())
    given = {name: t.cuda() for name, t in load_file(work / "full_inputs.safetensors").items()}
    with torch.device("meta"):
        dit = WanModel(model_type="i2v", cross_attn_norm=True, **COMMON, **FULL)
        freqs = dit.freqs
    state: dict[str, Tensor] = {}
    for path in files.dit:
        state |= {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path, device="cuda").items()}
    dit.load_state_dict(state, assign=True)
    del state, freqs
    dit.freqs = WanModel(model_type="i2v", cross_attn_norm=True, **COMMON, **{**FULL, "num_layers": 1}).freqs
    add_lora(dit, torch.load(files.adapter, map_location="cuda", weights_only=True))
    dit.cuda().eval()

    def predict() -> Tensor:
        with torch.no_grad(), torch.amp.autocast(dtype=torch.bfloat16, device_type="cuda"):
            return dit(
                given["latents"],
                timestep=torch.tensor([800.0], device="cuda"),
                context=given["context"],
                clip_fea=given["feature"],
                y=given["y"],
                ray_latent=given["camera"],
                seq_len=13312,
            )

    guess, seconds = timed(predict)
    print(f"full size, one prediction, release: {seconds:.3f} s", flush=True)
    save_file({"guess": stacked(guess).float().cpu()}, work / "full_release.safetensors")


def full_ours(release: Path, work: Path) -> None:
    """Run ours in both precisions, and in float32."""
    from ex4d.generate.diffsynth.video_model import computing
    from ex4d.generate.runtime import blocks
    from ex4d.generate.wan import model_files, video_model
    from ex4d.weights import store

    files = model_files.files(store.folder())
    given = {name: t.cuda() for name, t in load_file(work / "full_inputs.safetensors").items()}
    guesses = {"release": load_file(work / "full_release.safetensors")["guess"].cuda()}
    predict = video_model.library().wan_video.model_fn_wan_video
    for precision in ("reference", "fast"):
        models = video_model.load(files, precision)

        def guess(models: Any = models) -> Tensor:
            with (
                torch.no_grad(),
                video_model.camera_latent(models.pipe.dit, given["camera"]),
                computing(models),
            ):
                return predict(
                    dit=models.pipe.dit,
                    latents=given["latents"],
                    timestep=torch.tensor([800.0], device="cuda"),
                    context=given["context"],
                    clip_feature=given["feature"],
                    y=given["y"],
                ).float()

        guesses[precision], seconds = timed(guess)
        print(f"full size, one prediction, ours, {precision}: {seconds:.3f} s", flush=True)
        models.pipe.dit.blocks.release()
        del models, guess
        torch.cuda.empty_cache()
    guesses["float32"] = exact(files, given, blocks)
    for name in ("release", "reference", "fast"):
        print(f"full size, {name:9} against float32: {distance(guesses[name], guesses['float32']):.4f}", flush=True)


def exact(files: Any, given: dict[str, Tensor], blocks: Any) -> Tensor:
    """One prediction with weights, LoRA and products in float32, one block at a time."""
    from ex4d.generate.diffsynth.library import pipeline
    from ex4d.generate.wan import video_model
    from ex4d.generate.wan.adapter import read_adapter

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    pipe = pipeline({"dit": files.dit}, "cpu")
    dit, lora = pipe.dit, read_adapter(files.adapter).lora_layers()
    stacked_blocks = dit.blocks

    class InFloat32:
        def __iter__(self) -> Any:
            for n, block in enumerate(stacked_blocks):
                start = f"blocks.{n}."
                own = [{k.removeprefix(start): ab for k, ab in lora.items() if k.startswith(start)}]
                weights = blocks.gather(block.cuda().float(), own, False)
                yield lambda x, context, t_mod, freqs, w=weights: blocks.run(
                    w, x, context, t_mod, freqs.real.float(), freqs.imag.float(), 128, video_model.IMAGE_TOKENS, False
                )
                stacked_blocks[n] = torch.nn.Identity()

    del dit.blocks
    dit.float().cuda()
    dit.blocks = InFloat32()
    with torch.no_grad(), video_model.camera_latent(dit, given["camera"]):
        return video_model.library().wan_video.model_fn_wan_video(
            dit=dit,
            latents=given["latents"],
            timestep=torch.tensor([800.0], device="cuda"),
            context=given["context"],
            clip_feature=given["feature"],
            y=given["y"],
        )


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and its time in seconds: the best of three, after two warm-up calls."""
    for _ in range(2):
        found = call()
    best = float("inf")
    for _ in range(3):
        torch.cuda.synchronize()
        start = time.monotonic()
        found = call()
        torch.cuda.synchronize()
        best = min(best, time.monotonic() - start)
    return found, best


def stacked(guess: Any) -> Tensor:
    """A batch as a single tensor, whether it is one already or a list."""
    return guess if isinstance(guess, Tensor) else torch.stack(list(guess))


# -- the release ------------------------------------------------------------------------------------


def load_release(folder: Path) -> None:
    """Make `diffsynth` the release's, without its `__init__` files, which import dozens of other models."""
    from ex4d.torchvision_for_cpu import import_torchvision

    import_torchvision()
    for name in ("diffsynth", "diffsynth.models", "diffsynth.pipelines", "diffsynth.prompters", "diffsynth.schedulers"):
        module = ModuleType(name)
        module.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = module
    vars(sys.modules["diffsynth.models"])["ModelManager"] = object
    vars(sys.modules["diffsynth.prompters"])["WanPrompter"] = lambda tokenizer_path=None: None


def add_lora(dit: Any, tensors: dict[str, Tensor]) -> None:
    """Add a LoRA as generate.py of the release does."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = ["q", "k", "v", "o", "ffn.0", "ffn.2"]
    dit = inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=16.0, target_modules=targets), dit)
    for parameter in dit.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.to(torch.float32)
    lora = {name: tensor for name, tensor in tensors.items() if not name.startswith("latent_")}
    unexpected = dit.load_state_dict(lora, strict=False).unexpected_keys
    assert not unexpected, unexpected[:3]


ROLES: dict[str, Callable[[Path, Path], None]] = {
    "tiny inputs": tiny_inputs,
    "tiny release": tiny_release,
    "tiny ours": tiny_ours,
    "full inputs": full_inputs,
    "full release": full_release,
    "full ours": full_ours,
}

if __name__ == "__main__":
    typer.run(main)
