"""Programs that load a release as a stranger would: each runs alone, without codequarry.

    python with_<runtime>.py FOLDER OUT.npz

Each embeds the texts of `FOLDER/golden_vectors.json` and writes them to OUT.npz, an array a pass, named
`precision padding batch_size dim`; the last line it prints is one JSON object, the versions it ran with.
"""
