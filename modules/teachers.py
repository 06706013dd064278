"""The vectors of a teacher for the texts of a run: the model to match (`objective.matching`)."""

from collections.abc import Sequence
from typing import Any

from codequarry.modules.backbone import resolve_backbone
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.machine import fast_autocast
from codequarry.modules.teacher_vectors import TeacherVectors, teacher_folder, write_teacher_vectors


def vectors_of(name: str, texts: Sequence[str], device: str) -> TeacherVectors:
    """What the teacher makes of these texts, without prefixes; computed once for all runs of this machine.

    Arguments: `name`, a folder, a packaged model or a Hub name. Raises ValueError when it cannot be found.
    """
    teacher = CodeEmbedder(str(resolve_backbone(name)), device=device)

    def embed(texts: Sequence[str]) -> Any:
        with fast_autocast(device):
            return teacher.encode(list(texts), prompt="", normalize_embeddings=True)

    folder = teacher_folder(teacher.fingerprint)
    write_teacher_vectors(folder, texts, embed, teacher.fingerprint)
    return TeacherVectors(folder)
