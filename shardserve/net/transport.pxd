cimport cython
from shardserve.native cimport close_socket, end_writing, method, own_name, receive, transmit
from shardserve.net.poller cimport Poller

cdef int READ, WRITE, _BROKEN, _BEHIND
cdef Py_ssize_t _HIGH, _JOIN_MAX, _MOST, _MUCH

cdef class SocketTransport:
    cdef Poller _poller
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

    cpdef bint look(self) except -1
    cpdef ready(self, int event)
    @cython.locals(data=bytes, size=Py_ssize_t)
    cpdef bint _receive(self, int event) except -1
    @cython.locals(events=int, before=int)
    cpdef watch(self, bint anew=*)
    cpdef write(self, data)
    cpdef _pile_up(self)
    cpdef send(self)
    @cython.locals(sent=Py_ssize_t, last=bint)
    cdef _send_some(self)
    cpdef Py_ssize_t _send_pieces(self, bint last) except -1
    cpdef _keep_from(self, Py_ssize_t sent)
    cpdef _go_on(self)
    cpdef Py_ssize_t get_write_buffer_size(self) except -1
    cpdef bint is_closing(self) except? True
    cpdef close(self)
    cpdef _lose(self, error)
    @cython.locals(descriptor=int)
    cpdef end(self)
    cpdef int fileno(self) except? -1
    cpdef get_extra_info(self, name, default=*)
