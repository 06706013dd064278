"""A whole release through the local Hub, really verified, and loaded by stock libraries by name alone."""

import json
import os
import subprocess
import sys

from huggingface_hub import HfApi

from codequarry.release.publish import publish

# What a user writes, in a process that knows nothing of codequarry.
USER = """
import json, sys
import numpy as np
from sentence_transformers import SentenceTransformer

golden = json.load(open(sys.argv[1]))["rows"]
for options in ({"revision": "v0.1.0"}, {}):
    model = SentenceTransformer("org/nano", device="cpu", **options)
    worst = 0.0
    for row in golden:
        vector = model.encode([row["text"]], prompt_name=row["prompt_name"])[0]
        worst = max(worst, float(np.abs(vector - np.array(row["vector"])).max()))
    print(json.dumps([len(golden), worst, "codequarry" in sys.modules]))
"""


def test_a_published_release_gives_the_golden_vectors_by_its_name_alone(hub, built, tmp_path):
    published = publish(built, "org/nano", tag="v0.1.0", really=True, endpoint=hub.address)
    assert published.verification.ok
    refs = HfApi(endpoint=hub.address).list_repo_refs("org/nano")
    assert {ref.name: ref.target_commit for ref in [*refs.tags, *refs.branches]} == {
        "v0.1.0": published.commit,
        "main": published.commit,
    }
    done = subprocess.run(
        [sys.executable, "-c", USER, str(built / "golden_vectors.json")],
        cwd=tmp_path,
        env=os.environ
        | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_ETAG_TIMEOUT": "60",  # seconds; this machine may be busy
            "HF_HUB_DOWNLOAD_TIMEOUT": "60",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    at_the_tag, at_main = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    for texts, worst, knows_us in (at_the_tag, at_main):
        assert texts > 20
        assert worst < 1e-5
        assert not knows_us
