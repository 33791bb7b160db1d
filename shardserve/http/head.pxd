cimport cython

cdef dict _PREFIXES
cdef int _CR, _LF, _NUL

@cython.locals(parts=list, octets=bytes, prefix=bytes, close=bint, dated=bint, count=Py_ssize_t)
cpdef tuple encode_fields(first_line, headers)
