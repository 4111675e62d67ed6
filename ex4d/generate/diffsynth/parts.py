"""Model files that every model of the family needs; one copy on disk serves them all. Needs no torch.

Each model expects them in the folder of its own repository, and uses another model's copy if that one has them. Hashes
of tensors are those by which diffsynth recognises the published files (its configs/model_configs.py). Hashes of whole
files were seen in several public places that agree, for the repositories of Wan2.1 T2V, I2V and Fun, which all have
identical files. For VACE's own repositories no published hash was found: the same hashes are required, and files
downloaded from there with other bytes are refused.
"""

from typing import NamedTuple

from ex4d.weights.store import Part

EXTRA = "wan"
"""The extra of ex4d that installs what the models need."""

FOLDERS = ("Wan2.1-I2V-14B-480P", "Wan2.1-VACE-1.3B", "Wan2.1-VACE-14B")
"""Repositories that contain these files, as folders below the folder of all models."""


class Shared(NamedTuple):
    """The parts that all models of the family have in common."""

    text_encoder: Part
    tokenizer: Part
    vae: Part


def part(
    hub: str,
    revision: str,
    name: str,
    files: tuple[str, ...],
    gigabytes: float,
    keys: str = "",
    sha256: tuple[str, ...] = (),
    elsewhere: tuple[str, ...] = (),
) -> Part:
    """A part of the repository `hub` on Hugging Face at a commit; its folder has the repository's name."""
    folder = hub.partition("/")[2]
    places = tuple(f"{folder}/{file}" for file in files)
    others = tuple(other for other in elsewhere if other != folder)
    return Part(name, places, gigabytes, "Apache-2.0", hub, keys, revision, sha256, extra=EXTRA, elsewhere=others)


def shared(hub: str, revision: str) -> Shared:
    """The common parts for a model, which are expected in, and downloaded from, its own repository first."""
    return Shared(
        part(
            hub,
            revision,
            "text encoder",
            ("models_t5_umt5-xxl-enc-bf16.pth",),
            11.4,
            "9c8818c2cbea55eca56c7b447df170da",
            ("7cace0da2b446bbbbc57d031ab6cf163a3d59b366da94e5afe36745b746fd81d",),
            FOLDERS,
        ),
        part(
            hub,
            revision,
            "tokenizer",
            ("google/umt5-xxl/tokenizer.json", "google/umt5-xxl/tokenizer_config.json"),
            0.02,
            sha256=(
                "6e197b4d3dbd71da14b4eb255f4fa91c9c1f2068b20a2de2472967ca3d22602b",
                "ed9a3a8b0faa71a70a32847e0435fe036e6e112d4df4edb7bb48a921e344dc05",
            ),
            elsewhere=FOLDERS,
        ),
        part(
            hub,
            revision,
            "VAE",
            ("Wan2.1_VAE.pth",),
            0.5,
            "ccc42284ea13e1ad04693284c7a09be6",
            ("38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981",),
            FOLDERS,
        ),
    )
