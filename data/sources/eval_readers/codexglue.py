"""CodeXGLUE's code translation, Java → C#: two files whose lines belong together."""

from codequarry.data.eval_set import EvalSet
from codequarry.data.sources.eval_readers.from_pairs import set_of_pairs
from codequarry.data.sources.schema import Files


def read_codexglue_java_cs(files: Files) -> EvalSet:
    """The test split; each line is a whole method.

    Raises ValueError where the two files have not the same number of lines.
    """
    by_ending = {path.rpartition(".")[2]: content.decode().split("\n") for path, content in files}
    java, csharp = by_ending["java"], by_ending["cs"]
    if len(java) != len(csharp):
        raise ValueError(f"The Java file has {len(java)} lines and the C# file {len(csharp)}: not a pair.")
    pairs = ((a.strip(), b.strip(), "java") for a, b in zip(java, csharp, strict=True) if a.strip())
    return set_of_pairs("codexglue_java_cs", "code2code", pairs)
