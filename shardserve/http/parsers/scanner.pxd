cimport cython
from shardserve.http.request cimport Request

ctypedef const unsigned char* Octets

cdef bytes _LINE_END, _HOST, _CONN, _CLENGTH, _FOR, _PROTO, _TE, _EXPECT
cdef bytes _LOWER, _TARGET, _VALUE
cdef dict METHODS, CONNECTIONS
cdef set KNOWN_HOSTS
cdef int _COLON, _CR, _LF, _SPACE, _TAB, _SLASH, _QUESTION, _NAME_MAX
cdef int _FIRST_C, _FIRST_E, _FIRST_H, _FIRST_T, _FIRST_X

cdef class Scanner:
    cdef bytearray _name

    @cython.locals(
        octets=Octets, lower=Octets, in_target=Octets, in_value=Octets, name_octets="unsigned char*",
        size=Py_ssize_t, at=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, length=int, octet=int, first=int,
        path=bytes, query=bytes, name=bytes, value=bytes, host=bytes, connection=bytes, declared=bytes, method=str,
        headers=list, forwarded=bint, keep_alive=bint,
    )
    cpdef bint scan(self, bytes head, Request request, limits) except? True
