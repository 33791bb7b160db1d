cimport cython
from shardserve.http.grammar cimport find_head_end
from shardserve.http.parsers.scanner cimport Scanner
from shardserve.http.request cimport Limits, Request, new_request, read_unusual
from shardserve.native cimport holds, second_line

cdef bytes CRLF, HEAD_END, _LINE_END
cdef int _CR, _SLASH
cdef Py_ssize_t _KEPT_LEAST, _KEPT_MAX

cdef class LastHead:
    cdef Py_ssize_t _again
    cdef bytes _fields
    cdef list _headers
    cdef object _parser
    cdef Request _request
    cdef Scanner _scanner

    @cython.locals(at=Py_ssize_t, fields=bytes)
    cpdef Py_ssize_t find_end(self, bytes data) except -2
    @cython.locals(again=Py_ssize_t, at=Py_ssize_t, scanner=Scanner, last=Request, request=Request)
    cpdef Request read(self, bytes head, Limits limits)
    @cython.locals(usual=bint)
    cdef _keep(self, bytes head, Py_ssize_t at, Request request)
    cdef _repeat(self, Request last, Request request)

cdef class LastLines(LastHead):
    @cython.locals(at=Py_ssize_t, last=Request, line=bytes, method=str, request=Request)
    cpdef Request read(self, bytes head, Limits limits)

@cython.locals(scanner=Scanner)
cpdef LastHead make_last_head(parser)
