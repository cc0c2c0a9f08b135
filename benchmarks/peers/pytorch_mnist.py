"""The reference network and recipe in PyTorch, as its own users would tune it for a CPU.

    ADJOINT_MNIST_DIR=DIR python3 pytorch_mnist.py --layout nhwc --mode eager --threads 2 --epochs 1

Prints one JSON object a line: the versions and settings, then one for each epoch with the seconds of
training alone and the test accuracy.
"""
import argparse
import json
import resource
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import mnist_files


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mode", default="eager", choices=["eager", "compile"])
    parser.add_argument("--layout", default="nhwc", choices=["nchw", "nhwc"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def network():
    norm = {"eps": 1e-3, "momentum": 0.01}
    net = nn.Sequential(
        nn.Conv2d(1, 24, 5), nn.BatchNorm2d(24, **norm), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 5), nn.BatchNorm2d(48, **norm), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(768, 512), nn.BatchNorm1d(512, **norm), nn.ReLU(),
        nn.Linear(512, 10),
    )
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def accuracy(net, images, labels):
    net.eval()
    with torch.no_grad():
        right = sum(
            (net(images[i:i + 1000]).argmax(1) == labels[i:i + 1000]).sum().item()
            for i in range(0, len(labels), 1000)
        )
    net.train()
    return 100 * right / len(labels)


def main():
    options = arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    memory = torch.channels_last if options.layout == "nhwc" else torch.contiguous_format
    arrays = [torch.from_numpy(np.array(array)) for array in mnist_files.load()]
    images, test_images = (
        (array.float() / 255)[:, None].contiguous(memory_format=memory) for array in arrays[::2]
    )
    labels, test_labels = (array.long() for array in arrays[1::2])
    net = network().to(memory_format=memory)
    optimizer = torch.optim.SGD(net.parameters(), options.lr, foreach=True)

    def loss_of(x, y):
        return F.cross_entropy(net(x), y)

    if options.mode == "compile":
        loss_of = torch.compile(loss_of)
    print(json.dumps({"system": "PyTorch", "version": torch.__version__, **vars(options)}), flush=True)
    count = len(labels)
    for size in {options.batch, count % options.batch or options.batch}:  # compiles, warms up
        loss_of(images[:size], labels[:size]).backward()
        optimizer.zero_grad(set_to_none=True)
    for epoch in range(options.epochs):
        begin = time.perf_counter()
        total = 0.0
        order = torch.randperm(count)
        for i in range(0, count, options.batch):
            j = order[i:i + options.batch]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(images[j], labels[j])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(j)
        seconds = time.perf_counter() - begin
        print(json.dumps({
            "epoch": epoch + 1,
            "seconds": round(seconds, 3),
            "train_loss": round(total / count, 5),
            "test_accuracy": accuracy(net, test_images, test_labels),
            "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }), flush=True)


if __name__ == "__main__":
    main()
