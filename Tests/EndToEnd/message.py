"""The messages of load.c, made again for the audit."""

import struct

LARGEST = 1024
MASK = (1 << 64) - 1


def make_message(index):
    token = struct.pack("<Q", (index * 0x9E3779B97F4A7C15 + 1) & MASK)
    length = 8 + (index * 2654435761 & MASK) % (LARGEST - 8)
    return struct.pack("<Q", index) + (token * (length // 8))[: length - 8]


def index_of(data):
    return struct.unpack_from("<Q", data)[0]
