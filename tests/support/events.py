"""What TensorBoard's event files hold."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def read(folder: Path) -> Iterator[tuple[int, str, float]]:
    """Step, name and value of everything, in the order of the files of a folder."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, start = path.read_bytes(), 0
        while start < len(data):
            (length,) = struct.unpack_from("<Q", data, start)
            event = Event.FromString(data[start + 12 : start + 12 + length])
            start += length + 16
            for value in event.summary.value:
                yield event.step, value.tag, value.simple_value
