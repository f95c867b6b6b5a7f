"""Recordings -> samples: wav directly, flac and ogg through soundfile, m4a, mp4, aac and mp3 through ffmpeg, and pipes.

Everything is checked as it is read: a recording that is empty, has several channels, ends before its header says, or
holds NaN is an ``InputError`` that names it, never a short or silent array. (mp3 and bare aac state no length: of those
only a cut inside a frame can be seen.)
"""

import io
import mmap
import os
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np

from wespk.io.joined import joined_paths
from wespk.io.pipes import is_pipe, pipe_output
from wespk.io.wav import PCM, Broken, is_wav, parse_wav
from wespk.utils.errors import InputError

_FFMPEG_TYPES = (".m4a", ".mp4", ".aac", ".mp3")
_SCALE = np.float32(1 / 32768)


def read_audio(spec, start=0, num=None):
    """Read samples ``start`` to ``start + num`` (to the end if None) of a mono recording.

    ``spec`` is a path or Kaldi's ``command |``. Returns (samples (num,) float32 in [-1, 1), sample rate in Hz). Reading
    a part of a wav, flac or ogg file, or of several that ``wespk.io.joined`` made one of, costs a part; other types and
    pipes are decoded whole. Raises ``InputError`` naming the recording if it is missing, empty, truncated, of several
    channels or not finite, or ends before the part.
    """
    samples, rate = read_samples(spec, start, num)
    return floating(samples), rate


def floating(samples):
    """Samples, numpy or torch, as ``read_samples`` gives them: float32 in [-1, 1)."""
    if isinstance(samples, np.ndarray):
        return samples * _SCALE if samples.dtype == np.int16 else samples
    return samples if samples.is_floating_point() else samples.float().mul_(float(_SCALE))


def read_samples(spec, start=0, num=None):
    """As ``read_audio``, but 16-bit samples stay int16, of half the size, of which ``floating`` makes the same.

    The array may be a read-only view of the file.
    """
    with _named(spec):
        paths = joined_paths(spec)
        if paths:
            return _read_joined(paths, start, num)
        content, source = _open(spec)
        if is_wav(content):
            header = parse_wav(content)
            if (header.coding, header.bits) == (PCM, 16):
                first, count = _part(header.frames, header.channels, start, num)
                return np.frombuffer(content, "<i2", count, header.data + 2 * first), header.rate
        return _by_soundfile(source, start, num)


def audio_info(spec):
    """(number of samples, sample rate in Hz, channels) of a recording, from its header where there is one to trust.

    Pipes, and types that need ffmpeg, are decoded whole. Raises ``InputError`` for a missing, empty or truncated one.
    """
    with _named(spec):
        paths = joined_paths(spec)
        if paths:
            lengths, rate = _lengths(paths)
            return sum(lengths), rate, 1
        content, source = _open(spec)
        if is_wav(content):
            header = parse_wav(content)
            found = header.frames, header.rate, header.channels
        else:
            import soundfile

            with soundfile.SoundFile(source) as sound:
                found = sound.frames, sound.samplerate, sound.channels
        if found[0] == 0:
            raise Broken("no samples in it")
        return found


def _lengths(paths):
    """(number of samples of each, sample rate in Hz) of recordings that are read as one."""
    lengths, rates, channels = zip(*map(audio_info, paths))
    for path, rate, number in zip(paths, rates, channels):
        if number != 1 or rate != rates[0]:
            raise Broken(f"{path} has {number} channels at {rate} Hz, but one at {rates[0]} Hz is expected")
    return lengths, rates[0]


def _read_joined(paths, start, num):
    lengths, rate = _lengths(paths)
    first, left = _part(sum(lengths), 1, start, num)
    pieces = []
    for path, length in zip(paths, lengths):
        size = min(max(length - first, 0), left)
        if size:
            pieces.append(read_samples(path, first, size)[0])
        first, left = max(first - length, 0), left - size
    return _join(pieces), rate


def _join(pieces):
    """Arrays (n,) of ``read_samples`` behind one another, as int16 if all are."""
    if not pieces:
        return np.zeros(0, np.float32)
    return np.concatenate(pieces if all(p.dtype == np.int16 for p in pieces) else [floating(p) for p in pieces])


@contextmanager
def _named(spec):
    """Put the recording's name and the way out into whatever is wrong with it."""
    try:
        yield
    except Broken as error:
        reason = str(error)
    except RuntimeError as error:  # soundfile's own errors
        reason = f"cannot be decoded, damaged or of an unknown type ({getattr(error, 'error_string', error)})"
    else:
        return
    raise InputError(f"{spec}: {reason}; fetch or convert it again, or take it off the list")


def _open(spec):
    """The bytes of a recording (mapped, for a file), and what soundfile can open: its path or a stream."""
    if is_pipe(spec):
        content = pipe_output(spec)
        if not content:
            raise Broken("the command prints nothing")
        return content, io.BytesIO(content)
    content = _map(spec)
    if os.path.splitext(spec)[1].lower() in _FFMPEG_TYPES:
        content = _decode_by_ffmpeg(spec)
        return content, io.BytesIO(content)
    if content[:4] == b"OggS" and not _has_last_page(content):
        raise Broken("truncated: its last page is missing or cut")
    return content, spec


def _has_last_page(content):
    """True if an Ogg stream's last page (RFC 3533, section 6) says that it is the last, and is all there."""
    page = content.rfind(b"OggS")
    if len(content) < page + 27:
        return False
    segments = content[page + 26]
    size = 27 + segments + sum(content[page + 27 : page + 27 + segments])
    return bool(content[page + 5] & 4) and len(content) >= page + size


def _map(path):
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise Broken("no such file") from None
    except IsADirectoryError:
        raise Broken("is a folder") from None
    except ValueError:
        raise Broken("is empty (0 bytes)") from None


def _decode_by_ffmpeg(path):
    """The bytes of the wav file that ``ffmpeg -i path x.wav`` makes: native rate and channels, 16 bits."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(f"{path}: this type needs ffmpeg, which is not on the PATH; install it, or convert to wav")
    command = [program, "-nostdin", "-v", "error", "-i", path, "-map", "0:a:0", "-c:a", "pcm_s16le", "-f", "wav", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode != 0 or said:  # damage that it could play over, ffmpeg reports on stderr alone
        raise Broken(f"ffmpeg cannot decode it: {said[-1] if said else f'status {done.returncode}'}")
    return done.stdout


def _part(frames, channels, start, num):
    """(start, number of samples) to read, checked against the recording."""
    if frames == 0:
        raise Broken("no samples in it")
    if channels != 1:
        raise Broken(f"{channels} channels where one is expected (take one, or mix them down)")
    count = frames - start if num is None else num
    if start < 0 or count < 0 or start + count > frames:
        raise Broken(f"samples {start} to {start + count} are wanted of {frames}")
    return start, count


def _by_soundfile(source, start, num):
    import soundfile

    with soundfile.SoundFile(source) as sound:
        first, count = _part(sound.frames, sound.channels, start, num)
        sound.seek(first)
        samples = sound.read(count, dtype="int16" if sound.subtype == "PCM_16" else "float32")
        rate = sound.samplerate
    if len(samples) != count:
        raise Broken(f"truncated: its header promises {count} samples from {first} on, {len(samples)} are there")
    if samples.dtype != np.int16 and not np.isfinite(samples).all():
        raise Broken(f"sample {first + np.flatnonzero(~np.isfinite(samples))[0]} is NaN or infinite")
    return samples, rate
