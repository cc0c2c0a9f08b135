"""Training epochs of the reference network, Adjoint and PyTorch in turn on the same machine.

    ADJOINT_MNIST_DIR=DIR python3 benchmarks/epoch.py --rounds 5 --threads 2

Each round trains two epochs with each system in a fresh process and takes the second epoch's
seconds; printed are the medians and the ratio of each round. Needs bazel-bin/examples/mnist/mnist
and a Python with torch.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "bazel-bin/examples/mnist/mnist"


def adjoint_seconds(options):
    with tempfile.NamedTemporaryFile() as report:
        subprocess.run(
            [PROGRAM, "train", "--epochs", "2", "--threads", str(options.threads), "--report",
             report.name, *options.adjoint_flags],
            check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in open(report.name)]
    return [line["seconds"] for line in lines if "epoch" in line][1], lines[-1]


def pytorch_seconds(options):
    result = subprocess.run(
        [sys.executable, ROOT / "benchmarks/peers/pytorch_mnist.py", "--epochs", "2", "--layout",
         options.layout, "--mode", options.mode, "--threads", str(options.threads)],
        check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return lines[2]["seconds"], lines[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", default="nhwc", help="PyTorch's memory layout")
    parser.add_argument("--mode", default="eager", help="PyTorch's mode")
    parser.add_argument("--adjoint-flags", nargs="*", default=[], help="more flags for train")
    options = parser.parse_args()
    ours, theirs = [], []
    for round_number in range(options.rounds):
        seconds, summary = adjoint_seconds(options)
        ours.append(seconds)
        seconds, version = pytorch_seconds(options)
        theirs.append(seconds)
        print(f"round {round_number + 1}: Adjoint {ours[-1]:.2f} s, PyTorch {theirs[-1]:.2f} s, "
              f"ratio {theirs[-1] / ours[-1]:.2f}", flush=True)
    ratios = [b / a for a, b in zip(ours, theirs)]
    print(f"median of {options.rounds}: Adjoint {statistics.median(ours):.2f} s, PyTorch "
          f"{version['version']} ({options.layout}, {options.mode}) {statistics.median(theirs):.2f} s, "
          f"ratio {statistics.median(ratios):.2f}")
    print(json.dumps({"adjoint": summary, "pytorch": version}))


if __name__ == "__main__":
    main()
