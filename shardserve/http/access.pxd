# Types of the access log for the compiled build (docs/building.md).

cimport cython
from shardserve.http.line_writer cimport LineWriter
from shardserve.http.request cimport Request
from shardserve.native cimport second

cdef Py_ssize_t _LINES_MAX

cdef class Line:
    cdef readonly list template, pieces
    cdef readonly Request request, first
    cdef readonly int status
    cdef readonly Py_ssize_t sent
    cdef readonly str text

cdef class AccessLog:
    cdef readonly bint timed
    cdef object _clock, _format
    cdef Py_ssize_t _host, _line, _status, _sent, _sent_or_dash, _user
    cdef dict _fields, _known
    cdef list _rare, _repeats, _template
    cdef long long _second
    cdef LineWriter _writer
    cdef readonly object flush, write_to, finish

    @cython.locals(line=Line, before=Request, now="long long", stale=bint)
    cpdef Line record(self, Line last, client, Request request, int status, Py_ssize_t sent, double began)
    @cython.locals(now="long long")
    cpdef record_unread(self, client, int status, Py_ssize_t sent)
    cdef _renew(self, long long now)
    cdef _fill(self, list pieces, client, Request request)
    cdef str _describe(self, Request request)
    cdef _put_numbers(self, list pieces, int status, Py_ssize_t sent)
    cdef str _join(self, list pieces, Request request, double seconds)
    cdef _write(self, str text)
    cdef _put_field(self, list line, bytes name, bytes value)
    cdef _put_rare(self, list line, Request request, double seconds)
    cdef str _learn(self, bytes octets)
