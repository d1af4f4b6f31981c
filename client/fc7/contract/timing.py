"""Where the time of a call goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a call went, in seconds.

    Attributes
    ----------
    decode_s : float
        Decoding and preprocessing, summed over the images.
    queue_s : float
        Waiting for the engine.
    compute_s : float
        Running the network, summed over the batches that held an image of this call.
    """

    decode_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.decode_s + other.decode_s, self.queue_s + other.queue_s, self.compute_s + other.compute_s)
