cimport cython
from shardserve.native cimport is_unshared, put_octets, put_text

ctypedef const unsigned char* Octets

cdef dict _PREFIXES, _TEXT_PREFIXES, _LINES, _TEXT_LINES, _HEADS, _LENGTHS, _NUMBERS
cdef set _USUAL_PREFIXES
cdef int _CR, _LF, _NUL, _ZERO, _DIGITS_MAX
cdef bint COMPILED
cdef Py_ssize_t _ROOM_SIZE
cdef bytearray _ROOM
cdef list _SHORT
cdef Py_ssize_t _UNDECLARED, _SHORT_MAX
cdef bytes _LENGTH, _DATE, _CONNECTION

cdef class CheckedHead:
    cdef public bytes octets
    cdef public Py_ssize_t length
    cdef public bint close
    cdef public bint dated

    @cython.locals(declared=Py_ssize_t, line=bytes)
    cdef bytes take(self, field, name, bytes prefix, bytes value)

@cython.locals(head=CheckedHead, lines=list, line=bytes, value=bytes, prefix=bytes)
cpdef CheckedHead encode_fields(bytes first_line, headers)
@cython.locals(head=CheckedHead, lines=list, line=bytes)
cpdef CheckedHead encode_text(bytes first_line, headers)
@cython.locals(value=bytes, prefix=bytes, text=str, unknown=bytes)
cdef bytes _encode_text_field(CheckedHead head, field)
cpdef bytes length_field(Py_ssize_t length)
cdef CheckedHead _last
@cython.locals(head=CheckedHead)
cdef CheckedHead _new_head()
@cython.locals(
    room="unsigned char*", size=Py_ssize_t, length=Py_ssize_t, at=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t,
    index=Py_ssize_t, prefix=bytes,
)
cdef bint _encode_usual(
    CheckedHead head, bytes first_line, list headers, dict prefixes, kind
) except -1
@cython.locals(number=Py_ssize_t, index=Py_ssize_t, digit=int)
cdef Py_ssize_t _number(Octets octets, Py_ssize_t at, Py_ssize_t end) except -2
cdef bytes _as_octets(value)
cdef bytes _learn(name)
cdef bytes _learn_text(name, bytes octets)
