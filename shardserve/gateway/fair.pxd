cimport cython
from shardserve.http.exchange cimport Wire
from shardserve.http.service cimport Service
from shardserve.native cimport monotonic_ns

cdef Py_ssize_t SENDS_MAX
cdef long long _TURN

@cython.locals(service=Service, now="long long")
cpdef pace(Wire wire)
