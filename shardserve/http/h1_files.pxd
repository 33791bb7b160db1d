from shardserve.http.exchange cimport Exchange
from shardserve.http.h1_writing cimport H1Writing

cdef int BY_CHUNKS, BY_LENGTH, NOTHING

cdef class H1Files(H1Writing):
    cpdef resume_writing(self)
    cpdef Py_ssize_t count_waiting(self) except? -1
