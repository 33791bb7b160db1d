from shardserve.native cimport weak

cdef class Registry:
    cdef object _add, _forget
    cdef set _alive, _iterating
    cdef list _pending

    cpdef add(self, task)
    cpdef forget(self, reference)
