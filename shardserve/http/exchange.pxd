from shardserve.http.request cimport Request
from shardserve.http.service cimport Service

cdef class Exchange:
    cdef public Wire wire
    cdef public Request request
    cdef public bint gone
    cdef public int slot

    cpdef start(self)
    cpdef feed(self, data)
    cpdef end(self)
    cpdef hung_up(self)
    cpdef lost(self)

cdef class Gateway:
    cpdef Exchange open(self, Wire wire, Request request)

cdef class Wire:
    cdef public Service service
    cdef public object client
    cdef public object server
    cdef public str scheme
    cdef public object paused
    cdef public bint moved
    cdef public int calls
    cdef public object memo

    cpdef respond(self, Exchange exchange, status, headers, body, bint more)
    cpdef write(self, Exchange exchange, body, bint more)
    cpdef returned(self)
    cpdef Py_ssize_t count_waiting(self) except? -1
    cpdef hold(self)
    cpdef release(self)
