cimport cython
from shardserve.http.request cimport Request

cdef bytes CRLF
cdef Py_ssize_t _KEPT_LEAST, _KEPT_MAX

cdef class LastHead:
    cdef bytes _fields
    cdef tuple _headers
    cdef Request _request

    @cython.locals(line_end=Py_ssize_t, size=Py_ssize_t, fields=bytes, last=Request, request=Request, usual=bint)
    cpdef Request read(self, bytes head, parser, limits)
    cdef _repeat(self, Request last, Request request)
