"""Name -> class tables for models, losses and the like."""

import difflib
import inspect

from wespk.utils.errors import InputError


def nearest(name, known):
    """Return `` (did you mean 'x'?)`` for the known name closest to ``name``, or an empty string."""
    found = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


class Registry:
    """A table of factories under unique names.

    >>> models = Registry("model")
    >>> @models.register("tiny")
    ... def tiny(width=8):
    ...     return width
    >>> models.build({"name": "tiny", "width": 4})
    4
    """

    def __init__(self, kind):
        self.kind = kind
        self._factories = {}

    def register(self, name, **fixed):
        """Decorator: enter a class or function under ``name``, with ``fixed`` keyword arguments bound."""
        if name in self._factories:
            raise KeyError(f"{self.kind} '{name}' is registered twice")

        def enter(factory):
            self._factories[name] = (factory, fixed)
            return factory

        return enter

    def names(self):
        """The registered names, sorted."""
        return sorted(self._factories)

    def find(self, name):
        """The factory under ``name``. Raises ``InputError`` naming the nearest if there is none."""
        if name not in self._factories:
            raise InputError(f"unknown {self.kind} '{name}'{nearest(name, self.names())}; known: {', '.join(self.names())}")
        return self._factories[name][0]

    def check(self, conf, /, given=()):
        """Raise ``InputError`` unless ``conf`` names a registered factory and only options it takes.

        ``given`` are the argument names that the caller will supply itself.
        """
        name = conf.get("name")
        factory, (_, fixed) = self.find(name), self._factories[name]
        parameters = inspect.signature(factory).parameters.values()
        takes = [p.name for p in parameters if p.name not in fixed and p.name not in given]
        for key in conf:
            if key != "name" and key not in takes:
                raise InputError(f"{self.kind} '{name}' has no option '{key}'{nearest(key, takes)}; it takes: {', '.join(takes)}")
        for p in parameters:
            if p.default is p.empty and p.name in takes and p.name not in conf:
                raise InputError(f"{self.kind} '{name}' needs the option '{p.name}'")

    def build(self, conf, /, **given):
        """Call the factory named by ``conf["name"]`` with the rest of ``conf`` and ``given`` as keywords."""
        self.check(conf, given)
        factory, fixed = self._factories[conf["name"]]
        options = {k: v for k, v in conf.items() if k != "name"}
        return factory(**fixed, **options, **given)
