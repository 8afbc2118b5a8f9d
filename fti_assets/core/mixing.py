"""Numbers that look random and are the same everywhere: SplitMix64, for what is sampled, shuffled or dealt out."""

import hashlib

import numpy as np


def mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 of whole numbers, uint64 ``[n]`` to uint64 ``[n]``: neighbours come out far apart.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators (2014).

    >>> mixed(np.arange(2)).tolist()
    [16294208416658607535, 7960286522194355700]
    """
    with np.errstate(over="ignore"):
        bits = (np.asarray(numbers).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(bits ^ (bits >> np.uint64(31)))


def shuffled(rows: int, *about: object) -> np.ndarray:
    """An order of ``n`` rows, int64 ``[n]``, that rests on what it is about alone.

    >>> shuffled(5, "temp", 1).tolist(), shuffled(5, "temp", 2).tolist()
    ([2, 0, 3, 1, 4], [2, 0, 1, 4, 3])
    """
    key = hashlib.blake2b("\x00".join(map(str, about)).encode(errors="surrogatepass"), digest_size=8).digest()
    with np.errstate(over="ignore"):
        places = np.arange(rows, dtype=np.uint64) + np.uint64(int.from_bytes(key, "little"))
    # No two numbers are equal, so any way of sorting gives this order.
    return np.argsort(mixed(places))
