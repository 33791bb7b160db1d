cimport cython
from shardserve.http.chunked cimport ChunkedBody
from shardserve.http.exchange cimport Exchange
from shardserve.http.grammar cimport find_head_end
from shardserve.http.h1_files cimport H1Files
from shardserve.http.last_head cimport LastHead, make_last_head
from shardserve.http.pace cimport BodyPace
from shardserve.http.request cimport Limits, Request, read_request
from shardserve.http.service cimport Service

cdef bint COMPILED
cdef int CALLS_MAX
cdef int CHUNKED, CLOSED, HEAD, LENGTH, READ, UPGRADED
cdef double NEVER
cdef bytes CRLF, HEAD_END
cdef int _TURNS
cdef Py_ssize_t _BUFFER_MAX, _MOVED_MAX
cdef int _CR

cdef class H1Reading(H1Files):
    cdef public object _allowance
    cdef public bint _blank
    cdef public ChunkedBody _body
    cdef public bytes _buffer
    cdef public bint _eof
    cdef public LastHead _last_head
    cdef public long long _left
    cdef public Limits _limits
    cdef public BodyPace _pace
    cdef public object _partial
    cdef public bint _pumping
    cdef public bytes _raw
    cdef public object _remaining

    cpdef set_up(self, Service service)
    cpdef _next(self)
    cpdef _resume_soon(self)
    cpdef connection_made(self, transport)
    cpdef data_received(self, bytes data)
    cpdef connection_lost(self, exc)
    cpdef _keep_for_later(self, bytes data)
    cpdef release(self)
    @cython.locals(end=Py_ssize_t, last=LastHead, turns=int)
    cpdef _pump(self, bytes data)
    cpdef _await_head(self, bytes data)
    @cython.locals(service=Service, head=bytes, last=LastHead, request=Request, exchange=Exchange)
    cpdef bint _begin(self, bytes data, Py_ssize_t end) except -1
    @cython.locals(request=Request)
    cpdef Request _read_first(self, bytes head)
    cpdef _begin_body(self, Request request, bytes data)
    @cython.locals(exchange=Exchange, pace=BodyPace, body=ChunkedBody)
    cpdef _read_body(self, bytes data)
    cpdef _throw_away(self, bytes data)
