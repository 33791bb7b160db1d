cimport cython
from shardserve.http.h1_reading cimport H1Reading
from shardserve.http.service cimport Service

cdef int CALLS_MAX
cdef int BY_CLOSE, CHUNKED, CLOSED, HEAD, LENGTH, READ, TO_COME, UPGRADED
cdef double NEVER

cdef class H1Connection(H1Reading):
    cdef public double _idle_until

    cpdef bint _unread_is_large(self) except -1
    @cython.locals(service=Service)
    cpdef _finish(self)
    @cython.locals(service=Service)
    cpdef _next(self)
    cpdef _resume_soon(self)
    cpdef resume_writing(self)
    cpdef linger(self)
    cpdef returned(self)
    cpdef _resume(self)
    cpdef _end(self)
    cpdef expire_reading(self)
    @cython.locals(service=Service)
    cpdef _check_pace(self)
