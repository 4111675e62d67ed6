"""Shared parts of the family's tiny models: VAE, text encoder and tokenizer with few channels, and their files."""

from functools import partial
from unittest.mock import patch

import torch

from ex4d.generate.diffsynth.library import Prompts, library

torch.set_num_threads(1)  # more threads do not help such small models, and wait for each other on a busy machine

TEXT = 64


def vae():
    from diffsynth.models import wan_video_vae

    with patch.object(wan_video_vae, "VideoVAE_", partial(wan_video_vae.VideoVAE_, dim=16)):
        return library().wan_video.WanVideoVAE()


def text_encoder():
    return library().wan_video.WanTextEncoder(vocab=64, dim=TEXT, dim_attn=TEXT, dim_ffn=128, num_heads=4, num_layers=2)


def tokenizer(folder):
    """A tokenizer with three words, saved as by transformers."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{word: n for n, word in enumerate(("wide", "view", "static"), 3)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )
    fast.save_pretrained(folder)


def prompts(seed=2):
    generator = torch.Generator().manual_seed(seed)
    return Prompts(*(torch.randn(1, 512, TEXT, generator=generator) for _ in range(2)))
