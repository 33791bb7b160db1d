from shardserve.http.exchange cimport Exchange

cdef class AsgiExtensions(Exchange):
    cdef public dict _head
    cdef public bint _sent
    cdef public bint _done
    cdef public bint _ending
    cdef public object _trailers

    cpdef _wake(self)
