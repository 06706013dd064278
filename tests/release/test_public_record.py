from codequarry.release.public_record import public_record


def test_absolute_paths_are_cut_to_their_last_part_wherever_they_stand():
    record = {
        "recipe": {"data": "/home/me/pairs/train", "backbone": {"name": "~/models/small"}},
        "data": [{"source": "/srv/code/shop", "pairs": 7}],
        "left_out": {"/srv/code/blog:qa": "3 pairs, fewer than one batch of 64"},
    }
    assert public_record(record) == {
        "recipe": {"data": "train", "backbone": {"name": "small"}},
        "data": [{"source": "shop", "pairs": 7}],
        "left_out": {"blog:qa": "3 pairs, fewer than one batch of 64"},
    }


def test_everything_else_stays_as_it_is():
    record = {"data": "clean", "share": 0.5, "teacher": "owner/model", "weights": {"*/*": 0.1}, "lora": None}
    assert public_record(record) == record
