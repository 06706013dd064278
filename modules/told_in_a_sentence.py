"""How a program of ours ends when something is wrong: with a sentence and an exit code, not a traceback."""

import argparse
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PLACE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
_INTERRUPTED = 130  # what shells give for Ctrl-C


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Exit with 1 and the sentence of a ValueError or of a place that cannot be written; 130 after Ctrl-C.

    An interruption may bring a sentence of its own (`Stopped`). Anything else is a mistake of ours and keeps
    its traceback.
    """
    try:
        yield
    except ValueError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # `codequarry search … | head` closed our output
        sys.stderr.close()
    except OSError as error:
        if error.errno not in _PLACE_ERRORS:
            raise
        place = error.filename or "a file"
        sys.exit(
            f"error: {place}: {error.strerror}. What stood there before is as it was. Make room, or pass "
            "another place for what is written; the same command then goes on."
        )
    except KeyboardInterrupt as stop:
        if str(stop):
            print(stop, file=sys.stderr)
        sys.exit(_INTERRUPTED)


def run_program(
    about: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], None],
) -> None:
    """Be a program: read its options from the command line and run it, `told_in_a_sentence`.

    Arguments: `about`, the file's docstring, for `--help`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    with told_in_a_sentence():
        run(parser.parse_args())
