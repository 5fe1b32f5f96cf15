"""Loads weights that a session GRU of ours has written into PyTorch's own modules, and compares the scores.

    cargo run --example exchange_gru4rec -- DIR
    python benches/peers/gru_exchange.py DIR

DIR/*.safetensors are the weights, DIR/*.json the network, sessions as rows of the embedding, and our scores. The
largest difference is printed for each; one above 1e-5 is an error.
"""
import argparse
import json
import pathlib
import struct

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("dir", type=pathlib.Path)
args = parser.parse_args()


def load_file(path):
    """What `safetensors.torch.load_file` does, for values of 32 bits."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    state = {}
    for name, tensor in header.items():
        assert tensor["dtype"] == "F32", name
        start, end = (8 + length + at for at in tensor["data_offsets"])
        state[name] = torch.frombuffer(bytearray(data[start:end]), dtype=torch.float32).reshape(tensor["shape"])
    return state


class Gru4Rec(nn.Module):
    def __init__(self, n_items, layers, constrained, embedding):
        super().__init__()
        self.n_items = n_items
        self.constrained = constrained
        self.item_embedding = nn.Embedding(n_items, layers[-1])
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        if not constrained and embedding:
            self.input_embedding = nn.Embedding(n_items, embedding)
        inputs = layers[-1] if constrained else embedding or n_items
        self.cells = nn.ModuleList(nn.GRUCell(i, d) for i, d in zip([inputs, *layers], layers))

    def read(self, item):
        item = torch.tensor([item])
        if self.constrained:
            return self.item_embedding(item)
        if hasattr(self, "input_embedding"):
            return self.input_embedding(item)
        return nn.functional.one_hot(item, self.n_items).float()

    def forward(self, session):
        states = [torch.zeros(1, cell.hidden_size) for cell in self.cells]
        for item in session:
            x = self.read(item)
            for layer, cell in enumerate(self.cells):
                x = states[layer] = cell(x, states[layer])
        return (states[-1] @ self.item_embedding.weight.T + self.item_bias)[0]


files = sorted(args.dir.glob("*.json"))
assert files, f"no network in {args.dir}"
for path in files:
    case = json.loads(path.read_text())
    model = Gru4Rec(case["n_items"], case["layers"], case["constrained_embedding"], case["embedding"])
    model.load_state_dict(load_file(path.with_suffix(".safetensors")))
    with torch.no_grad():
        worst = max((model(session) - torch.tensor(scores)).abs().max().item()
                    for session, scores in zip(case["sessions"], case["scores"], strict=True))
    print(json.dumps({"network": path.stem, "sessions": len(case["sessions"]), "largest_difference": worst}))
    assert worst < 1e-5, path
