# Types of chunked bodies for the compiled build (docs/building.md). Sizes that a client has declared are no C numbers:
# they may have 16 hex digits.
cimport cython
from shardserve.http.request cimport Limits

cdef int _SIZE, _DATA, _DATA_END, _TRAILER, _DONE
cdef Py_ssize_t _LINE_MAX, _EXTENSIONS_MAX
cdef bytes _HEX

cdef class ChunkedBody:
    cdef int _state
    cdef bytes _buffer
    cdef object _left, _size
    cdef Limits _limits
    cdef Py_ssize_t _extensions, _trailer_size, _trailer_fields
    cdef public bint done
    cdef public bytes rest

    @cython.locals(position=Py_ssize_t, line_end=Py_ssize_t, taken=Py_ssize_t, line=bytes, pieces=list)
    cpdef bytes feed(self, bytes data)
    @cython.locals(met=bytes)
    cdef _keep(self, bytes partial)
    cdef _take_line(self, bytes line)
    cdef _set_size(self, bytes digits)
    cdef Py_ssize_t _trailer_room(self)
    @cython.locals(met=bytes, too_many=bint)
    cdef _check_trailer(self, bytes line)
