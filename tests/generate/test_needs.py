"""What the machine lacks, according to the driver itself; needs neither torch nor a GPU."""

import ctypes

import pytest

from ex4d import extras
from ex4d.generate.base import Memory
from ex4d.generate.diffsynth import needs


class Driver:
    """Answers like NVIDIA's driver, for GPUs with this many bytes."""

    def __init__(self, sizes, code=0):
        self.sizes, self.code = sizes, code

    def cuInit(self, flags):
        return self.code

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.sizes)
        return 0

    def cuDeviceGet(self, device, number):
        device._obj.value = number
        return 0

    def cuDeviceTotalMem_v2(self, size, device):
        size._obj.value = self.sizes[device.value]
        return 0


@pytest.mark.parametrize(
    ("driver", "found"),
    [(Driver([24 * 10**9, 8 * 10**9]), (24 * 10**9, 8 * 10**9)), (Driver([]), ()), (Driver([10**9], code=100), ())],
)
def test_the_driver_tells_how_much_memory_each_gpu_has(driver, found, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert needs.gpus() == found


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def nothing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", nothing)
    assert needs.gpus() == ()


def test_a_gpu_that_is_too_small_is_told_without_torch(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: object())
    monkeypatch.setattr(needs, "gpus", lambda: (4 * 10**9, 6 * 10**9))
    assert needs.missing("Model", (), 6.0, False) == ""
    assert needs.missing("Model", (), 7.4, False) == (
        "Model needs 7.4 GB of GPU memory or more, and the GPU has 6.0 GB."
    )
    monkeypatch.setattr(needs, "gpus", lambda: ())
    assert "has none that its driver knows" in needs.missing("Model", (), 6.0, False)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert needs.missing("Model", (), 6.0, False) == (
        "Model needs the Python package torch, which is not installed: pip install 'ex4d[wan]'."
    )


def test_the_least_has_room_for_two_blocks_and_the_best_for_all():
    assert needs.memory(block=10**8, blocks=40, others=10**9, rest=2 * 10**9) == Memory(3.2, 7.0)
