"""The files of VACE in its two sizes. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError
from ex4d.generate.diffsynth import files as common
from ex4d.generate.diffsynth.files import Files
from ex4d.generate.diffsynth.parts import EXTRA, Shared, shared
from ex4d.weights import store
from ex4d.weights.store import Part


@dataclass(frozen=True)
class Model:
    """One size of VACE, by the shapes of its weights.

    Attributes:
        name: of the generator.
        title: for people.
        video_model: its file or files.
        dim, ffn_dim: width of a block, and of its feed-forward part.
        blocks: of the video model, and of the part that reads the control video.
        others: approximate bytes of all other weights.
    """

    name: str
    title: str
    video_model: Part
    dim: int
    ffn_dim: int
    blocks: tuple[int, int]
    others: int

    @property
    def shared(self) -> Shared:
        """The parts that other models need too."""
        return shared(self.video_model.hub, self.video_model.revision)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that it needs."""
        return (self.video_model, *self.shared)


# Revisions and hashes were seen in two public places that agree; where only one was found, the commit has to suffice.
SMALL = Model(
    name="vace",
    title="VACE 1.3B",
    video_model=Part(
        "video model",
        ("Wan2.1-VACE-1.3B/diffusion_pytorch_model.safetensors",),
        7.1,
        "Apache-2.0",
        "Wan-AI/Wan2.1-VACE-1.3B",
        keys="a61453409b67cd3246cf0c3bebad47ba",
        revision="574e6a744642ce3bee319afc31496b88bde8aac4",
        sha256=("c46a6f5f7d32c453c3983bbc59761ea41cd02ad584fb55d1a7ee2b76145847a2",),
        extra=EXTRA,
    ),
    dim=1536,
    ffn_dim=8960,
    blocks=(30, 15),
    others=450_000_000,
)
LARGE = Model(
    name="vace-14b",
    title="VACE 14B",
    video_model=Part(
        "video model",
        tuple(f"Wan2.1-VACE-14B/diffusion_pytorch_model-{n:05d}-of-00007.safetensors" for n in range(1, 8)),
        63.3,
        "Apache-2.0",
        "Wan-AI/Wan2.1-VACE-14B",
        keys="7a513e1f257a861512b1afd387a8ecd9",
        revision="539c162b1387eac9dc4c20bd3f74671309e76a4c",
        sha256=(
            "569d54a07279b89f8281421fccf27ee2459ea853ce6845d3536b8664b0070078",
            "b17ff172f262b4da91c31e8c46d3b7707f62cecfff6e18dd0072ab29eb350e46",
            "741fd1508cd0288f0bb0f4fb3df6734da521d5ff23746170c848564a367e2cea",
            "47b08ba289b127fc64979bc877ee07e1c87aeb8eb8cd47bcfd112682847981ba",
            "29e35f4cf0e3a61f4726c960f1babf71d65677a8c99fe704257d665c9498ee88",
            "",
            "",
        ),
        extra=EXTRA,
    ),
    dim=5120,
    ffn_dim=13824,
    blocks=(40, 8),
    others=1_300_000_000,
)


def files(model: Model, root: Path) -> Files:
    """Find the files below the folder of all models.

    Raises:
        InputError: some are missing.
    """
    if lacking := common.lacking(model.title, model.parts, root):
        raise InputError(lacking)
    return Files(
        dit=store.places(model.video_model, root),
        vae=store.places(model.shared.vae, root)[0],
        text_encoder=store.places(model.shared.text_encoder, root)[0],
        tokenizer=store.places(model.shared.tokenizer, root)[0].parent,
        notes=common.notes(root),
    )
