cimport cython

cdef dict _PREFIXES, _LENGTHS
cdef int _CR, _LF, _NUL

@cython.locals(parts=list, value=bytes, prefix=bytes, special=bytes, close=bint, dated=bint)
cpdef tuple encode_fields(bytes first_line, headers)
cpdef bytes length_field(length)
cdef bytes _as_octets(value)
cdef bytes _learn(name)

cdef class CheckedHead:
    cdef public bytes octets
    cdef public object length
    cdef public bint close
    cdef public bint dated
