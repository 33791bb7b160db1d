from shardserve.http.service cimport Service

cdef class Inside:
    cdef public object bell
    cdef public bint inside
    cdef public object lock
    cdef public bint parked
    cdef public Service service
    cdef public Py_ssize_t steps

    cpdef enter(self)
    cpdef leave(self)
