cimport cython
from shardserve.gateway.environ cimport make_environ
from shardserve.gateway.turns cimport Turns
from shardserve.gateway.wsgi cimport WsgiExchange, WsgiGateway
from shardserve.http.exchange cimport Exchange, Wire
from shardserve.http.head cimport CheckedHead
from shardserve.http.request cimport Request
from shardserve.native cimport new_context
from shardserve.net.blackbox cimport BlackBox

cdef Py_ssize_t _AHEAD_MAX
cdef int _WHOLE, _BLOCK, _LAST, _FILE, _HINTS, _FAILED, _RETURNED

cdef class PoolGateway(WsgiGateway):
    cdef public object pool
    cdef object _loop, _context, _handed
    cdef bint _woken, _rousing
    cdef int _roused
    cdef public Turns turns

    cpdef Exchange open(self, Wire wire, Request request)
    cpdef hand(self, PoolExchange exchange, int what, given)
    cdef _rouse_later(self)

cdef class PoolExchange(WsgiExchange):
    cdef PoolGateway _pool
    cdef readonly bint _finished
    cdef Py_ssize_t _posted, _acknowledged, _waited_for
    cdef object _gate

    cpdef _ready(self)
    cpdef hung_up(self)
    cpdef lost(self)
    cpdef take(self, int what, given)
    @cython.locals(head=CheckedHead)
    cdef _deliver(self, block, bint more)
    cdef _returned(self)
    @cython.locals(box=BlackBox, gateway=PoolGateway, slot=int)
    cpdef call(self)
    @cython.locals(gateway=PoolGateway, environ=dict)
    cpdef _run(self)
