from codequarry.benchmarks.cold_start import FP32, LIGHT, STOCK, cold_starts
from codequarry.modules.backbone import MINI_FOLDER


def test_the_first_vector_takes_a_process_less_time_and_memory_than_sentence_transformers() -> None:
    found = cold_starts(MINI_FOLDER, "nl2code", "parse a date", rounds=1)
    assert list(found) == [STOCK, FP32, LIGHT]
    for ours, slower in ((FP32, STOCK), (LIGHT, FP32)):
        assert found[ours]["seconds"] < found[slower]["seconds"]
        assert found[ours]["peak_bytes"] < found[slower]["peak_bytes"]
