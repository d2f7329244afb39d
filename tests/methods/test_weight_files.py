"""Files are known by their bytes; what is no file of tensors is named, and nothing of it is run."""

from __future__ import annotations

import collections
import io
import json
import pathlib
import pickle
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from hcbench.errors import WeightsError
from hcbench.methods.parts.weights.reading import METADATA, read_weights
from hcbench.methods.parts.weights.shards import files_of

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


def tarred():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights/best.pth"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.pth", b"", "it is empty"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS"),
        ("a.pth", b"<!DOCTYPE html><html>log in</html>", "web page"),
        ("a.safetensors", b"\n  <html lang=en>", "web page"),
        ("a.pth", b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5"),
        ("a.pt", b"\x08\x07\x12\x07pytorch\x1a\x051.0.0:" + bytes(40), "ONNX"),
        ("a.onnx", b"\x08\x03\x3a\x05" + bytes(40), "ONNX"),
        ("a.pth", b"\x1f\x8b\x08" + bytes(30), "gzip"),
        ("a.pth", b"GGUF" + bytes(30), "GGUF"),
        ("a.pth", b"\x93NUMPY" + bytes(30), "NumPy array"),
        ("a.pth", zipped(w_dot_npy="x", v_dot_npy="y"), r"\.npz"),
        ("a.pth", zipped(code__m_dot_py="x", constants_dot_pkl="y", data_dot_pkl="z"), "TorchScript"),
        ("a.zip", zipped(folder__best_dot_pth="x"), r"zip archive that holds folder/best\.pth"),
        ("a.pth.tar", tarred(), r"tar archive that holds weights/best\.pth"),
        ("a.pb", b"\x0a\x2a\x12\x03" + bytes(30), "TensorFlow"),
        ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(30), "TensorFlow Lite"),
        ("a.msgpack", b"\xde\x00\x01" + bytes(30), "Flax"),
        ("a.pth", b"\xff\xd8\xff\xe0" + bytes(30), "picture"),
        ("a.pth", b"hello world", "begins with b'hello world'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_named(name, content, told, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=told) as error:
        read_weights(tmp_path / name)
    assert error.value.hint


def test_a_program_of_torch_is_named_and_not_run(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["A.SAFETENSORS", "a.pth", "a.bin", "weights"])
def test_safetensors_are_read_under_any_name(name, tmp_path):
    (tmp_path / name).write_bytes(save(STATE))
    assert torch.equal(read_weights(tmp_path / name)["a.weight"], STATE["a.weight"])


def test_torch_files_are_read_under_any_name_and_metadata_is_kept(tmp_path):
    torch.save(STATE, tmp_path / "a.safetensors")
    assert torch.equal(read_weights(tmp_path / "a.safetensors")["a.bias"], STATE["a.bias"])
    save_file(STATE, tmp_path / "b.safetensors", metadata={"img_size": "256x192"})
    assert read_weights(tmp_path / "b.safetensors")[METADATA] == {"img_size": "256x192"}


@pytest.mark.parametrize("cut", [0, 3, 8, 20, -10])
def test_damaged_safetensors_are_told_of(cut, tmp_path):
    whole = save(STATE)
    for number, content in enumerate(
        (whole[:cut], struct.pack("<Q", 2**60) + whole[8:], whole[:8] + b"{" * 9 + whole[17:])
    ):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"cannot be read as weights|is empty"):
            read_weights(path)
    with pytest.raises(WeightsError, match="its header should have 1,152,921,504,606,846,976 bytes"):
        read_weights(tmp_path / "1.safetensors")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("old", [False, True])
def test_numbers_of_numpy_are_read(kind, old, tmp_path):
    torch.save({"model": STATE, "best": kind(1)}, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    assert read_weights(tmp_path / "a.pth")["best"] == kind(1)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (collections.defaultdict(list), "defaultdict"),
        (pathlib.PurePosixPath("a"), "PurePosixPath"),
        (np.array(["a"], dtype=object), "numpy"),
        (np.complex64(1), "Complex64|numpy"),
        (np.datetime64("2020-01-01"), "DateTime64|numpy"),
        (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("old", [False, True])
def test_classes_beside_tensors_are_named_without_torch_s_advice(value, named, old, tmp_path):
    torch.save({"model": STATE, "more": value}, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(WeightsError, match=named) as error:
        read_weights(tmp_path / "a.pth")
    assert "In PyTorch" not in str(error.value)
    assert "weights_only" not in str(error.value)


def test_a_plain_pickle_is_named_by_its_classes(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": np.ones(3)}))
    with pytest.raises(WeightsError, match=r"a\.pkl holds more than tensors.*numpy"):
        read_weights(tmp_path / "a.pkl")


@pytest.fixture
def index(tmp_path):
    """Two files, one of safetensors and one of torch, and their index."""
    save_file({"a.weight": STATE["a.weight"]}, tmp_path / "one.safetensors")
    torch.save({"a.bias": STATE["a.bias"]}, tmp_path / "two.bin")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a.weight": "one.safetensors", "a.bias": "two.bin"}}))
    return path


def test_an_index_gives_the_tensors_of_its_files(index):
    read = read_weights(index)
    assert {name: tensor.tolist() for name, tensor in read.items()} == {n: t.tolist() for n, t in STATE.items()}
    assert [file.name for file in files_of(index)] == [index.name, "one.safetensors", "two.bin"]
    assert files_of(index.with_name("two.bin")) == (index.with_name("two.bin"),)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("[]", "no index of weights"),
        ('{"weight_map": {}}', "no index of weights"),
        ('{"weight_map": {"a": 3}}', "no index of weights"),
        ('{"weight_map": {"a": "../one.safetensors"}}', r"not beside it: \.\./one"),
        ('{"weight_map": {"a": "one.safetensors", "b": "three.bin"}}', r"1 are not beside it: three\.bin"),
        ('{"weight_map": {"b": "one.safetensors"}}', r"1 tensors that are not in their files, such as b in one"),
    ],
)
def test_an_index_that_leads_nowhere_is_told_of(index, content, told):
    index.write_text(content)
    with pytest.raises(WeightsError, match=told):
        read_weights(index)


@pytest.mark.parametrize("length", [0x80, 0x8B1F, 0x685A42])
def test_a_header_s_length_is_no_other_file_s_beginning(length, tmp_path):
    """Pickles begin with 0x80, gzip with 1f 8b, bzip2 with BZh."""
    whole = save(STATE)
    header = whole[8 : 8 + struct.unpack("<Q", whole[:8])[0]].rstrip()
    assert len(header) <= length
    data = whole[8 + struct.unpack("<Q", whole[:8])[0] :]
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + header.ljust(length) + data)
    assert torch.equal(read_weights(tmp_path / "a.safetensors")["a.weight"], STATE["a.weight"])
