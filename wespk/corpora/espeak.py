"""Formant-synthesised speech of any number of invented voices, by eSpeak NG's shared library through ctypes.

The library comes with the package ``espeakng-loader``. eSpeak NG is under GPL-3: it is an optional extra for making
test data, imported by nothing else and shipped with nothing.
"""

import ctypes
import os
import tempfile

import numpy as np

from wespk.utils.errors import InputError

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, within the call
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_CHARS_UTF8, _POS_CHARACTER = 1, 1
_VOLUME_USED = 70  # of 100, the level at which loud voices clip
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The synthesiser; one at a time in a process, as the library has global state.

    sample_rate: Hz of what ``speak`` returns. Raises ``InputError`` when the library is missing or does not start.
    """

    def __init__(self):
        try:
            import espeakng_loader
        except ImportError:
            raise InputError(
                "synthetic speech needs the package espeakng-loader (eSpeak NG, GPL-3): pip install espeakng-loader"
            ) from None
        self._data = espeakng_loader.get_data_path()
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.path.dirname(self._data).encode(), 0)
        if self.sample_rate <= 0:
            raise InputError(f"eSpeak NG does not start with its data in {self._data}; reinstall espeakng-loader")
        self._chunks = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only its address
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetParameter(_VOLUME, _VOLUME_USED, 0)
        with open(os.path.join(self._data, "lang", "gmw", "en-US"), encoding="utf-8") as file:
            self._language = file.read()

    @property
    def version(self):
        return self._library.espeak_Info(None).decode()

    def _receive(self, samples, count, _events):
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def set_voice(self, lines):
        """Load American English in the voice that ``lines`` of eSpeak's voice files describe (pitch, formant ...)."""
        with tempfile.NamedTemporaryFile("w", suffix=".voice", encoding="utf-8") as file:
            file.write(self._language + "\n" + "\n".join(lines) + "\n")
            file.flush()
            if self._library.espeak_SetVoiceByFile(file.name.encode()) != 0:
                raise InputError(f"eSpeak NG refuses a voice: {'; '.join(lines)}")

    def speak(self, text, rate=170, pitch=50, pitch_range=50, seed=1):
        """Speak ``text`` in the voice set: float32 (N,) in [-1, 1) at ``sample_rate``.

        rate: words a minute, 80-450; pitch, pitch_range: 0-100 about the voice's own (50); seed: of the noise in it.
        """
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, int(value), 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        self._chunks = []
        data = text.encode() + b"\0"
        size = ctypes.c_size_t(len(data))
        status = self._library.espeak_Synth(data, size, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        if status != 0 or not self._chunks:
            raise InputError(f"eSpeak NG made no speech of '{text}' (status {status})")
        return np.concatenate(self._chunks).astype(np.float32) / 32768
