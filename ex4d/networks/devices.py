"""Where a network runs."""


def torch_device(device: str) -> str:
    """The device of torch for a wish; "auto" takes CUDA or Apple's GPU where torch can use it, and else the CPU.

    Imports torch.
    """
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
