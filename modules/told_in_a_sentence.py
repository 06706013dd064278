"""How a program of ours ends when something is wrong: with a sentence and an exit code, not a traceback."""

import errno
import sys
from collections.abc import Iterator
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
