# Types of the access log for the compiled build (docs/building.md).

from shardserve.http.line_writer cimport LineWriter


cdef class AccessLog:
    cdef object _clock, _format
    cdef Py_ssize_t _host, _line, _status, _sent, _sent_or_dash, _user
    cdef dict _fields, _known
    cdef list _rare, _repeats, _template
    cdef double _renew_at
    cdef LineWriter _writer
    cdef readonly object flush, write_to, finish

    cdef _put_field(self, list line, bytes name, bytes value)
    cdef _put_rare(self, list line, object request, double seconds)
    cdef str _learn(self, bytes octets)
