"""How bytes lie in the log: zstandard frames, each on its own, made with the log's dictionary.

Readers take many pieces in one call that lets the interpreter go once: a thread that asks for it back for each piece
would wait for the busy event loop each time.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from zstandard import (
    DICT_TYPE_RAWCONTENT,
    BufferWithSegments,
    ZstdCompressionDict,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdError,
)

#: Measured on Keycloak's logins: level 3 takes a third more time and saves nothing where there is a dictionary.
LEVEL = 1


class Compression:
    """Compresses and decompresses with one dictionary; not to be used by two threads at once."""

    def __init__(self, dictionary: bytes) -> None:
        self.dictionary = dictionary
        prepared = ZstdCompressionDict(dictionary, dict_type=DICT_TYPE_RAWCONTENT) if dictionary else None
        if prepared is not None:
            prepared.precompute_compress(level=LEVEL)
        self._compressor = ZstdCompressor(level=LEVEL, dict_data=prepared, write_checksum=True, write_dict_id=False)
        self._decompressor = ZstdDecompressor(dict_data=prepared)

    def compress(self, pieces: Sequence[bytes]) -> list[bytes]:
        """A frame for each piece; of an empty one, nothing. Piece by piece: the process that compresses has no other
        thread, and the library's call for many spoils the memory when there is none left.

        Raises:
            MemoryError: there is not enough.
        """
        compress = self._compressor.compress
        try:
            return [compress(piece) if piece else b"" for piece in pieces]
        except ZstdError as error:
            raise MemoryError(str(error)) from None  # there is no other reason

    # Empty pieces go round zstandard: on frames that are empty, all of them, its call for many spoils the memory.

    def decompress(self, frames: bytes, lengths: Sequence[int]) -> list[bytes]:
        """The pieces whose frames, of these lengths, stand one after the other."""
        segments, start = bytearray(), 0
        for length in lengths:
            if length:
                segments += _SEGMENT(start, length)
                start += length
        if not segments:
            return [b""] * len(lengths)
        made = self._decompressor.multi_decompress_to_buffer(BufferWithSegments(frames, bytes(segments)), threads=1)
        pieces = iter([made[number].tobytes() for number in range(len(made))])
        return [next(pieces) if length else b"" for length in lengths]

    def decompress_one(self, frame: bytes) -> bytes:
        """The piece of one frame: cheaper than `decompress` where no other thread is in the way."""
        return self._decompressor.decompress(frame) if frame else b""

    def decompress_head(self, frame: bytes, size: int) -> bytes:
        """The first ``size`` bytes of the piece of one frame, or all of it if it is shorter; the rest is never in
        memory."""
        if not frame:
            return b""
        with self._decompressor.stream_reader(frame) as reader:
            return reader.read(size)


_SEGMENT = struct.Struct("=QQ").pack
