"""The device that a network runs on."""


def torch_device(device: str) -> str:
    """The torch device for a request; "auto" takes CUDA or Apple's GPU if torch can use it, else the CPU.

    Imports torch.
    """
    if device != "auto":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
