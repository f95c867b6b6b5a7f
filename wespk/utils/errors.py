"""The one exception that means "your input, not our code"."""


class InputError(ValueError):
    """Bad input: the message names the file, line, utterance or option, and what to do about it.

    Entry points print the message without a traceback and exit with status 1; library callers
    may catch it as a ``ValueError``.
    """
