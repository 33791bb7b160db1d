cimport cython

cdef Py_ssize_t _JOIN_MAX
cdef type _BytesIO

cdef class Room:
    cdef public Py_ssize_t left

cdef class Body:
    cdef public Py_ssize_t size

    cpdef file(self)
    cpdef close(self)

cdef class Spool(Body):
    cdef object _file
    cdef Py_ssize_t _held
    cdef list _pieces
    cdef Room _room

    @cython.locals(size=Py_ssize_t)
    cpdef write(self, data)
    cpdef _forget(self)
