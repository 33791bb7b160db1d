cimport cython
from shardserve.native cimport close_socket, control, end_writing, own_name, poll_ready, receive, transmit

cdef int READ, WRITE, _ADD, _DELETE, _MODIFY, _BROKEN, _DESCRIPTOR
cdef Py_ssize_t _HIGH, _JOIN_MAX, _MUCH, _TOGETHER

cdef class Poller:
    cdef public object loop
    cdef public object context
    cdef public bint patient
    cdef list _watched
    cdef list _new
    cdef list _written
    cdef list _lost
    cdef bint _ends
    cdef object _epoll

    cpdef watch(self, SocketTransport transport, int before, int events)
    cpdef begin(self, SocketTransport transport)
    @cython.locals(transport=SocketTransport)
    cpdef _look_at_new(self)
    @cython.locals(transport=SocketTransport)
    cpdef _watch_new(self, list new)
    @cython.locals(watched=list, event=long, transport=SocketTransport)
    cpdef _look(self)
    @cython.locals(transport=SocketTransport, lost=list)
    cpdef _end_turn(self)
    cpdef wrote(self, SocketTransport transport)
    cpdef lost(self, SocketTransport transport)
    cpdef _see_to_end(self)
    @cython.locals(transport=SocketTransport, written=list)
    cpdef send_written(self)

cdef class SocketTransport:
    cdef Poller _poller
    cdef object _socket
    cdef public int descriptor
    cdef object _peer_name
    cdef object _protocol
    cdef object _received
    cdef object _error
    cdef object _first
    cdef list _behind
    cdef Py_ssize_t _size, _high, _low
    cdef int _events
    cdef bint _reading, _much, _over, _ended, _kept, _full, _paused, _closing, _lost

    cpdef ready(self, int event)
    @cython.locals(data=bytes)
    cpdef _receive(self)
    @cython.locals(events=int, before=int)
    cpdef watch(self)
    cpdef write(self, data)
    cpdef _pile_up(self)
    @cython.locals(sent=Py_ssize_t, last=bint)
    cpdef send(self)
    cpdef Py_ssize_t _send_pieces(self, bint last) except -1
    cpdef _keep_from(self, Py_ssize_t sent)
    cpdef _go_on(self)
    cpdef Py_ssize_t get_write_buffer_size(self) except -1
    cpdef bint is_closing(self) except? True
    cpdef close(self)
    cpdef _lose(self, error)
    cpdef end(self)
    @cython.locals(descriptor=int)
    cpdef _close(self)
    cpdef int fileno(self) except? -1
    cpdef _object(self)
    cpdef get_extra_info(self, name, default=*)
