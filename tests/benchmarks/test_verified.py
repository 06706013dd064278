from codequarry.benchmarks.verified import verified_table


def verification(*rows):
    names = ("runtime", "version", "precision", "worst_cosine", "worst_absolute_difference")
    return {"rows": [dict(zip(names, row, strict=True)) for row in rows]}


def test_a_runtime_is_a_line_and_a_release_a_column():
    table = verified_table(
        {
            "mini": verification(("transformers", "5.23.0", "float32", 0.9999994, 2.9e-7)),
            "nano": verification(
                ("transformers", "5.23.0", "float32", 1.0, 1.8e-7),
                ("llama-cpp-python", "0.3.36", "f16", 0.9999997, 3.3e-4),
            ),
        }
    )
    assert table.splitlines() == [
        "| runtime | precision | mini | nano |",
        "| --- | --- | --: | --: |",
        "| transformers 5.23.0 | float32 | 0.9999994, 2.9e-07 | 1.0000000, 1.8e-07 |",
        "| llama-cpp-python 0.3.36 | f16 | - | 0.9999997, 3.3e-04 |",
    ]
