"""What a run says of its mixture before it starts."""

from codequarry.training.mixture import mixture_summary


def test_mined_repositories_are_announced_together() -> None:
    sizes = {"tldr:nl2code": 31395, "a/b:qa": 100, "c/d:qa": 50, "c/d:nl2code": 7, "left out:qa": 9}
    shares = {"tldr:nl2code": 0.5, "a/b:qa": 0.25, "c/d:qa": 0.15, "c/d:nl2code": 0.1}
    assert mixture_summary(sizes, shares) == [
        "tldr:nl2code: 31,395 pairs, 50.0% of the batches",
        "mined repositories:qa: 150 pairs of 2, 40.0% of the batches",
        "mined repositories:nl2code: 7 pairs of 1, 10.0% of the batches",
    ]
