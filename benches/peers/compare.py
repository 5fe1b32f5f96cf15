"""The same files, the same hyperparameters, the same threads: the crates beside gensim and PyTorch.

    pip install -r benches/peers/requirements.txt
    python benches/peers/compare.py --train train.tsv --test test.tsv [--models prod2vec gru4rec …] [--seeds 1 2 3]

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
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = {
    "prod2vec": ("prod2vec_gensim.py", "words_per_second", "--workers"),
    "gru4rec": ("gru_torch.py", "events_per_second", "--threads"),
}
# What is compared: the model, and hyperparameters under its names here and there. Those of GRU4Rec are the ones that
# its authors have published for the data set (for Diginetica, those tuned for the cross-entropy).
MODELS = {
    "prod2vec": ("prod2vec", {}, {}),
    "prod2vec-cbow": ("prod2vec", {"sg": False}, {"sg": 0}),
    "prod2vec-hs": ("prod2vec", {"hs": True, "negative": 0}, {"hs": 1, "negative": 0}),
    "gru4rec": ("gru4rec", {}, {}),
    "gru4rec-yoochoose": ("gru4rec", {"layer": 480, "batch_size": 48, "dropout_p_hidden": 0.2, "learning_rate": 0.07,
                                      "sample_alpha": 0.2},
                          {"layer": 480, "batch-size": 48, "dropout-hidden": 0.2, "learning-rate": 0.07,
                           "sample-alpha": 0.2}),
    "gru4rec-diginetica": ("gru4rec", {"layer": 192, "batch_size": 128, "dropout_p_embed": 0.45,
                                       "dropout_p_hidden": 0.15, "learning_rate": 0.1, "sample_alpha": 0},
                           {"layer": 192, "batch-size": 128, "dropout-embed": 0.45, "dropout-hidden": 0.15,
                            "learning-rate": 0.1, "sample-alpha": 0}),
}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--train", required=True)
parser.add_argument("--test", required=True)
parser.add_argument("--models", nargs="+", default=list(PEERS), choices=list(MODELS))
parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
parser.add_argument("--epochs", type=int, help="those of the peer's script, if none are given")
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
    kind, here, there = MODELS[model]
    script, speed, threads = PEERS[kind]
    if args.epochs is not None:
        here = {**here, {"prod2vec": "epochs", "gru4rec": "n_epochs"}[kind]: args.epochs}
        there = {**there, "epochs": args.epochs}
    files = ["--train", args.train, "--test", args.test]
    ours, theirs = [], []
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(here, config)
        config.flush()
        options = [word for name, value in there.items() for word in (f"--{name}", str(value))]
        for seed in map(str, args.seeds):
            ours.append(run([binary, *files, "--model", kind, "--config", config.name, "--seed", seed, "--threads",
                             str(args.threads), "--json"]))
            peer = pathlib.Path(__file__).with_name(script)
            theirs.append(run([sys.executable, peer, *files, *options, "--seed", seed, threads, str(args.threads)]))

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
