cimport cython

ctypedef const unsigned char* Octets

cdef bint COMPILED
cdef int _CR, _LF

@cython.locals(octets=Octets, at=Py_ssize_t, size=Py_ssize_t, octet=int)
cpdef Py_ssize_t find_head_end(bytes data, Py_ssize_t start=*)
