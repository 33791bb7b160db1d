cimport cython
from shardserve.native cimport is_unshared

cdef class Limits:
    cdef readonly Py_ssize_t line
    cdef readonly Py_ssize_t fields
    cdef readonly Py_ssize_t field_size
    cdef readonly Py_ssize_t section
    cdef readonly Py_ssize_t body
    cdef readonly Py_ssize_t spool
    cdef readonly bint any_method
    cdef readonly str header_map
    cdef readonly frozenset underscored
    cdef readonly Py_ssize_t least

cdef class Request:
    cdef public Request first
    cdef public str method
    cdef public bytes path
    cdef public bytes query
    cdef public str version
    cdef public list headers
    cdef public object length
    cdef public bint keep_alive
    cdef public bint expect_continue
    cdef public bint forwarded
    cdef public list special
    cdef public bint ambiguous
    cdef public bint upgrade

    cpdef note(self, tuple field)
    cpdef restart(self)

cpdef Request read_request(bytes head, parser, Limits limits)
cdef bint COMPILED
cdef Request _last
@cython.locals(request=Request, last=Request)
cpdef Request new_request()
@cython.locals(request=Request)
cpdef Request read_unusual(bytes head, parser, Limits limits)
cdef _read_framing(Request request, authority)
cdef _read_rare(Request request, dict found)
