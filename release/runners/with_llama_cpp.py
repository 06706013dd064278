"""The golden texts' vectors by llama.cpp, through llama-cpp-python: of GGUF files, without configuration.

python with_llama_cpp.py FOLDER OUT.npz
"""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from golden_passes import Embed, write_passes
from llama_cpp import Llama

BATCH = 16  # texts together, as in `golden_passes`
LIMIT = "qwen2.context_length"  # tokens


class EndKept(Llama):
    """`Llama` that cuts a long text before its end-of-sequence, and not with it."""

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        tokens: list[int] = super().tokenize(text, add_bos, special)
        limit = int(self.metadata[LIMIT])
        return tokens if len(tokens) <= limit else [*tokens[: limit - 1], tokens[-1]]


def models(folder: Path) -> Iterator[tuple[str, Embed]]:
    """Each GGUF file that is there; the end of its name is its precision."""
    for path in sorted(folder.glob("*.gguf")):
        with closing(load(path)) as model:

            def embed(texts: list[str], padding: str, model: Llama = model) -> Any:
                return np.array(model.embed(texts, normalize=True))

            yield path.stem.rpartition("-")[2], embed


def load(path: Path) -> EndKept:
    """The model, with room for a batch of the longest texts it reads."""
    words = Llama(str(path), vocab_only=True, verbose=False)
    room = BATCH * int(words.metadata[LIMIT])
    words.close()
    if "amx_tile" in cpu_flags():
        _leave_amx()
    return EndKept(str(path), embedding=True, n_ctx=room, n_batch=room, verbose=False)


def cpu_flags() -> str:
    """What Linux says of the processor; "" elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def _leave_amx() -> None:
    # llama.cpp 0.3.36 repacks weights for AMX and then ends in a segmentation fault.
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = False
    llama_cpp.llama_cpp.llama_model_default_params = lambda: parameters


if __name__ == "__main__":
    release = Path(sys.argv[1])
    versions = {"llama-cpp-python": llama_cpp.__version__}
    write_passes(release, Path(sys.argv[2]), models(release), versions, paddings=["right"])
