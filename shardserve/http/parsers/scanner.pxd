cimport cython
from shardserve.http.request cimport Limits, Request
from shardserve.native cimport holds

ctypedef const unsigned char* Octets

cdef bytes _LINE_END, _LOWER, _TARGET, _VALUE, _FIRST_OF_SPECIAL
cdef str HTTP_1_1
cdef dict METHODS, CONNECTIONS
cdef set KNOWN_HOSTS
cdef int _G, _E, _T
cdef int _COLON, _CR, _LF, _SPACE, _TAB, _SLASH, _QUESTION, _NAME_MAX

cdef class Scanner:
    cdef bytearray _name
    cdef bytes _host, _connection, _declared
    cdef bint _forwarded

    @cython.locals(at=Py_ssize_t)
    cpdef bint scan(self, bytes head, Request request, Limits limits) except -1
    @cython.locals(octets=Octets, in_target=Octets, at=Py_ssize_t, start=Py_ssize_t, method=str)
    cpdef Py_ssize_t read_line(self, bytes head, Request request) except -2
    @cython.locals(
        octets=Octets, lower=Octets, in_value=Octets, name_octets="unsigned char*", start=Py_ssize_t, end=Py_ssize_t,
        length=int, octet=int, name=bytes, value=bytes, headers=list,
    )
    cdef bint _read_fields(self, bytes head, Py_ssize_t at, Request request) except -1
    @cython.locals(again=bint)
    cdef bint _note(self, bytes name, bytes value) except -1
