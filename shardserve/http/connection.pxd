from shardserve.http.exchange cimport Wire

cdef class Connection(Wire):
    cdef public object transport
    cdef public double deadline
    cdef public double answer_by
    cdef public bint lingering
    cdef public bint copied
    cdef public bint _reading
    cdef public Py_ssize_t _waiting_octets
    cdef public double _waiting_since

    cpdef resume_writing(self)
    cpdef Py_ssize_t count_waiting(self) except? -1
    cpdef expire(self)
    cpdef expire_reading(self)
    cpdef bint _waits_for_client(self) except -1
