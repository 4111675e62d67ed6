"""The trained network as a file that OpenCV reads, which needs no torch."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.networks.edge_refiner import INPUTS, EdgeRefiner
from ex4d.storage.atomic import replacing


def check_exporter() -> None:
    """See that `export` can run, before anything is trained.

    Raises:
        InputError: onnx is not installed.
    """
    if not Package("onnx", "train").is_there:
        raise InputError(f"Writing the trained network needs onnx: {Package('onnx', 'train').install}.")


def export(weights: Path, onnx: Path) -> None:
    """Write an ONNX graph of the weights; nothing in it depends on the size of the picture it is made with.

    Raises:
        InputError: onnx is not installed.
    """
    check_exporter()
    network = EdgeRefiner().eval()
    network.load_state_dict(load_file(weights))
    with replacing(onnx) as place:
        torch.onnx.export(
            network,
            (torch.zeros(1, INPUTS, 64, 64),),
            str(place),
            dynamo=False,  # the newer way needs two more packages
            opset_version=17,
            input_names=["prepared"],
            output_names=["refined"],
        )
