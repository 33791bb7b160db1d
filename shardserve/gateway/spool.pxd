cimport cython

cdef Py_ssize_t _JOIN_MAX

cdef class Room:
    cdef public Py_ssize_t left

cdef class Spool:
    cdef object _file
    cdef Py_ssize_t _held
    cdef list _pieces
    cdef Room _room
    cdef public Py_ssize_t size

    @cython.locals(size=Py_ssize_t)
    cpdef write(self, data)
    cpdef file(self)
    cpdef close(self)
    cpdef _forget(self)
