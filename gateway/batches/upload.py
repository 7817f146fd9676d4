"""Read a multipart upload onto the disk, part by part: never more of it in memory than what just arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import InvalidRequest, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LONGEST_FIELD = 1024
"""Bytes of a field that is not the file."""
AROUND_THE_FILE = 64 * 1024
"""Bytes that headers and fields may take beside the file."""
FILE = "file"


class Upload:
    """One upload being read: `fields` are its text fields, `filename` the file's own name once it began.

    Args:
        content_type: the request's header; names the boundary.
        target: where the file's bytes go.
        limit_bytes: most the file may have.

    Raises:
        InvalidRequest: the header is not that of a multipart form.
    """

    def __init__(self, content_type: str, target: BinaryIO, limit_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise InvalidRequest("Send the file as multipart/form-data with the fields file and purpose.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._target, self._limit = target, limit_bytes
        self._name, self._header, self._value = "", b"", bytearray()
        self._arrived: list[bytes] = []
        self._size, self._whole = 0, False
        self._parser = self._parser_of(options[b"boundary"])

    def _parser_of(self, boundary: bytes) -> MultipartParser:
        told: MultipartCallbacks = {
            "on_part_begin": self._part,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ended,
            "on_part_data": self._data,
            "on_part_end": self._part_ended,
            "on_end": self._ended,
        }
        try:
            return MultipartParser(boundary, told)
        except FormParserError as error:
            raise InvalidRequest(f"The upload is not a multipart form: {error}.") from error

    async def read(self, chunks: AsyncIterator[bytes]) -> None:
        """Read it to the end.

        Raises:
            TooLarge: the file is over the limit; nothing more was read.
            InvalidRequest: it is not a multipart form, or has no file.
        """
        total = 0
        async for chunk in chunks:
            total += len(chunk)
            self._parsed(chunk)
            if total - self._size > AROUND_THE_FILE:
                raise InvalidRequest(f"The form has more than {AROUND_THE_FILE} bytes beside the file.")
            if self._arrived:
                await asyncio.to_thread(self._target.writelines, self._arrived)
                self._arrived = []
        if not self._whole:
            raise InvalidRequest("The upload is not a whole multipart form: its last boundary is missing.")
        if self.filename is None:
            raise InvalidRequest("The form has no file: send it in the field 'file'.", param=FILE)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(f"The file is larger than {self._limit} bytes; send less or raise CONSILIUM_MAX_FILE_BYTES.")

    def _parsed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise InvalidRequest(f"The upload is not a multipart form: {error}.") from error

    def _part(self) -> None:
        self._name, self._header, self._value = "", b"", bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ended(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            if self._name == FILE:
                if self.filename is not None:
                    raise InvalidRequest("The form has more than one file.", param=FILE)
                self.filename = options.get(b"filename", b"").decode("utf-8", "replace")[:255] or FILE
        self._header, self._value = b"", bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._arrived.append(data[start:end])
            self._size += end - start
            self._check(self._size)
            return
        self._value += data[start:end]
        if len(self._value) > LONGEST_FIELD:
            raise InvalidRequest(f"The field '{self._name[:64]}' is too long.", param=self._name[:64])

    def _part_ended(self) -> None:
        if self._name != FILE:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _ended(self) -> None:
        self._whole = True
