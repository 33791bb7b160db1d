cimport cython
from shardserve.http.access cimport AccessLog, Line
from shardserve.http.connection cimport Connection
from shardserve.http.exchange cimport Exchange
from shardserve.http.head cimport CheckedHead, encode_fields, length_field
from shardserve.http.request cimport Request
from shardserve.http.service cimport Service
from shardserve.native cimport chunk, join

cdef bint COMPILED
cdef int HEAD, READ
cdef int TO_COME, BY_LENGTH, BY_CHUNKS, BY_CLOSE, NOTHING
cdef Py_ssize_t _JOIN_MAX, _CHUNK_MAX
cdef str HTTP_1_1
cdef dict _STATUS_LINES
cdef Py_ssize_t UNDECLARED

cdef class H1Writing(Connection):
    cdef public double _began
    cdef public list _behind
    cdef public Exchange _exchange
    cdef public object _file
    cdef public int _framing
    cdef public bint _keep
    cdef public Line _logged
    cdef public Request _request
    cdef public Py_ssize_t _sent
    cdef public int _state
    cdef public int _status
    cdef public Py_ssize_t _unsent

    cpdef set_up(self, Service service)
    cpdef _finish(self)
    cpdef _end(self)
    cpdef bint _unread_is_large(self) except -1
    @cython.locals(method=str)
    cpdef bytes _choose_framing(self, Request request, Py_ssize_t length, int status, body, bint more)
    @cython.locals(request=Request, service=Service, head=CheckedHead, framing=bytes, connection=bytes, end=bytes, octets=bytes,
                   size=Py_ssize_t)
    cpdef respond(self, Exchange exchange, status, headers, body, bint more)
    cpdef write(self, Exchange exchange, body, bint more)
    @cython.locals(size=Py_ssize_t)
    cpdef _write_body(self, body, bint more)
    cpdef _lose_exchange(self)
    @cython.locals(access=AccessLog, request=Request, status=int, sent=Py_ssize_t)
    cpdef _record(self)
