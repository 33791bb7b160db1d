cimport cython
from shardserve.native cimport blank, fill

cdef bint COMPILED
cdef Py_ssize_t _WHOLE_MIN, _WHOLE_PART

cdef class Room:
    cdef public Py_ssize_t left

cdef class Spool:
    cdef object _file
    cdef Py_ssize_t _held
    cdef Py_ssize_t _length
    cdef list _pieces
    cdef Room _room
    cdef bytes _whole
    cdef public Py_ssize_t size

    @cython.locals(size=Py_ssize_t, room=Room)
    cpdef write(self, data)
    @cython.locals(whole=bytes, piece=bytes, at=Py_ssize_t)
    cpdef _put_together(self)
    cpdef file(self)
    cpdef close(self)
    cpdef _forget(self)
