"""Model files that every model of the family needs: one copy on disk serves them all. Needs no torch.

Revisions and hashes were seen in several public places that agree; hashes of tensors are those by which diffsynth
recognises the published files (its configs/model_configs.py).
"""

from ex4d.weights.store import Part

EXTRA = "wan"
"""The extra of ex4d that brings what the models need."""

FOLDER, HUB, REVISION = "Wan2.1-I2V-14B-480P", "Wan-AI/Wan2.1-I2V-14B-480P", "6b73f84e66371cdfe870c72acd6826e1d61cf279"
"""The repository that has all of them; the same files lie in those of the other models too."""


def part(name: str, files: tuple[str, ...], gigabytes: float, keys: str = "", sha256: tuple[str, ...] = ()) -> Part:
    """A part of that repository."""
    places = tuple(f"{FOLDER}/{file}" for file in files)
    return Part(name, places, gigabytes, "Apache-2.0", HUB, keys, REVISION, sha256, extra=EXTRA)


TEXT_ENCODER = part(
    "text encoder",
    ("models_t5_umt5-xxl-enc-bf16.pth",),
    11.4,
    "9c8818c2cbea55eca56c7b447df170da",
    ("7cace0da2b446bbbbc57d031ab6cf163a3d59b366da94e5afe36745b746fd81d",),
)
TOKENIZER = part(
    "tokenizer",
    ("google/umt5-xxl/tokenizer.json", "google/umt5-xxl/tokenizer_config.json"),
    0.02,
    sha256=(
        "6e197b4d3dbd71da14b4eb255f4fa91c9c1f2068b20a2de2472967ca3d22602b",
        "ed9a3a8b0faa71a70a32847e0435fe036e6e112d4df4edb7bb48a921e344dc05",
    ),
)
VAE = part(
    "VAE",
    ("Wan2.1_VAE.pth",),
    0.5,
    "ccc42284ea13e1ad04693284c7a09be6",
    ("38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981",),
)
