"""How far a runtime may be from the golden vectors in each precision, and where one differs by design."""

from dataclasses import dataclass

from codequarry.release.compare import Distance


@dataclass(frozen=True)
class Tolerance:
    """What is allowed in one precision; None: not held to it.

    absolute_difference: of any number of a unit vector, at most. cosine: at least. measured: the worst seen.
    """

    precision: str
    absolute_difference: float | None
    cosine: float | None
    measured: str

    def allows(self, found: Distance) -> bool:
        """Whether `found` is within; written so that NaN never is."""
        near = self.absolute_difference is None or found.absolute_difference <= self.absolute_difference
        return near and (self.cosine is None or found.cosine >= self.cosine)

    def miss(self, found: Distance) -> str:
        """How far `found` is, beside what is allowed."""
        if self.absolute_difference is not None:
            far, allowed = found.absolute_difference, self.absolute_difference
            return f"{far:.1e} from the golden vector, {allowed:.0e} allowed,"
        return f"cosine {found.cosine:.5f} to the golden vector, {self.cosine} required,"


TOLERANCES = {
    row.precision: row
    for row in (
        Tolerance("float32", 1e-5, None, "3.5e-6, ONNX Runtime, a small decoder of large random weights"),
        Tolerance("bfloat16", None, 0.999, "0.99947, the 1.5b shape; 0.99995, all-MiniLM-L6-v2"),
        Tolerance("int8", None, 0.96, "0.9716, a small decoder of large random weights; 0.9853, mini"),
        Tolerance("f16", None, 0.9999, "0.9999995, nano"),
        Tolerance("q8_0", None, 0.995, "0.99985, nano"),
        Tolerance("q4_k_m", None, 0.95, "0.9964, nano"),
    )
}


@dataclass(frozen=True)
class KnownDifference:
    """Texts of `kind` that a runtime reads otherwise by design, below major version `until`; None: always."""

    runtime: str
    kind: str
    until: int | None
    why: str


KNOWN_DIFFERENCES = (
    KnownDifference(
        "sentence-transformers",
        "outer_whitespace",
        6,
        "strips white space around a text before it is tokenised, so a text that begins or ends with it has "
        "another vector there",
    ),
    KnownDifference(
        "llama-cpp-python",
        "decomposed",
        None,
        "does not compose letters with their accents (NFC), so a text that has them apart has another vector "
        "there until its caller composes them",
    ),
)


def known_difference(runtime: str, version: str, kind: str) -> KnownDifference | None:
    """The row that excuses texts of `kind` in this version of a runtime, if there is one."""
    major = int(version.partition(".")[0])
    for row in KNOWN_DIFFERENCES:
        if (row.runtime, row.kind) == (runtime, kind) and (row.until is None or major < row.until):
            return row
    return None
