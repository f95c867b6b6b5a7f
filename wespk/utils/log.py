"""Logging: one format, on stderr and, when asked, in a file as well."""

import logging
import sys

_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")


class _CurrentStderr(logging.StreamHandler):
    """Writes to what ``sys.stderr`` is at the time of writing: it may have been redirected since."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr


def get_logger(file=None):
    """The ``wespk`` logger. Writes to stderr; with ``file`` (a path) it is appended there too, and to no earlier file."""
    logger = logging.getLogger("wespk")
    if not logger.handlers:
        handler = _CurrentStderr()
        handler.setFormatter(_FORMAT)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    if file is not None:
        for old in [h for h in logger.handlers if isinstance(h, logging.FileHandler)]:
            logger.removeHandler(old)
            old.close()
        handler = logging.FileHandler(str(file))
        handler.setFormatter(_FORMAT)
        logger.addHandler(handler)
    return logger
