"""Whether a file of weights is whole, without torch: what may be compressed in it, and what may not."""

import zipfile

import pytest

from ex4d.errors import InputError
from ex4d.weights import headers
from ex4d.weights.headers import check_file


def archive(file, **compressed):
    """A zip as torch writes them, with entries of 10 kB; those named are compressed or not."""
    with zipfile.ZipFile(file, "w") as written:
        for name, packed in compressed.items():
            entry = f"i3d/{name.replace('__', '/')}"
            written.writestr(entry, b"0" * 10_000, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return file


def test_the_text_of_a_torchscript_program_may_be_compressed(tmp_path):
    check_file(archive(tmp_path / "i3d.pt", data__0=False, code__net=True), "program")


@pytest.mark.parametrize("name", ["data__0", "data__code__0", "codes"])
def test_weights_may_not_be_compressed(tmp_path, name):
    with pytest.raises(InputError, match="it is compressed, which torch never does"):
        check_file(archive(tmp_path / "i3d.pt", **{name: True}), "program")


def test_a_program_that_would_unpack_to_more_than_any_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(headers, "TABLE_LIMIT", 9_999)
    with pytest.raises(InputError, match="its program is too large to be one"):
        check_file(archive(tmp_path / "i3d.pt", code__net=True), "program")
