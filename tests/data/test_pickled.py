"""Pickles are read as data: what they hold comes out whole, whatever wrote them, and nothing that they ask for is ever called."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calotype.data import check
from calotype.data.pickled import integers, read_pickle
from calotype.errors import UserError
from tests.fuzz import attempt, mutations

ROWS = np.random.RandomState(0).randint(0, 256, (7, 3072)).astype(np.uint8)
LABELS = [3, 1, 4, 1, 5, 9, 2]


def of_python_2(rows: np.ndarray, labels: list[int]) -> bytes:
    """A batch as the original files have it: byte strings, numpy by its old names."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    kind = (
        b"cnumpy\ndtype\nq\x07" + text(b"u1") + b"K\x00K\x01\x87Rq\x08(K\x03" + text(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85" + text(b"b") + b"\x87Rq\x09"
    state = b"(K\x01" + b"".join(b"M" + struct.pack("<H", side) for side in rows.shape) + b"\x86" + kind + b"\x89"
    data = b"T" + struct.pack("<I", rows.nbytes) + rows.tobytes()
    marks = b"]q\x04(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"](" + b"".join(text(b"a.png") for _ in labels) + b"e"
    entries = (
        (b"batch_label", text(b"training batch 1 of 5")),
        (b"labels", marks),
        (b"data", array + state + data + b"tb"),
        (b"filenames", names),
    )
    return b"\x80\x02}q\x01(" + b"".join(text(key) + value for key, value in entries) + b"u."


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("keys", ["bytes", "text"])
@pytest.mark.parametrize("marks", [list, np.int64, np.uint8, np.dtype(">i2")])
def test_every_protocol(protocol: int, old: bool, keys: str, marks: object) -> None:
    labels = LABELS if marks is list else np.array(LABELS, marks)  # type: ignore[call-overload]
    content: dict[object, object] = {
        "data": ROWS,
        "labels": labels,
        "filenames": ["ä.png"] * 7,
        "batch_label": b"one",
        "n": [2**40, -1, 0.5, None],
    }
    if keys == "bytes":
        content = {str(key).encode(): value for key, value in content.items()}
    data = pickle.dumps(content, protocol)
    if old and protocol < 4:  # later ones tell the length of names
        data = data.replace(b"numpy._core", b"numpy.core")
    found = read_pickle(data)
    assert (integers(found["data"]) == ROWS).all()
    assert integers(found["labels"]).tolist() == LABELS
    assert set(found) == {"data", "labels", "filenames", "batch_label", "n"}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_whose_columns_come_first(protocol: int) -> None:
    content = {"data": np.asfortranarray(ROWS), "labels": np.arange(14)[::2]}
    found = read_pickle(pickle.dumps(content, protocol))
    assert (integers(found["data"]) == ROWS).all()
    assert integers(found["labels"]).tolist() == list(range(0, 14, 2))


def test_the_original_form() -> None:
    found = read_pickle(of_python_2(ROWS, LABELS))
    assert (integers(found["data"]) == ROWS).all()
    assert integers(found["labels"]).tolist() == LABELS


def name(module: bytes, attribute: bytes) -> bytes:
    return b"c" + module + b"\n" + attribute + b"\n"


ARRAY, KIND = name(b"numpy", b"ndarray"), name(b"numpy", b"dtype")
EMPTY = name(b"numpy.core.multiarray", b"_reconstruct") + b"(" + ARRAY + b"K\x00\x85C\x01btR"
U1 = KIND + b"C\x02u1\x85R"
LISTS = b"(" + b"K\x01" * 100 + b"lq\x01"
LISTS += b"".join(b"(" + (b"h" + bytes([level - 1])) * 100 + b"lq" + bytes([level]) for level in range(2, 200))
ENCODED = b"X\x00\x00\x10\x00" + b"a" * 2**20 + b"q\x00" + (name(b"_codecs", b"encode") + b"h\x00C\x06latin1\x86Rq\x01") * 500
HOSTILE = {
    "a pointer of the file's choice": ARRAY + b"(K\x01\x85" + KIND + b"C\x01O\x85RC\x08AAAAAAAAtR",
    "an array of objects": EMPTY + b"(K\x01K\x01\x85" + KIND + b"C\x02O8\x85R\x89]t" + b"b",
    "fewer bytes than the shape has": EMPTY + b"(K\x01K\x09\x85" + U1 + b"\x89C\x01xtb",
    "a shape below zero": EMPTY + b"(K\x01J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86" + U1 + b"\x89C\x01xtb",
    "a shape beyond numbers": EMPTY + b"(K\x01(" + b"\x8a\x09" + b"\xff" * 8 + b"\x00" + b"t" + U1 + b"\x89C\x01xtb",
    "a memo of 4 GB": b"}r" + struct.pack("<I", 2**32 - 1),
    "lists of lists": LISTS,
    "a list within itself": b"]q\x00h\x00a",
    "tuples within tuples": b")" + b"\x85" * 50_000,
    "the same text encoded again": ENCODED,
    "a number of many digits": b"L" + b"9" * 100_000 + b"L\n",
    "a text longer than the file": b"X\xff\xff\xff\xffx",
    "more than there is": b"\x8e" + b"\xff" * 8,
    "a type with a shape": KIND + b"C\x0b(1000000,)u1\x85R",
    "a class": name(b"builtins", b"list") + b")\x81",
    "no end": b"K\x01" * 600_000,
    "a state for a list": b"]K\x01b",
    "nothing to append to": b"K\x01a",
    "a key without a value": b"(K\x01d",
    "a line without end": b"I" + b"1" * 100,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_values_end_in_one_line(what: str, tmp_path: Path) -> None:
    """Each is the value of ``data`` in a dictionary, and each without it."""
    for data in (b"\x80\x02}(C\x04data" + HOSTILE[what] + b"u.", b"\x80\x02" + HOSTILE[what] + b"."):
        attempt(lambda data=data: integers(read_pickle(data).get("data")), ValueError)  # type: ignore[misc]
        (tmp_path / "data_batch_1").write_bytes(data)
        with pytest.raises(UserError, match="is not a CIFAR-10 batch"):
            check(str(tmp_path))


def test_good_values_stand_beside_hostile_ones() -> None:
    """The frame in which the hostile values lie is not what makes them fail."""
    data = EMPTY + b"(K\x01K\x01K\x01\x86" + U1 + b"\x89C\x01xtb"
    assert integers(read_pickle(b"\x80\x02}(C\x04data" + data + b"u.")["data"]).tolist() == [[ord("x")]]


def test_fuzz_pickles(fuzz: int) -> None:
    writers: list[Callable[[], bytes]] = [lambda: of_python_2(ROWS[:2], LABELS[:2])]
    writers += [lambda p=p: pickle.dumps({b"data": ROWS[:2], b"labels": LABELS[:2], "f": ["a"]}, p) for p in (0, 2, 4, 5)]  # type: ignore[misc]
    for seed, write in enumerate(writers):
        for data in mutations(write(), fuzz, seed):
            attempt(lambda data=data: integers(read_pickle(data).get("data")), ValueError)  # type: ignore[misc]
