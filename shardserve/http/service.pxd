from shardserve.http.exchange cimport Gateway
from shardserve.net.blackbox cimport BlackBox

cdef class Service:
    cdef list _due
    cdef public object _emptied
    cdef public object access
    cdef public object ask_for_work
    cdef public object board
    cdef public BlackBox box
    cdef public bint closing
    cdef public set connections
    cdef public object context
    cdef public bint cut_off
    cdef public bytes date
    cdef public bytes date_end
    cdef public bint draining
    cdef public bint forked
    cdef public Gateway gateway
    cdef public object give_idle
    cdef public object give_on
    cdef public double keep_alive
    cdef public object lifetime
    cdef public object limits
    cdef public object limits_of
    cdef public object load
    cdef public object loop
    cdef public int most_connections
    cdef public double now
    cdef public int opening
    cdef public object overdue
    cdef public object parser
    cdef public Py_ssize_t refused
    cdef public double request_timeout
    cdef public Py_ssize_t requests
    cdef public set running
    cdef public Py_ssize_t sends
    cdef public long long sends_until
    cdef public Py_ssize_t shed
    cdef public bint takes_calls
    cdef public object timeouts
    cdef public list when_room

    cpdef ended(self, exchange)
