cdef class Request:
    cdef public bint again
    cdef public str method
    cdef public bytes path
    cdef public bytes query
    cdef public str version
    cdef public list headers
    cdef public object length
    cdef public bint keep_alive
    cdef public bint expect_continue
    cdef public bint forwarded
    cdef public list special
    cdef public bint ambiguous
    cdef public bint upgrade

    cpdef note(self, tuple field)
    cpdef restart(self)

cpdef Request read_request(bytes head, parser, limits)
cdef _read_framing(Request request, authority)
cdef _read_rare(Request request, dict found)
