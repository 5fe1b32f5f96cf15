"""word2vec files with gensim, the peer for the format.

python word2vec_files.py make FOLDER    writes vectors.txt and vectors.bin with gensim
python word2vec_files.py check FOLDER   loads vectors.txt and vectors.bin of the project (in FOLDER/ours) with gensim
                                        and compares each item and each bit with gensim's own
"""
import pathlib
import sys

import numpy as np
from gensim.models import KeyedVectors

mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
files = [("vectors.txt", False), ("vectors.bin", True)]
if mode == "make":
    random = np.random.default_rng(1)
    vectors = KeyedVectors(vector_size=24)
    vectors.add_vectors([f"artículo-{n}" for n in range(1000)], random.normal(size=(1000, 24)).astype(np.float32))
    for name, binary in files:
        vectors.save_word2vec_format(str(folder / name), binary=binary)
else:
    for name, binary in files:
        theirs = KeyedVectors.load_word2vec_format(str(folder / name), binary=binary)
        ours = KeyedVectors.load_word2vec_format(str(folder / "ours" / name), binary=binary)
        assert ours.index_to_key == theirs.index_to_key, name
        assert np.array_equal(ours.vectors, theirs.vectors), name
        print(f"{name}: {len(ours)} items of {ours.vector_size} dimensions are the same to the bit")
