cimport cython

ctypedef const unsigned char* Octets

cdef dict _PREFIXES, _TEXT_PREFIXES, _LENGTHS
cdef int _CR, _LF, _NUL, _ZERO, _DIGITS_MAX
cdef Py_ssize_t _UNDECLARED
cdef bytes _LENGTH, _DATE, _CONNECTION

cdef class CheckedHead:
    cdef public list parts
    cdef public Py_ssize_t length
    cdef public bint close
    cdef public bint dated

    @cython.locals(declared=Py_ssize_t)
    cdef note(self, list parts, bytes kind, bytes value)
    @cython.locals(index=Py_ssize_t, value=bytes)
    cdef seal(self, list parts)

@cython.locals(head=CheckedHead, parts=list, value=bytes, prefix=bytes)
cpdef CheckedHead encode_fields(bytes first_line, headers)
@cython.locals(head=CheckedHead, parts=list, value=bytes, prefix=bytes, text=str, unknown=bytes)
cpdef CheckedHead encode_text(bytes first_line, headers)
cpdef bytes length_field(Py_ssize_t length)
@cython.locals(head=CheckedHead)
cdef CheckedHead _new_head()
@cython.locals(octets=Octets, size=Py_ssize_t, number=Py_ssize_t, index=Py_ssize_t, digit=int)
cdef Py_ssize_t _number(bytes digits) except -2
cdef bytes _as_octets(value)
cdef bytes _learn(name)
cdef bytes _learn_text(name, bytes octets)
