"""Of the signals themselves; what a trainer and two ranks make of them is in the tests of those."""

import os
import signal
import threading
import time

import pytest

from codequarry.modules.stopping import SafeStop


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0)  # handlers run between two lines of Python


def test_outside_of_it_signals_do_what_they_did(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = SafeStop()
    with stop:
        send(signal.SIGINT)
        assert stop.asked
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert capfd.readouterr().err.count("finishing this step, then saving; Ctrl-C again stops at once.") == 1
    with stop:
        assert not stop.asked, "the next run begins unasked"


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_at_once_when_the_run_was_asked_before_but_sigterm_never_does(
    first: signal.Signals,
) -> None:
    with SafeStop():
        send(first)
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_data_loaders_worker_leaves_the_decision_to_its_parent() -> None:
    with SafeStop() as stop:
        child = os.fork()
        if child == 0:
            send(signal.SIGINT)
            send(signal.SIGINT)
            os._exit(int(stop.asked))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_in_a_thread_of_a_larger_program_signals_are_left_to_that_program() -> None:
    seen = []

    def enters() -> None:
        with SafeStop():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enters)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
