"""Reads the four MNIST IDX files, plain or .gz, from the folder in $ADJOINT_MNIST_DIR."""
import gzip
import os
import pathlib

import numpy as np


def _read(name, header):
    folder = pathlib.Path(os.environ["ADJOINT_MNIST_DIR"])
    plain = folder / name
    data = plain.read_bytes() if plain.exists() else gzip.open(folder / (name + ".gz")).read()
    return np.frombuffer(data, np.uint8, offset=header)


def load():
    """Training images [60000,28,28] and labels, test images and labels."""
    return (
        _read("train-images-idx3-ubyte", 16).reshape(-1, 28, 28),
        _read("train-labels-idx1-ubyte", 8),
        _read("t10k-images-idx3-ubyte", 16).reshape(-1, 28, 28),
        _read("t10k-labels-idx1-ubyte", 8),
    )
