cimport cython
from shardserve.http.exchange cimport Gateway
from shardserve.net.blackbox cimport BlackBox
from shardserve.net.loads cimport note_taken
from shardserve.net.poller cimport Poller

cdef int _CONNECTIONS, _ACCEPTED, _LOAD_CONNECTIONS

cdef class Service:
    cdef unsigned long long[::1] _board
    cdef unsigned long long[::1] _load
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
    cdef public object has_idle
    cdef public double keep_alive
    cdef public object lifetime
    cdef public object limits
    cdef public object load
    cdef public object loop
    cdef public int most_connections
    cdef public double now
    cdef public int opening
    cdef public object overdue
    cdef public object parser
    cdef public Poller poller
    cdef public Py_ssize_t refused
    cdef public double request_timeout
    cdef public Py_ssize_t requests
    cdef public set running
    cdef public Py_ssize_t sends
    cdef public long long sends_until
    cdef public Py_ssize_t shed
    cdef public bint takes_calls
    cdef public object timeouts
    cdef public object trusted_limits
    cdef public object trusts
    cdef public list when_room

    cpdef limits_of(self, peer)
    @cython.locals(connections=Py_ssize_t)
    cpdef count(self)
    @cython.locals(connections=Py_ssize_t)
    cpdef count_taken(self)
    cpdef bint is_full(self) except -1
    cpdef opened(self, connection)
    cpdef closed(self, connection)
    cpdef idle(self)
    cpdef ended(self, exchange)
