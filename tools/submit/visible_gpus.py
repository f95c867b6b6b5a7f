"""Print the identifiers of the GPUs that this process may use, one a line."""

import os
import subprocess


def visible_gpus():
    """What CUDA_VISIBLE_DEVICES says where it is set, else the numbers of nvidia-smi's GPUs; a list of str."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [word.strip() for word in given.split(",") if word.strip()]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(i) for i, _ in enumerate(line for line in listing.splitlines() if line.startswith("GPU"))]


if __name__ == "__main__":
    print("\n".join(visible_gpus()))
