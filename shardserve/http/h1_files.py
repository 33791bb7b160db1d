"""Files as bodies of HTTP/1 responses: framed, kept to their length, and in order with what is sent around them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shardserve.errors import ProtocolError
from shardserve.http.files import FileTransfer
from shardserve.http.grammar import CRLF
from shardserve.http.h1_states import BY_CHUNKS, BY_LENGTH, NOTHING
from shardserve.http.h1_writing import H1Writing

if TYPE_CHECKING:
    from shardserve.http.exchange import Exchange
    from shardserve.http.files import FilePart


class H1Files(H1Writing):
    """Answers with files as well."""

    __slots__ = ()

    def send_file(self, exchange: Exchange, part: FilePart, more: bool) -> None:
        """See Wire.send_file."""
        if exchange is not self._exchange:
            part.close()
            return
        if self._file is not None:
            self._behind.append(partial(self.send_file, exchange, part, more))
            return
        size = 0 if self._framing == NOTHING else part.size()
        most, excess = size, False
        if self._framing == BY_LENGTH and (size is None or size > self._unsent):
            most, excess = self._unsent, size is not None and part.count is not None
        if most == 0:
            part.close()
            self._write_body(b"x" if excess else b"", more)
            return
        transport = self.transport
        bare = self.fileno() >= 0 and transport.get_extra_info("sslcontext") is None
        by_sendfile = part.regular and bare
        if by_sendfile and self._framing == BY_CHUNKS:
            assert most is not None  # a regular file has a size
            transport.write(b"%x\r\n" % most)
        self.pause_writing()
        transport.set_write_buffer_limits(0)  # to be told when all that is before the file has left
        deliver = None if by_sendfile else partial(self._write_body, more=True)
        self._file = FileTransfer(self, part, most, deliver, partial(self._file_sent, most, excess, more))

    def _file_sent(self, most: int | None, excess: bool, more: bool, fault: OSError | None) -> None:
        """The file has been sent, as far as it went; `excess` says that it was longer than the body may be."""
        transfer, self._file = self._file, None
        assert transfer is not None
        self._sent += transfer.sent
        if self._framing == BY_LENGTH:
            self._unsent -= transfer.sent
        by_chunk = self._framing == BY_CHUNKS and transfer.sent > 0
        behind, self._behind = self._behind, []
        self.transport.set_write_buffer_limits()
        if fault is not None or (by_chunk and transfer.sent != most):
            self._complain(self._request, f"was cut: {fault or 'its file has become shorter'}")
            self._end_with(ProtocolError(500, "the file could not be sent"))
        else:
            if by_chunk:
                self.transport.write(CRLF)
            # One octet stands for those that are too many: what becomes of them is said in one place.
            self._write_body(b"x" if excess else b"", more)
        for call in behind:
            call()
        if self._file is None:  # else the next one
            self.resume_writing()

    def _stop_file(self) -> None:
        """Send no more of a file, if one is being sent: its exchange is not the current one any more."""
        transfer, self._file = self._file, None
        if transfer is not None:
            transfer.stop()
            behind, self._behind = self._behind, []
            for call in behind:
                call()  # it finds nobody to answer, and closes its file
            if not self.transport.is_closing():
                self.transport.set_write_buffer_limits()
            self.resume_writing()

    def resume_writing(self) -> None:
        """See Connection.resume_writing; while a file is being sent it is the next to go on."""
        if self._file is not None:
            self._file.drained()
        else:
            H1Writing.resume_writing(self)

    def count_waiting(self) -> int:
        """See Connection.count_waiting."""
        octets = H1Writing.count_waiting(self)
        return octets if self._file is None else octets + self._file.waiting
