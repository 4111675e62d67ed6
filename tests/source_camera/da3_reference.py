"""Make da3_reference.json: the output of the publisher's own code for the weights and pictures of `tiny_da3`.

Not a test. It was run once with depth-anything-3 0.1.1 (Apache-2.0), unpacked rather than installed, with addict and
omegaconf beside it:
    PYTHONPATH=.:tests/source_camera:WHEEL:PACKAGES python tests/source_camera/da3_reference.py
"""

import json
from pathlib import Path

import torch
from depth_anything_3.model.cam_dec import CameraDec
from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer
from depth_anything_3.model.utils.transform import pose_encoding_to_extri_intri
from tiny_da3 import SHAPE, pictures, weights


def main() -> None:
    """Write the file."""
    b, start = SHAPE.backbone, SHAPE.together
    encoder = DinoVisionTransformer(
        **{"img_size": 14 * b.side, "patch_size": 14, "embed_dim": b.dim, "depth": b.depth, "num_heads": b.heads},
        **{"mlp_ratio": 4, "alt_start": start, "qknorm_start": start, "rope_start": start, "cat_token": True},
    ).eval()
    reader = CameraDec(2 * b.dim).eval()
    prefixes = {"model.backbone.pretrained.": encoder, "model.cam_dec.": reader}
    shapes = {p + n: tuple(t.shape) for p, module in prefixes.items() for n, t in module.state_dict().items()}
    made = weights(shapes)
    for prefix, module in prefixes.items():
        module.load_state_dict({n.removeprefix(prefix): t for n, t in made.items() if n.startswith(prefix)})
    shown = pictures()
    with torch.no_grad():
        layers, _ = encoder.get_intermediate_layers(shown[None], [b.depth - 1])
        encoded = reader(layers[-1][1])
        camera_to_world, intrinsics = pose_encoding_to_extri_intri(encoded, tuple(shown.shape[-2:]))
    found = {
        "encoded": encoded[0].tolist(),
        "camera_to_world": camera_to_world[0].tolist(),
        "focal": [intrinsics[0, :, 0, 0].tolist(), intrinsics[0, :, 1, 1].tolist()],
    }
    Path(__file__).with_name("da3_reference.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
