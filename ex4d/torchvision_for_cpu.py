"""Import torchvision, needed by diffsynth and diffusers and built for CUDA on PyPI, next to a CPU build of torch."""

import sys


def import_torchvision() -> None:
    """Import torchvision if it is installed.

    Next to a CPU build of torch, its CUDA build cannot find its own operators. Declaring them is enough, because
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

        torchvision._ex4d_declared = declared  # keeps the declarations alive
