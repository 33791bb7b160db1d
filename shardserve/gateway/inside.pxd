cimport cython
from shardserve.http.service cimport Service

cdef bint COMPILED
cdef unsigned long long _FREE, _BUSY, _BUSY_LOAD

cdef class Inside:
    cdef unsigned long long[::1] _line
    cdef bint _held
    cdef object _load, _lock
    cdef public object bell
    cdef public bint inside
    cdef public bint parked
    cdef public Service service
    cdef public Py_ssize_t steps

    @cython.locals(line="unsigned long long[::1]")
    cpdef enter(self)
    cpdef leave(self)
    @cython.locals(service=Service, line="unsigned long long[::1]")
    cdef _write_free(self)
    cdef unsigned long long[::1] _new_line(self)
