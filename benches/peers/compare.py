"""The same files, the same hyperparameters, the same threads: the crates beside gensim and PyTorch.

    pip install -r benches/peers/requirements.txt
    python benches/peers/compare.py --train train.tsv --test test.tsv [--models prod2vec gru4rec] [--seeds 1 2 3]

Builds the example `evaluate` in the profile that it is given (`dev` compiles the kernels at opt-level 3 as well), runs
it in turns with its peer, so that a noisy machine hits both, and prints the mean of each and the ratios.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = {
    "prod2vec": ("prod2vec_gensim.py", "words_per_second", "--workers"),
    "gru4rec": ("gru_torch.py", "events_per_second", "--threads"),
}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--train", required=True)
parser.add_argument("--test", required=True)
parser.add_argument("--models", nargs="+", default=list(PEERS), choices=list(PEERS))
parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--profile", default="dev")
args = parser.parse_args()

build = ["cargo", "build", "--quiet", "--all-features", "--profile", args.profile, "--example", "evaluate"]
subprocess.run(build, cwd=ROOT, check=True)
target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
binary = target / ("debug" if args.profile == "dev" else args.profile) / "examples" / "evaluate"


def run(command):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


for model in args.models:
    script, speed, threads = PEERS[model]
    files = ["--train", args.train, "--test", args.test]
    ours, theirs = [], []
    for seed in map(str, args.seeds):
        ours.append(run([binary, *files, "--model", model, "--seed", seed, "--threads", str(args.threads), "--json"]))
        peer = pathlib.Path(__file__).with_name(script)
        theirs.append(run([sys.executable, peer, *files, "--seed", seed, threads, str(args.threads)]))

    def mean(runs, key):
        return statistics.mean(float(run[key]) for run in runs)

    if mean(ours, "queries") != mean(theirs, "queries"):
        sys.exit(f"{model}: {mean(ours, 'queries')} queries here, {mean(theirs, 'queries')} there: not comparable")
    print(f"{model} against {theirs[0]['peer']}, {args.threads} threads, mean of {len(args.seeds)} seeds")
    rows = [("events/s", mean(ours, "events_per_second"), mean(theirs, speed)),
            ("recall@20", mean(ours, "recall@20"), mean(theirs, "recall@20")),
            ("mrr@20", mean(ours, "mrr@20"), mean(theirs, "mrr@20")),
            ("evaluation, queries/s", mean(ours, "queries") / mean(ours, "eval_seconds"),
             mean(theirs, "queries") / mean(theirs, "eval_seconds"))]
    for name, here, there in rows:
        print(f"  {name:<24} {here:>14,.4f} {there:>14,.4f}   ratio {here / there:.2f}")
