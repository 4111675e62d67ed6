"""Importing torchvision, which diffsynth and diffusers need and PyPI builds for CUDA, beside a torch for the CPU."""

import sys


def import_torchvision() -> None:
    """Import torchvision where it is installed.

    Its CUDA build cannot find its own operators beside a torch for the CPU; only their declarations are missed, as
    nothing here calls them.
    """
    try:
        import torchvision
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision._ex4d_declared = declared  # the declarations live as long as this object
